"""Figures of the assets and the report. Each function takes plain numbers, draws with matplotlib and returns a PNG.

Only `matplotlib.figure.Figure` is used, never pyplot: no global state, no display, and nothing to close.
"""

import base64
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POLICY, GUIDED, CONTROL = "#5b6770", "#1769aa", "#b8a04a"
POSITIVE, NEGATIVE, NEUTRAL, FAINT = "#2e7d32", "#c0392b", "#9aa5ad", "#555555"
COLOURS = {"policy": POLICY, "guided": GUIDED, "random": CONTROL, "energy": "#7b4fa3", "combined": GUIDED}


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as PNG bytes: drawn once, shown in Dagster, in MLflow and in the report."""

    png: bytes

    @property
    def data_uri(self) -> str:
        """The PNG as a `data:` address, to be put into a page."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"

    def markdown(self, title: str) -> str:
        """As an image in Markdown, the picture inside it."""
        return f"![{title}]({self.data_uri})"


P = ParamSpec("P")


def _picture(draw: Callable[P, "Figure"]) -> Callable[P, Picture]:
    """Makes a function that draws a figure return it as a picture."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Picture:
        buffer = io.BytesIO()
        draw(*args, **kwargs).savefig(buffer, format="png", dpi=110)
        return Picture(buffer.getvalue())

    return drawn


def _axes(width: float = 6.4, height: float = 3.6) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


@_picture
def solve_curves(curves: Mapping[str, Sequence[int | None]], *, highest: int, title: str) -> "Figure":
    """Share of theorems proved within a budget, against the budget (expansions, log scale), with 95% Wilson bands.

    curves: name -> each theorem's expansions to its certified proof, None for one that was not proved.
    """
    from prover.evaluation.statistics import wilson_interval

    figure, axes = _axes()
    budgets = list(range(1, highest + 1))
    for index, (name, expansions) in enumerate(curves.items()):
        n, colour = len(expansions), COLOURS.get(name, f"C{index}")
        solved = [sum(1 for e in expansions if e is not None and e <= budget) for budget in budgets]
        rates = [count / max(n, 1) for count in solved]
        axes.step(budgets, rates, where="post", label=name, color=colour, linewidth=1.8)
        if n:
            low, high = zip(*(wilson_interval(count, n) for count in solved), strict=True)
            axes.fill_between(budgets, low, high, step="post", color=colour, alpha=0.13, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="budget (expansions per theorem)", ylabel="theorems proved (share)", title=title, ylim=(0, 1))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper left", title="bands: 95% Wilson", title_fontsize="small", alignment="left")
    return figure


@_picture
def histograms(groups: Mapping[str, Sequence[float]], *, xlabel: str, title: str) -> "Figure":
    """Overlaid histograms of several groups of numbers, each normalised to its own size."""
    figure, axes = _axes()
    everything = [value for values in groups.values() for value in values]
    colours = {"positive": POSITIVE, "negative": NEGATIVE}
    if everything:
        low, high = min(everything), max(everything)
        for name, values in groups.items():
            if len(values):
                weights = [1 / len(values)] * len(values)
                span = (low, high if high > low else low + 1)
                label = f"{name} ({len(values)})"
                axes.hist(
                    values, bins=40, range=span, weights=weights, alpha=0.55, label=label, color=colours.get(name)
                )
        axes.legend(frameon=False)
    axes.set(xlabel=xlabel, ylabel="share of states", title=title)
    return figure


@_picture
def scatter(groups: Mapping[str, Sequence[tuple[float, float]]], *, xlabel: str, ylabel: str, title: str) -> "Figure":
    """Points in a plane, a colour a group: name -> (x, y) pairs."""
    figure, axes = _axes(width=5.6, height=4.2)
    colours = {"positive": POSITIVE, "negative": NEGATIVE}
    for name, points in groups.items():
        if len(points):
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, s=9, alpha=0.55, linewidths=0, label=f"{name} ({len(x)})", color=colours.get(name))
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.set_xticks([])
    axes.set_yticks([])
    if any(len(points) for points in groups.values()):
        axes.legend(frameon=False, fontsize="small", markerscale=2)
    return figure


@_picture
def grouped_bars(table: Mapping[str, Mapping[str, tuple[float, float, float]]], *, ylabel: str, title: str) -> "Figure":
    """Bars in groups: group -> series -> (value, low, high), with the interval as a whisker."""
    figure, axes = _axes()
    series = list(dict.fromkeys(name for group in table.values() for name in group))
    width = 0.8 / max(len(series), 1)
    for index, name in enumerate(series):
        for place, group in enumerate(table.values()):
            if name in group:
                value, low, high = group[name]
                axes.bar(
                    place + (index - (len(series) - 1) / 2) * width,
                    value,
                    width,
                    yerr=[[max(value - low, 0)], [max(high - value, 0)]],
                    error_kw={"elinewidth": 0.8, "alpha": 0.6},
                    color=COLOURS.get(name, f"C{index}"),
                    label=name if place == 0 else None,
                )
    axes.set_xticks(range(len(table)), list(table))
    axes.set(ylabel=ylabel, title=title)
    # Below the axes: bars near 1 reach into every corner.
    axes.legend(
        frameon=False,
        ncols=max(len(series), 1),
        fontsize="small",
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
    )
    return figure


@_picture
def calibration(
    energies: Mapping[str, Sequence[float]],
    trials: Sequence[tuple[float, float]],
    *,
    chosen: float,
    title: str,
) -> "Figure":
    """Left: the share of positives among states of like energy, ten groups of one size, with 95% Wilson intervals.
    Right: the area under the validation curve for each weight, the chosen one marked.

    energies: label -> ENERGIES (lower is better). trials: (beta, area), beta = 0 the policy alone.
    """
    from matplotlib.figure import Figure

    from prover.evaluation.statistics import wilson_interval

    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    left, right = figure.subplots(1, 2)
    pairs = sorted(
        (energy, label == "positive") for label in ("positive", "negative") for energy in energies.get(label, ())
    )
    groups = [pairs[len(pairs) * i // 10 : len(pairs) * (i + 1) // 10] for i in range(10)]
    for group in filter(None, groups):
        n, hits = len(group), sum(positive for _, positive in group)
        share = hits / n
        low, high = wilson_interval(hits, n)
        middle = sum(energy for energy, _ in group) / n
        left.errorbar(
            [middle], [share], yerr=[[max(share - low, 0)], [max(high - share, 0)]], fmt="o", color=GUIDED, markersize=4
        )
    left.set(xlabel="energy (lower is better)", ylabel="positive states (share)", ylim=(0, 1))
    if trials:
        right.plot([beta for beta, _ in trials], [area for _, area in trials], "o-", color=POLICY, linewidth=1.2)
        right.plot([b for b, _ in trials if b == chosen], [a for b, a in trials if b == chosen], "o", color=POSITIVE)
    right.set(xlabel="weight beta (0: the policy alone)", ylabel="area on validation")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure


@_picture
def lines(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, xlabel: str, title: str) -> "Figure":
    """One small panel a series, on a common x axis: name -> (x, y)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 1.5 * max(len(series), 1) + 0.5), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    panels = figure.subplots(max(len(series), 1), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, (x, y)) in zip(panels, series.items(), strict=False):
        axes.plot(x, y, color=GUIDED, linewidth=1.2)
        axes.set_ylabel(name, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    panels[-1].set_xlabel(xlabel)
    return figure


@_picture
def stacked_bar(parts: Mapping[str, float], *, xlabel: str, title: str) -> "Figure":
    """One horizontal bar of named parts, e.g. where the time of a search went."""
    figure, axes = _axes(height=1.8)
    left = 0.0
    total = sum(parts.values()) or 1.0
    for index, (name, value) in enumerate(parts.items()):
        axes.barh([0], [value], left=left, color=f"C{index}", label=f"{name} {value / total:.0%}")
        left += value
    axes.set_yticks([])
    axes.set(xlabel=xlabel, title=title)
    axes.set_ylim(-0.6, 1.6)  # room for the legend, inside the axes: below them it is cut off
    axes.legend(frameon=False, ncols=len(parts), fontsize="small", loc="upper center")
    return figure


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node to draw. `energy`: lower is better, None where nothing scored it; `proved`: on the path to a proof."""

    id: int
    parent: int | None
    tactic: str
    proved: bool
    complete: bool
    expanded: bool
    energy: float | None = None


TREE_WIDTH = 5.4
"""Inches. Two trees stand side by side on the report, and one fits Dagster's dialog without being scaled down."""
TREE_MARGIN = 2.1
"""Inches at the left of a tree with a proof, for the tactics and the energies of the proved path."""


def _drawn(nodes: Sequence[TreeNode], most: int) -> dict[int, TreeNode]:
    """The proved path and the earliest other nodes, each with its path from the root, about `most` in all; by id."""
    by_id = {node.id: node for node in nodes}
    chosen: dict[int, TreeNode] = {}
    for node in sorted(nodes, key=lambda n: (not n.proved, n.id)):
        if len(chosen) >= most:
            break
        chosen[node.id] = node
        parent = node.parent
        while parent is not None and parent in by_id and parent not in chosen:
            chosen[parent] = by_id[parent]
            parent = by_id[parent].parent
    return chosen


@_picture
def search_tree(nodes: Sequence[TreeNode], *, title: str, most: int = 120) -> "Figure":
    """A search as a tree, root at the top: the proved path at the left in green, read from top to bottom like a script,
    with its tactics and energies beside it; what else was tried branches off to the right.

    However wide or deep, a tree fits `TREE_WIDTH`: columns and rows move together, and energies off the proved path are
    left out where there is no room for them. Of a tree of more than `most` nodes the proved path and the earliest
    others are drawn, and the title says so.
    """
    from matplotlib.ticker import FixedLocator

    chosen = _drawn(nodes, most)
    children: dict[int | None, list[int]] = {}
    for node in sorted(chosen.values(), key=lambda n: (not n.proved, n.id)):
        children.setdefault(node.parent if node.parent in chosen else None, []).append(node.id)
    place = _layout(children)
    deepest = max((depth for depth, _ in place.values()), default=0)
    columns = max((column for _, column in place.values()), default=0) + 1
    margin = TREE_MARGIN if any(node.proved for node in chosen.values()) else 0.3
    across = min(0.45, (TREE_WIDTH - 0.7 - margin) / columns)
    down = min(0.36, max(0.17, 12 / (deepest + 1)))
    width = min(TREE_WIDTH, max(4.2, 0.7 + margin + columns * across))
    figure, axes = _axes(width=width, height=0.9 + down * (deepest + 1))
    for node in chosen.values():
        depth, column = place[node.id]
        x, y = column * across, depth * down
        if node.parent in place:
            above, beside = place[node.parent]
            x0, y0 = beside * across, above * down
            colour, line = (POSITIVE, 2.0) if node.proved else (NEUTRAL, 0.6)
            bend = min(y0 + 0.4 * down, y)
            axes.plot([x0, x, x], [y0, bend, y], color=colour, linewidth=line, zorder=2 if node.proved else 1)
        colour = POSITIVE if node.proved else (GUIDED if node.expanded else NEUTRAL)
        axes.scatter(
            [x], [y], s=42 if node.complete else 16, marker="*" if node.complete else "o", color=colour, zorder=3
        )
        if node.proved and node.tactic:
            axes.text(-0.55, y, _short(node.tactic), fontsize=7, va="center", ha="right")
        if node.energy is None:
            continue
        energy = f"{node.energy:+.2f}"
        if node.proved:
            axes.text(-0.12, y, energy, fontsize=6, color=FAINT, va="center", ha="right")
        elif node.expanded and (across >= 0.36 or (across >= 0.12 and down >= 0.34)):
            turned = 0 if across >= 0.36 else 90
            axes.annotate(
                energy,
                (x, y),
                (1, 3) if turned else (4, 1),
                textcoords="offset points",
                rotation=turned,
                fontsize=6,
                color=FAINT,
                va="bottom",
                ha="left",
            )
    axes.set_xlim(-margin, max(columns * across, width - 0.7 - margin))
    axes.set_ylim((deepest + 0.5) * down, -0.6 * down)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    every = max(1, round(0.2 / down))
    axes.yaxis.set_major_locator(FixedLocator([depth * down for depth in range(0, deepest + 1, every)]))
    axes.set_yticklabels([str(depth) for depth in range(0, deepest + 1, every)], fontsize="small")
    more = "" if len(chosen) == len(nodes) else f" ({len(chosen)} of {len(nodes)} nodes drawn)"
    axes.set_ylabel("depth (tactics)", fontsize="small")
    figure.suptitle(title + more, fontsize="medium")
    return figure


def _layout(children: Mapping[int | None, Sequence[int]]) -> dict[int, tuple[int, float]]:
    """(depth, column) of every node: as far left as its row is free, and no farther left than its parent.

    Rows are filled in one order from left to right, so lines do not cross.
    """
    place: dict[int, tuple[int, float]] = {}
    free: dict[int, float] = {}
    stack = [(root, 0, 0.0) for root in reversed(children.get(None, ()))]
    while stack:
        node, depth, least = stack.pop()
        column = max(least, free.get(depth, 0.0))
        place[node], free[depth] = (depth, column), column + 1
        stack.extend((child, depth + 1, column) for child in reversed(children.get(node, ())))
    return place


def _short(tactic: str) -> str:
    line = " ".join(tactic.split())
    return line if len(line) <= 26 else f"{line[:25]}…"

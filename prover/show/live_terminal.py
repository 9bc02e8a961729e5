"""A running search on a terminal: how far it is, its latest proofs, the tree that grows, and its frontier."""

from collections.abc import Sequence

from rich.columns import Columns
from rich.console import ConsoleRenderable, Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from prover.json_types import JsonList, JsonObject
from prover.show.live import FINISHED, RUNNING, Landed, LiveView
from prover.show.view import visible

MOST_LANDED, MOST_FRONTIER, MOST_LINES = 8, 6, 16
_BAR = 24


def screen(view: LiveView) -> ConsoleRenderable:
    """All of it. Lean's text is never read as markup."""
    parts: list[ConsoleRenderable] = [_head(view), _landed(view)]
    if view.searches:
        parts.append(_open(view.searches[0]))
        others = [_short(search) for search in view.searches[1:]]
        if others:
            parts.append(Columns(others, padding=(0, 3)))
    return Group(*parts)


def _head(view: LiveView) -> ConsoleRenderable:
    total = "?" if view.theorems is None else str(view.theorems)
    counts = Text(f"{view.done} of {total} theorems, {view.proved} proved, {view.expansions} expansions")
    told = {
        "expansions/s": None if view.expansions_rate is None else f"{view.expansions_rate:.1f}",
        "theorems/s": None if view.done_rate is None else f"{view.done_rate:.2f}",
        "left": None if view.seconds_left is None else f"{view.seconds_left:.0f} s",
        "model": f"{view.model_s:.1f} s",
        "Lean": f"{view.lean_s:.1f} s",
    }
    rates = Text("   ".join(f"{name} {value}" for name, value in told.items() if value is not None), style="dim")
    line = Table.grid(padding=(0, 2))
    line.add_row(ProgressBar(total=max(view.theorems or view.done, 1), completed=view.done, width=_BAR), counts)
    colour = {RUNNING: "cyan", FINISHED: "green"}.get(view.state, "yellow")
    state = view.state if view.state in (RUNNING, FINISHED) else f"{view.state}: nobody is writing it on this machine"
    where = Text(visible(str(view.output)), style="dim", overflow="fold")
    return Panel(Group(where, line, rates), title=Text(state), title_align="left", border_style=colour)


def _landed(view: LiveView) -> ConsoleRenderable:
    """The latest theorems that are done, the newest first: proofs before the rest of them."""
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("latest", overflow="fold", max_width=32)
    for name in ("steps", "expansions", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("proof", overflow="ellipsis", no_wrap=True, ratio=1)
    for one in _latest(view.landed):
        mark = Text(visible(one.name), style="green" if one.proved else "dim")
        proof = Text(visible("; ".join(" ".join(step.split()) for step in one.proof)), style="cyan")
        if not one.proved:
            proof = Text(one.ended.replace("_", " "), style="dim")
        table.add_row(mark, str(one.steps or "–"), str(one.expansions), f"{one.seconds:.2f}", proof)
    return table


def _latest(landed: Sequence[Landed]) -> list[Landed]:
    newest = list(reversed(landed))
    proved = [one for one in newest if one.proved][:MOST_LANDED]
    return proved + [one for one in newest if not one.proved][: max(MOST_LANDED - len(proved), 2)]


def _short(search: JsonObject) -> Text:
    return Text(visible(f"{search['name']}: {search['expansions']} expansions, {search['size']} states"), style="dim")


def _open(search: JsonObject) -> ConsoleRenderable:
    """The open theorem that has come farthest: its frontier, and the branches that lead there."""
    nodes, frontier = search["nodes"], search["frontier"][:MOST_FRONTIER]
    energies = [node[2] for node in nodes if node[2] is not None]
    low, high = (min(energies), max(energies)) if energies else (0.0, 0.0)
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("next", justify="right", no_wrap=True)
    if energies:
        table.add_column("energy", justify="right", no_wrap=True)
    table.add_column("tactic", overflow="fold", max_width=32)
    table.add_column("goal", overflow="ellipsis", no_wrap=True, ratio=1)
    for rank, place in enumerate(frontier, 1):
        _, tactic, energy, _, state = nodes[place]
        cells = [Text(str(rank))]
        if energies:
            cells.append(Text("" if energy is None else f"{energy:+.2f}", style=_shade(energy, low, high)))
        table.add_row(*cells, Text(visible(tactic or "start"), style="bold"), Text(visible(_goal(state))))
    title = f"{search['name']}: {search['expansions']} expansions, {search['size']} states"
    return Panel(Group(table, _tree(nodes, frontier, low, high)), title=Text(visible(title)), title_align="left")


def _tree(nodes: Sequence[JsonList], frontier: Sequence[int], low: float, high: float) -> ConsoleRenderable:
    """The paths from the root to the frontier, in at most `MOST_LINES` lines."""
    if not nodes:
        return Text("the statement is being read", style="dim")
    shown: set[int] = set()
    for place in frontier:
        path = [place]
        while nodes[path[-1]][0] is not None:
            path.append(nodes[path[-1]][0])
        if shown and len(shown | set(path)) > MOST_LINES:
            break
        shown.update(path)
    children: dict[int | None, list[int]] = {}
    for place in sorted(shown | {0}):  # a parent may come after its child: a better path was found later
        children.setdefault(nodes[place][0], []).append(place)

    def label(place: int) -> Text:
        _, tactic, energy, expansion, _ = nodes[place]
        text = Text(visible(" ".join(tactic.split()) or "start"), style=_shade(energy, low, high))
        return text.append("" if expansion is None else f"  #{expansion}", style="dim")

    tree = Tree(label(0))
    waiting = [(tree, 0)]
    while waiting:
        branch, place = waiting.pop()
        waiting += [(branch.add(label(child)), child) for child in children.get(place, ())]
    return tree


def _shade(energy: float | None, low: float, high: float) -> Style:
    """From blue (low energy, better) to red, as in the report."""
    if energy is None:
        return Style()
    share = (energy - low) / (high - low) if high > low else 0.0
    return Style(color=("bright_blue", "cyan", "yellow", "red")[min(int(share * 4), 3)])


def _goal(state: str) -> str:
    """The line of the first goal."""
    return next((line for line in state.splitlines() if line.startswith("⊢")), state)

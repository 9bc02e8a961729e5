"""A solve curve as a drawing of a few hundred characters, for a page that hides larger figures behind a link."""

import base64
from collections.abc import Mapping, Sequence

from prover_assets.report.plots import COLOURS

_WIDTH, _HEIGHT, _LEFT = 250, 90, 60
"""Pixels of the curves, and of the names on their right."""
_GREY = "#888"
_MOST_STEPS = 6
"""Of doublings; from more on, a step is fourfold, so that the drawing stays small."""


def solve_sketch(curves: Mapping[str, Sequence[int | None]], highest: int) -> str:
    """Markdown with the drawing inside: share proved against the budget, from 1 to `highest` expansions, log scale.

    curves: name -> each theorem's expansions to its certified proof, None for one that was not proved.
    """
    factor = 2 if highest <= 2**_MOST_STEPS else 4
    budgets = [1]
    while budgets[-1] < highest:
        budgets.append(min(factor * budgets[-1], highest))
    lines = [_line(name, expansions, budgets) for name, expansions in curves.items()]
    frame = f'<path d="M0 0V{_HEIGHT}H{_WIDTH}" fill="none" stroke="{_GREY}"/>'
    size = f'width="{_WIDTH + _LEFT}" height="{_HEIGHT + 15}" font-size="11"'
    under = f'<text y="{_HEIGHT + 13}" fill="{_GREY}">proved, by 1 to {highest} expansions</text>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{frame}{"".join(lines)}{under}</svg>'
    return f"![solve curve](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _line(name: str, expansions: Sequence[int | None], budgets: Sequence[int]) -> str:
    """A curve with its name at its end."""
    n = max(len(expansions), 1)
    shares = [sum(1 for found in expansions if found is not None and found <= budget) / n for budget in budgets]
    step = _WIDTH / max(len(budgets) - 1, 1)
    points = " ".join(f"{round(place * step)} {round(_HEIGHT * (1 - share))}" for place, share in enumerate(shares))
    colour = COLOURS.get(name, COLOURS["guided"])
    below = max(round(_HEIGHT * (1 - shares[-1])), 9)
    return (
        f'<path d="M{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        f'<text x="{_WIDTH + 4}" y="{below}" fill="{colour}">{name}</text>'
    )

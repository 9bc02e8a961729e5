"""Draw docs/images/loop.svg: one iteration, and how it leads to the next.

    python tools/loop_picture.py

The boxes are the assets in Dagster, by their names there; `tests/test_pictures.py` compares the two.
"""

import argparse
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

WIDTH, HEIGHT = 980, 330
BOX_WIDTH, BOX_HEIGHT = 168, 66

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; text-anchor: middle; dominant-baseline: central; }
  text.name { font-weight: 600; } text.note { fill: #57606a; font-size: 12px; }
  rect.box { fill: #ffffff; stroke: #57606a; } rect.given { fill: #f3f4f6; stroke: #57606a; }
  rect.kept { fill: #ffffff; stroke: #0969da; stroke-dasharray: 5 3; }
  path { fill: none; stroke: #6e7781; stroke-width: 1.4; } path.loop { stroke: #0969da; stroke-width: 2; }
  marker path { fill: #6e7781; stroke: none; } marker.loop path { fill: #0969da; }
  rect.paper { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } text.note { fill: #9da7b3; } rect.box, rect.kept { fill: #161b22; stroke: #9da7b3; }
    rect.given { fill: #21262d; stroke: #9da7b3; } rect.paper { fill: #0d1117; } rect.kept { stroke: #58a6ff; }
    path { stroke: #8b949e; } marker path { fill: #8b949e; } path.loop { stroke: #58a6ff; }
    marker.loop path { fill: #58a6ff; }
  }
"""


@dataclass(frozen=True)
class Box:
    """An asset: its name in Dagster, what it does in a few words, its middle, and its kind (a class of the style)."""

    name: str
    does: str
    x: float
    y: float
    kind: str = "box"


BOXES = (
    Box("theorems", "what there is to prove", 104, 60, "given"),
    Box("trajectories", "search, checked by Lean", 104, 168),
    Box("state_embeddings", "vectors of the states", 297, 168),
    Box("ebm_checkpoint", "train the energy model", 490, 168),
    Box("guided_trajectories", "search held-out theorems", 683, 168),
    Box("iteration_report", "compare, promote or not", 876, 168),
    Box("baseline_trajectories", "held-out, policy alone", 683, 60, "given"),
    Box("champion_ebm", "guides the next search", 490, 276, "kept"),
)
ARROWS = (
    ("theorems", "trajectories"),
    ("trajectories", "state_embeddings"),
    ("state_embeddings", "ebm_checkpoint"),
    ("ebm_checkpoint", "guided_trajectories"),
    ("guided_trajectories", "iteration_report"),
    ("theorems", "baseline_trajectories"),
    ("baseline_trajectories", "iteration_report"),
)
LOOP = (("iteration_report", "champion_ebm"), ("champion_ebm", "trajectories"))
"""How an iteration leads to the next."""


def svg() -> str:
    """The picture."""
    places = {box.name: box for box in BOXES}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="The loop: '
        'search, embed, train, search again, report; the promoted energy model guides the next search">',
        f"<style>{STYLE}</style><defs>{_tip('tip')}{_tip('loop-tip', 'loop')}</defs>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
    ]
    parts += [_arrow(places[start], places[end]) for start, end in ARROWS]
    parts += [_arrow(places[start], places[end], loop=True) for start, end in LOOP]
    for box in BOXES:
        left, top = box.x - BOX_WIDTH / 2, box.y - BOX_HEIGHT / 2
        parts += [
            f'<rect class="{box.kind}" x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"/>',
            f'<text class="name" x="{box.x}" y="{box.y - 11}">{escape(box.name)}</text>',
            f'<text class="note" x="{box.x}" y="{box.y + 12}">{escape(box.does)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _tip(name: str, kind: str = "") -> str:
    return (
        f'<marker id="{name}" class="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker>'
    )


def _arrow(start: Box, end: Box, *, loop: bool = False) -> str:
    """From the side of one box to the nearest side of another."""
    kind, tip = ("loop", "loop-tip") if loop else ("", "tip")
    if start.y == end.y:
        line = f"M{start.x + BOX_WIDTH / 2} {start.y} H{end.x - BOX_WIDTH / 2}"
    elif start.x == end.x:
        line = f"M{start.x} {start.y + BOX_HEIGHT / 2} V{end.y - BOX_HEIGHT / 2}"
    elif loop and start.y < end.y:
        line = f"M{start.x} {start.y + BOX_HEIGHT / 2} V{end.y} H{end.x + BOX_WIDTH / 2}"
    elif loop:
        line = f"M{start.x - BOX_WIDTH / 2} {start.y} H{end.x} V{end.y + BOX_HEIGHT / 2}"
    else:
        line = f"M{start.x + BOX_WIDTH / 2} {start.y} H{end.x} V{end.y - BOX_HEIGHT / 2}"
    return f'<path class="{kind}" d="{line}" marker-end="url(#{tip})"/>'


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Draw one iteration, and how it leads to the next.")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "loop.svg")
    output = parser.parse_args().output
    output.write_text(svg(), encoding="utf-8")
    print(output)


if __name__ == "__main__":
    main()

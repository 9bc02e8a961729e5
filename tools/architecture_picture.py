"""Draw docs/images/architecture.svg: which room of the code imports which, from the source files.

    make docs          (python tools/architecture_picture.py)

A room is a folder of a package. Modules that lie directly in a package are grouped as `ROOMS` says. An arrow means
"imports". Arrows that follow from others are left out, and so are imports for type checkers alone. Imports inside
functions count. The files are parsed, not imported.
"""

import argparse
import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("prover_assets", "ebm", "prover")

ROOMS = {
    "prover": {"cli": "command line", "proofs": "command line"},
    "ebm": {"cli": "command line"},
    "prover_assets": {},
}
"""Rooms of modules that lie directly in a package, by name or by the part before `_`; the others are its `OWN` room."""
OWN = {"prover": "theorems, states", "ebm": "scorer, cache", "prover_assets": "faces"}

BOX_HEIGHT, ROW_HEIGHT, WIDTH, MARGIN = 34, 74, 980, 24

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; text-anchor: middle; dominant-baseline: central; }
  text.package { font-weight: 600; text-anchor: start; fill: #57606a; }
  rect.box { fill: #ffffff; stroke: #57606a; }
  rect.band { fill: #f3f4f6; }
  path { fill: none; stroke: #6e7781; stroke-width: 1.2; }
  path:hover { stroke: #0969da; stroke-width: 2.4; }
  marker path { fill: #6e7781; stroke: none; }
  rect.paper { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } text.package { fill: #9da7b3; }
    rect.box { fill: #161b22; stroke: #9da7b3; } rect.band { fill: #21262d; } rect.paper { fill: #0d1117; }
    path { stroke: #8b949e; } marker path { fill: #8b949e; }
  }
"""


@dataclass(frozen=True, order=True)
class Room:
    """A group of modules that is drawn as one box."""

    package: str
    name: str


def room_of(module: str) -> Room | None:
    """The room of a module, by its dotted name. None for a package's own `__init__` and for other packages."""
    package, _, rest = module.partition(".")
    if package not in PACKAGES or not rest:
        return None
    first = rest.split(".")[0]
    if (ROOT / package / first).is_dir():
        return Room(package, first)
    if not (ROOT / package / f"{first}.py").exists():
        return None
    rooms = ROOMS[package]
    return Room(package, rooms.get(first) or rooms.get(first.partition("_")[0]) or OWN[package])


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a file imports, without those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)


def import_graph() -> nx.DiGraph:
    """Rooms, with an edge from each room to those that it imports."""
    graph = nx.DiGraph()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            here = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
            if here is None:
                continue
            graph.add_node(here)
            for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
                there = room_of(name)
                if there is not None and there != here:
                    graph.add_edge(here, there)
    return graph


def without_circles(graph: nx.DiGraph) -> nx.DiGraph:
    """The edges that need to be drawn: no circle (an edge that closes one is left out), none that others imply."""
    kept = nx.DiGraph()
    kept.add_nodes_from(sorted(graph))
    order = {package: i for i, package in enumerate(PACKAGES)}
    for start, end in sorted(graph.edges, key=lambda edge: (order[edge[0].package] == order[edge[1].package], edge)):
        if not nx.has_path(kept, end, start):
            kept.add_edge(start, end)
    return nx.transitive_reduction(kept)


def rows_of(graph: nx.DiGraph) -> list[list[Room]]:
    """Rooms from top to bottom: packages in order, and within one each room above those that it imports."""
    rows = []
    for package in PACKAGES:
        own = graph.subgraph([room for room in graph if room.package == package])
        levels: dict[int, list[Room]] = defaultdict(list)
        depth: dict[Room, int] = {}
        for room in nx.topological_sort(own):
            depth[room] = max((depth[above] + 1 for above in own.predecessors(room)), default=0)
            levels[depth[room]].append(room)
        rows += [sorted(levels[level]) for level in sorted(levels)]
    return rows


def svg(graph: nx.DiGraph) -> str:
    """The picture."""
    rows = rows_of(graph)
    places: dict[Room, tuple[float, float, float]] = {}
    for i, row in enumerate(rows):
        widths = [max(80, 8.2 * len(room.name) + 26) for room in row]
        gap = (WIDTH - 150 - 2 * MARGIN - sum(widths)) / (len(row) + 1)
        # Rows of one box are put left and right by turns, so that lines past them stay visible.
        x = 150 + MARGIN + gap + (0 if len(row) > 1 else 90 * (-1) ** i)
        for room, width in zip(row, widths, strict=True):
            places[room] = (x + width / 2, MARGIN + i * ROW_HEIGHT + 20 + BOX_HEIGHT / 2, width)
            x += width + gap
    height = MARGIN * 2 + len(rows) * ROW_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Rooms of the code, and which imports which">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>',
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
    ]
    for package in PACKAGES:
        inside = [i for i, row in enumerate(rows) if row[0].package == package]
        top, size = MARGIN + inside[0] * ROW_HEIGHT + 4, len(inside) * ROW_HEIGHT - 8
        parts.append(f'<rect class="band" x="8" y="{top}" width="{WIDTH - 16}" height="{size}" rx="8"/>')
        parts.append(f'<text class="package" x="20" y="{top + 20}">{package}</text>')
    for start, end in sorted(graph.edges):
        (x1, y1, _), (x2, y2, _) = places[start], places[end]
        y1, y2 = y1 + BOX_HEIGHT / 2, y2 - BOX_HEIGHT / 2
        bend = min(40.0, (y2 - y1) / 2)
        parts.append(
            f'<path d="M{x1:.0f} {y1:.0f} C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}" '
            f'marker-end="url(#tip)"><title>{escape(start.name)} imports {escape(end.name)}</title></path>'
        )
    for room, (x, y, width) in places.items():
        left, top = x - width / 2, y - BOX_HEIGHT / 2
        parts.append(
            f'<rect class="box" x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{BOX_HEIGHT}" rx="6"/>'
        )
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}">{escape(room.name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Draw which room of the code imports which.")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "architecture.svg")
    arguments = parser.parse_args()
    arguments.output.write_text(svg(without_circles(import_graph())), encoding="utf-8")
    print(arguments.output)


if __name__ == "__main__":
    main()

"""How large a report of many theorems is, and how fast a browser shows it.

    python benchmarks/report_page.py                          # 1,000 theorems, trees of 500 nodes in both searches
    python benchmarks/report_page.py --theorems 100 --nodes 50

The searches are made up, with states as long as those of the demonstration. Times are of a headless Chromium (Debian:
apt install chromium chromium-driver; pip install selenium): from the start of loading until the page's own events,
until the charts are drawn, and from a click on a theorem until its trees are there.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from prover.show.view import NodeView, SearchView
from prover_assets.report.interactive import (
    TheoremRow,
    history_chart,
    solve_curve_chart,
    theorems_table,
    time_chart,
    widgets,
)
from prover_assets.report.page import Section, render

MOST_TREES = 60
"""Different searches; further theorems repeat them."""
TACTICS = ("intro h{}", "apply h{}", "exact h{}", "rcases h{} with ⟨h1, h2⟩", "constructor", "left", "right")


def searched(name: str, nodes: int, seed: int) -> SearchView:
    """A made-up search that found a proof: a path of 12 tactics, and branches off it."""
    draw = random.Random(seed)
    tree = [NodeView(0, None, "", _state(draw, 0), 0, 0.0, draw.uniform(-2, 6), True, False)]
    for number in range(1, nodes):
        parent = number - 1 if number <= 12 else draw.randrange(number)
        end = number == 12
        tactic = draw.choice(TACTICS).format(draw.randrange(9))
        energy = draw.uniform(-2, 6)
        state = "" if end else _state(draw, number)
        tree.append(NodeView(number, parent, tactic, state, 1, -1.0, energy, draw.random() < 0.4, end))
    proof = tuple(node.tactic for node in tree[1 : min(13, nodes)])
    return SearchView(
        name, ": p", "", True, "proved", "", "calibrated", proof, 12 + seed % 50, 64, 64, 8 * nodes, 2.0, 1.1, 0.7,
        tuple(tree),
    )  # fmt: skip


def _state(draw: random.Random, number: int) -> str:
    hypotheses = [f"h{i} : {draw.choice('pqrst')} → {draw.choice('pqrst')} ∧ {draw.choice('pqrst')}" for i in range(4)]
    return "\n".join(
        ["p q r s t : Prop", *hypotheses, f"⊢ {draw.choice('pqrst')} ∨ {draw.choice('pqrst')} → p{number}"]
    )


def large_page(theorems: int = 1000, nodes: int = 500) -> str:
    """A report with so many theorems, each searched twice with trees of so many nodes."""
    rows = []
    trees = [searched("", nodes, seed) for seed in range(min(2 * theorems, MOST_TREES))]
    for place in range(theorems):
        views = [
            replace(
                trees[(2 * place + which) % len(trees)], name=f"theorem_{place}", expansions_to_proof=12 + place % 50
            )
            for which in (0, 1)
        ]
        titles = ("policy alone", "guided by the energy")
        found = tuple(view.expansions_to_proof for view in views)
        rows.append(
            TheoremRow(
                f"theorem_{place}",
                f"theorem theorem_{place} (p q r s t : Prop) : p",
                *found,
                3.6,
                tuple(zip(titles, views, strict=True)),
            )
        )
    curves = {"policy": [row.policy for row in rows], "guided": [row.guided for row in rows]}
    history = [{"iteration": f"iter_{n:03}", "search": name, "area": 0.2 + n / 50} for n in range(8) for name in curves]
    charts = {
        "solve-curve": solve_curve_chart(curves, 64),
        "history": history_chart(history),
        "time": time_chart({name: [row.searches[i][1] for row in rows] for i, name in enumerate(curves)}),
    }
    sections = [
        Section("Held-out theorems proved", chart="solve-curve"),
        Section("Over the iterations", chart="history"),
        Section("Theorem by theorem", markup=theorems_table()),
        Section("Where the time went", chart="time"),
    ]
    return render("A large report", "Made up.", True, sections, {}, scripts=widgets(charts, rows))


def main() -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description="Size of a large report, and how soon a browser has it ready.")
    parser.add_argument("--theorems", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=500, help="of each tree")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "helpers"))
    from browser import browsing, missing

    if missing():
        print(f"error: {missing()}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, browsing() as page:
        file = Path(folder) / "index.html"
        file.write_text(large_page(options.theorems, options.nodes), encoding="utf-8")
        page.open(file.as_uri())
        page.until("the charts", lambda: len(page.elements(".chart svg")) == 3)
        timing = page.script("return performance.getEntriesByType('navigation')[0].toJSON()")
        drawn = page.script("return performance.getEntriesByName('drawn')[0].startTime")
        began = time.perf_counter()
        page.script("document.querySelectorAll('#theorems button.name')[0].click()")
        page.until("the trees", lambda: len(page.elements(".tree")) == 2)
        figures = {
            "theorems": options.theorems,
            "nodes": options.nodes,
            "bytes": file.stat().st_size,
            "interactive_ms": round(timing["domInteractive"]),
            "loaded_ms": round(timing["loadEventEnd"]),
            "charts_drawn_ms": round(drawn),
            "tree_opened_ms": round(1000 * (time.perf_counter() - began)),
        }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())

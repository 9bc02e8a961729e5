"""The moving part of the report: what is packed for the browser, and that the page stays small and to itself."""

import base64
import gzip
import json
import re

import pytest

from prover.show.view import NodeView, SearchView
from prover_assets.report import interactive
from prover_assets.report.interactive import TheoremRow, history_rows, solve_curve_chart, widgets
from prover_assets.report.page import Section, render
from prover_assets.report.story import summary_sentences


def view(nodes: int = 4, proved: bool = True, state: str = "⊢ p") -> SearchView:
    """A chain of `nodes` states; the last is the end of the proof where it is proved."""
    chain = tuple(
        NodeView(
            i,
            i - 1 if i else None,
            f"step {i}" if i else "",
            "" if proved and i == nodes - 1 else f"{state} {i}",
            i,
            -0.1 * i,
            0.5 * i,
            True,
            proved and i == nodes - 1,
        )
        for i in range(nodes)
    )
    return SearchView(
        "t", ": p", "", proved, "proved" if proved else "budget", "", "calibrated", ("step 1",) if proved else (),
        nodes if proved else None, nodes, 32, 8 * nodes, 1.0, 0.5, 0.4, chain,
    )  # fmt: skip


def row(name: str = "t", **of_view: object) -> TheoremRow:
    shown = view(**of_view)  # type: ignore[arg-type]
    return TheoremRow(name, f"theorem {name} : p", shown.expansions_to_proof, None, 1.0, (("guided", shown),))


def block(page: str, name: str) -> dict:
    found = re.search(rf'<script type="application/(?:json|gzip)" id="{name}">([^<]*)</script>', page)
    assert found is not None
    text = found[1]
    return json.loads(text if name == "data" else gzip.decompress(base64.b64decode(text)))


def test_a_tree_reaches_the_browser_whole():
    page = widgets({}, [row("a", nodes=5)])
    assert block(page, "data")["theorems"] == [["a", "policy alone", 5, None, 1.0]]
    search = block(page, "tree-0")["searches"][0]
    assert [node[0] for node in search["nodes"]] == [None, 0, 1, 2, 3]
    assert search["nodes"][2] == [1, "step 2", 1.0, 3, "⊢ p 2"]
    assert search["title"] == "guided: proved at expansion 5"
    assert not search["cut"]


def test_past_the_limit_a_block_holds_the_proof_alone(monkeypatch: pytest.MonkeyPatch):
    rows = [row("a", nodes=4), row("b", nodes=4, proved=False)]
    proofs = [interactive._packed(some, interactive._PROOF) for some in rows]
    monkeypatch.setattr(interactive, "TREES_MOST_BYTES", sum(map(len, proofs)))
    page = widgets({}, rows)
    proof, nothing = block(page, "tree-0")["searches"][0], block(page, "tree-1")["searches"][0]
    assert [node[1] for node in proof["nodes"]] == ["", "step 1", "step 2", "step 3"]
    assert nothing["nodes"] == []
    assert nothing["cut"]


@pytest.mark.parametrize("n", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_thousand_theorems_stay_below_five_megabytes(n: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interactive, "TREES_MOST_BYTES", interactive.TREES_MOST_BYTES * n // 1000)
    rows = [row(f"theorem_{i}", nodes=500, state=f"h{i} : p ∧ q\n⊢ q ∧ p") for i in range(n)]
    text = widgets({}, rows)
    page = render("Report", "Fine.", True, [Section("A")], {}, scripts=text)
    assert len(page.encode()) < 5_000_000
    trees = re.findall(r'id="tree-\d+">([^<]*)<', text)
    assert len(trees) == n
    assert sum(map(len, trees)) <= interactive.TREES_MOST_BYTES


def test_nothing_of_the_data_can_end_a_script_and_nothing_is_fetched():
    text = widgets({"c": {"title": "</script><img src=x>"}}, [row("</script><b>")])
    assert "</script><b>" not in text
    assert "</script><img" not in text
    assert block(text, "data")["theorems"][0][0] == "</script><b>"
    page = render("Report", "Fine.", True, [], {}, scripts=text)
    assert "default-src &#x27;none&#x27;" in page
    assert not re.search(r"<(?:script|link|img)[^>]*(?:src|href)=\"?(?:https?:)?//", page)


def test_the_solve_curve_counts_what_is_proved_within_each_budget():
    values = solve_curve_chart({"policy": [2, None, 1]}, 3)["data"]["values"]
    assert [value["rate"] for value in values] == [1 / 3, 2 / 3, 2 / 3]
    assert all(value["low"] <= value["rate"] <= value["high"] for value in values)


REPORT = {
    "iteration": "iter_001",
    "comparison": {
        "theorems": 12,
        "budgets": [4, 16],
        "modes": {
            "policy": {"solved": {"4": 1, "16": 4}, "area": 0.2},
            "guided": {"solved": {"4": 3, "16": 9}, "area": 0.6},
        },
        "paired": {"p_value": 0.001},
        "area_gain": 0.4,
    },
    "control": {"area_gain": 0.1, "modes": {"policy": {"area": 0.2}, "random": {"area": 0.3}}},
    "promotion": {"promoted": True, "reason": "gain of 0.4 on validation."},
    "ebm_id": "ebm-1",
}


def test_the_summary_is_three_sentences_with_the_figures():
    text = summary_sentences(REPORT)
    assert len(re.findall(r"\.(?: |$)", text)) == 3
    for words in (
        "9 of 12",
        "policy alone 4",
        "+0.400",
        "random energy in the same formula gives +0.100",
        "is promoted",
    ):
        assert words in text


def test_the_history_has_every_search_of_every_iteration():
    rows = history_rows([{**REPORT, "iteration": "iter_000", "control": None}, REPORT])
    assert [(row["iteration"], row["search"]) for row in rows] == [
        ("iter_000", "policy"), ("iter_000", "guided"), ("iter_001", "policy"), ("iter_001", "guided"),
        ("iter_001", "random"),
    ]  # fmt: skip

"""Tables of a page."""

import polars as pl

from prover_assets.defs.metadata import INLINE, inline_table, preview
from prover_assets.report.facts import markdown_table


def test_table_cells_cannot_break_a_table():
    table = markdown_table(["a", "b"], [["p ∧ q | r", "x\ny"], [None, 0.12345]])
    assert table.splitlines() == ["| a | b |", "| --- | --- |", "| p ∧ q \\| r | x<br>y |", "|  | 0.123 |"]


def test_a_preview_is_short_enough_to_be_shown_at_once():
    rows = [(f"name{i}", "p ∧ q → " * 40) for i in range(50)]
    table = inline_table(["name", "statement"], rows).value
    assert 800 < len(table) < INLINE
    assert "name0" in table
    assert "…" in table


def test_a_preview_leaves_out_a_column_with_nothing_in_it():
    frame = pl.DataFrame({"tactic": ["", "intro h"], "score": [None, None], "label": ["positive", None]})
    table = preview(frame, ("tactic", "score", "label")).value
    assert table.splitlines()[0] == "| tactic | label |"
    assert preview(frame.with_columns(score=0.5), ("tactic", "score")).value.startswith("| tactic | score |")

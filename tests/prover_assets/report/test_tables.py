"""Tables of a page."""

import polars as pl

from prover_assets.defs.metadata import INLINE, inline_table, preview
from prover_assets.report.facts import markdown_table
from prover_assets.report.tables import cost_line, rank1_table, transposed, worlds_table


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


TIMED = {"modes": {"policy": {"seconds": 10.0}, "guided": {"seconds": 15.0}}}


def test_wall_times_are_compared_where_both_searches_had_the_same_memory():
    alike = {"policy": {"known": 50, "asked": 50}, "guided": {"known": 48, "asked": 52}}
    assert cost_line(TIMED, alike) == "guided took 1.50 times the wall time of policy"


def test_else_calls_are_compared_and_the_line_says_why():
    unlike = {"policy": {"known": 0, "asked": 200}, "guided": {"known": 60, "asked": 40}}
    line = cost_line(TIMED, unlike)
    assert "guided needed the candidates of 100 states, policy of 200 (0.50 times as many)" in line
    assert "0% of policy's and 60% of guided's" in line
    assert "1.50" not in line


def test_worlds_are_shown_apart_at_the_largest_budget():
    paired = {"faster": 3, "slower": 1, "p_value": 0.625}
    one = {"theorems": 20, "solved": {"policy": {"8": 2, "64": 5}, "guided": {"8": 4, "64": 9}}}
    world = {**one, "area": {"policy": 0.12, "guided": 0.2}, "paired": paired}
    header, rows = worlds_table({"arithmetic": world})
    assert header == [
        "theorem set", "policy @64", "guided @64", "policy area", "guided area", "faster / slower", "sign test p",
    ]  # fmt: skip
    assert rows == [["arithmetic", "5/20", "9/20", "0.120", "0.200", "3 / 1", "0.625"]]


PIXELS = 315
"""The least that a value gets on an asset page in a window of 1360 pixels."""


def narrowest(table: tuple[list[str], list[list[str]]]) -> float:
    """Pixels of a table on an asset page: a word is not broken, a letter is 8.4 wide, and a cell has 16 of padding."""
    header, rows = table
    columns = zip(header, *rows, strict=True)
    return sum(8.4 * max(len(word) for cell in column for word in cell.split()) + 16 for column in columns)


def test_the_ranking_at_five_depths_fits_the_page_of_an_asset():
    names = ("random", "policy", "energy", "combined")
    signals = {name: {"n": 40, "mean": 0.714, "low": 0.625, "high": 0.796} for name in names}
    table = rank1_table({"rank1": dict.fromkeys(("0-1", "2-3", "4-7", "8+", "all"), signals)})
    assert table[1][0] == ["0-1", "40", *["71% (62 to 80)"] * 4]
    assert narrowest(transposed(table)) <= PIXELS

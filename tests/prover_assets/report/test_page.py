"""The page of a report."""

from prover_assets.report.page import Section, render


def test_what_comes_from_data_cannot_change_the_page():
    page = render(
        "Report",
        "<script>alert(1)</script>",
        False,
        [Section("A", text="<b>", tables=[(["<i>"], [["<u>", 0.5]])], code="p → <q>")],
        {"policy": "<img>"},
    )
    for tag in ("<script>", "<b>", "<i>", "<u>", "<q>", "<img>"):
        assert tag not in page

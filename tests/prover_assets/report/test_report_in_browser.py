"""The report as a person opens it, in a headless Chromium: wide and narrow, light and dark, by keyboard, on paper."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit import CONTROLS, broken_words, poor_contrast, sideways, unnamed, unreachable
from browser import Page, browsing, missing

from prover_assets.report.page import Section, render
from prover_assets.report.tables import worlds_table
from prover_assets.store.layout import DataFolder

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

from report_page import large_page

pytestmark = [
    pytest.mark.ui,
    pytest.mark.browser,
    pytest.mark.xdist_group("servers"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser"),
]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def report(finished) -> str:
    """Address of the second iteration's report, as a file."""
    return DataFolder(finished.data).iteration("iter_001").report.joinpath("index.html").as_uri()


def opened(page: Page, address: str) -> None:
    page.errors()  # what was said before is not of this page
    page.open(address)
    page.until("the charts", lambda: len(page.elements(".chart svg")) == 3)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1600, 1024, 400])
def test_it_can_be_read_at_every_width_in_light_and_dark(page: Page, report: str, width: int, dark: bool):
    page.look(width, dark=dark)
    opened(page, report)
    for theorem in (None, 0):
        if theorem is not None:
            page.elements("#theorems button.name")[theorem].click()
            page.until("two trees", lambda: len(page.elements("#theorem .tree")) == 2)
            assert page.elements("#theorem .swatch")
        assert page.errors() == []
        assert poor_contrast(page) == []
        assert unnamed(page) == []
        assert unreachable(page) == []
        assert broken_words(page) == []
        assert sideways(page) <= 0
    # What is too wide for the window scrolls by itself.
    assert page.script("return [...document.querySelectorAll('.chart svg')].every(e => e.getBoundingClientRect().right"
                       " <= document.documentElement.clientWidth + 1)")  # fmt: skip


WORLD = {
    "theorems": 23,
    "solved": {"policy": {"8": 9, "64": 15}, "guided": {"8": 11, "64": 17}},
    "area": {"policy": 0.484, "guided": 0.511},
    "paired": {"faster": 12, "slower": 2, "p_value": 0.0129},
}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1600, 1024, 400])
def test_the_worlds_can_be_read_at_every_width(page: Page, tmp_path: Path, width: int, dark: bool):
    table = worlds_table(dict.fromkeys(("arithmetic", "first_order", "propositional"), WORLD))
    file = tmp_path / "index.html"
    file.write_text(render("Report", "", True, [Section("World by world", tables=[table])], {}), encoding="utf-8")
    page.look(width, dark=dark)
    page.errors()
    page.open(file.as_uri())
    assert len(page.elements("table.numbers tr")) == 4
    assert page.errors() == []
    assert poor_contrast(page) == []
    assert unnamed(page) == []
    assert broken_words(page) == []
    assert sideways(page) <= 0


def test_it_has_all_that_a_report_is_opened_for(page: Page, report: str):
    page.look(1600)
    opened(page, report)
    titles = [heading.text for heading in page.elements("h2")]
    for title in (
        "Held-out theorems proved", "Over the iterations", "Theorem by theorem", "Where the time went",
        "What changed since the last iteration", "Warnings", "How to reproduce",
    ):  # fmt: skip
        assert title in titles
    assert len(page.elements("#history svg .mark-symbol path")) >= 4  # two searches of two iterations
    assert page.elements("#solve-curve svg .mark-area path")  # the bands
    assert page.script("return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:'))") == []


def test_every_control_is_reached_and_works_by_keyboard(page: Page, report: str):
    from selenium.webdriver import Keys

    page.look(1600)
    opened(page, report)
    page.script(
        "document.querySelectorAll(arguments[0]).forEach(e => e.addEventListener('focus', () => e.dataset.met = 1))",
        CONTROLS,
    )
    page.script("document.body.tabIndex = -1; document.body.focus()")
    for _ in range(page.script("return document.querySelectorAll('*').length")):
        page.press(Keys.TAB)
        if page.script("return document.activeElement === document.body"):
            break  # once round
        shown = "return getComputedStyle(document.activeElement).outlineStyle"
        assert page.script(shown) != "none"
    missed = page.script(
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility() && !e.dataset.met)"
        ".map(e => e.outerHTML.slice(0, 80))",
        CONTROLS,
    )
    assert missed == []

    page.elements("h1")[0].click()  # the last key has led out of the page
    term = page.elements("dfn")[0]
    page.script("arguments[0].focus()", term)
    assert page.elements("dfn:focus > span")[0].is_displayed()
    page.script("document.querySelectorAll('#theorems th button')[3].focus()")
    page.press(Keys.ENTER)
    assert page.script("return document.querySelectorAll('#theorems th')[3].getAttribute('aria-sort')") == "ascending"
    proved = [row.text for row in page.elements("#theorems td:nth-child(4)") if row.text != "–"]
    assert [int(text) for text in proved] == sorted(int(text) for text in proved)
    page.press(Keys.ENTER)
    assert page.script("return document.querySelectorAll('#theorems th')[3].getAttribute('aria-sort')") == "descending"
    name = page.elements("#theorems button.name")[0]
    page.script("arguments[0].focus()", name)
    page.press(Keys.ENTER)
    page.until("two trees", lambda: len(page.elements("#theorem .tree")) == 2)
    folded = page.script("return [...document.querySelectorAll('.tree details')].filter(e => !e.open).length")
    page.script("[...document.querySelectorAll('.tree details')].find(e => !e.open).querySelector('summary').focus()")
    page.press(Keys.ENTER)
    page.until(
        "the branch",
        lambda: page.script("return document.activeElement.parentElement.open && document.activeElement.parentElement"
                            ".querySelector('pre') !== null"),
    )  # fmt: skip
    assert folded > 0


def test_a_theorem_is_found_by_a_part_of_its_name(page: Page, report: str):
    page.look(1600)
    opened(page, report)
    page.elements("#filter")[0].send_keys("TEST11")
    assert [row.text for row in page.elements("#theorems button.name")] == ["test11"]
    assert "1 of 12" in page.text()


def test_a_proof_is_shown_step_by_step_with_the_states_between(page: Page, report: str):
    page.look(1600)
    opened(page, report)
    page.script(
        "[...document.querySelectorAll('#theorems tbody tr')].find(r => r.innerText.includes('both'))"
        ".querySelector('button').click()"
    )
    page.until("two trees", lambda: len(page.elements("#theorem .tree")) == 2)
    steps = page.elements("#theorem section:last-of-type ol.proof > li")
    assert steps
    assert steps[-1].text.endswith("no goals")


def test_it_can_be_printed(page: Page, report: str):
    page.look(800, media="print")
    opened(page, report)
    assert not any(field.is_displayed() for field in page.elements("#filter"))
    table = "document.querySelector('#theorems').parentElement"
    assert page.script(f"return {table}.scrollHeight <= {table}.clientHeight + 1")  # every row is on paper
    assert poor_contrast(page) == []


def test_a_thousand_theorems_with_trees_of_500_nodes_open(page: Page, tmp_path: Path):
    file = tmp_path / "index.html"
    file.write_text(large_page(1000, 500), encoding="utf-8")
    assert file.stat().st_size < 5_000_000
    page.look(1600)
    opened(page, file.as_uri())
    assert "1000 of 1000 theorems" in page.text()
    assert not page.elements(".tree")  # a tree is unpacked when its theorem is opened
    page.elements("#theorems button.name")[0].click()
    page.until("two trees", lambda: len(page.elements("#theorem .tree")) == 2)
    assert page.script("return document.querySelectorAll('#theorem .tree details').length") < 500  # as it is unfolded
    assert page.errors() == []

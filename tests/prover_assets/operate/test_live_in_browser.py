"""The live page as a person watches it, in a headless Chromium: the tree grows, proofs land, by keyboard, dark."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from audit import poor_contrast, sideways, unnamed, unreachable
from browser import Page, browsing, missing
from search_fakes import HashPolicy, HashScorer, HashWorld

from prover.search import SearchConfig, SearchProgress, search_to_files
from prover.search import glimpse as glimpses
from prover.theorems import Theorem
from prover_assets.operate.report_server import HOST, ReportServer
from prover_assets.store.layout import DataFolder

pytestmark = [
    pytest.mark.ui,
    pytest.mark.browser,
    pytest.mark.xdist_group("servers"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser"),
]

THEOREMS = [Theorem(f"t{number}", f": statement {number}") for number in range(8)]
CONFIG = SearchConfig(max_expansions=24, n_candidates=4, mode="energy-only", wave_size=3, cohorts=1)

T = TypeVar("T")


class Search:
    """A search that does one step whenever it is told to, in a thread of its own."""

    def __init__(self, output: Path) -> None:
        self._turn, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._output, self._ended = output, False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        def wait(progress: SearchProgress) -> None:
            self._done.release()
            if not self._ended:
                self._turn.acquire()

        search_to_files(
            THEOREMS, self._output, HashWorld(), HashPolicy(), CONFIG, scorer=HashScorer(), on_progress=wait
        )
        self._done.release()

    def steps(self, number: int) -> None:
        for _ in range(number):
            self._turn.release()
            assert self._done.acquire(timeout=60)

    def until(self, page: Page, what: str, look: Callable[[], T]) -> T:
        """Go on, step by step, until `look` finds something on the page."""

        def one_more() -> T:
            found = look()
            if not found:
                self.steps(1)
            return found

        return page.until(what, one_more)

    def to_the_end(self) -> None:
        self._ended = True
        self._turn.release()
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browsing() as found:
        yield found


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of the reports of a data folder, `tmp_path`."""
    monkeypatch.setattr(glimpses, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(glimpses, "MOST_SHARE", 1e9)
    monkeypatch.setattr(glimpses, "FRESH_S", 600.0)  # the search stands still between steps
    monkeypatch.setattr("prover.show.live.FRESH_S", 600.0)
    monkeypatch.setattr("prover.trajectory.writer._FLUSH_FIRST_S", 0.0)
    monkeypatch.setattr("prover.trajectory.writer.FLUSH_EVERY_S", 0.0)
    with ReportServer(DataFolder(tmp_path), 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()


def states(page: Page) -> int:
    """How many states the open theorem has, as the page says it."""
    text = page.script("return document.querySelector('#open p')?.innerText ?? '0 expansions, 0 states'")
    return int(text.split(", ")[1].split()[0])


def test_a_search_is_watched_from_its_first_state_to_its_last_proof(server: str, page: Page, tmp_path: Path):
    from selenium.webdriver import Keys

    output = tmp_path / "iterations" / "iter_000" / "guided.parquet"
    search = Search(output)
    search.steps(1)
    page.look(1600)
    page.errors()
    page.open(server)
    page.click("a", "Searches")
    page.click("a", "iterations/iter_000/guided")
    page.until("the address", lambda: page.driver.current_url.endswith("/live/iterations/iter_000/guided/"))
    page.until("the first look", lambda: glimpses.watched_file(output).exists())
    search.until(page, "the frontier", lambda: "next 1" in page.text())
    assert "running" in page.text()
    assert f"of {len(THEOREMS)}" in page.text()
    before = states(page)
    search.until(page, "a larger tree, or another one", lambda: states(page) != before)

    # What a person has folded stays so while the tree grows, and keeps the focus.
    start = "document.querySelector('.tree summary')"
    page.script(f"{start}.focus()")
    page.press(Keys.ENTER)
    page.until("a folded tree", lambda: not page.script(f"return {start}.parentElement.open"))
    name, shown = page.elements("#tabs [aria-pressed=true]")[0].text, states(page)
    search.until(page, "another look", lambda: states(page) != shown)
    if page.elements("#tabs [aria-pressed=true]")[0].text == name:
        assert not page.script(f"return {start}.parentElement.open")
        assert page.script(f"return document.activeElement === {start}")

    for width, dark in ((1600, True), (1024, False), (400, True), (400, False)):
        page.look(width, dark=dark)
        assert poor_contrast(page) == []
        assert unnamed(page) == []
        assert unreachable(page) == []
        assert sideways(page) <= 0
    search.to_the_end()
    page.look(1600)
    page.wait_text("finished", f"{len(THEOREMS)} of {len(THEOREMS)}")
    page.until("all theorems", lambda: len(page.elements("#landed button.name")) == len(THEOREMS))
    assert not page.elements("#open")[0].is_displayed()
    proved = next(row for row in page.elements("#landed tbody tr") if "proved" in row.text)
    page.script("arguments[0].querySelector('button').focus()", proved)
    page.press(Keys.ENTER)
    page.wait_text("Search tree", "no goals")
    assert page.elements("#theorem ol.proof > li")
    page.click("#only")
    page.until("fewer", lambda: all("proved" in row.text for row in page.elements("#landed tbody tr")))
    page.elements("#filter")[0].send_keys("no such theorem")
    page.wait_text(f"0 of {len(THEOREMS)}")
    assert page.errors() == []


def test_a_server_that_has_ended_is_said(page: Page, tmp_path: Path):
    search_to_files(THEOREMS, tmp_path / "x.parquet", HashWorld(), HashPolicy(), CONFIG, scorer=HashScorer())
    with ReportServer(DataFolder(tmp_path), 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        page.open(f"http://{HOST}:{server.server_port}/live/x/")
        page.wait_text("finished")
        server.shutdown()
        thread.join()
    page.wait_text("does not answer")
    page.errors()

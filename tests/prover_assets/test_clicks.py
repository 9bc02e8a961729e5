"""What a person starts from clicks in Dagster's UI, in a headless Chromium; and how a failed run looks.

These tests add runs to the project, so they come after those that look at it.
"""

import pytest
from browser import Page, browsing, missing
from server import ALL
from tour import tour

from prover_assets.store.layout import DataFolder

pytestmark = [
    pytest.mark.ui,
    pytest.mark.browser,
    pytest.mark.xdist_group("servers"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser"),
]


@pytest.fixture(scope="module")
def page():
    with browsing() as found:
        yield found


TOGGLE = """
const field = [...document.querySelectorAll('[role=dialog] *')]
  .filter(e => e.children.length == 0 && e.textContent.trim() == 'iter_000').pop();
field.closest('div').parentElement.click();
"""
"""Opens the list of partitions in the dialog, where iter_000 is chosen already."""


def started(server, page: Page, button: str, how_many: int) -> list[dict]:
    """The runs that come of a click, once they have ended, in the order in which they started."""
    before = {run["runId"] for run in server.runs()}
    page.click("[role=dialog] button", button)
    page.until(
        f"{how_many} new runs",
        lambda: len({run["runId"] for run in server.runs()} - before) == how_many,
    )
    new = {run["runId"] for run in server.runs()} - before
    return sorted((server.wait(run_id) for run_id in new), key=lambda run: run["startTime"])


def partitions(runs: list[dict]) -> list[str]:
    return [tag["value"] for run in runs for tag in run["tags"] if tag["key"] == "dagster/partition"]


def test_one_asset_of_an_old_iteration_is_made_again_from_a_click(server, second, page: Page):
    page.open(f"{server.dagster}/assets/state_embeddings?view=partitions&partition=iter_000")
    page.wait_text("iter_000", "width")
    page.click("button", "Materialize")
    page.wait_text("Launch runs to materialize state_embeddings", "Launch 1 run")
    runs = started(server, page, "Launch 1 run", 1)
    assert partitions(runs) == ["iter_000"]
    assert [run["status"] for run in runs] == ["SUCCESS"]
    assert server.metadata("state_embeddings", "iter_000")["encoded"] == 0
    page.open(f"{server.dagster}/assets/state_embeddings?view=partitions&partition=iter_000")
    page.wait_text("nothing to encode")


def test_a_backfill_from_clicks_runs_its_iterations_in_order(server, second, page: Page):
    page.open(f"{server.dagster}/assets/state_embeddings?view=partitions&partition=iter_000")
    page.wait_text("iter_000", "width")
    page.click("button", "Materialize")
    page.wait_text("Launch 1 run")
    page.script(TOGGLE)
    page.wait_text("Select all")
    page.click("[role=menuitem], [role=option], li, label", "iter_001")
    page.wait_text("2 partitions")
    page.click("[role=dialog] *", "Launch runs to materialize")  # closes the list
    with tour("If you choose several partitions, a backfill runs them in order."):
        runs = started(server, page, "Launch", 2)
        assert partitions(runs) == ["iter_000", "iter_001"]
        assert {run["status"] for run in runs} == {"SUCCESS"}
        assert runs[0]["endTime"] <= runs[1]["startTime"]


IN_SIGHT = """
const sight = (node) => {
  const range = document.createRange();
  const at = node.textContent.indexOf(arguments[0]);
  range.setStart(node, at);
  range.setEnd(node, at + arguments[0].length);
  return [...range.getClientRects()].every((box) => {
    const there = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth
      && there !== null && there.contains(node);
  });
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode())
  if (node.textContent.includes(arguments[0]) && sight(node)) return true;
return false;
"""
"""Whether a text is in the window, all of it, and nothing lies over it."""


@pytest.mark.parametrize(("width", "height"), [(1600, 900), (1024, 768)])
def test_why_a_run_failed_is_read_without_scrolling(
    server, page: Page, request: pytest.FixtureRequest, width: int, height: int
):
    failed, _ = request.getfixturevalue("failed_and_retried")
    page.look(width, height=height)
    page.open(f"{server.dagster}/runs/{failed['runId']}")
    with tour("The page of a failed run opens at the end of its log."):
        page.wait_text("Failure", "Re-execute", "RUN_FAILURE")
    with tour(
        "There the error says what was given, what was expected and what to do, and no scrolling is needed.",
    ):
        page.until("the sentence", lambda: page.script(IN_SIGHT, "materialize baseline_trajectories"))
    page.look(1360, height=943)


def test_a_failed_iteration_is_retried_from_where_it_failed_by_a_click(
    server, page: Page, request: pytest.FixtureRequest
):
    failed, _ = request.getfixturevalue("failed_and_retried")
    before = {run["runId"] for run in server.runs()}
    page.open(f"{server.dagster}/runs/{failed['runId']}")
    page.wait_text("Failure", "Re-execute")
    buttons = page.elements("button")
    index = next(i for i, button in enumerate(buttons) if "Re-execute" in button.text)
    buttons[index + 1].click()
    page.click("[role=menuitem]", "From failure")
    (run_id,) = page.until("a new run", lambda: {run["runId"] for run in server.runs()} - before)
    run = server.wait(run_id)
    assert run["status"] == "SUCCESS"
    assert {step["stepKey"] for step in run["stepStats"]} == {"guided_trajectories", "iteration_report"}
    page.open(f"{server.dagster}/runs/{run_id}")
    page.wait_text("Success", "iteration_report")


def test_a_job_without_a_partition_runs_for_the_next_iteration(server, second):
    with tour("A job that is launched without a partition runs for the iteration that is next."):
        data = DataFolder(server.data)
        keys = server.partitions()
        done = [key for key in keys if data.iteration(key).report_file.exists()]
        run_id = server.launch("iteration", None, config=server.config(*ALL[2:]))
        tags = {tag["key"]: tag["value"] for tag in server.run(run_id)["tags"]}
        assert tags["dagster/partition"] == next(key for key in keys if key not in done)
        server.terminate(run_id)
        assert server.wait(run_id)["status"] == "CANCELED"

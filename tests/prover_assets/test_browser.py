"""The two UIs as a person sees them, in a headless Chromium. `--screenshots FOLDER` keeps pictures for the guide."""

import json
import time
from pathlib import Path

import pytest
import yaml
from browser import Page, browsing, missing
from server import ALL, LOCATION

from prover_assets.store.layout import DataFolder

pytestmark = [
    pytest.mark.ui,
    pytest.mark.browser,
    pytest.mark.xdist_group("servers"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser"),
]


WRITE = """
const editor = document.querySelector('[role=dialog] .CodeMirror').CodeMirror;
if (editor.getValue() == arguments[0]) return true;
editor.setValue(arguments[0]);
return false;
"""
"""Writes the Launchpad's settings; true when they were written already. (Another editor is behind the dialog.)"""


QUIET = ".modebar { display: none !important }"
"""Hides the tools of a chart, which show while the pointer is on it."""


@pytest.fixture(scope="module")
def page(pytestconfig: pytest.Config):
    folder = pytestconfig.getoption("--screenshots")
    with browsing(Path(folder) if folder else None) as found:
        yield found


def experiment(server) -> str:
    """Id of the experiment in MLflow."""
    return server.mlflow_get("experiments/get-by-name", "experiment_name=expert-iteration")["experiment"][
        "experiment_id"
    ]


def parents(server) -> list[str]:
    """MLflow's ids of the iterations that ended well, oldest first."""
    found = server.mlflow_post(
        "runs/search",
        experiment_ids=[experiment(server)],
        filter="tags.`prover.kind` = 'iteration' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time ASC"],
    )
    return [run["info"]["run_id"] for run in found["runs"]]


def without_navigation(page: Page) -> None:
    """Fold Dagster's sidebar away, so that the page itself is large enough to read."""
    if page.pictures is not None and "Hide navigation" in page.text():
        page.click("button", "Hide navigation")


def without_pointer(page: Page) -> None:
    """Move the pointer to where nothing answers it with a tooltip, for a picture."""
    if page.pictures is not None:
        from selenium.webdriver import ActionChains

        ActionChains(page.driver).move_to_element(page.elements("body")[0]).perform()


def without_assistant(page: Page) -> None:
    """Close MLflow's own chat panel, for a picture; closed once, it stays closed."""
    if page.pictures is not None:
        time.sleep(3)
        for cross in page.elements("[data-component-id='mlflow.assistant.chat_panel.close']"):
            cross.click()


def test_the_lineage_page_shows_the_seven_assets_and_the_champion(server, second, page: Page):
    page.open(f"{server.dagster}/asset-groups")
    # The graph shortens long names; the list beside it has them whole.
    page.wait_text(*ALL, "champion_ebm", "Materialize all")
    without_navigation(page)
    page.shot("dagster-lineage")


def test_an_iteration_is_materialized_from_a_click(server, first, page: Page):
    page.open(f"{server.dagster}/locations/{LOCATION}/jobs/first_iteration")
    page.until("the button", lambda: page.elements("button", "Materialize all"))
    buttons = page.elements("button")
    index = next(i for i, button in enumerate(buttons) if "Materialize all" in button.text)
    buttons[index + 1].click()
    page.click("[role=menuitem]", "Open launchpad")
    page.wait_text("Launchpad (configure assets)", "No errors", "All defaults expanded")
    (field,) = page.until("the partition field", lambda: page.elements("input[placeholder=Partition]"))
    field.send_keys("iter_000")
    page.click("[role=menuitem], [role=option], li", "iter_000")
    page.wait_text("No errors")
    without_pointer(page)
    page.shot("dagster-launchpad")
    if page.pictures is not None:
        return  # the project of the pictures has run this iteration already
    wanted = server.config()
    text = yaml.safe_dump(wanted, indent=2)

    def written() -> bool:
        """Whether the settings are there to stay: the page fills its own in once more after a partition was chosen."""
        return page.script(WRITE, text) and "All defaults expanded" not in page.text() and "No errors" in page.text()

    page.until("the new settings", lambda: all(written() for _ in range(8)))
    before = {run["runId"] for run in server.runs()}
    page.click("button", "Materialize")
    new = page.until("a new run", lambda: {run["runId"] for run in server.runs()} - before)
    run = server.wait(new.pop())
    assert run["status"] == "SUCCESS"
    assert yaml.safe_load(run["runConfigYaml"])["ops"] == wanted["ops"]
    page.open(f"{server.dagster}/runs/{run['runId']}")
    page.wait_text("Success", "iteration_report")


def test_an_asset_page_shows_numbers_a_table_and_its_checks(server, first, page: Page):
    page.open(f"{server.dagster}/assets/trajectories?view=partitions&partition=iter_000")
    page.wait_text("iter_000", "solve_rate", "theorem_name", "tactic_applied", "a_search_tree")
    without_navigation(page)
    page.shot("dagster-asset")
    page.open(f"{server.dagster}/assets/trajectories?view=checks&checkDetail=label_noise")
    page.wait_text("both_labels", "label_noise", "proofs_certified", "provable")
    page.shot("dagster-checks")


def test_the_plot_of_the_report_is_visible(server, second, page: Page):
    page.open(f"{server.dagster}/assets/iteration_report")
    page.wait_text("promotion", "solve_curve")
    without_navigation(page)
    page.script(
        "const row = [...document.querySelectorAll('tr')].find(row => row.innerText.includes('solve_curve'));"
        "row.scrollIntoView();"
        "[...row.querySelectorAll('*')]"
        ".find(e => e.children.length == 0 && e.innerText.includes('Show Markdown')).click()"
    )
    page.until(
        "the picture",
        lambda: page.script(
            "return [...document.images].some(i => i.src.startsWith('data:image/png') && i.naturalWidth > 300)"
        ),
    )
    page.shot("dagster-plot")


def test_the_report_is_a_page_of_its_own(server, second, page: Page):
    page.open(DataFolder(server.data).iteration("iter_001").report.joinpath("index.html").as_uri())
    page.wait_text("Report of iter_001", "Held-out theorems proved", "Made from")
    page.until("three charts", lambda: len(page.elements(".chart svg")) == 3)
    assert page.script("return [...document.images].every(i => i.complete && i.naturalWidth > 300)")
    if page.pictures is not None:
        page.script("document.body.style.zoom = 0.72")  # down to the end of the curves
        page.shot("report")
        page.script("document.body.style.zoom = 1")
        page.click("#theorems button.name")
        page.wait_text("guided by the energy")
        page.shot("report-tree")


def test_mlflow_shows_a_parent_with_its_children(server, second, page: Page):
    page.open(f"{server.mlflow}/#/experiments/{experiment(server)}/runs?workflowType=machine_learning")
    page.wait_text("iter_000", "iter_001", "matching runs")
    without_assistant(page)
    page.click("[role=row] button, [role=gridcell] button, .ag-cell button", "")
    page.wait_text("/ebm_c")
    page.shot("mlflow-runs")


def test_mlflow_draws_a_metric_against_the_iteration(server, second, page: Page):
    steps = [
        point["step"]
        for parent in parents(server)
        for point in server.mlflow_get("metrics/get-history", f"run_id={parent}&metric_key=guided_area")["metrics"]
    ]
    assert {0, 1} <= set(steps)
    query = "workflowType=machine_learning&compareRunsMode=CHART&searchFilter="
    page.open(
        f"{server.mlflow}/#/experiments/{experiment(server)}/runs?{query}tags.%60prover.kind%60%20%3D%20'iteration'"
    )
    (field,) = page.until("the search", lambda: page.elements("input[placeholder='Search metric charts']"))
    field.send_keys("area")
    page.wait_text("iter_001", "area_gain", "guided_area", "Step")
    without_assistant(page)
    page.script(
        "document.head.append(Object.assign(document.createElement('style'), {textContent: arguments[0]}))", QUIET
    )
    page.shot("mlflow-iterations")


def test_mlflow_shows_two_iterations_side_by_side(server, second, page: Page):
    ids = json.dumps(parents(server)[-2:])
    page.open(
        f'{server.mlflow}/#/compare-runs?runs={ids}&experiments=["{experiment(server)}"]&workflowType=machine_learning'
    )
    page.wait_text("Comparing 2 Runs", "guided_area", "trajectories.max_expansions")
    without_assistant(page)
    page.script(
        "[...document.querySelectorAll('*')].filter(e => e.textContent.trim() == 'area_gain').pop()"
        ".scrollIntoView({block: 'center'})"
    )
    page.shot("mlflow-compare")


def test_mlflow_shows_the_registered_model_and_its_champion(server, second, page: Page):
    page.open(f"{server.mlflow}/#/models/energy-model?workflowType=machine_learning")
    page.wait_text("energy-model", "Version 1")
    without_assistant(page)
    page.shot("mlflow-registry")


# Last, because they add runs to what the tests before have looked at.

NOT_FOR_PICTURES = "the project of the pictures is left as its iterations made it"

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
    if page.pictures is not None:
        pytest.skip(NOT_FOR_PICTURES)
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
    if page.pictures is not None:
        pytest.skip(NOT_FOR_PICTURES)
    page.open(f"{server.dagster}/assets/state_embeddings?view=partitions&partition=iter_000")
    page.wait_text("iter_000", "width")
    page.click("button", "Materialize")
    page.wait_text("Launch 1 run")
    page.script(TOGGLE)
    page.wait_text("Select all")
    page.click("[role=menuitem], [role=option], li, label", "iter_001")
    page.wait_text("2 partitions")
    page.click("[role=dialog] *", "Launch runs to materialize")  # closes the list
    runs = started(server, page, "Launch", 2)
    assert partitions(runs) == ["iter_000", "iter_001"]
    assert {run["status"] for run in runs} == {"SUCCESS"}
    assert runs[0]["endTime"] <= runs[1]["startTime"]


def test_a_failed_iteration_is_retried_from_where_it_failed_by_a_click(
    server, page: Page, request: pytest.FixtureRequest
):
    if page.pictures is not None:
        pytest.skip(NOT_FOR_PICTURES)
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

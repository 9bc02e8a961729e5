"""The two UIs as a person sees them, in a headless Chromium. PROVER_SCREENSHOTS=FOLDER keeps what they look like."""

import json
import time

import pytest
from browser import Page, browsing, missing
from server import LOCATION, run_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser"),
]


@pytest.fixture(scope="module")
def page():
    with browsing() as found:
        yield found


def test_the_lineage_page_shows_the_seven_assets_and_the_champion(server, first, page: Page):
    page.open(f"{server.dagster}/asset-groups")
    page.wait_text(
        "theorems",
        "champion_ebm",
        "trajectories",
        "state_embeddings",
        "ebm_checkpoint",
        "iteration_report",
        "Materialize all (7)",
    )
    page.shot("lineage")


def test_an_iteration_is_materialized_from_a_click(server, first, page: Page):
    page.open(f"{server.dagster}/locations/{LOCATION}/jobs/first_iteration")
    page.until("the button", lambda: page.elements("button", "Materialize all"))
    buttons = page.elements("button")
    index = next(i for i, button in enumerate(buttons) if "Materialize all" in button.text)
    buttons[index + 1].click()
    page.click("[role=menuitem]", "Open launchpad")
    page.wait_text("Launchpad (configure assets)", "No errors")
    page.shot("launchpad")
    page.script(
        "document.querySelector('.CodeMirror').CodeMirror.setValue(arguments[0])", json.dumps(run_config(), indent=1)
    )
    (field,) = page.until("the partition field", lambda: page.elements("input[placeholder=Partition]"))
    field.send_keys("iter_000")
    page.click("[role=menuitem], [role=option], li", "iter_000")
    before = {run["runId"] for run in runs(server)}
    page.wait_text("No errors")
    page.click("button", "Materialize")
    page.until("a new run", lambda: {run["runId"] for run in runs(server)} - before)
    (run_id,) = {run["runId"] for run in runs(server)} - before
    assert server.wait(run_id)["status"] == "SUCCESS"
    page.open(f"{server.dagster}/runs/{run_id}")
    page.wait_text("Success", "iteration_report")
    page.shot("run")


def runs(server) -> list[dict]:
    return server.graphql("{ runsOrError { ... on Runs { results { runId status } } } }")["runsOrError"]["results"]


def test_the_plot_of_the_report_is_visible(server, first, page: Page):
    page.open(f"{server.dagster}/assets/iteration_report?partition=iter_000&view=partitions")
    page.wait_text("iter_000", "solve_curve")
    page.shot("report")
    page.open(f"{server.dagster}/assets/iteration_report")
    page.wait_text("promotion", "solve_curve")
    page.script(
        "[...document.querySelectorAll('tr')].find(row => row.innerText.includes('solve_curve')).scrollIntoView()"
    )
    page.script(
        "[...[...document.querySelectorAll('tr')].find(row => row.innerText.includes('solve_curve'))"
        ".querySelectorAll('*')].find(e => e.children.length == 0 && e.innerText.includes('Show Markdown')).click()"
    )
    page.until(
        "the picture",
        lambda: page.script(
            "return [...document.images].some(i => i.src.startsWith('data:image/png') && i.naturalWidth > 300)"
        ),
    )
    page.shot("solve-curve")


def test_mlflow_shows_the_parent_its_children_and_a_metric_against_the_iteration(server, first, page: Page):
    experiment = server.mlflow_get("experiments/get-by-name", "experiment_name=expert-iteration")["experiment"]
    base = f"{server.mlflow}/#/experiments/{experiment['experiment_id']}/runs?workflowType=machine_learning"
    page.open(base)
    page.wait_text("iter_000", "matching runs")
    page.click("[role=row] button, [role=gridcell] button, .ag-cell button", "")
    time.sleep(1)
    page.shot("mlflow-runs")
    page.open(f"{base}&compareRunsMode=CHART")
    page.wait_text("area_gain", "Step")
    page.shot("mlflow-chart")
    parents = server.mlflow_post(
        "runs/search",
        experiment_ids=[experiment["experiment_id"]],
        filter="tags.`prover.kind` = 'iteration' and attributes.status = 'FINISHED'",
    )["runs"]
    ids = [run["info"]["run_id"] for run in parents][:2]
    assert len(ids) == 2
    page.open(
        f'{server.mlflow}/#/compare-runs?runs={json.dumps(ids)}&experiments=["{experiment["experiment_id"]}"]'
        "&workflowType=machine_learning"
    )
    page.wait_text("Comparing 2 Runs", "guided_area")
    page.shot("mlflow-compare")


def test_mlflow_shows_the_registered_model(server, first, page: Page):
    page.open(f"{server.mlflow}/#/models/energy-model?workflowType=machine_learning")
    page.wait_text("energy-model", "Version 1")
    page.shot("mlflow-registry")

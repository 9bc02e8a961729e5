"""The tour of MLflow, in a headless Chromium. `--screenshots FOLDER` keeps its pictures."""

import json
import time
from pathlib import Path

import pytest
from browser import Page, browsing, missing
from tour import tour

from prover_assets.tracking.view import SECTIONS

pytestmark = [
    pytest.mark.ui,
    pytest.mark.browser,
    pytest.mark.xdist_group("servers"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser"),
]

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


def without_assistant(page: Page) -> None:
    """Close MLflow's own chat panel, for a picture; closed once, it stays closed."""
    if page.pictures is not None:
        time.sleep(3)
        for cross in page.elements("[data-component-id='mlflow.assistant.chat_panel.close']"):
            cross.click()


def quietly(page: Page) -> None:
    """Hide what shows only while the pointer is on it."""
    page.script(
        "document.head.append(Object.assign(document.createElement('style'), {textContent: arguments[0]}))", QUIET
    )


def test_all_iterations_on_one_line(server, second, page: Page):
    with tour(
        "`make ui`, the end of `make run` and every asset page (`mlflow_iterations`) have a link to a saved view of "
        "the experiment in *Model training*."
    ):
        page.open(server.charts)
        page.wait_text("Model training", "viewing a shared view")
    with tour("The view shows the iterations, and one run `progress`, which has a point per iteration."):
        page.wait_text("progress", "iter_000", "iter_001")
        (progress,) = server.mlflow_post(
            "runs/search", experiment_ids=[experiment(server)], filter="tags.`prover.kind` = 'iterations'"
        )["runs"]
        history = f"run_id={progress['info']['run_id']}&metric_key=held_out/guided/area"
        points = server.mlflow_get("metrics/get-history", history)["metrics"]
        assert {0, 1} <= {point["step"] for point in points}
    with tour("The first charts draw the area and the solve rate of the policy, the guided and the random search."):
        (first, charts), (second_title, _) = SECTIONS
        page.wait_text(first, " vs ".join(charts[0][1]), " vs ".join(charts[1][1]))
    without_assistant(page)
    quietly(page)
    if page.pictures is not None:  # close the note that this is a shared view: its cross has no text
        for button in page.elements("[role=alert] button, [class*=alert] button"):
            if button.is_displayed() and not button.text:
                button.click()
                break
    page.shot("mlflow-iterations")
    with tour("Others draw the same against the Lean calls so far.", "A chart per metric is below, folded."):
        page.wait_text(second_title, "held_out/guided", "System metrics")
        assert not page.elements("[data-testid='experiment-view-compare-runs-card']", "system/cpu")


def test_an_iteration_and_its_steps(server, second, page: Page):
    # MLflow has remembered the filter of the saved view, which leaves the steps out.
    page.open(f"{server.mlflow}/#/experiments")
    page.script("localStorage.clear()")
    page.open("about:blank")
    page.open(f"{server.mlflow}/#/experiments/{experiment(server)}/runs?workflowType=machine_learning")
    page.wait_text("iter_000", "iter_001", "matching runs")
    without_assistant(page)
    with tour("Without the view's filter, an iteration of the list unfolds to its steps."):
        page.click("[role=row] button, [role=gridcell] button, .ag-cell button", "")
        page.wait_text("/ebm_c")
    page.shot("mlflow-runs")
    run = f"{server.mlflow}/#/experiments/{experiment(server)}/runs/{parents(server)[0]}?workflowType=machine_learning"
    page.open(run)
    with tour(
        "An iteration's page says in words what was done, the verdict and the theorems proved, and links to the report."
    ):
        page.wait_text("Verdict", "promoted", "Held-out theorems proved", "guided")
        links = "return [...document.links].map(link => [link.textContent.trim(), link.href])"
        page.until("the link", lambda: any(t == "Report" and "/iter_00" in a for t, a in page.script(links)))
    with tour("It has every setting, also of the theorem sets and the baseline, which were made before."):
        found = server.mlflow_get("runs/get", f"run_id={parents(server)[-1]}")["run"]["data"]["params"]
        names = {parameter["key"] for parameter in found}
        assert {"theorems.train", "baseline_trajectories.max_expansions", "trajectories.n_theorems"} <= names


def test_traces(server, second, page: Page):
    page.open(f"{server.mlflow}/#/experiments/{experiment(server)}/traces?workflowType=machine_learning")
    with tour("*Traces* has a few theorems of each search."):
        page.wait_text('"asset": "trajectories"', '"theorem":')
    with tour("Each has a span per call to the policy, the energy model and Lean, and per certification."):
        asked = {
            "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment(server)}}],
            "max_results": 100,
        }
        traces = server.mlflow_post("traces/search", version="3.0", **asked)["traces"]
        assert traces


def test_two_iterations_side_by_side(server, second, page: Page):
    ids = json.dumps(parents(server)[-2:])
    with tour("Tick two iterations and choose *Compare*: settings and numbers stand side by side."):
        page.open(
            f'{server.mlflow}/#/compare-runs?runs={ids}&experiments=["{experiment(server)}"]'
            "&workflowType=machine_learning"
        )
        page.wait_text("Comparing 2 Runs", "guided_area", "trajectories.max_expansions")
    without_assistant(page)
    page.script(
        "[...document.querySelectorAll('*')].filter(e => e.textContent.trim() == 'area_gain').pop()"
        ".scrollIntoView({block: 'center'})"
    )
    page.shot("mlflow-compare")


def test_the_registered_model_and_its_champion(server, second, page: Page):
    page.open(f"{server.mlflow}/#/models/energy-model?workflowType=machine_learning")
    with tour("Each energy head is a version of the model `energy-model`."):
        page.wait_text("energy-model", "Version 1", "Version 2")
    with tour(
        "The description of a version says its iteration, its validation area, the order chosen and the verdict."
    ):
        page.wait_text("iter_000")
        versions = server.mlflow_get("model-versions/search", "filter=name%3D'energy-model'")["model_versions"]
        assert all("iter_" in version["description"] for version in versions)
    with tour("The alias `champion` marks the one that was promoted last; only a promotion moves it."):
        champion = server.data / "champion.json"
        model = server.mlflow_get("registered-models/get", "name=energy-model")["registered_model"]
        promoted = [found for found in model.get("aliases", ()) if found["alias"] == "champion"]
        assert bool(promoted) == champion.exists()
        if promoted:
            page.wait_text("champion")
    without_assistant(page)
    page.shot("mlflow-registry")

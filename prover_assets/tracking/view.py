"""The saved view of the experiment: rows, columns and charts, and the link that opens it.

MLflow's UI keeps a shared view as a tag of the experiment, `mlflow.sharedViewState.KEY`, and opens it from the address
parameter `viewStateShareKey=KEY`. The tag's value is the page's state as JSON, deflated, in base64.
"""

import base64
import json
import zlib
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from prover_assets.tracking.tags import ITERATION, KIND_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "iterations"
TAG = f"mlflow.sharedViewState.{KEY}"
COMPRESSED = "deflate;"
FILTER = f"tags.`{KIND_TAG}` LIKE '{ITERATION}%'"
"""Iterations, and the run `progress`."""
LEAN_CALLS = "cost/lean_calls"
COLUMNS = (
    ("attributes", "Source"),
    ("attributes", "Models"),
    ("metrics", "guided_area"),
    ("metrics", "policy_area"),
    ("metrics", "area_gain"),
    ("metrics", "expansions_ratio"),
    ("metrics", "validation_area"),
    ("metrics", "promoted"),
    ("tags", "prover.reason"),
)
MODES = ("policy", "guided", "random")
SECTIONS: tuple[tuple[str, tuple[tuple[str, tuple[str, ...], bool], ...]], ...] = (
    (
        "Against the iteration",
        (
            ("area under the solve curve", tuple(f"held_out/{mode}/area" for mode in MODES), False),
            ("solve rate", tuple(f"held_out/{mode}/solve_rate" for mode in MODES), False),
            ("theorems proved so far", ("training/proofs",), False),
            ("expansions to proof, guided / policy", ("held_out/expansions_ratio",), False),
            ("sibling rank-1", tuple(f"held_out/rank1/{name}" for name in ("policy", "energy", "combined")), False),
            ("labels of states", tuple(f"training/labels/{name}" for name in ("positive", "negative")), False),
        ),
    ),
    (
        "Against Lean calls",
        (
            ("area under the solve curve", tuple(f"held_out/{mode}/area" for mode in MODES), True),
            ("theorems proved so far", ("training/proofs",), True),
        ),
    ),
)
"""Sections of charts: title, and of each chart its title, its metrics, and whether its x axis is the Lean calls."""
FOLDED = (
    *("Model metrics", "System metrics", "cost", "held_out", "held_out/policy", "held_out/guided", "held_out/random"),
    *("held_out/rank1", "training", "training/labels"),
)
"""Sections that MLflow makes by itself, a chart per metric: there, but closed."""


def view_state(progress: str | None) -> dict[str, object]:
    """The state of MLflow's runs page. progress: id of the run `progress`, which is pinned to the top."""
    charts = [
        _line(f"ours-{number}-{place}", f"section-{number}", *chart)
        for number, (_, drawn) in enumerate(SECTIONS)
        for place, chart in enumerate(drawn)
    ]
    ours = [(f"section-{number}", title, True) for number, (title, _) in enumerate(SECTIONS)]
    folded = [(f"folded-{number}", name, False) for number, name in enumerate(FOLDED)]
    return {
        "searchFilter": FILTER,
        "orderByKey": f"tags.`{KIND_TAG}`",  # `progress` first, whose lines the charts show
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [f"{kind}.`{name}`" for kind, name in COLUMNS],
        "runsPinned": [progress] if progress else [],
        "runsHiddenMode": "FIRST_10_RUNS",
        "compareRunCharts": charts,
        "compareRunSections": [
            {"uuid": uuid, "name": name, "display": shown, "isReordered": False, "deleted": False, "isGenerated": False}
            for uuid, name, shown in (*ours, *folded)
        ],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _line(uuid: str, section: str, title: str, metrics: tuple[str, ...], against_calls: bool) -> dict[str, object]:
    return {
        "uuid": uuid,
        "type": "LINE",
        "runsCountToCompare": 1,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "displayName": title,
        "metricKey": metrics[0],
        "selectedMetricKeys": list(metrics),
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "metric" if against_calls else "step",
        "selectedXAxisMetricKey": LEAN_CALLS if against_calls else "",
        "displayPoints": True,
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": True,
    }


def save_view(client: "MlflowClient", experiment: str, progress: str | None) -> None:
    """Keep the view with the experiment, or renew it."""
    text = json.dumps(view_state(progress), separators=(",", ":"))
    value = COMPRESSED + base64.b64encode(zlib.compress(text.encode())).decode()
    known = client.get_experiment(experiment).tags.get(TAG)
    if known != value:
        client.set_experiment_tag(experiment, TAG, value)


def view_link(server: str, experiment: str) -> str:
    """Address of the saved view in *Model training*. server: address of MLflow's UI."""
    query = urlencode({"viewStateShareKey": KEY, "compareRunsMode": "CHART", "workflowType": "machine_learning"})
    return f"{server}/#/experiments/{experiment}/runs?{query}"

"""The run `progress`: one long-lived run with a point per iteration, so that charts have lines over iterations."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prover_assets.tracking.tags import ITERATIONS, KIND_TAG, NOTE_TAG, SUPERSEDED, SUPERSEDED_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "progress"
NOTE = """All iterations on one line: every number is logged at step = iteration.

- `held_out/...`: searches of the held-out theorems. Solve rate at the full budget; area under the solve curve.
- `training/...`: the search of the training theorems: solve rate, labels of states, theorems proved so far.
- `cost/...`: summed over all iterations so far: tactics tried in Lean, seconds of search, calls of the policy.
"""
METRICS_PER_REQUEST = 1000


def log_progress(client: "MlflowClient", experiment: str, points: Mapping[int, Mapping[str, float]]) -> str:
    """Log the iterations' numbers (iteration -> name -> value) that are not there yet. Returns the run's id.

    A number that has changed, because its iteration was reported again, cannot be replaced in MLflow: then a new run is
    made with all points, and the old one is marked as superseded.
    """
    from mlflow.entities import Metric

    run_id = progress_run(client, experiment)
    logged = {} if run_id is None else _logged(client, run_id)
    changed = any(
        logged.get((name, step), value) != value for step, found in points.items() for name, value in found.items()
    )
    if run_id is None or changed:
        before, run_id, logged = run_id, _new(client, experiment), {}
        if before is not None:
            client.set_tag(before, KIND_TAG, SUPERSEDED)
            client.set_tag(before, SUPERSEDED_TAG, run_id)
    metrics = [
        Metric(name, value, _milliseconds(), step)
        for step, found in sorted(points.items())
        for name, value in found.items()
        if (name, step) not in logged
    ]
    for start in range(0, len(metrics), METRICS_PER_REQUEST):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_REQUEST])
    client.set_terminated(run_id, "FINISHED")  # between iterations nothing is running
    return run_id


def progress_run(client: "MlflowClient", experiment: str) -> str | None:
    """Id of the run, None where there is none yet."""
    found = client.search_runs([experiment], f"tags.`{KIND_TAG}` = '{ITERATIONS}'", max_results=1)
    return found[0].info.run_id if found else None


def _new(client: "MlflowClient", experiment: str) -> str:
    tags = {KIND_TAG: ITERATIONS, NOTE_TAG: NOTE}
    return str(client.create_run(experiment, run_name=NAME, tags=tags).info.run_id)


def _logged(client: "MlflowClient", run_id: str) -> dict[tuple[str, int], float]:
    """(name, step) -> value of everything in the run."""
    names = client.get_run(run_id).data.metrics
    return {(name, point.step): point.value for name in names for point in client.get_metric_history(run_id, name)}


def _milliseconds() -> int:
    import time

    return int(time.time() * 1000)

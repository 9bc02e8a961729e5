"""A row of the experiment is an iteration: which run it is, what decided it, and what happens when it is made again."""

import tempfile
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from prover_assets.tracking.tags import (
    ASSET_TAG,
    ITERATION,
    KIND_TAG,
    NOTE_TAG,
    PARENT_TAG,
    PARTITION_TAG,
    REMADE_TAG,
    STATUS_OPEN,
    SUPERSEDED,
    SUPERSEDED_TAG,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

PARAMS_PER_REQUEST = 100
BORROWED = ("lean.", "policy.")
"""Parameters of resources: every step logs its own under these names, without the name of its asset."""
MADE_EARLIER: Mapping[str, tuple[str, ...]] = {
    "trajectories": ("theorems",),
    "guided_trajectories": ("theorems", "baseline_trajectories"),
    "iteration_report": ("theorems", "baseline_trajectories"),
}
"""The assets without a partition that decide the result of an asset with one."""


def row_of(client: "MlflowClient", experiment: str, partition: str) -> "Run | None":
    """The run that stands for an iteration; None where there is none yet."""
    wanted = f"tags.`{KIND_TAG}` = '{ITERATION}' and tags.`{PARTITION_TAG}` = '{partition}'"
    found = client.search_runs([experiment], wanted, order_by=["attributes.start_time DESC"], max_results=1)
    return found[0] if found else None


def log_decision(client: "MlflowClient", row: str, params: Mapping[str, str]) -> str:
    """Log on an iteration's run what decided it; returns the id of the run that now stands for the iteration.

    MLflow's parameters never change. Where a step was made again with other settings, a new run takes the place of the
    old one, with everything else that it had.
    """
    run = client.get_run(row)
    known: Mapping[str, str] = run.data.params
    changed = {name for name, value in params.items() if known.get(name, value) != value}
    if changed:
        row = _renewed(client, run, without=changed)
    log_params(client, row, {name: value for name, value in params.items() if name not in known or name in changed})
    return row


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
    """Log parameters, in as few requests as MLflow allows."""
    from mlflow.entities import Param

    listed = [Param(name, value) for name, value in params.items()]
    for start in range(0, len(listed), PARAMS_PER_REQUEST):
        client.log_batch(run_id, params=listed[start : start + PARAMS_PER_REQUEST])


def _renewed(client: "MlflowClient", old: "Run", *, without: Iterable[str]) -> str:
    """A copy of an iteration's run without some parameters: the children move to it, the old one is superseded."""
    left_out, before = set(without), old.info.run_id
    run_id = client.create_run(
        old.info.experiment_id,
        start_time=int(time.time() * 1000),
        run_name=old.info.run_name,
        tags={name: value for name, value in old.data.tags.items() if not name.startswith("mlflow.log-model")},
    ).info.run_id
    log_params(client, run_id, {name: value for name, value in old.data.params.items() if name not in left_out})
    for name in old.data.metrics:
        client.log_batch(run_id, metrics=client.get_metric_history(before, name))
    if old.inputs is not None and old.inputs.dataset_inputs:
        client.log_inputs(run_id, old.inputs.dataset_inputs)
    if client.list_artifacts(before):
        with tempfile.TemporaryDirectory() as folder:
            client.log_artifacts(run_id, client.download_artifacts(before, "", folder))
    for child in _all_runs(client, old.info.experiment_id, f"tags.`{PARENT_TAG}` = '{before}'"):
        client.set_tag(child.info.run_id, PARENT_TAG, run_id)
    client.set_tag(before, KIND_TAG, SUPERSEDED)
    client.set_tag(before, SUPERSEDED_TAG, run_id)
    client.set_tag(before, NOTE_TAG, f"Superseded: made again with other settings ({', '.join(sorted(left_out))}).")
    if old.info.status == STATUS_OPEN:
        client.set_terminated(before, "FINISHED")
    return run_id


def mark_superseded(client: "MlflowClient", experiment: str, row: str, asset: str, made_by: str) -> None:
    """Say of earlier runs of an asset of this iteration that `made_by` replaced what they made."""
    condition = f"tags.`{PARENT_TAG}` = '{row}' and tags.`{ASSET_TAG}` = '{asset}'"
    earlier = [
        run
        for run in _all_runs(client, experiment, condition)
        if run.info.run_id != made_by and SUPERSEDED_TAG not in run.data.tags
    ]
    for run in earlier:
        client.set_tag(run.info.run_id, SUPERSEDED_TAG, made_by)
    if earlier:
        before = client.get_run(row).data.tags.get(REMADE_TAG, "")
        names = sorted({*filter(None, before.split(", ")), asset})
        client.set_tag(row, REMADE_TAG, ", ".join(names))


def _all_runs(client: "MlflowClient", experiment: str, condition: str) -> list["Run"]:
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment], condition, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def made_earlier(client: "MlflowClient", experiment: str, asset: str) -> tuple[dict[str, str], "list[DatasetInput]"]:
    """What the assets without a partition that `asset` goes by were made with: parameters, and MLflow's dataset inputs.

    From the newest finished run of each.
    """
    params: dict[str, str] = {}
    inputs: list[DatasetInput] = []
    for name in MADE_EARLIER.get(asset, ()):
        condition = f"tags.`{ASSET_TAG}` = '{name}' and attributes.status = 'FINISHED'"
        found = client.search_runs([experiment], condition, order_by=["attributes.start_time DESC"], max_results=1)
        for run in found:
            params |= {f"{name}.{key}": value for key, value in run.data.params.items() if not key.startswith(BORROWED)}
            if name == "theorems" and run.inputs is not None:
                inputs += run.inputs.dataset_inputs
    return params, inputs

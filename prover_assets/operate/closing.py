"""Closing what dead runs left open, in MLflow and in Dagster."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from prover_assets.operate.processes import is_abandoned
from prover_assets.store.layout import DataFolder

if TYPE_CHECKING:
    import dagster as dg

logger = logging.getLogger(__name__)


def close_mlflow(data: DataFolder, dagster_run_id: str, status: str) -> None:
    """Close what a Dagster run left open in MLflow. A failure is logged: it must not hide why the run ended.

    What stays open because of that is closed by the next start (`close_left_open`).
    """
    from prover_assets.defs.tracking import MlflowResource
    from prover_assets.tracking.database import tracking_errors

    try:
        MlflowResource().close_dagster_run(data, dagster_run_id, status)
    except tracking_errors() as error:
        logger.warning("the MLflow runs of %s stay open until the next start: %s", dagster_run_id, error)


def close_abandoned(instance: "dg.DagsterInstance", data: DataFolder, held: Path) -> None:
    """Runs of `make run` whose process is gone still count as running: close them in MLflow, then report them failed.

    In this order: a run that is no longer in progress in Dagster is not looked at again here. held: the lock that this
    process holds.
    """
    from prover_assets.operate.next import runs_in_progress

    for run in runs_in_progress(instance):
        if is_abandoned(run.tags, held):
            close_mlflow(data, run.run_id, "FAILED")
            instance.report_run_failed(run, message="the process that ran it is gone")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def close_left_open(instance: "dg.DagsterInstance", data: DataFolder) -> list[str]:
    """Close MLflow runs that are open although their Dagster run has ended: whoever should have was killed before.

    Returns the ids of these Dagster runs. Runs that this Dagster does not know, and those of a backfill that goes on,
    are left alone.
    """
    import dagster as dg

    from prover_assets.operate.next import IN_PROGRESS

    ended = {
        dg.DagsterRunStatus.SUCCESS: "FINISHED",
        dg.DagsterRunStatus.FAILURE: "FAILED",
        dg.DagsterRunStatus.CANCELED: "KILLED",
    }
    closed = []
    for run_id in open_dagster_runs(data):
        run = instance.get_run_by_id(run_id)
        if run is None or run.status not in ended:
            continue
        backfill = run.tags.get("dagster/backfill")
        same = dg.RunsFilter(statuses=list(IN_PROGRESS), tags={"dagster/backfill": backfill}) if backfill else None
        if same is not None and instance.get_runs(same, limit=1):
            continue
        close_mlflow(data, run_id, ended[run.status])
        closed.append(run_id)
    return closed


def open_dagster_runs(data: DataFolder) -> list[str]:
    """Ids of the Dagster runs whose MLflow runs are open, from the tracking database in the data folder.

    Asked in plain SQL: MLflow takes seconds to import, and there is hardly ever something to close. [] where the runs
    are tracked elsewhere; the sensors of the daemon look after those.
    """
    from prover_assets.defs.tracking import MlflowResource
    from prover_assets.tracking.mlflow import DAGSTER_RUN_TAG, STATUS_OPEN, own_uri

    database = data.mlflow / "mlflow.db"
    if not database.exists() or MlflowResource().resolved_uri(data) != own_uri(data.mlflow):
        return []
    query = (
        "SELECT DISTINCT tags.value FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid "
        "WHERE runs.status = ? AND tags.key = ? ORDER BY tags.value"
    )
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            return [value for (value,) in connection.execute(query, (STATUS_OPEN, DAGSTER_RUN_TAG))]
    except sqlite3.OperationalError as error:
        logger.warning("cannot look for MLflow runs that were left open in %s: %s", database, error)
        return []

"""Sensors: chaining iterations back to back (off until switched on), and closing MLflow runs that were left open."""

import dagster as dg

from prover_assets.defs.automation import chain_limit
from prover_assets.defs.jobs import (
    ITERATION_ASSETS,
    TUNING_ASSET,
    everything_job,
    first_iteration_job,
    iteration_job,
    policy_iteration_job,
)
from prover_assets.defs.partitions import ITERATION
from prover_assets.defs.resources import DataResource
from prover_assets.defs.schedules import request
from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate.next import next_iteration, runs_in_progress
from prover_assets.store.iterations import iteration_number


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[iteration_job, first_iteration_job, policy_iteration_job, everything_job],
    request_jobs=[iteration_job, policy_iteration_job],
    default_status=dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds=30,
    description="Starts the next iteration when one has ended well, up to PROVER_CHAIN_LIMIT iterations (default 10). "
    "Runs with the settings of the last iteration, or of the preset that PROVER_PRESET names.",
)
def chain_iterations(context: dg.RunStatusSensorContext, data: DataResource) -> dg.RunRequest | dg.SkipReason:
    """Asks for one run a finished iteration, which tunes the policy if that one did; a failed one ends the chain."""
    ended = context.dagster_run.tags.get("dagster/partition")
    if ended is None:
        return dg.SkipReason("the run that ended was of no iteration")
    running = runs_in_progress(context.instance)
    if running:
        return dg.SkipReason(f"{running[0].tags['dagster/partition']} is running")
    tuned = context.dagster_run.job_name in (policy_iteration_job.name, everything_job.name)
    upcoming = next_iteration(context.instance, data.folder(), tune_policy=tuned)
    if iteration_number(upcoming.key) >= chain_limit():
        return dg.SkipReason(f"the limit of {chain_limit()} iterations is reached (PROVER_CHAIN_LIMIT)")
    context.instance.add_dynamic_partitions(ITERATION, [upcoming.key])
    job = policy_iteration_job if tuned else iteration_job
    everything = (*ITERATION_ASSETS, TUNING_ASSET) if tuned else ITERATION_ASSETS
    run_key = f"after-{context.dagster_run.run_id}"
    found = request(context.instance, upcoming.key, upcoming.remaining, run_key, everything=everything)
    return found.with_replaced_attrs(job_name=job.name)


def _close(instance_run: dg.DagsterRun, status: str, data: DataResource, mlflow: MlflowResource) -> str:
    closed = mlflow.close_dagster_run(data.folder(), instance_run.run_id, status)
    return f"closed {len(closed)} MLflow runs of Dagster run {instance_run.run_id} as {status}"


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description="Closes the MLflow runs that a failed or killed Dagster run left open as FAILED.",
)
def close_failed_mlflow_runs(
    context: dg.RunFailureSensorContext, data: DataResource, mlflow: MlflowResource
) -> dg.SkipReason:
    return dg.SkipReason(_close(context.dagster_run, "FAILED", data, mlflow))


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.CANCELED,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description="Closes the MLflow runs that a cancelled Dagster run left open as KILLED.",
)
def close_cancelled_mlflow_runs(
    context: dg.RunStatusSensorContext, data: DataResource, mlflow: MlflowResource
) -> dg.SkipReason:
    return dg.SkipReason(_close(context.dagster_run, "KILLED", data, mlflow))

"""The nightly schedule: one more iteration, unless one is running. Off until it is switched on."""

import dagster as dg

from prover_assets.defs.jobs import ITERATION_ASSETS, iteration_job
from prover_assets.defs.partitions import ITERATION
from prover_assets.defs.resources import DataResource
from prover_assets.operate.next import next_iteration, runs_in_progress


@dg.schedule(
    job=iteration_job,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="The next iteration (or what a failed one lacks) at 02:00 UTC; skips while one is running.",
)
def nightly_iteration(context: dg.ScheduleEvaluationContext, data: DataResource) -> dg.RunRequest | dg.SkipReason:
    """Schedules cannot ask for a new partition, so it is added here."""
    running = runs_in_progress(context.instance)
    if running:
        return dg.SkipReason(f"{running[0].tags['dagster/partition']} is running (run {running[0].run_id})")
    upcoming = next_iteration(context.instance, data.folder())
    context.instance.add_dynamic_partitions(ITERATION, [upcoming.key])
    return request(upcoming.key, upcoming.remaining, f"nightly-{context.scheduled_execution_time:%Y-%m-%d}")


def request(
    key: str, remaining: tuple[str, ...], run_key: str, *, everything: tuple[str, ...] = ITERATION_ASSETS
) -> dg.RunRequest:
    """A run of the assets that an iteration still lacks. everything: those of the job that is asked for."""
    selection = None if remaining == everything else [dg.AssetKey(name) for name in remaining]
    return dg.RunRequest(run_key=run_key, partition_key=key, asset_selection=selection)

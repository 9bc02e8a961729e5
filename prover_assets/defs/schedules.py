"""The nightly schedule: one more iteration, unless one is running. Off until it is switched on."""

import dagster as dg

from prover_assets.defs.jobs import ITERATION_ASSETS, iteration_job
from prover_assets.defs.partitions import ITERATION
from prover_assets.defs.resources import DataResource
from prover_assets.operate.next import next_iteration, runs_in_progress
from prover_assets.operate.settings import SETTINGS_TAG, settings_for


@dg.schedule(
    job=iteration_job,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="The next iteration (or what a failed one lacks) at 02:00 UTC; skips while one is running. Runs with "
    "the settings of the last iteration, or of the preset that PROVER_PRESET names; a preview of the tick shows them.",
)
def nightly_iteration(context: dg.ScheduleEvaluationContext, data: DataResource) -> dg.RunRequest | dg.SkipReason:
    """Schedules cannot ask for a new partition, so it is added here."""
    running = runs_in_progress(context.instance)
    if running:
        return dg.SkipReason(f"{running[0].tags['dagster/partition']} is running (run {running[0].run_id})")
    upcoming = next_iteration(context.instance, data.folder())
    context.instance.add_dynamic_partitions(ITERATION, [upcoming.key])
    run_key = f"nightly-{context.scheduled_execution_time:%Y-%m-%d}"
    return request(context.instance, upcoming.key, upcoming.remaining, run_key)


def request(
    instance: dg.DagsterInstance,
    key: str,
    remaining: tuple[str, ...],
    run_key: str,
    *,
    everything: tuple[str, ...] = ITERATION_ASSETS,
) -> dg.RunRequest:
    """A run of the assets that an iteration still lacks, with the settings of the iteration before or of PROVER_PRESET.

    everything: the assets of the job that is asked for. A preview of the tick shows the settings, and a tag says where
    they are from.
    """
    selection = None if remaining == everything else [dg.AssetKey(name) for name in remaining]
    settings = settings_for(instance, remaining)
    return dg.RunRequest(
        run_key=run_key,
        partition_key=key,
        asset_selection=selection,
        run_config=settings.run_config,
        tags={SETTINGS_TAG: settings.source},
    )

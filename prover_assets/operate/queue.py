"""The run queue of `dagster.yaml`: a job that was launched without a partition runs for the iteration that is next.

Dagster's Launchpad does not preselect a partition. Its run queue sees every run before it starts, and may tag it.
"""

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

from prover.json_types import JsonObject
from prover_assets.defs.jobs import (
    ITERATION_ASSETS,
    TUNING_ASSET,
    everything_job,
    first_iteration_job,
    iteration_job,
    policy_iteration_job,
)
from prover_assets.defs.partitions import ITERATION, PARTITION_TAG, has_partition
from prover_assets.operate.next import known_iterations, next_iteration, runs_in_progress
from prover_assets.operate.preflight import SettingsError, config_of
from prover_assets.store.layout import DataFolder

CHOSEN_TAG = "prover/partition_chosen"
JOBS = frozenset(job.name for job in (iteration_job, policy_iteration_job, first_iteration_job, everything_job))


class IterationQueue(QueuedRunCoordinator):
    """Dagster's queue, which also chooses the iteration of a run of a whole job that came without one.

    A run of single assets of an iteration is refused where it has no partition, and so is a whole job while the
    iteration that is next is running: Dagster itself would fail later, with a trace.
    """

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """See `dagster.RunCoordinator`. Raises SettingsError where there is no partition and none can be chosen."""
        run = context.dagster_run
        if _needs_partition(run) and not has_partition(run):
            self._choose(run)
        return super().submit_run(context)

    def _choose(self, run: dg.DagsterRun) -> None:
        instance = self._instance
        known = known_iterations(instance)
        there = f"there are {', '.join(known[-5:])}" if known else "there is none yet: launch the job first_iteration"
        if not (run.job_name in JOBS and _whole(run)):
            raise SettingsError(f"no iteration was chosen: launch again with a partition; {there}")
        run_config: JsonObject = run.run_config
        folder = DataFolder.at(str(config_of(run_config.get("resources") or {}, "data").get("root", "")))
        key = next_iteration(instance, folder).key
        if any(other.tags[PARTITION_TAG] == key for other in runs_in_progress(instance)):
            raise SettingsError(
                f"no iteration was chosen, and {key}, the next one, is running: wait until it has ended, or launch "
                f"again with a partition; {there}"
            )
        instance.add_dynamic_partitions(ITERATION, [key])
        instance.add_run_tags(run.run_id, {PARTITION_TAG: key, CHOSEN_TAG: "the next iteration"})


def _needs_partition(run: dg.DagsterRun) -> bool:
    """Whether a run makes an asset that has iterations."""
    names = {key.to_user_string() for key in run.asset_selection or ()}
    return bool(names & {*ITERATION_ASSETS, TUNING_ASSET}) if names else run.job_name in JOBS


def _whole(run: dg.DagsterRun) -> bool:
    """Whether a run makes all assets of an iteration."""
    names = {key.to_user_string() for key in run.asset_selection or ()}
    return not names or names.issuperset(ITERATION_ASSETS)

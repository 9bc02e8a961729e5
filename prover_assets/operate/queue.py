"""The run queue of `dagster.yaml`: a job that was launched without a partition runs for the iteration that is next.

Dagster's Launchpad does not preselect a partition. Its run queue sees every run before it starts, and may tag it.
"""

from typing import Any

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

from prover_assets.defs.jobs import (
    ITERATION_ASSETS,
    everything_job,
    first_iteration_job,
    iteration_job,
    policy_iteration_job,
)
from prover_assets.defs.partitions import ITERATION
from prover_assets.operate.next import next_iteration, runs_in_progress
from prover_assets.operate.preflight import config_of
from prover_assets.store.layout import DataFolder

PARTITION_TAG = "dagster/partition"
CHOSEN_TAG = "prover/partition_chosen"
JOBS = frozenset(job.name for job in (iteration_job, policy_iteration_job, first_iteration_job, everything_job))


class IterationQueue(QueuedRunCoordinator):
    """Dagster's queue, which also chooses the iteration of a run of a whole job that came without one.

    Nothing is chosen while that iteration is running, nor for a run of single assets: these then fail for want of one.
    """

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """See `dagster.RunCoordinator`."""
        run = context.dagster_run
        if PARTITION_TAG not in run.tags and run.job_name in JOBS and _whole(run):
            self._choose(run)
        return super().submit_run(context)

    def _choose(self, run: dg.DagsterRun) -> None:
        instance = self._instance
        resources: Any = run.run_config.get("resources") or {}
        folder = DataFolder.at(str(config_of(resources, "data").get("root", "")))
        key = next_iteration(instance, folder).key
        if any(other.tags[PARTITION_TAG] == key for other in runs_in_progress(instance)):
            return
        instance.add_dynamic_partitions(ITERATION, [key])
        instance.add_run_tags(run.run_id, {PARTITION_TAG: key, CHOSEN_TAG: "the next iteration"})


def _whole(run: dg.DagsterRun) -> bool:
    """Whether a run makes all assets of an iteration."""
    names = {key.to_user_string() for key in run.asset_selection or ()}
    return not names or names.issuperset(ITERATION_ASSETS)

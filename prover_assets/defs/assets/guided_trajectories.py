"""The held-out theorems searched with the new energy model."""

import dagster as dg

from prover.search.modes import CALIBRATED, RANDOM_ENERGY
from prover_assets.defs.assets.searches import describe_search, search_data_version
from prover_assets.defs.automation import next_when_open
from prover_assets.defs.checks import SEARCH_BLOCKING, search_check_specs, search_checks
from prover_assets.defs.configs import GuidedConfig
from prover_assets.defs.launchpad import settings_from
from prover_assets.defs.partitions import iteration_partitions
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.step import GROUP, LEAN_POOL, OWNERS, step
from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate.versions import step_version
from prover_assets.report.facts import invalid_theorems, read, refused_theorems, search_counts
from prover_assets.steps.head_seeds import GuidedSettings, search_with_further_heads
from prover_assets.steps.history import iterations_until
from prover_assets.steps.search import require_baseline, search_guided


@dg.asset(
    deps=["ebm_checkpoint", "theorems", "baseline_trajectories"],
    partitions_def=iteration_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"lean", "parquet"},
    tags={"cost": "minutes"},
    pool=LEAN_POOL,
    code_version=step_version("guided_trajectories"),
    automation_condition=next_when_open(),
    check_specs=search_check_specs("guided_trajectories", partitioned=True),
)
def guided_trajectories(
    context: dg.AssetExecutionContext,
    config: GuidedConfig,
    data: DataResource,
    lean: LeanResource,
    policy: PolicyResource,
    mlflow: MlflowResource,
) -> dg.MaterializeResult:
    """Held-out theorems searched with this iteration's energy model, under the budget and limits of the baseline.

    Under a minute for the demonstration: candidates that the baseline asked for are remembered. Refuses a model that
    failed its checks. Look at the solve curve, and at the report for the comparison.
    """
    with step(context, data, mlflow, config, lean=lean, policy=policy) as work:
        in_use = work.policy_of(policy)
        if in_use.tuned:
            with work.reporter.stage("search held-out theorems, policy") as update:
                require_baseline(work.data, lean, in_use, update)
        with work.reporter.stage("search held-out theorems, guided") as update:
            manifest = search_guided(work.data, work.iteration, lean, in_use, update, mode=CALIBRATED)
        wanted = settings_from(config, GuidedSettings)
        if wanted.random_control:
            with work.reporter.stage("search held-out theorems, random") as update:
                search_guided(work.data, work.iteration, lean, in_use, update, mode=RANDOM_ENERGY)
        with work.reporter.stage("train and search, other head seeds") as update:
            history = iterations_until(work.data, work.iteration)
            search_with_further_heads(wanted.head_seeds - 1, work.data, work.iteration, history, lean, in_use, update)
        # Taken from the baseline: no settings of this asset, but they decide its result.
        work.run.params({"search": manifest.settings}, parent_prefix="guided_trajectories")
        files = work.iteration.guided
        summary = read(files.summary)
        return work.result(
            data_version=search_data_version(files, manifest),
            metadata=describe_search(work, files, manifest, title="guided"),
            checks=search_checks(search_counts(summary), invalid_theorems(summary), refused_theorems(summary)),
            blocking=SEARCH_BLOCKING,
        )

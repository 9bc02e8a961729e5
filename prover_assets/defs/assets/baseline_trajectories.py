"""The held-out theorems searched with the policy alone."""

import dagster as dg

from prover_assets.defs.assets.searches import describe_search, search_data_version
from prover_assets.defs.checks import SEARCH_BLOCKING, search_check_specs, search_checks
from prover_assets.defs.configs import HeldOutConfig
from prover_assets.defs.launchpad import settings_from
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.step import GROUP, LEAN_POOL, OWNERS, step
from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate.versions import step_version
from prover_assets.report.facts import invalid_theorems, read, refused_theorems, search_counts
from prover_assets.steps.search import HeldOutSearch, search_baseline
from prover_assets.store.policy import baseline_files, newest_policy


@dg.asset(
    deps=["theorems"],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"lean", "parquet"},
    tags={"cost": "minutes"},
    pool=LEAN_POOL,
    code_version=step_version("baseline_trajectories"),
    check_specs=search_check_specs("baseline_trajectories", partitioned=False),
)
def baseline_trajectories(
    context: dg.AssetExecutionContext,
    config: HeldOutConfig,
    data: DataResource,
    lean: LeanResource,
    policy: PolicyResource,
    mlflow: MlflowResource,
) -> dg.MaterializeResult:
    """Held-out theorems searched with the policy alone, in its strongest order: what guidance is measured against.

    A minute for the demonstration; once per policy and theorem set: a tuned policy gets a baseline of its own beside
    this one when an iteration first uses it. The guided search copies its budget and limits.
    Look at the solve curve.
    """
    with step(context, data, mlflow, config, lean=lean, policy=policy) as work:
        with work.reporter.stage("search held-out theorems, policy") as update:
            in_use = newest_policy(work.data, policy)
            manifest = search_baseline(settings_from(config, HeldOutSearch), work.data, lean, in_use, update)
        files = baseline_files(work.data, in_use)
        summary = read(files.summary)
        return work.result(
            data_version=search_data_version(files, manifest),
            metadata=describe_search(work, files, manifest, title="policy"),
            checks=search_checks(search_counts(summary), invalid_theorems(summary), refused_theorems(summary)),
            blocking=SEARCH_BLOCKING,
        )

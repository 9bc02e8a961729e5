"""The search of the training theorems."""

import dagster as dg

from prover_assets.assets.common import LEAN_POOL, OWNERS, check, step
from prover_assets.assets.searches import (
    BLOCKING,
    describe_search,
    search_check_specs,
    search_checks,
    search_data_version,
)
from prover_assets.configs import TrajectoriesConfig
from prover_assets.findings import invalid_theorems, label_counts, read, search_counts, state_lengths
from prover_assets.partitions import iteration_partitions
from prover_assets.resources import DataResource, LeanResource, PolicyResource
from prover_assets.tracking import MlflowResource
from prover_assets.versions import code_version, policy_version
from prover_assets.work.searching import search_training

LABELS = "both_labels"


@dg.asset(
    deps=["theorems", "champion_ebm"],
    partitions_def=iteration_partitions,
    group_name="loop",
    owners=OWNERS,
    kinds={"lean", "parquet"},
    tags={"cost": "minutes"},
    pool=LEAN_POOL,
    code_version=f"{code_version('prover', 'prover_assets/work/searching.py')}-{policy_version()}",
    check_specs=[
        *search_check_specs("trajectories"),
        dg.AssetCheckSpec(
            LABELS,
            asset="trajectories",
            blocking=True,
            description="There are positive and negative states to learn from.",
        ),
    ],
)
def trajectories(
    context: dg.AssetExecutionContext,
    config: TrajectoriesConfig,
    data: DataResource,
    lean: LeanResource,
    policy: PolicyResource,
    mlflow: MlflowResource,
) -> dg.MaterializeResult:
    """Training theorems searched by the policy's tactics, each checked by Lean, guided by the champion if there is one.

    The costliest step: a minute or two for the demonstration. Look at the solve rate, the labels and the search tree.
    A search that was cut off goes on where it stopped.
    """
    with step(context, data, mlflow, config) as work:
        with work.reporter.stage("search training theorems") as update:
            manifest = search_training(config, work.data, work.iteration, lean, policy, update)
        files = work.iteration.trajectories
        nodes, summary = read(files.nodes), read(files.summary)
        labels = label_counts(nodes)
        counts = search_counts(summary)
        work.run.summary({"train_solve_rate": counts["solve_rate"], "train_proved": counts["proved"]})
        work.run.metrics({f"label_{name}": count for name, count in labels.items()})
        enough = labels["positive"] > 0 and labels["negative"] > 0
        return work.result(
            data_version=search_data_version(files, manifest),
            metadata={
                **describe_search(work, files, manifest, title="policy" if manifest.ebm_id is None else "guided"),
                **{f"{name}_states": count for name, count in labels.items()},
                **{f"state_length_{name}": length for name, length in state_lengths(nodes).items()},
            },
            checks=[
                *search_checks(counts, invalid_theorems(summary)),
                check(
                    LABELS,
                    enough,
                    f"{labels['positive']} positive and {labels['negative']} negative states"
                    + ("" if enough else "; nothing can be learnt: prove more theorems (larger budget, easier set)"),
                    labels,
                    blocking=True,
                ),
            ],
            blocking=BLOCKING | {LABELS},
        )

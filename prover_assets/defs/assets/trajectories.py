"""The search of the training theorems."""

import dagster as dg

from prover.search.config import SearchConfig
from prover.search.curriculum_config import CurriculumSettings
from prover_assets.defs.assets.searches import describe_search, search_data_version
from prover_assets.defs.automation import next_when_open
from prover_assets.defs.checks import (
    DRIFT,
    LABELS,
    NOISE,
    SEARCH_BLOCKING,
    iteration_check,
    label_checks,
    search_check_specs,
    search_checks,
)
from prover_assets.defs.configs import TrajectoriesConfig
from prover_assets.defs.launchpad import settings_from
from prover_assets.defs.partitions import iteration_partitions
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.step import GROUP, LEAN_POOL, OWNERS, step
from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate.versions import step_version
from prover_assets.report.facts import (
    invalid_theorems,
    label_counts,
    markdown_table,
    read,
    refused_theorems,
    search_counts,
    state_lengths,
)
from prover_assets.steps.grow import GrowthSettings
from prover_assets.steps.history import iterations_before
from prover_assets.steps.labels import length_drift, negative_noise
from prover_assets.steps.search import WindowSettings, search_training

NO_CURRICULUM = "the next theorems of the set, all with the same budget: switched off, or nothing was searched before"


@dg.asset(
    deps=["theorems", "champion_ebm"],
    partitions_def=iteration_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"lean", "parquet"},
    tags={"cost": "minutes"},
    pool=LEAN_POOL,
    code_version=step_version("trajectories"),
    automation_condition=next_when_open(),
    check_specs=[
        *search_check_specs("trajectories", partitioned=True),
        iteration_check(
            LABELS,
            asset="trajectories",
            blocking=True,
            description="There are positive and negative states to learn from.",
        ),
        iteration_check(
            NOISE,
            asset="trajectories",
            description="A decision procedure calls no more than 90% of the negatives provable (propositional states).",
        ),
        iteration_check(
            DRIFT,
            asset="trajectories",
            description="The mean length of states is within 50% of the iteration before.",
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
    with step(context, data, mlflow, config, lean=lean, policy=policy) as work:
        search, window = settings_from(config, SearchConfig), settings_from(config, WindowSettings)
        curriculum, growth = settings_from(config, CurriculumSettings), settings_from(config, GrowthSettings)
        with work.reporter.stage("search training theorems") as update:
            in_use = work.policy_of(policy)
            work.require_baseline_to_measure_against(lean, in_use)
            iterations_before(work.data, work.iteration)  # what it will learn from: damage is said before work
            manifest = search_training(
                search, window, curriculum, growth, work.data, work.iteration, lean, in_use.resource, update
            )
        files = work.iteration.trajectories
        nodes, summary = read(files.nodes), read(files.summary)
        labels = label_counts(nodes)
        counts = search_counts(summary)
        work.run.summary({"train_solve_rate": counts["solve_rate"], "train_proved": counts["proved"]})
        work.run.metrics({f"label_{name}": count for name, count in labels.items()})
        noise, drift = negative_noise(nodes), length_drift(work.data, work.iteration)
        work.run.metrics({"label_noise": noise.share})
        return work.result(
            data_version=search_data_version(files, manifest),
            metadata={
                **describe_search(work, files, manifest, title="policy" if manifest.ebm_id is None else "guided"),
                **{f"{name}_states": count for name, count in labels.items()},
                "curriculum": dg.MetadataValue.json(dict(manifest.curriculum or {"off": NO_CURRICULUM})),
                "labels": dg.MetadataValue.md(
                    markdown_table(["rule", "states"], list(manifest.figures.get("labels", {}).items()))
                ),
                **{f"state_length_{name}": length for name, length in state_lengths(nodes).items()},
            },
            checks=[
                *search_checks(counts, invalid_theorems(summary), refused_theorems(summary)),
                *label_checks(labels, noise, drift),
            ],
            blocking=SEARCH_BLOCKING | {LABELS},
        )

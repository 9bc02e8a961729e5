"""The policy of the next iteration: fine-tuned on the proofs so far, used if validation says so."""

from typing import Any

import dagster as dg

from prover.policy.finetune_config import FineTuneConfig
from prover_assets.defs.configs import PolicyTuningConfig
from prover_assets.defs.launchpad import settings_from
from prover_assets.defs.metadata import figure
from prover_assets.defs.opening import open_iteration
from prover_assets.defs.partitions import iteration_partitions
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.step import GPU_POOL, GROUP, OWNERS, check, step
from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate.versions import step_version
from prover_assets.report import plots
from prover_assets.report.facts import markdown_table
from prover_assets.report.tables import paired_lines, solved_table, transposed, tuning_table
from prover_assets.steps.history import iterations_until
from prover_assets.steps.tune_policy import TuningSettings, adopt, judge, tune, write_tuning
from prover_assets.store.files import digest_of

SEPARATION, UNSEEN = "vectors_keep_apart", "unseen_proofs_likelier"


@dg.asset(
    deps=["iteration_report", "trajectories", "theorems"],
    partitions_def=iteration_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"pytorch", "lean"},
    tags={"cost": "minutes"},
    pool=GPU_POOL,
    code_version=step_version("policy_checkpoint"),
    check_specs=[
        dg.AssetCheckSpec(
            SEPARATION,
            asset="policy_checkpoint",
            description="Tuning left more than half of what tells positive from negative states in the hidden vectors: "
            "of the distance of their means, and of what a linear probe has above chance.",
        ),
        dg.AssetCheckSpec(
            UNSEEN,
            asset="policy_checkpoint",
            description="The proofs of theorems that were kept back became likelier: what was learnt is not by heart.",
        ),
    ],
)
def policy_checkpoint(
    context: dg.AssetExecutionContext,
    config: PolicyTuningConfig,
    data: DataResource,
    lean: LeanResource,
    policy: PolicyResource,
    mlflow: MlflowResource,
) -> dg.MaterializeResult:
    """Optional: the policy, fine-tuned on the certified proofs so far; the next iteration uses it if it is better.

    Two minutes for the demonstration: tune, then search the validation theorems with the policy alone, before and
    after. Look at the decision with its paired test, the loss on theorems kept back, and the separation of the hidden
    vectors. Once adopted, its states are embedded anew, it gets a baseline of its own, and an energy model of the
    policy before it is left out.
    """
    with step(context, data, mlflow, config, lean=lean, policy=policy) as work:
        wanted = settings_from(config, TuningSettings)
        history = iterations_until(work.data, work.iteration)
        with work.reporter.stage("tune the policy on proofs") as update:
            tuned = tune(
                settings_from(config, FineTuneConfig), wanted.start, work.data, work.iteration, history, policy, update
            )
        result = tuned.result
        with work.reporter.stage("search validation, before and after") as update:
            judged = judge(wanted, work.data, work.iteration, lean, policy, bool(result.warnings), update)
        record = adopt(work.data, work.iteration, judged.decision, policy)
        open_iteration(context, work.data, work.iteration.following.key)
        found = write_tuning(work.iteration, tuned, judged, record)

        adopted, paired, accepted = judged.decision.adopted, judged.comparison.paired, judged.accepted
        numbers: dict[str, Any] = {
            "adopted": float(adopted),
            "area_before": judged.comparison.first.area,
            "area_after": judged.comparison.second.area,
            "area_gain": judged.comparison.second.area - judged.comparison.first.area,
            "faster": paired.faster,
            "slower": paired.slower,
            "tied": paired.tied,
            "sign_test_p": paired.p_value,
            "expansions_ratio": paired.ratio,
            "accepted_share_before": accepted["before"],
            "accepted_share_after": accepted["after"],
            "loss_before": result.loss_before,
            "loss_after": result.loss_after,
            "held_out_loss_before": result.held_out_before,
            "held_out_loss_after": result.held_out_after,
            "learnt_steps": result.n_examples,
            "learnt_theorems": result.n_theorems,
            "gradient_steps": result.n_steps,
            "seconds": result.seconds,
        }
        for when, separation in (("before", result.separation_before), ("after", result.separation_after)):
            if separation is not None:
                numbers[f"centroid_distance_{when}"] = separation.centroid_distance
                numbers[f"probe_auc_{when}"] = separation.probe_auc
        numbers = {name: value for name, value in numbers.items() if value is not None and value == value}
        work.run.curve(tuned.curve)
        work.run.metrics(numbers)
        work.run.summary({f"policy_{name}": numbers[name] for name in ("adopted", "area_before", "area_after")})
        work.run.tags({"prover.policy_adopted": str(adopted), "prover.reason": judged.decision.reason})
        work.run.artifact(work.iteration.tuning)
        curves = plots.lines(
            {
                name: (
                    [number for number, metrics in tuned.curve if name in metrics],
                    [metrics[name] for _, metrics in tuned.curve if name in metrics],
                )
                for name in ("loss", "held_out_loss", "divergence")
                if any(name in metrics for _, metrics in tuned.curve)
            },
            xlabel="gradient step",
            title="fine-tuning, nats a token",
        )
        solved = plots.solve_curves(
            {mode.name: list(mode.expansions.values()) for mode in (judged.comparison.first, judged.comparison.second)},
            highest=max(judged.comparison.budgets),
            title=f"{judged.comparison.first.theorems} validation theorems, the policy alone",
        )
        work.run.picture(curves, "fine_tuning")
        work.run.picture(solved, "validation")
        validation = markdown_table(*transposed(solved_table(found["validation"])))
        lines = "\n".join(f"- {line}" for line in paired_lines(found["validation"]))
        return work.result(
            data_version=digest_of([result.fingerprint_after, adopted]),
            metadata={
                "decision": ("adopted: " if adopted else "not adopted: ") + judged.decision.reason,
                "policy_of_the_next_iteration": record.policy or "as configured",
                "validation": dg.MetadataValue.md(f"{validation}\n\n{lines}"),
                "before_and_after": dg.MetadataValue.md(markdown_table(*tuning_table(found))),
                "learnt_from": dg.MetadataValue.md(
                    markdown_table(["iteration", "theorems proved", "steps of their proofs"], tuned.learnt_from)
                ),
                "tactics": dg.MetadataValue.md(markdown_table(["tactic", "steps"], tuned.tactics)),
                "curves": figure(curves, "fine-tuning"),
                "solve_curve": figure(solved, "validation theorems proved, before and after tuning"),
                "method": result.method,
                **numbers,
                "path": dg.MetadataValue.path(
                    str(work.data.root / record.policy if adopted and record.policy else work.iteration.tuned_policy)
                ),
            },
            checks=[
                check(
                    SEPARATION,
                    not result.warnings,
                    "; ".join(result.warnings)
                    or ("too few labelled states to measure" if result.separation_after is None else "kept"),
                    {name: value for name, value in numbers.items() if name.startswith(("centroid", "probe"))},
                ),
                check(
                    UNSEEN,
                    not result.held_out_after > result.held_out_before,
                    f"{result.held_out_before:.3f} nats a token before, {result.held_out_after:.3f} after, on "
                    f"{result.n_held_out} steps of theorems kept back",
                    {name: value for name, value in numbers.items() if name.startswith("held_out")},
                ),
            ],
        )

"""The policy of the next iteration: fine-tuned on the proofs so far, used if validation says so."""

from collections.abc import Sequence

import dagster as dg

from prover.policy.finetune_config import FineTuneConfig
from prover_assets.defs.checks import SEPARATION, UNSEEN, check, iteration_check, tuning_checks
from prover_assets.defs.configs import PolicyTuningConfig
from prover_assets.defs.launchpad import settings_from
from prover_assets.defs.metadata import figure, tuning_numbers, tuning_pictures, tuning_tables
from prover_assets.defs.opening import open_iteration
from prover_assets.defs.partitions import iteration_partitions
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.step import GPU_POOL, GROUP, OWNERS, Step, step
from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate.versions import step_version
from prover_assets.protocols import Update
from prover_assets.steps.history import iterations_until
from prover_assets.steps.judge_policy import TuningSettings, judge
from prover_assets.steps.lessons import LessonSettings
from prover_assets.steps.tune_policy import Tuned, adopt, tune, untunable, write_tuning, write_untuned
from prover_assets.store.files import digest_of
from prover_assets.store.layout import IterationFolder


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
        iteration_check(
            SEPARATION,
            asset="policy_checkpoint",
            description="Tuning left more than half of what tells positive from negative states in the hidden vectors: "
            "of the distance of their means, and of what a linear probe has above chance.",
        ),
        iteration_check(
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
        if reason := untunable(history, policy):
            return _untuned(context, work, policy, reason)
        with work.reporter.stage("tune the policy on proofs") as update:
            tuned = _tune(config, work, history, lean, policy, update)
        result = tuned.result
        with work.reporter.stage("search validation, before and after") as update:
            judged = judge(wanted, work.data, work.iteration, lean, policy, bool(result.warnings), update)
        record = adopt(work.data, work.iteration, judged, policy)
        open_iteration(context, work.data, work.iteration.following.key)
        found = write_tuning(work.iteration, tuned, judged, record)

        numbers = tuning_numbers(tuned, judged)
        curves, solved = tuning_pictures(tuned, judged)
        work.run.curve(tuned.curve)
        work.run.metrics(numbers)
        work.run.summary({f"policy_{name}": numbers[name] for name in ("adopted", "area_before", "area_after")})
        decision = judged.decision
        work.run.tags({"prover.policy_adopted": str(decision.adopted), "prover.reason": decision.reason})
        work.run.artifact(work.iteration.tuning)
        work.run.picture(curves, "fine_tuning")
        work.run.picture(solved, "validation")
        used = decision.adopted and record.policy
        return work.result(
            data_version=digest_of([tuned.result.fingerprint_after, decision.adopted]),
            metadata={
                "decision": ("adopted: " if decision.adopted else "not adopted: ") + decision.reason,
                "policy_of_the_next_iteration": record.policy or "as configured",
                **tuning_tables(found, tuned),
                "curves": figure(curves, "fine-tuning"),
                "solve_curve": figure(solved, "validation theorems proved, before and after tuning"),
                "method": tuned.result.method,
                **numbers,
                "path": dg.MetadataValue.path(str(work.data.root / used if used else work.iteration.tuned_policy)),
            },
            checks=tuning_checks(tuned, numbers),
        )


def _untuned(
    context: dg.AssetExecutionContext, work: Step, policy: PolicyResource, reason: str
) -> dg.MaterializeResult:
    """The loop goes on with the policy that it has, and the page says why."""
    stays = write_untuned(work.data, work.iteration, policy, reason)
    open_iteration(context, work.data, work.iteration.following.key)
    context.log.warning(reason)
    work.run.tags({"prover.policy_adopted": "False", "prover.reason": reason})
    return work.result(
        data_version=digest_of(["not tuned", stays]),
        metadata={"decision": f"not tuned: {reason}", "policy_of_the_next_iteration": stays or "as configured"},
        checks=[check(name, True, "not tuned") for name in (SEPARATION, UNSEEN)],
    )


def _tune(
    config: PolicyTuningConfig,
    work: Step,
    history: Sequence[IterationFolder],
    lean: LeanResource,
    policy: PolicyResource,
    update: Update,
) -> Tuned:
    fitting, lessons = settings_from(config, FineTuneConfig), settings_from(config, LessonSettings)
    start = settings_from(config, TuningSettings).start
    return tune(fitting, start, lessons, work.data, work.iteration, history, lean, policy, update)

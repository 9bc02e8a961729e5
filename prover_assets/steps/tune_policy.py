"""The policy's half of an iteration: tuning it on certified proofs, and what follows from validation's judgement."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from prover.policy.finetune_config import FineTuneConfig
from prover_assets.protocols import LeanSource, PolicySource, Update
from prover_assets.steps.judge_policy import Judged
from prover_assets.steps.lessons import LessonSettings, lessons_of
from prover_assets.steps.train import require_same_policy
from prover_assets.store.files import write_json
from prover_assets.store.layout import DataFolder, IterationFolder
from prover_assets.store.policy import PolicyRecord, policy_of, write_policy

if TYPE_CHECKING:
    from prover.policy.finetune import FineTuneResult


def untunable(history: Sequence[IterationFolder], policy: PolicySource) -> str:
    """Why there is nothing to tune, as a sentence for the page; "" where there is.

    A loop goes on without tuning where the model is behind a server, or where nothing has been proved yet.
    """
    from prover.trajectory import read_summaries

    if policy.is_server:
        return (
            f"the policy is served at {policy.where}: its weights are not here to be tuned. Tune it where they are, or "
            "give resources.policy.path a model folder"
        )
    if not any(read_summaries(folder.trajectories.nodes)["proved"].any() for folder in history):
        searched = ", ".join(folder.key for folder in history)
        return (
            f"no certified proof in the trajectories of {searched}: there is nothing to tune on. Prove something "
            "first, with a larger budget or easier theorems"
        )
    return ""


def write_untuned(data: DataFolder, iteration: IterationFolder, policy: PolicySource, reason: str) -> str | None:
    """Write `policy_tuning.json` of an iteration without tuning; returns the folder of the policy that stays in use."""
    record = policy_of(data, iteration, policy).record
    stays = None if record is None else record.policy
    write_json(iteration.tuning, {"iteration": iteration.key, "adopted": False, "reason": reason, "policy": stays})
    return stays


@dataclass(frozen=True, slots=True)
class Tuned:
    """A tuned policy that has not been judged yet."""

    result: "FineTuneResult"
    curve: list[tuple[int, dict[str, float]]]
    """(optimizer step, loss | divergence | held_out_loss in nats a token)."""
    learnt_from: list[tuple[str, int, int]]
    """(iteration, theorems with a certified proof, steps of their proofs)."""
    tactics: list[tuple[str, int]]
    """The commonest first words of the tactics learnt, with their counts."""
    removed: int = 0
    """Steps of the proofs found that Lean found needless."""
    spared: int = 0
    """Steps of easy theorems that are left out this time."""


def tune(
    config: FineTuneConfig,
    start_from: Literal["configured", "current"],
    wanted: LessonSettings,
    data: DataFolder,
    iteration: IterationFolder,
    history: Sequence[IterationFolder],
    lean: LeanSource,
    policy: PolicySource,
    update: Update,
) -> Tuned:
    """Fine-tune on the certified proofs of `history`, into the iteration's folder.

    start_from: see `TuningSettings.start`. wanted: which steps are learnt. policy: as configured. Where it starts from
    the current policy and `config.replay_share` is above 0, the proofs of earlier iterations are replay.

    Raises FineTuneError where nothing was proved. Ask `untunable` first.
    """
    from prover.policy.finetune import FineTuneError, fine_tune, separation_probe
    from prover.policy.weights import resolve
    from prover.trajectory import read_trajectories
    from prover.trajectory.labels import merge_labels

    now = policy_of(data, iteration, policy).resource
    if not now.is_server:
        require_same_policy(iteration, now.load())  # what validation calls "before" is what the iteration searched with
    start = policy if start_from == "configured" else now
    lessons = lessons_of(history, lean, wanted, update)
    replayed = start_from == "current" and config.replay_share > 0 and bool(lessons.newest)
    steps = lessons.newest if replayed else [*lessons.newest, *lessons.older]
    if not steps:
        searched = ", ".join(folder.key for folder in history)
        raise FineTuneError(
            f"no certified proof in the trajectories of {searched}: there is nothing to tune on. Prove "
            "something first, with a larger budget or easier theorems"
        )
    rows = merge_labels(read_trajectories([folder.trajectories.nodes for folder in history]))
    curve: list[tuple[int, dict[str, float]]] = []

    def keep(step: int, metrics: dict[str, float]) -> None:
        curve.append((step, metrics))
        update(step, config.steps, ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))

    policy.forget()
    result = fine_tune(
        steps,
        resolve(start.where or None),
        iteration.tuned_policy,
        config,
        probe=separation_probe(rows),
        replay=lessons.older if replayed else (),
        name=f"{iteration.key}-tuned",
        device=start.device or None,
        dtype=start.dtype or None,
        template=start.template or None,
        on_metrics=keep,
    )
    words = Counter(step.tactic.split()[0] for step in steps)
    return Tuned(result, curve, lessons.learnt_from, words.most_common(12), lessons.removed, lessons.spared)


def adopt(data: DataFolder, iteration: IterationFolder, judged: Judged, policy: PolicySource) -> PolicyRecord:
    """Record the policy of the next iteration: the tuned one if it was adopted, else the one that validation prefers of
    those before it.

    An adopted policy is moved to `policies/`, where nothing writes to it again.
    """
    decision = judged.decision
    if decision.adopted:
        model = policy.at(iteration.tuned_policy).load()
        target = data.policies / f"{iteration.key}-{model.fingerprint[:8]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # tuned before with the same result, and perhaps in use
            shutil.rmtree(iteration.tuned_policy)
        else:
            iteration.tuned_policy.rename(target)
        policy.forget()
        record = PolicyRecord(
            policy=target.relative_to(data.root).as_posix(),
            encoder_fingerprint=model.encoder_fingerprint,
            configured=policy.identity(),
            tuned_by=iteration.key,
            decided_by=iteration.key,
            reason=decision.reason,
            chance_wrong=decision.chance_wrong,
            gave_up=judged.gave_up,
        )
    else:
        record = _carried_on(judged, iteration, policy)
    write_policy(iteration.following, record)
    return record


def _carried_on(judged: Judged, iteration: IterationFolder, policy: PolicySource) -> PolicyRecord:
    tuned = judged.reference.record if judged.reference.tuned else None
    return PolicyRecord(
        policy=None if tuned is None else tuned.policy,
        encoder_fingerprint=judged.reference.resource.load().encoder_fingerprint,
        configured=policy.identity(),
        tuned_by=None if tuned is None else tuned.tuned_by,
        decided_by=iteration.key,
        reason=judged.decision.reason,
        gave_up=judged.gave_up,
    )


def write_tuning(iteration: IterationFolder, tuned: Tuned, judged: Judged, record: PolicyRecord) -> dict[str, object]:
    """Write `policy_tuning.json`, the numbers of the tuning and the decision, and return them."""
    result = asdict(tuned.result)
    del result["output"]
    content = {
        "iteration": iteration.key,
        "adopted": judged.decision.adopted,
        "reason": judged.decision.reason,
        "policy": record.policy,
        "configured": record.configured,
        "gate": judged.decision.gate,
        "measured_again": judged.measured_again,
        "gave_up": judged.gave_up,
        "tuning": result,
        "curve": [{"step": step, **metrics} for step, metrics in tuned.curve],
        "learnt_from": [
            {"iteration": key, "theorems": theorems, "steps": steps} for key, theorems, steps in tuned.learnt_from
        ],
        "needless_steps_removed": tuned.removed,
        "easy_steps_left_out": tuned.spared,
        "tactics": dict(tuned.tactics),
        "validation": judged.comparison.to_dict(),
        "accepted": dict(judged.accepted),
    }
    write_json(iteration.tuning, content)
    return content

"""The policy's half of an iteration: tuning it on certified proofs, and letting validation theorems judge it."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prover.evaluation.budgets import budgets_up_to
from prover.policy.finetune_config import FineTuneConfig
from prover.search.modes import POLICY_MEAN
from prover.settings import checked, setting
from prover_assets.protocols import LeanSource, PolicySource, Update
from prover_assets.steps.promote import PolicyDecision, decide_policy
from prover_assets.steps.search import note
from prover_assets.steps.theorem_sets import load_written
from prover_assets.steps.train import require_same_policy
from prover_assets.store.files import write_json
from prover_assets.store.layout import DataFolder, IterationFolder
from prover_assets.store.manifest import require_complete
from prover_assets.store.policy import PolicyInUse, PolicyRecord, policy_of, write_policy

if TYPE_CHECKING:
    import polars as pl

    from prover.evaluation.comparison import Comparison
    from prover.policy.finetune import FineTuneResult, ProvedStep

BEFORE, AFTER = "before", "after"
ACCEPTED = ("progress", "complete")


class UntunablePolicyError(ValueError):
    """The policy cannot be tuned from here. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """What is tuned, and whether the next iterations search with the result."""

    start: Literal["configured", "current"] = setting("configured", choices=("configured", "current"))
    """configured: tune the policy as configured, on all proofs so far (errors do not add up). current: tune the one
    that this iteration searched with, which an earlier one may have tuned."""
    validation_expansions: int = setting(32, unit="expansions", ge=2, le=100_000)
    """Budget per validation theorem, before and after."""
    minimum_gain: float = setting(0.01, unit="share", ge=0, le=1)
    """Adopt only if validation's area under the solve curve grows by this much."""
    largest_p: float = setting(0.05, unit="probability", gt=0, le=1)
    """Adopt only if the paired sign test gives at most this p."""
    keep_separation: bool = True
    """Whether a policy is turned down whose vectors lost half of what tells positive from negative."""
    adopt: bool = True
    """Whether a better policy is used by the next iterations, or is only reported."""

    def __post_init__(self) -> None:
        checked(self)


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


@dataclass(frozen=True, slots=True)
class Judged:
    """What validation says: the policy alone, before and after tuning, on the same theorems with the same budget."""

    comparison: "Comparison"
    accepted: Mapping[str, float]
    """Share of the tactics tried that Lean accepts, before and after."""
    tried: Mapping[str, int]
    decision: PolicyDecision


def tune(
    config: FineTuneConfig,
    start_from: Literal["configured", "current"],
    data: DataFolder,
    iteration: IterationFolder,
    history: Sequence[IterationFolder],
    policy: PolicySource,
    update: Update,
) -> Tuned:
    """Fine-tune on the certified proofs of `history`, into the iteration's folder.

    start_from: see `TuningSettings.start`. policy: as configured.

    Raises UntunablePolicyError for a model behind a server, FineTuneError where nothing was proved.
    """
    from prover.policy.finetune import FineTuneError, fine_tune, separation_probe
    from prover.policy.weights import resolve
    from prover.trajectory import read_trajectories
    from prover.trajectory.labels import merge_labels

    now = policy_of(data, iteration, policy).resource
    if not now.is_server:
        require_same_policy(iteration, now.load())  # what validation calls "before" is what the iteration searched with
    start = policy if start_from == "configured" else now
    if start.is_server:
        raise UntunablePolicyError(
            f"the policy is served at {start.where}: its weights are not here to be tuned. Tune it where they are, or "
            "give resources.policy.path a model folder"
        )
    by_iteration = {folder.key: read_trajectories([folder.trajectories.nodes]) for folder in history}
    steps, learnt_from = _steps_of(by_iteration)
    if not steps:
        raise FineTuneError(
            f"no certified proof in the trajectories of {', '.join(by_iteration)}: there is nothing to tune on. Prove "
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
        name=f"{iteration.key}-tuned",
        device=start.device or None,
        dtype=start.dtype or None,
        template=start.template or None,
        on_metrics=keep,
    )
    words = Counter(step.tactic.split()[0] for step in steps)
    return Tuned(result, curve, learnt_from, words.most_common(12))


def _steps_of(rows: Mapping[str, "pl.DataFrame"]) -> tuple[list["ProvedStep"], list[tuple[str, int, int]]]:
    """The steps of all proofs, each once, and how many theorems and steps each iteration gave."""
    from prover.policy.finetune import proved_steps

    found: dict[ProvedStep, None] = {}
    counts = []
    for key, nodes in rows.items():
        steps = proved_steps(nodes)
        counts.append((key, len({step.theorem for step in steps}), len(steps)))
        found |= dict.fromkeys(steps)
    return list(found), counts


def judge(
    config: TuningSettings,
    data: DataFolder,
    iteration: IterationFolder,
    lean: LeanSource,
    policy: PolicySource,
    collapsed: bool,
    update: Update,
) -> Judged:
    """Search the validation theorems with the policy that the iteration has and with the tuned one, and decide.

    Both searches are of the policy alone in its strongest order, with the budget of the config and whatever else the
    iteration's own search was set to; they share the memo. collapsed: what the separation probe found.
    """
    from prover.evaluation.comparison import compare_runs
    from prover.search import SearchConfig, search_to_files

    manifest = require_complete(iteration.trajectories, f"trajectories of {iteration.key}")
    theorems = list(load_written(data, "valid"))
    budget = config.validation_expansions
    settings = {**manifest.settings, "max_expansions": budget, "mode": POLICY_MEAN}
    now = policy_of(data, iteration, policy).resource
    accepted, tried = {}, {}
    with tempfile.TemporaryDirectory(dir=data.root, prefix=".policy-validation-") as folder:
        files = {name: Path(folder) / f"{name}.parquet" for name in (BEFORE, AFTER)}
        for turn, (name, resource) in enumerate(((BEFORE, now), (AFTER, policy.at(iteration.tuned_policy)))):
            policy.forget()  # two large models do not fit beside each other
            with lean.searching(resource, data.root) as place:
                search_to_files(
                    theorems,
                    files[name],
                    place.environment,
                    place.policy,
                    SearchConfig.from_dict(settings),
                    memo=place.memo,
                    searcher=place.searcher,
                    iteration=iteration.number,
                    on_progress=lambda progress, turn=turn, name=name: update(  # type: ignore[misc]
                        turn * progress.theorems + progress.done, 2 * progress.theorems, f"{name}: {note(progress)}"
                    ),
                )
            accepted[name], tried[name] = _accepted(files[name])
        budgets = budgets_up_to(budget)[:-1]
        comparison = compare_runs(
            files[BEFORE], files[AFTER], [*(budgets or [max(1, budget - 1)]), budget], names=(BEFORE, AFTER)
        )
    paired = comparison.paired
    decision = decide_policy(
        area=comparison.second.area,
        old_area=comparison.first.area,
        faster=paired.faster,
        slower=paired.slower,
        p_value=paired.p_value,
        collapsed=collapsed and config.keep_separation,
        minimum_gain=config.minimum_gain,
        largest_p=config.largest_p,
        adopt=config.adopt,
    )
    return Judged(comparison, accepted, tried, decision)


def _accepted(nodes: Path) -> tuple[float, int]:
    """(share of the tactics tried that Lean accepts, tactics tried) of a search."""
    from prover.trajectory import read_attempts

    outcomes = read_attempts(nodes)["outcome"]
    return (float(outcomes.is_in(ACCEPTED).sum() / outcomes.len()) if outcomes.len() else 0.0), outcomes.len()


def adopt(data: DataFolder, iteration: IterationFolder, decision: PolicyDecision, policy: PolicySource) -> PolicyRecord:
    """Record the policy of the next iteration: the tuned one if it was adopted, else the one that this iteration has.

    An adopted policy is moved to `policies/`, where nothing writes to it again.
    """
    now = policy_of(data, iteration, policy)
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
        )
    else:
        record = _carried_on(now, iteration, decision, policy)
    write_policy(iteration.following, record)
    return record


def _carried_on(
    now: PolicyInUse, iteration: IterationFolder, decision: PolicyDecision, policy: PolicySource
) -> PolicyRecord:
    tuned = now.record if now.tuned else None
    return PolicyRecord(
        policy=None if tuned is None else tuned.policy,
        encoder_fingerprint=now.resource.load().encoder_fingerprint,
        configured=policy.identity(),
        tuned_by=None if tuned is None else tuned.tuned_by,
        decided_by=iteration.key,
        reason=decision.reason,
    )


def write_tuning(iteration: IterationFolder, tuned: Tuned, judged: Judged, record: PolicyRecord) -> dict[str, Any]:
    """Write `policy_tuning.json`, the numbers of the tuning and the decision, and return them."""
    result = asdict(tuned.result)
    del result["output"]
    content = {
        "iteration": iteration.key,
        "adopted": judged.decision.adopted,
        "reason": judged.decision.reason,
        "policy": record.policy,
        "tuning": result,
        "curve": [{"step": step, **metrics} for step, metrics in tuned.curve],
        "learnt_from": [
            {"iteration": key, "theorems": theorems, "steps": steps} for key, theorems, steps in tuned.learnt_from
        ],
        "tactics": dict(tuned.tactics),
        "validation": judged.comparison.to_dict(),
        "accepted": dict(judged.accepted),
    }
    write_json(iteration.tuning, content)
    return content

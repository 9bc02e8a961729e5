"""Validation judges a tuned policy: against the one in use, and that one against the one that it replaced."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from prover.evaluation.budgets import budgets_up_to
from prover.evaluation.gate import (
    GateSettings,
    Measured,
    belief_of_all,
    goes_back,
    measure,
    names_digest,
    pass_gate,
)
from prover.json_types import JsonObject
from prover.search.modes import POLICY_MEAN
from prover.settings import checked, setting
from prover_assets.protocols import LeanSource, PolicySource, Update
from prover_assets.steps.promote import PolicyDecision, decide_policy
from prover_assets.steps.search import note
from prover_assets.steps.theorem_sets import load_written, training_window
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder, IterationFolder
from prover_assets.store.manifest import require_complete
from prover_assets.store.policy import PolicyInUse, policy_of

if TYPE_CHECKING:
    from prover.evaluation.comparison import Comparison
    from prover.search.searcher import SearchProgress
    from prover.theorems import Theorem

BEFORE, AFTER, EARLIER = "before", "after", "earlier"
ACCEPTED = ("progress", "complete")


@dataclass(frozen=True)
class TuningSettings(GateSettings):
    """What is tuned, and whether the next iterations search with the result."""

    start: Literal["configured", "current"] = setting("configured", choices=("configured", "current"))
    """configured: tune the policy as configured, on all proofs so far (errors do not add up). current: tune the one
    that this iteration searched with, which an earlier one may have tuned."""
    validation_expansions: int = setting(32, unit="expansions", ge=2, le=100_000)
    """Budget per validation theorem, before and after."""
    validation_theorems: int = setting(120, unit="theorems", ge=1)
    """Most validation theorems per round: the next ones each round, from the start again after the last."""
    measure_again: bool = True
    """Whether an adopted policy is measured again in the next rounds against the one that it replaced, where there are
    theorems that it was not yet measured on."""
    keep_separation: bool = True
    """Whether a policy is turned down whose vectors lost half of what tells positive from negative."""
    adopt: bool = True
    """Whether a better policy is used by the next iterations, or is only reported."""

    def __post_init__(self) -> None:
        checked(self)


@dataclass(frozen=True, slots=True)
class Judged:
    """What validation says: the policy alone, before and after tuning, on the same theorems with the same budget."""

    comparison: "Comparison"
    accepted: Mapping[str, float]
    """Share of the tactics tried that Lean accepts, before and after."""
    tried: Mapping[str, int]
    decision: PolicyDecision
    reference: PolicyInUse
    """What the tuned policy was compared with, and what stays in use if it is turned down: the policy that the
    iteration searched with, or the one before it where that turned out better."""
    measured_again: dict[str, object] | None = None
    """The gain of the policy in use over the one that it replaced, on this round's theorems: policy (folder) and
    measured. None where it was not measured."""
    gave_up: str | None = None
    """Folder of the policy in use that was given up, from the data folder."""


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

    The searches are of the policy alone in its strongest order, with the budget of the config and whatever else the
    iteration's own search was set to; they share the memo. collapsed: what the separation probe found.
    """
    manifest = require_complete(iteration.trajectories, f"trajectories of {iteration.key}")
    theorems = training_window(load_written(data, "valid"), config.validation_theorems, iteration.number, rotate=True)
    budget = config.validation_expansions
    now = policy_of(data, iteration, policy)
    before = replaced_policy(data, now, policy)
    earlier = earlier_measurements(data, iteration, policy.identity())
    again = earlier.of_policy(data, now)
    seen = {found.on for found in again}
    rechecked = config.measure_again and before is not None and names_digest([t.name for t in theorems]) not in seen
    searched: dict[str, PolicySource] = {BEFORE: now.resource, AFTER: policy.at(iteration.tuned_policy)}
    if rechecked and before is not None:
        searched[EARLIER] = before.resource
    # Named so that `remove_leftovers` takes it away if this process is killed.
    with tempfile.TemporaryDirectory(dir=iteration.root, prefix=".policy-validation-", suffix=".tmp") as folder:
        files = {name: Path(folder) / f"{name}.parquet" for name in searched}
        settings = {**manifest.settings, "max_expansions": budget, "mode": POLICY_MEAN}
        _search_all(searched, files, theorems, settings, data, iteration, lean, update)
        recheck, gave_up, reference = None, None, BEFORE
        if EARLIER in files:
            recheck = _compared(files, EARLIER, BEFORE, budget)[1]
            if goes_back([*again, recheck], config):
                gave_up, reference = now.record.policy if now.record else None, EARLIER
        comparison, gain = _compared(files, reference, AFTER, budget)
        accepted, tried = {}, {}
        for name, file in ((BEFORE, files[reference]), (AFTER, files[AFTER])):
            accepted[name], tried[name] = _accepted(file)
    decision = decide_policy(
        pass_gate(gain, earlier.gains, config),
        config,
        faster=comparison.paired.faster,
        slower=comparison.paired.slower,
        collapsed=collapsed and config.keep_separation,
        adopt=config.adopt,
    )
    if gave_up and recheck is not None:
        decision = _with_way_back(decision, gave_up, [*again, recheck], config)
    return Judged(
        comparison=comparison,
        accepted=accepted,
        tried=tried,
        decision=decision,
        reference=before if reference == EARLIER and before is not None else now,
        measured_again=None
        if recheck is None or now.record is None
        else {"policy": now.record.policy, "measured": recheck.to_dict()},
        gave_up=gave_up,
    )


def _compared(files: Mapping[str, Path], first: str, second: str, budget: int) -> "tuple[Comparison, Measured]":
    """Two of the searches, paired by theorem, and the gain of the second over the first."""
    from prover.evaluation.comparison import compare_runs

    asked = budgets_up_to(budget)[:-1] or [max(1, budget - 1)]
    found = compare_runs(files[first], files[second], [*asked, budget], names=(first, second))
    return found, measure(found.first.expansions, found.second.expansions, lowest=min(asked), highest=budget)


def _search_all(
    policies: Mapping[str, PolicySource],
    files: Mapping[str, Path],
    theorems: Sequence["Theorem"],
    settings: JsonObject,
    data: DataFolder,
    iteration: IterationFolder,
    lean: LeanSource,
    update: Update,
) -> None:
    """Search the theorems with each policy alone, one after another: two large models do not fit beside each other."""
    from prover.search import SearchConfig, search_to_files

    for turn, (name, resource) in enumerate(policies.items()):
        resource.forget()

        def progress(found: "SearchProgress", turn: int = turn, name: str = name) -> None:
            done, total = turn * found.theorems + found.done, len(policies) * found.theorems
            update(done, total, f"{name}: {note(found)}")

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
                on_progress=progress,
            )


def _with_way_back(
    decision: PolicyDecision, gave_up: str, measured: Sequence[Measured], config: GateSettings
) -> PolicyDecision:
    belief = belief_of_all(measured, config)
    said = (
        f". {Path(gave_up).name} is given up: measured {len(measured)} times, its gain over the policy before it is "
        f"believed to be {belief.mean:+.3f} ± {belief.deviation:.3f}"
    )
    return replace(decision, reason=decision.reason + said)


def replaced_policy(data: DataFolder, now: PolicyInUse, configured: PolicySource) -> PolicyInUse | None:
    """The policy that the one in use replaced when it was adopted; None for the policy as configured, or where the
    folder of that policy was cleaned away."""
    if now.record is None or now.record.tuned_by is None or not now.tuned:
        return None
    try:
        return policy_of(data, data.iteration(now.record.tuned_by), configured)
    except FileNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier iterations measured on validation."""

    gains: list[Measured]
    """Of each tuned policy over the one in use then, oldest first."""
    tunings: Mapping[str, Measured]
    """The same by iteration."""
    again: list[tuple[str, Measured]]
    """(policy, its gain over the one that it replaced) in the rounds after its adoption."""

    def of_policy(self, data: DataFolder, now: PolicyInUse) -> list[Measured]:
        """The gain of the policy in use over the one that it replaced: at its adoption, and in the rounds since."""
        if now.record is None or now.record.tuned_by is None:
            return []
        first = self.tunings.get(now.record.tuned_by)
        found = [] if first is None else [first]
        return [*found, *(gain for policy, gain in self.again if policy == now.record.policy)]


def earlier_measurements(data: DataFolder, iteration: IterationFolder, configured: str) -> Earlier:
    """From the `policy_tuning.json` of the iterations before, as far as they tuned the same configured policy.

    Files of release 0.1.0 have no paired measurement, and are left out.
    """
    tunings: dict[str, Measured] = {}
    again: list[tuple[str, Measured]] = []
    for other in data.iterations():
        content = read_json(other.tuning) if other.number < iteration.number else None
        if content is None or content.get("configured") != configured:
            continue
        if (gate := content.get("gate")) is not None:
            tunings[other.key] = Measured.from_dict(gate["measured"])
        if (found := content.get("measured_again")) is not None:
            again.append((found["policy"], Measured.from_dict(found["measured"])))
    return Earlier(list(tunings.values()), tunings, again)


def _accepted(nodes: Path) -> tuple[float, int]:
    """(share of the tactics tried that Lean accepts, tactics tried) of a search."""
    from prover.trajectory import read_attempts

    outcomes = read_attempts(nodes)["outcome"]
    return (float(outcomes.is_in(ACCEPTED).sum() / outcomes.len()) if outcomes.len() else 0.0), outcomes.len()

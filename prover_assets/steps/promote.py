"""Promotion: the rules that decide which energy model and which policy the next iteration gets, and what follows."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from prover.evaluation.gate import GateSettings, GateVerdict, Measured, belief_of_all, goes_back, pass_gate
from prover.settings import setting
from prover_assets.store.champion import ChampionRecord, Evidence, evidence_of, write_champion
from prover_assets.store.layout import DataFolder, IterationFolder


@dataclass(frozen=True)
class PromotionSettings(GateSettings):
    """When an energy model becomes the champion."""

    minimum_gain: float = setting(0.01, unit="share", ge=0, le=1)
    """The gain of validation's area over the policy alone that counts as better. A random energy moves the area by
    about 0.01."""
    promote: bool = True
    """Whether a better model becomes the champion, or is only reported."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an energy model becomes the champion."""

    promoted: bool
    reason: str
    """One sentence for people."""
    chance_wrong: float | None = None
    """Chance that the model is no better than the policy alone; None where the evidence does not say."""
    gate: Mapping[str, object] | None = None
    """The evidence in numbers (`GateVerdict.to_dict`)."""
    champion_given_up: bool = False
    """Whether the champion that there was is left, because later rounds found it worse than the policy alone."""


def decide(
    new: Evidence, champion: ChampionRecord, settings: PromotionSettings, past: Sequence[Measured] = ()
) -> Decision:
    """Promote when the model is probably better than the policy alone, and no worse than the champion.

    past: gains over the policy alone of the models of earlier rounds. Evidence without paired measurements (of release
    0.1.0) is judged by its areas.
    """
    if new.gain is None:
        return _decide_by_areas(new, champion, settings)
    verdict = pass_gate(Measured.from_dict(new.gain), past, settings)
    measured = f"validation, {new.words} against the policy alone: {verdict.words}"
    given_up, note = _champion_fails(new, champion, settings)

    def decided(promoted: bool, reason: str) -> Decision:
        return Decision(promoted, f"{reason} ({measured}){note}", verdict.chance_wrong, verdict.to_dict(), given_up)

    if not settings.promote:
        return decided(False, "promotion is switched off")
    if new.policy_alone:
        return decided(False, "validation chose beta = 0, the policy alone")
    if verdict.vetoed:
        return decided(False, "on these theorems alone it is significantly worse than the policy alone")
    if not verdict.passed:
        least = f"a gain above {settings.minimum_gain:g} has probability {verdict.probability:.0%}"
        return decided(False, f"{least}, below {settings.least_probability:.0%}")
    if new.over_champion is not None and not given_up:
        better = pass_gate(Measured.from_dict(new.over_champion), (), settings)
        if better.belief.mean < 0:
            return decided(
                False, f"the champion of {champion.decided_by} stays: the new model against it {better.words}"
            )
    return decided(True, f"gain of {verdict.measured.gain:+.3f} on validation")


def _champion_fails(new: Evidence, champion: ChampionRecord, settings: PromotionSettings) -> tuple[bool, str]:
    """Whether the champion has turned out worse than the policy alone, with a sentence; else (False, "")."""
    found = gains_of_champion(new, champion)
    if not settings.promote or not goes_back(found, settings):
        return False, ""
    belief = belief_of_all(found, settings)
    return True, (
        f". The champion of {champion.decided_by} is given up: measured {len(found)} times, its gain over the policy "
        f"alone is believed to be {belief.mean:+.3f} ± {belief.deviation:.3f}"
    )


def gains_of_champion(new: Evidence, champion: ChampionRecord) -> list[Measured]:
    """The champion's gain over the policy alone, as it was promoted and in every later round, this one last."""
    first = None if champion.evidence is None else champion.evidence.gain
    found = [first, *champion.measured_again, new.champion_gain]
    return [Measured.from_dict(content) for content in found if content is not None]


def _decide_by_areas(new: Evidence, champion: ChampionRecord, settings: PromotionSettings) -> Decision:
    """The rule of release 0.1.0, for a checkpoint whose validation was not written down theorem by theorem."""
    gain = new.area - new.policy_area
    measured = f"validation area {new.area:.3f} at {new.words}, {new.policy_area:.3f} with the policy alone"
    if not settings.promote:
        return Decision(False, f"promotion is switched off ({measured})")
    if new.policy_alone:
        return Decision(False, f"validation chose beta = 0, the policy alone ({measured})")
    if gain < settings.minimum_gain:
        least = settings.minimum_gain
        return Decision(False, f"the gain of {gain:+.3f} is below the least that counts, {least:.3f} ({measured})")
    old = champion.evidence
    if old is not None and old.conditions == new.conditions and new.area < old.area:
        return Decision(
            False, f"the champion of {champion.decided_by} stays: its validation area is {old.area:.3f} ({measured})"
        )
    return Decision(True, f"gain of {gain:+.3f} on validation ({measured})")


def earlier_gains(data: DataFolder, iteration: IterationFolder) -> list[Measured]:
    """Gains over the policy alone that the energy models of earlier iterations had on validation, oldest first.

    Only those whose order is not the policy itself: a gain that is 0 by construction is no measurement.
    """
    found = []
    for other in data.iterations():
        if other.number < iteration.number and other.evidence.exists():
            evidence = evidence_of(other)
            if evidence.gain is not None and not evidence.policy_alone:
                found.append(Measured.from_dict(evidence.gain))
    return found


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """Whether a tuned policy is used by the next iterations."""

    adopted: bool
    reason: str
    """One sentence for people."""
    chance_wrong: float | None = None
    """Chance that the tuned policy is no better than the one that it replaces."""
    gate: Mapping[str, object] | None = None
    """The evidence in numbers (`GateVerdict.to_dict`)."""


def decide_policy(
    verdict: GateVerdict, settings: GateSettings, *, faster: int, slower: int, collapsed: bool, adopt: bool = True
) -> PolicyDecision:
    """Adopt when the tuned policy probably searches better on its own, and this round's theorems do not say otherwise.

    verdict: of the gate, on the credits of the validation theorems. faster, slower: theorems that the tuned policy
    proves in fewer or more expansions. collapsed: whether tuning has cost half of the separation of the hidden vectors.
    """
    measured = f"validation: {verdict.words}; {faster} theorems in fewer expansions, {slower} in more"

    def decided(adopted: bool, reason: str) -> PolicyDecision:
        return PolicyDecision(adopted, f"{reason} ({measured})", verdict.chance_wrong, verdict.to_dict())

    if not adopt:
        return decided(False, "adoption is switched off")
    if collapsed:
        return decided(False, "tuning cost half of what tells positive from negative states in its vectors")
    if verdict.vetoed:
        return decided(False, "on these theorems alone it is significantly worse than the policy before tuning")
    if not verdict.passed:
        least = f"a gain above {settings.minimum_gain:g} has probability {verdict.probability:.0%}"
        return decided(False, f"{least}, below {settings.least_probability:.0%}")
    return decided(True, f"gain of {verdict.measured.gain:+.3f} on validation")


def crown(
    data: DataFolder, iteration: IterationFolder, decision: Decision, evidence: Evidence, old: ChampionRecord
) -> ChampionRecord:
    """Record the champion of the next iteration: this iteration's model if promoted, else the old one carried on.

    A champion that was given up, and that nothing replaces, leaves the policy alone. The data folder's own champion
    (`champion.json`, what `--ebm-path champion` means) follows the newest report only: running an old iteration again
    does not undo what later ones decided.
    """
    from ebm.champion import CHAMPION_FILE, promote

    following = data.iteration(iteration.number + 1)
    newest = not any(other.number > iteration.number and other.report_file.exists() for other in data.iterations())
    if decision.promoted:
        kept = keep_checkpoint(data, iteration, evidence.ebm_id)
        place = os.fspath(kept.relative_to(data.root))
        record = ChampionRecord(
            evidence.ebm_id, place, iteration.key, decision.reason, evidence, chance_wrong=decision.chance_wrong
        )
        if newest:
            promote(data.root, kept, iteration=iteration.number, evidence=asdict(evidence))
    elif decision.champion_given_up:
        record = ChampionRecord(None, None, iteration.key, decision.reason)
        if newest:
            (data.root / CHAMPION_FILE).unlink(missing_ok=True)
    else:
        again = () if evidence.champion_gain is None else (evidence.champion_gain,)
        record = replace(old, reason=decision.reason, measured_again=(*old.measured_again, *again))
    write_champion(following, record)
    return record


def keep_checkpoint(data: DataFolder, iteration: IterationFolder, ebm_id: str) -> Path:
    """Copy an iteration's checkpoint to `champions/`, whole or not at all."""
    target = data.champions / ebm_id
    temporary = data.champions / f".{ebm_id}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(iteration.checkpoint, temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    return target

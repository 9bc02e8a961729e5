"""Promotion: the rules that decide which energy model and which policy the next iteration gets, and what follows."""

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from prover.settings import setting
from prover_assets.store.champion import ChampionRecord, Evidence, write_champion
from prover_assets.store.layout import DataFolder, IterationFolder


@dataclass(frozen=True, slots=True)
class PromotionSettings:
    """When an energy model becomes the champion."""

    minimum_gain: float = setting(0.01, unit="share", ge=0, le=1)
    """Promote only if validation's area under the solve curve grows by this much. A random energy moves it by about
    0.01."""
    promote: bool = True
    """Whether a better model becomes the champion, or is only reported."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an energy model becomes the champion."""

    promoted: bool
    reason: str
    """One sentence for people."""


def decide(new: Evidence, champion: ChampionRecord, settings: PromotionSettings) -> Decision:
    """Promote when validation says that guidance helps, and helps no less than the champion's does."""
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


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """Whether a tuned policy is used by the next iterations."""

    adopted: bool
    reason: str
    """One sentence for people."""


def decide_policy(
    *,
    area: float,
    old_area: float,
    faster: int,
    slower: int,
    p_value: float,
    collapsed: bool,
    minimum_gain: float,
    largest_p: float,
    adopt: bool = True,
) -> PolicyDecision:
    """Adopt when validation says that the tuned policy searches better on its own, beyond chance.

    area, old_area: under the solve curve of the validation theorems, in [0, 1]. faster, slower: theorems that the tuned
    policy proves in fewer or more expansions; p_value: of the sign test on them. collapsed: whether tuning has cost
    half of the separation of the hidden vectors.
    """
    gain = area - old_area
    measured = (
        f"validation area {area:.3f}, {old_area:.3f} before tuning; {faster} theorems in fewer expansions, {slower} in "
        f"more, sign test p = {p_value:.3g}"
    )
    if not adopt:
        return PolicyDecision(False, f"adoption is switched off ({measured})")
    if collapsed:
        return PolicyDecision(
            False, f"tuning cost half of what tells positive from negative states in its vectors ({measured})"
        )
    if gain < minimum_gain:
        return PolicyDecision(
            False, f"the gain of {gain:+.3f} is below the least that counts, {minimum_gain:.3f} ({measured})"
        )
    if faster <= slower or p_value > largest_p:
        return PolicyDecision(False, f"the gain of {gain:+.3f} may be chance: p is above {largest_p:g} ({measured})")
    return PolicyDecision(True, f"gain of {gain:+.3f} on validation ({measured})")


def crown(
    data: DataFolder, iteration: IterationFolder, decision: Decision, evidence: Evidence, old: ChampionRecord
) -> ChampionRecord:
    """Record the champion of the next iteration: this iteration's model if promoted, else the old one carried on.

    The data folder's own champion (`champion.json`, what `--ebm-path champion` means) follows the newest report only:
    running an old iteration again does not undo what later ones decided.
    """
    following = data.iteration(iteration.number + 1)
    newest = not any(other.number > iteration.number and other.report_file.exists() for other in data.iterations())
    if decision.promoted:
        kept = keep_checkpoint(data, iteration, evidence.ebm_id)
        record = ChampionRecord(
            evidence.ebm_id, os.fspath(kept.relative_to(data.root)), iteration.key, decision.reason, evidence
        )
        if newest:
            from ebm.champion import promote

            promote(data.root, kept, iteration=iteration.number, evidence=asdict(evidence))
    else:
        record = ChampionRecord(old.ebm_id, old.checkpoint, old.decided_by, decision.reason, old.evidence)
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

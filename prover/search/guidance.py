"""The order of the frontier: how a node's log-probability and its energy become one priority.

Signs: log-prob (nats) higher is better; ENERGY lower is better; SCORE = -energy higher is better; PRIORITY higher is
expanded first.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Protocol, Self, runtime_checkable

import numpy as np

from prover.search import modes
from prover.search.config import SearchConfig, SearchConfigError
from prover.search.modes import CALIBRATED_ORDERS, MIX, MODES, POLICY_MEAN


class ScoreError(ValueError):
    """A scorer gave something that cannot order a frontier. The message says whose score it is and what to do."""


@runtime_checkable
class ValueScorer(Protocol):
    """Scores proof states; the energy model is one (`ebm.inference.EBMScorer`)."""

    def score_state(self, state: str) -> float:
        """SCORE (= -energy) of one state text: higher is better."""
        ...

    def score_states(self, states: Sequence[str]) -> np.ndarray:
        """SCOREs, (n,) float64, in order; higher is better."""
        ...


@dataclass(frozen=True, slots=True)
class MixingCalibration:
    """Scales of the two signals on training rows, and the order chosen on validation theorems.

    | order | priority of a node in `calibrated` search |
    |---|---|
    | mix | (cumulative log-prob / depth) / sigma_log_prob - beta * (energy - mu_energy) / sigma_energy |
    | policy-mean | cumulative log-prob / depth: validation preferred the policy alone |
    | rank-mix | the sum of its ranks among the open nodes, by policy-mean and by energy |
    | remaining-nats | cumulative log-prob - nats_per_step * steps to go |
    | remaining-steps | -(depth + steps to go) |
    | energy-only | -energy |

    steps to go = steps_at_zero + steps_per_energy * energy, at least 0: A* search (Hart, Nilsson, Raphael 1968), whose
    estimate is learnt, so no proof is promised to be the shortest. A mix with beta = 0 is policy-mean too.
    """

    mu_energy: float
    sigma_energy: float
    sigma_log_prob: float
    beta: float
    """Weight of the mix."""
    order: str = MIX
    """One of `prover.search.modes.CALIBRATED_ORDERS`."""
    steps_at_zero: float = 0.0
    """Tactics to go at energy 0."""
    steps_per_energy: float = 1.0
    """Tactics to go that one unit of energy adds."""
    nats_per_step: float = 1.0
    """Mean of -log-prob per tactic on paths to proofs, nats."""
    measures_distance: bool = False
    """Whether steps to go were fitted to the energy; if not, the energy itself is read as steps to go."""

    @property
    def reads_energy(self) -> bool:
        """Whether energies decide anything in the order chosen."""
        return self.order != modes.POLICY_MEAN and not (self.order == MIX and self.beta == 0)

    def steps_to_go(self, energy: float) -> float:
        """Tactics that are still expected, from an energy (lower is better); at least 0."""
        return max(0.0, self.steps_at_zero + self.steps_per_energy * energy)

    def fault(self) -> str | None:
        """What makes it useless, as `NAME is VALUE; it must be ...`; None where nothing does."""
        if self.order not in CALIBRATED_ORDERS:
            return f"order is {self.order!r}; it must be one of {', '.join(CALIBRATED_ORDERS)}"
        for name in ("sigma_energy", "sigma_log_prob", "steps_per_energy", "nats_per_step"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                return f"{name} is {value}; it must be finite and above 0"
        for name in ("mu_energy", "steps_at_zero"):
            if not math.isfinite(getattr(self, name)):
                return f"{name} is {getattr(self, name)}; it must be finite"
        if not (math.isfinite(self.beta) and self.beta >= 0):
            return f"beta is {self.beta}; it must be finite and at least 0"
        return None


class CompleteScorer:
    """A scorer with a default for each member that it lacks. Made by `as_scorer`; calls go to the scorer behind it."""

    calibration: MixingCalibration | None
    """The energy's scale and weight; default None: the scorer has none of its own."""
    ebm_id: str | None
    """Which energy model scores, for rows and reports; default None: not known."""

    def __init__(self, scorer: ValueScorer) -> None:
        self.scorer = scorer
        self.calibration = getattr(scorer, "calibration", None)
        self.ebm_id = getattr(scorer, "ebm_id", None)

    def score_state(self, state: str) -> float:
        """See `ValueScorer.score_state`."""
        return self.scorer.score_state(state)

    def score_states(self, states: Sequence[str]) -> np.ndarray:
        """See `ValueScorer.score_states`."""
        return self.scorer.score_states(states)


def as_scorer(scorer: ValueScorer) -> CompleteScorer:
    """The scorer with all optional members; what is complete already comes back as it is."""
    return scorer if isinstance(scorer, CompleteScorer) else CompleteScorer(scorer)


def own_calibration(scorer: ValueScorer | None) -> MixingCalibration | None:
    """The calibration that a scorer brings with it, if there is a scorer and it has one."""
    return None if scorer is None else as_scorer(scorer).calibration


@dataclass(frozen=True, slots=True)
class Guidance:
    """The priority of a node in each queue of the frontier.

    | order | priority |
    |---|---|
    | policy-cumulative | sum of the path's log-probs |
    | policy-mean | sum / depth: log-prob per step, so long proofs are not punished for their length |
    | energy-only | SCORE = -energy |
    | calibrated | the mix of `MixingCalibration` |
    | random-energy | the mix, the energy drawn from N(mu_energy, sigma_energy) by seed and state key (control) |
    | remaining-steps, remaining-nats | see `MixingCalibration` |
    | raw-half-half | sum / 2 + SCORE / 2, unscaled (kept for comparison; the scales do not match) |
    | breadth-first | -depth |

    `calibrated` search goes by the order that its calibration names. `split-queue` keeps two queues, the mix and
    `policy-mean`, and pops from them in turn; `rank-mix` keeps `policy-mean` and `energy-only`, and adds up ranks.
    `random-energy` goes by the calibration's order with energies drawn at random.
    """

    mode: str
    """The mode in force (`calibrated` without a scorer is `policy-mean`)."""
    orders: tuple[str, ...]
    """One order per queue; pops go round, unless `ranked`."""
    calibration: MixingCalibration | None
    seed: int
    note: str = ""
    """What a person should know about how the mode was resolved; empty if it is just what was asked."""
    ranked: bool = False
    """Whether the node is popped whose ranks in the queues add up to the least."""

    @classmethod
    def resolve(cls, config: SearchConfig, *, has_scorer: bool, calibration: MixingCalibration | None = None) -> Self:
        """The guidance that `config` asks for, given what there is; `SearchConfigError` when it cannot be had."""
        mode, note = MODES[config.mode], ""
        if mode.needs_scorer and not has_scorer:
            if mode.without_scorer is None:
                raise SearchConfigError(
                    f"search.mode is {mode.name!r}, which needs an energy model; give one, or use {POLICY_MEAN!r}"
                )
            note = f"mode {mode.name}: there is no energy model, so the order is {mode.without_scorer}"
            mode = MODES[mode.without_scorer]
        orders, ranked = mode.orders, mode.ranked
        if mode.needs_scale:
            if calibration is None:
                raise SearchConfigError(
                    f"search.mode is {mode.name!r}, which needs the energy's scale, but there is no calibration; "
                    "calibrate the checkpoint, or use 'policy-mean', 'energy-only' or 'raw-half-half'"
                )
            if config.beta is not None or mode.name == modes.SPLIT_QUEUE:
                beta = calibration.beta if config.beta is None else config.beta
                calibration = replace(calibration, beta=beta, order=MIX)
            if fault := calibration.fault():
                raise SearchConfigError(f"the calibration's {fault}")
            if mode.name in (modes.CALIBRATED, modes.RANDOM_ENERGY) and calibration.order != MIX:
                chosen = MODES[calibration.order]
                orders, ranked = chosen.orders, chosen.ranked
                note = f"mode {mode.name}: validation chose the order {chosen.name}"
            if mode.name not in (modes.REMAINING_STEPS, modes.REMAINING_NATS) and not calibration.reads_energy:
                note = f"mode {mode.name}: beta is 0 (validation preferred the policy alone), so energies are not used"
        return cls(mode.name, orders, calibration, config.seed, note, ranked)

    @property
    def needs_scores(self) -> bool:
        """Whether new nodes have to be scored by the scorer."""
        return self.mode != modes.RANDOM_ENERGY and any(self._reads_score(order) for order in self.orders)

    def priorities(self, *, log_prob: float, depth: int, score: float | None, key: str) -> tuple[float, ...]:
        """One priority per queue, higher is expanded first.

        log_prob: cumulative, nats. depth: tactics from the root. score: SCORE of the state, None where
        `needs_scores` is false. key: the state's key, which the random-energy control draws from.
        """
        if self.mode == modes.RANDOM_ENERGY:
            scale = self.calibration
            assert scale is not None
            score = -(scale.mu_energy + scale.sigma_energy * standard_normal(self.seed, key))
        return tuple(self._priority(order, log_prob, depth, score) for order in self.orders)

    def _reads_score(self, order: str) -> bool:
        if order in (modes.CALIBRATED, modes.RANDOM_ENERGY):
            return self.calibration is not None and self.calibration.beta > 0
        return order in (modes.ENERGY_ONLY, modes.RAW_HALF_HALF, modes.REMAINING_STEPS, modes.REMAINING_NATS)

    def _priority(self, order: str, log_prob: float, depth: int, score: float | None) -> float:
        mean = log_prob / max(depth, 1)
        match order:
            case modes.POLICY_MEAN:
                return mean
            case modes.POLICY_CUMULATIVE:
                return log_prob
            case modes.BREADTH_FIRST:
                return -float(depth)
            case modes.ENERGY_ONLY:
                return _present(score)
            case modes.RAW_HALF_HALF:
                return 0.5 * log_prob + 0.5 * _present(score)
        scale = self.calibration
        assert scale is not None, f"no formula for order {order!r}"
        match order:
            case modes.CALIBRATED | modes.RANDOM_ENERGY:
                if scale.beta == 0:
                    return mean / scale.sigma_log_prob
                z = (-_present(score) - scale.mu_energy) / scale.sigma_energy
                return mean / scale.sigma_log_prob - scale.beta * z
            case modes.REMAINING_STEPS:
                return -(depth + scale.steps_to_go(-_present(score)))
            case modes.REMAINING_NATS:
                return log_prob - scale.nats_per_step * scale.steps_to_go(-_present(score))
        raise AssertionError(f"no formula for order {order!r}")


def standard_normal(seed: int, key: str) -> float:
    """A draw from N(0, 1) that depends on nothing but `seed` and `key`."""
    digest = hashlib.blake2b(f"random-energy/1\n{seed}\n{key}".encode(), digest_size=8).digest()
    return NormalDist().inv_cdf((int.from_bytes(digest, "big") + 0.5) / 2.0**64)


def _present(score: float | None) -> float:
    if score is None:
        raise AssertionError("a node that needs a score has none")
    return score

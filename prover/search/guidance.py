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
from prover.search.modes import MODES, POLICY_MEAN


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
    """Scales of the two signals on training rows, and the weight chosen on validation theorems.

    priority = (cumulative log-prob / depth) / sigma_log_prob - beta * (energy - mu_energy) / sigma_energy
    beta = 0 means that validation preferred the policy alone.
    """

    mu_energy: float
    sigma_energy: float
    sigma_log_prob: float
    beta: float


@dataclass(frozen=True, slots=True)
class Guidance:
    """The priority of a node in each queue of the frontier.

    | order | priority |
    |---|---|
    | policy-cumulative | sum of the path's log-probs |
    | policy-mean | sum / depth: log-prob per step, so long proofs are not punished for their length |
    | energy-only | SCORE = -energy |
    | calibrated | see `MixingCalibration` |
    | random-energy | calibrated, the energy drawn from N(mu_energy, sigma_energy) by seed and state key (control) |
    | raw-half-half | sum / 2 + SCORE / 2, unscaled (kept for comparison; the scales do not match) |
    | breadth-first | -depth |

    `split-queue` keeps two queues, `calibrated` and `policy-mean`, and pops from them in turn.
    """

    mode: str
    """The mode in force (`calibrated` without a scorer is `policy-mean`)."""
    orders: tuple[str, ...]
    """One order a queue; pops go round."""
    calibration: MixingCalibration | None
    seed: int
    note: str = ""
    """What a person should know about how the mode was resolved; empty if it is just what was asked."""

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
        if mode.needs_scale:
            if calibration is None:
                raise SearchConfigError(
                    f"search.mode is {mode.name!r}, which needs the energy's scale, but there is no calibration; "
                    "calibrate the checkpoint, or use 'policy-mean', 'energy-only' or 'raw-half-half'"
                )
            for name in ("sigma_energy", "sigma_log_prob"):
                value = getattr(calibration, name)
                if not (math.isfinite(value) and value > 0):
                    raise SearchConfigError(f"the calibration's {name} is {value}; it must be finite and above 0")
            if config.beta is not None:
                calibration = replace(calibration, beta=config.beta)
            if not math.isfinite(calibration.mu_energy):
                raise SearchConfigError(f"the calibration's mu_energy is {calibration.mu_energy}; it must be finite")
            if not (math.isfinite(calibration.beta) and calibration.beta >= 0):
                raise SearchConfigError(f"the weight beta is {calibration.beta}; it must be finite and at least 0")
            if calibration.beta == 0:
                note = f"mode {mode.name}: beta is 0 (validation preferred the policy alone), so energies are not used"
        return cls(mode=mode.name, orders=mode.orders, calibration=calibration, seed=config.seed, note=note)

    @property
    def needs_scores(self) -> bool:
        """Whether new nodes have to be scored by the scorer."""
        mode = MODES[self.mode]
        if mode.needs_scale and mode.needs_scorer:
            assert self.calibration is not None
            return self.calibration.beta > 0
        return mode.needs_scorer

    def priorities(self, *, log_prob: float, depth: int, score: float | None, key: str) -> tuple[float, ...]:
        """One priority a queue, higher is expanded first.

        log_prob: cumulative, nats. depth: tactics from the root. score: SCORE of the state, None where
        `needs_scores` is false. key: the state's key, which the random-energy control draws from.
        """
        return tuple(self._priority(order, log_prob, depth, score, key) for order in self.orders)

    def _priority(self, order: str, log_prob: float, depth: int, score: float | None, key: str) -> float:
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
            case modes.CALIBRATED | modes.RANDOM_ENERGY:
                scale = self.calibration
                assert scale is not None
                if scale.beta == 0:
                    return mean / scale.sigma_log_prob
                if order == modes.RANDOM_ENERGY:
                    z = standard_normal(self.seed, key)
                else:
                    z = (-_present(score) - scale.mu_energy) / scale.sigma_energy
                return mean / scale.sigma_log_prob - scale.beta * z
        raise AssertionError(f"no formula for order {order!r}")


def standard_normal(seed: int, key: str) -> float:
    """A draw from N(0, 1) that depends on nothing but `seed` and `key`."""
    digest = hashlib.blake2b(f"random-energy/1\n{seed}\n{key}".encode(), digest_size=8).digest()
    return NormalDist().inv_cdf((int.from_bytes(digest, "big") + 0.5) / 2.0**64)


def _present(score: float | None) -> float:
    if score is None:
        raise AssertionError("a node that needs a score has none")
    return score

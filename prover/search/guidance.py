"""The order of the frontier: how a node's log-probability and its energy become one priority.

Signs: log-prob (nats) higher is better; ENERGY lower is better; SCORE = -energy higher is better; PRIORITY higher is
expanded first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


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

"""How the weight of the energy is chosen. Needs no numpy: orchestration reads the defaults from here."""

from dataclasses import dataclass

from prover.search.modes import CALIBRATED_ORDERS, MIX
from prover.settings import faults_of, setting

BETAS: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Weights that validation tries first; it doubles the largest for as long as that is the best."""
LARGEST_BETA = 32.0
"""Where doubling ends: beyond it the mix is hardly another order than the energy alone."""


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """How the order of guided search, and the weight beta of its energy, are chosen on validation theorems."""

    calibration_expansions: int = setting(32, unit="expansions", ge=2)
    """Budget per validation theorem while the weight is chosen."""
    betas: tuple[float, ...] = setting(BETAS, unit="ratio")
    """Candidate weights of the energy against the log-probability. 0 must be among them: it is the policy alone."""
    widen: bool = True
    """Whether the largest weight is doubled while it is the best, up to 32."""
    orders: tuple[str, ...] = setting(CALIBRATED_ORDERS)
    """Orders to choose among: `mix` (the weights above), `rank-mix`, `remaining-nats`, `remaining-steps`,
    `energy-only`. `policy-mean` is the mix of weight 0. Each costs a search of the validation theorems."""

    def __post_init__(self) -> None:
        faults = faults_of(self)
        if 0 not in self.betas or min(self.betas) < 0:
            faults.append(
                "betas are weights of 0 or more, and 0 (the policy alone) is among them: it is what they must beat"
            )
        if MIX not in self.orders or not set(self.orders) <= set(CALIBRATED_ORDERS):
            faults.append(
                f"orders are {', '.join(self.orders)}; choose from {', '.join(CALIBRATED_ORDERS)}, {MIX} among them"
            )
        if faults:
            raise ValueError("; ".join(faults))

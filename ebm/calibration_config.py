"""How the weight of the energy is chosen. Needs no numpy: orchestration reads the defaults from here."""

from dataclasses import dataclass

from prover.settings import faults_of, setting

BETAS: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Weights that validation chooses from."""


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """How the weight beta of the energy is chosen on validation theorems."""

    calibration_expansions: int = setting(32, unit="expansions", ge=2)
    """Budget per validation theorem while the weight is chosen."""
    betas: tuple[float, ...] = setting(BETAS, unit="ratio")
    """Candidate weights of the energy against the log-probability. 0 must be among them: it is the policy alone."""

    def __post_init__(self) -> None:
        faults = faults_of(self)
        if 0 not in self.betas or min(self.betas) < 0:
            faults.append(
                "betas are weights of 0 or more, and 0 (the policy alone) is among them: it is what they must beat"
            )
        if faults:
            raise ValueError("; ".join(faults))

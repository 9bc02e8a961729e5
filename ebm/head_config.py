"""The shape of an energy head. Needs no torch: orchestration reads the defaults from here."""

from dataclasses import asdict, dataclass, fields
from typing import Literal

from prover.json_types import JsonObject
from prover.settings import checked, setting

PowerIteration = Literal["persistent", "fresh"]


@dataclass(frozen=True, slots=True)
class EnergyHeadConfig:
    """Shape of an `EnergyHead`. About 2.2M parameters at 4096 -> 512 -> 256 -> 1."""

    d_encoder: int
    """Width of an embedding: hidden size of the policy times the parts of its pooling."""
    d_hidden1: int = setting(512, unit="units", ge=1)
    """Width of the first hidden layer."""
    d_hidden2: int = setting(256, unit="units", ge=1)
    """Width of the second hidden layer."""
    dropout: float = setting(0.1, unit="probability", ge=0, lt=1)
    """Probability of dropping a hidden unit, in training mode."""
    n_power_iterations: int = setting(5, unit="count", ge=1)
    """Power iterations per forward pass of a spectrally normalised layer, in training mode."""
    power_iteration: PowerIteration = setting("persistent", choices=("persistent", "fresh"))
    """Where a power iteration starts: see `SpectralNormLinearConfig.power_iteration`."""

    n_bins: int = setting(0, unit="bins", ge=0)
    """0: the output is the energy. N: the output is a distribution over N bins of steps to QED, the last for `never`,
    and its mean is the energy. For the training objective `distance`."""

    def __post_init__(self) -> None:
        if self.d_encoder < 1:
            raise ValueError(f"EnergyHeadConfig.d_encoder must be at least 1, got {self.d_encoder}")
        checked(self)
        if self.n_bins == 1:
            raise ValueError("EnergyHeadConfig.n_bins is 1; a distribution needs 2 bins, and 0 means none")

    def to_dict(self) -> dict[str, object]:
        """Plain values, accepted by `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> "EnergyHeadConfig":
        """From plain values. Raises ValueError on an unknown name."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown head configuration {unknown}; known: {sorted(known)}")
        return cls(**values)

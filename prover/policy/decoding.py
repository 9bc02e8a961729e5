"""How a policy makes candidates: beam search or sampling, and the lengths that it keeps to."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class DecodingConfig:
    """How candidates are made. Part of the policy's fingerprint."""

    method: Literal["beam", "sample"] = "beam"
    """beam: the likeliest tactics, deterministic. sample: drawn without replacement, by `seed` and the state alone."""
    width: int | None = None
    """Beams a state; None: as many as candidates are asked for."""
    max_tactic_tokens: int = 48
    """A longer tactic is given up."""
    max_prompt_tokens: int | None = None
    """A longer prompt loses its oldest hypotheses, whole lines at a time, until it fits, and is counted. None: what the
    model's context leaves beside `max_tactic_tokens`."""
    max_encoding_tokens: int = 2048
    """A longer state is encoded by its first tokens: the main goal comes first."""
    temperature: float = 1.0
    """For `sample`: log-probabilities are divided by it before drawing; reported log-probs are the model's own."""
    seed: int = 0
    """For `sample`."""

    def __post_init__(self) -> None:
        if self.method not in ("beam", "sample"):
            raise ValueError(f"decoding method {self.method!r} is not known; expected 'beam' or 'sample'")
        for name in ("max_tactic_tokens", "max_prompt_tokens", "max_encoding_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")
        if self.temperature <= 0:
            raise ValueError(f"temperature = {self.temperature} must be above 0; for no randomness use method='beam'")

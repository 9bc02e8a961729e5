"""What fine-tuning a policy is given: its settings, and the steps of proofs that it learns."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ProvedStep:
    """A tactic of a certified proof, at the state where it was used."""

    theorem: str
    state: str
    tactic: str


@dataclass(frozen=True, slots=True)
class FineTuneConfig:
    """How a policy is tuned."""

    method: Literal["auto", "full", "lora"] = "auto"
    """auto: full up to 100M parameters, else LoRA."""
    steps: int = 300
    """Optimizer steps; fewer when `epochs` are over before."""
    epochs: float = 4.0
    """Most passes over the steps of proofs."""
    batch_size: int = 32
    """Steps of proofs an optimizer step."""
    learning_rate: float = 3e-4
    """Peak; warm-up over a tenth of the steps, then a cosine to zero."""
    weight_decay: float = 0.01
    anchor_weight: float = 0.2
    """Weight of the divergence (nats a token) from the policy as it was, on the same texts: it keeps what was learnt
    before, in the tactics and in the vectors. 0 = none."""
    replay_share: float = 0.0
    """Share of every batch that is drawn from `replay`, the older steps given to `fine_tune`, if there are any."""
    deduplicate: bool = True
    """Whether a step that reads and says the same as another, in canonical names, is learnt once only: else the
    commonest steps of the search have the most weight, and they are the ones that the policy knows best."""
    held_out_share: float = 0.1
    """Share of the theorems, by a hash of their names, whose steps are kept back to measure the loss on; 0 = none."""
    grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    lora_rank: int = 16
    lora_alpha: int = 32
    max_tokens: int = 1024
    """Longer examples are left out."""
    seed: int = 0
    log_interval: int = 20
    """Steps between calls of `on_metrics`."""

    def __post_init__(self) -> None:
        if self.method not in ("auto", "full", "lora"):
            raise ValueError(f"method {self.method!r} is not known; expected auto, full or lora")
        for name in ("steps", "epochs", "batch_size", "learning_rate", "lora_rank"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be above 0")
        if self.anchor_weight < 0:
            raise ValueError(f"anchor_weight = {self.anchor_weight} must not be negative")
        for name in ("replay_share", "held_out_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must lie in [0, 1)")

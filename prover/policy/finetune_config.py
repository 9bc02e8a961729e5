"""What fine-tuning a policy is given: its settings, and the steps of proofs that it learns."""

from dataclasses import dataclass
from typing import Literal

from prover.settings import checked, setting


@dataclass(frozen=True, slots=True)
class ProvedStep:
    """A tactic of a certified proof, at the state where it was used."""

    theorem: str
    state: str
    tactic: str


@dataclass(frozen=True, slots=True)
class FineTuneConfig:
    """How a policy is tuned."""

    method: Literal["auto", "full", "lora"] = setting("auto", choices=("auto", "full", "lora"))
    """Tune all weights, or LoRA adapters (extra [lora]). auto: LoRA above 100M weights."""
    steps: int = setting(300, unit="steps", ge=1)
    """Most optimizer steps; fewer when `epochs` are over before."""
    epochs: float = setting(4.0, unit="count", gt=0)
    """Most passes over the steps of proofs."""
    batch_size: int = setting(32, unit="steps of proofs", ge=1)
    """Steps of proofs per optimizer step."""
    learning_rate: float = setting(3e-4, unit="per step", gt=0)
    """Peak learning rate of AdamW; warm-up over a tenth of the steps, then a cosine to zero."""
    weight_decay: float = setting(0.01, unit="ratio", ge=0)
    """Weight decay of AdamW."""
    anchor_weight: float = setting(0.5, unit="ratio", ge=0)
    """Weight of the divergence (nats per token) from the policy as it was, on the same texts: it keeps what was learnt
    before, in the tactics and in the vectors. 0 = none."""
    replay_share: float = setting(0.0, unit="share", ge=0, lt=1)
    """Share of what is learnt that is drawn from `replay`, the older steps given to `fine_tune`, if there are any."""
    deduplicate: bool = True
    """Whether a step that reads and says the same as another, in canonical names, is learnt once only: else the
    commonest steps of the search have the most weight, and they are the ones that the policy knows best."""
    held_out_share: float = setting(0.1, unit="share", ge=0, lt=1)
    """Share of the theorems, by a hash of their names, whose steps are kept back to measure the loss on; 0 = none."""
    grad_norm: float = setting(1.0, unit="norm", gt=0)
    """Gradients are clipped to this norm."""
    lora_rank: int = setting(16, unit="dimensions", ge=1)
    """Rank of LoRA adapters."""
    lora_alpha: int = setting(32, unit="ratio", ge=1)
    """Scale of LoRA adapters, over the rank."""
    max_tokens: int = setting(1024, unit="tokens", ge=8)
    """Longer examples are left out."""
    seed: int = setting(0, ge=0)
    """Seed of the order of steps and of new adapters."""
    log_interval: int = setting(20, unit="steps", ge=1)
    """Steps between calls of `on_metrics`."""

    def __post_init__(self) -> None:
        checked(self)

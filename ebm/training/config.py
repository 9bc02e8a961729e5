"""Training settings and the learning-rate schedule. Needs no torch: orchestration reads the defaults from here."""

import math
from dataclasses import asdict, dataclass, fields

from prover.json_types import JsonObject
from prover.settings import checked, nearest, setting

BALANCES: tuple[str, ...] = ("theorem", "state", "sqrt")
"""Ways to draw positives over theorems; `EBMTrainingConfig.balance` explains them."""

OBJECTIVES: tuple[str, ...] = ("infonce", "margin", "distance")
"""What a head can be trained for; `EBMTrainingConfig.objective` explains them."""
DISTANCE_BINS = 64
"""Bins of a head for the objective `distance`, unless its configuration says another number."""

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class EBMTrainingConfig:
    """How an energy head is trained, sized for a 7B encoder.

    `EBMTrainingConfig.specification()` is the first specification to the letter. The defaults differ from it in these
    fields, and only in these:

    - `temperature_lr_scale` 10, not 1: weights of norm 1 cannot widen the energies, the temperature alone can, and at
      the weights' learning rate a short run ends before it has.
    - `temperature_weight_decay` 0, not .01: decay pulls the temperature towards 1, which is no better than another.
    - `valid_fraction` .1, not 0, and `early_stop_patience` 10, not 0: held-out theorems choose which evaluation's head
      is kept, and end a run that only overfits any more.
    - `keep_checkpoints` 0, not -1: ten checkpoints of a 4096-wide head take 260 MB, and a finished run needs none.
    """

    lr: float = setting(1e-4, unit="per step", gt=0)
    """Peak learning rate of AdamW."""
    weight_decay: float = setting(0.01, unit="ratio", ge=0)
    """Weight decay of weights and biases."""
    temperature_weight_decay: float = setting(0.0, unit="ratio", ge=0)
    """Weight decay of log_temperature."""
    temperature_lr_scale: float = setting(10.0, unit="ratio", gt=0)
    """Learning rate of log_temperature as a multiple of `lr`: spectral normalisation fixes the scale of the energies,
    and only the temperature can change it."""
    max_grad_norm: float = setting(1.0, unit="norm", gt=0)
    """Largest norm of the whole gradient; larger ones are scaled down to it."""
    total_steps: int = setting(50_000, unit="steps", ge=1)
    """Gradient steps of a whole run."""
    warmup_steps: int = setting(1_000, unit="steps", ge=0)
    """Steps of linear warm-up before the cosine. A run of no more steps than this warms up over a tenth of itself."""
    batch_size: int = setting(32, unit="positives", ge=1)
    """Positives per training step."""
    k_negatives: int = setting(4, unit="count", ge=1)
    """Negatives of each positive."""
    hard_ratio: float = setting(0.5, unit="share", ge=0, le=1)
    """Share of negatives that are dead ends of the positive's theorem, siblings first."""
    medium_ratio: float = setting(0.3, unit="share", ge=0, le=1)
    """Share of negatives that lead to a proof of the theorem, but are farther from QED than the positive: its siblings
    first, then any. Dead ends fill up where there are too few."""
    easy_ratio: float = setting(0.2, unit="share", ge=0, le=1)
    """Share of negatives from other theorems."""
    balance: str = setting("theorem", choices=BALANCES)
    """How positives are drawn, one of `BALANCES`. `theorem`: a theorem uniformly, then one of its positives. `state`:
    uniformly over all positives, so a theorem with many counts more. `sqrt`: theorems by the root of their positives.
    """
    objective: str = setting("infonce", choices=OBJECTIVES)
    """What is learnt beside the depth loss. `infonce`: positives below their negatives, softly. `margin`: each positive
    below each of its negatives by `margin`. `distance`: a distribution over steps to QED, with cross-entropy; it needs
    a head with bins, and there is no depth loss."""
    margin: float = setting(1.0, unit="energy", gt=0)
    """Of the objective `margin`."""
    depth_loss_weight: float = setting(0.3, unit="ratio", ge=0)
    """Weight of the depth loss beside the contrastive one."""
    standardise_inputs: bool = True
    """Centre and scale each feature with statistics of the training states, kept in the checkpoint."""
    log_interval: int = setting(50, unit="steps", ge=1)
    """Steps between metrics; each is over all examples since the last."""
    checkpoint_interval: int = setting(5_000, unit="steps", ge=1)
    """Steps between checkpoints."""
    keep_checkpoints: int = setting(0, unit="count", ge=-1)
    """Checkpoints of steps that stay in `checkpoints/` when the run has ended: the last so many, or -1 for all. While
    the run goes on, the last two are always there, for resuming."""
    valid_fraction: float = setting(0.1, unit="share", ge=0, lt=1)
    """Share of the theorems that training from files holds out for evaluation and early stopping; 0 for none."""
    eval_interval: int = setting(0, unit="steps", ge=0)
    """Steps between evaluations on the held-out theorems, where there are any; 0 means a twentieth of `total_steps`,
    500 at most."""
    early_stop_patience: int = setting(10, unit="evaluations", ge=0)
    """Evaluations without a lower held-out contrastive loss before training stops; 0 never stops early."""
    valid_examples: int = setting(512, unit="positives", ge=1)
    """Held-out positives per evaluation; the same ones each time."""
    seed: int = setting(0, ge=0)
    """Seed of initialisation, sampling and dropout."""
    memory_limit_gib: float = setting(1.0, unit="GiB", ge=0)
    """Features up to this size are held in memory; larger tables are read through memory-mapped files."""
    matmul_dtype: str = setting("float32", choices=("float32", "bfloat16"))
    """Precision of the matrix products of a training step. `bfloat16` is twice as fast as `float32` where the processor
    has instructions for it (AVX512-BF16, AMX, GPUs since Ampere). Weights and scoring stay in float32."""
    cuda_graph: bool = False
    """Capture the training step as a CUDA graph (CUDA devices only): launches cost small heads more than the work."""

    def __post_init__(self) -> None:
        checked(self)
        shares = (self.hard_ratio, self.medium_ratio, self.easy_ratio)
        if not min(shares) >= 0 or not abs(sum(shares) - 1) <= 1e-6:
            raise ValueError(
                "EBMTrainingConfig.hard_ratio, medium_ratio and easy_ratio must not be negative and add up to 1, got "
                f"{', '.join(f'{share:g}' for share in shares)} (sum {sum(shares):g}): change the others along"
            )

    @classmethod
    def specification(cls, **changes: bool | int | float | str) -> "EBMTrainingConfig":
        """The first specification to the letter, with `changes` on top, e.g. `total_steps`.

        AdamW with one learning rate and one weight decay for all parameters, theorems drawn uniformly, no held-out
        theorems, no early stopping, and every checkpoint kept.
        """
        values = {
            "temperature_lr_scale": 1.0,
            "temperature_weight_decay": 0.01,
            "balance": "theorem",
            "valid_fraction": 0.0,
            "early_stop_patience": 0,
            "keep_checkpoints": -1,
        }
        return cls.from_dict({**values, **changes})

    @property
    def steps_between_evaluations(self) -> int:
        """`eval_interval`, or what stands for 0."""
        return self.eval_interval or min(500, max(1, self.total_steps // 20))

    def to_dict(self) -> dict[str, object]:
        """Plain values, accepted by `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> "EBMTrainingConfig":
        """From parsed JSON. Raises ValueError for an unknown setting or a value of another type; both are named."""
        known = {field.name: type(field.default) for field in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"unknown training setting {name!r}; {nearest(name, known)}")
            kind = known[name]
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise ValueError(f"training setting {name!r} is {value!r}; expected {_WORDS[kind]}")
        return cls(**values)


def learning_rate_at(step: int, config: EBMTrainingConfig) -> float:
    """Learning rate of training step 0, 1, ... total_steps - 1: linear warm-up to `lr`, then a cosine to 0.

    Step s of the warm-up has lr (s + 1) / warmup_steps, so its last step, and the first after it, have `lr`.
    """
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    warmup = config.warmup_steps if config.warmup_steps < config.total_steps else config.total_steps // 10
    if step < warmup:
        return config.lr * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / (config.total_steps - warmup))
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * progress))

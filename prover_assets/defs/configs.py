"""What can be set in the Launchpad: one Config a asset; every field has a default, a unit and bounds.

Dagster refuses unknown keys and wrong types before a run starts; `prover_assets.operate.preflight` looks at bounds, and
at what settings say together, in the first step of a run. No `from __future__ import annotations` here: Dagster reads
the types at import.
"""

from collections.abc import Mapping
from typing import Literal

import dagster as dg
from pydantic import Field, field_validator, model_validator

SearchMode = Literal[
    "calibrated",
    "policy-mean",
    "policy-cumulative",
    "energy-only",
    "raw-half-half",
    "random-energy",
    "breadth-first",
    "split-queue",
]


class TheoremsConfig(dg.Config):
    """Which theorems are searched to learn from, which choose the settings, and which are held out for the report."""

    train: str = Field(
        default="propositional:train",
        description="Theorems to learn from: a shipped set, or a JSON, JSONL or Parquet file; SET:SPLIT for one split.",
    )
    valid: str = Field(default="propositional:valid", description="Theorems that choose the guidance weight: as train.")
    test: str = Field(default="propositional:test", description="Held-out theorems, for the report alone: as train.")
    valid_limit: int = Field(default=40, ge=1, description="At most this many validation theorems (count).")
    test_limit: int = Field(default=60, ge=1, description="At most this many held-out theorems (count).")


class SearchConfig(dg.Config):
    """Best-first search, per theorem. Expansion = one state read by the policy and its tactics tried in Lean."""

    max_expansions: int = Field(default=32, ge=1, le=100_000, description="Budget per theorem (expansions).")
    n_candidates: int = Field(default=8, ge=1, le=256, description="Tactics proposed per state (count).")
    max_depth: int = Field(default=64, ge=1, le=10_000, description="Longest tactic script (tactics).")
    time_limit_s: float = Field(default=300.0, gt=0, description="Wall-clock limit per theorem (seconds).")
    mode: SearchMode = Field(
        default="calibrated",
        description="Order of the frontier. `calibrated` is policy-mean while there is no energy model.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the random-energy control.")
    probe_tactics: list[str] = Field(
        default=[],
        description='Tactics tried at every state besides the policy\'s own, e.g. ["simp_all"] (off: one automatic '
        "tactic closes most of the demonstration's theorems, and leaves nothing to search).",
    )
    wave_size: int = Field(default=64, ge=1, description="Theorems searched side by side in a cohort (count).")
    fill_wave_to: int = Field(
        default=0, ge=0, description="Work ahead while a wave has fewer expansions than this (count); 0 never."
    )
    cohorts: int = Field(
        default=2, ge=1, le=64, description="Groups of theorems that take turns between the policy and Lean (count)."
    )


class TrajectoriesConfig(SearchConfig):
    """Search of the training theorems."""

    n_theorems: int = Field(default=240, ge=1, description="Training theorems searched in an iteration (count).")
    rotate: bool = Field(
        default=True,
        description="Whether each iteration takes the next `n_theorems` of the training set, from the start again "
        "after the last, instead of the same ones every time.",
    )


class HeldOutConfig(SearchConfig):
    """Search of the held-out theorems with the policy alone: what the guided search is measured against."""

    max_expansions: int = Field(default=64, ge=1, le=100_000, description="Budget per theorem (expansions).")
    mode: Literal["policy-mean", "policy-cumulative", "breadth-first"] = Field(
        default="policy-mean",
        description="Order of the frontier. policy-mean (log-probability per step) is the strongest without an energy.",
    )


class GuidedConfig(dg.Config):
    """Search of the held-out theorems with the new energy model. Budget, candidates, limits: as the baseline had."""

    random_control: bool = Field(
        default=True,
        description="Whether to search once more with a random energy in the same formula: the noise floor.",
    )
    head_seeds: int = Field(
        default=2,
        ge=1,
        le=20,
        description="Energy models measured in all (count), alike but for the seed: the report shows the spread.",
    )


class EmbeddingsConfig(dg.Config):
    """Hidden vectors of the states that the cache lacks."""

    batch_size: int = Field(default=32, ge=1, le=4096, description="States encoded at once (count).")


class TrainingConfig(dg.Config):
    """The energy model and its calibration. Defaults suit the small demonstration, not the 4096-wide original."""

    total_steps: int = Field(default=1200, ge=1, le=10_000_000, description="Gradient steps (count).")
    batch_size: int = Field(default=64, ge=1, le=65_536, description="Positives per step (count).")
    lr: float = Field(default=1e-3, gt=0, le=1, description="Peak learning rate (AdamW).")
    warmup_steps: int = Field(default=100, ge=0, description="Linear warm-up (steps).")
    k_negatives: int = Field(default=4, ge=1, le=256, description="Negatives per positive (count).")
    hard_ratio: float = Field(default=0.5, ge=0, le=1, description="Negatives that are dead ends nearby (share).")
    medium_ratio: float = Field(default=0.3, ge=0, le=1, description="Negatives farther from the end (share).")
    easy_ratio: float = Field(default=0.2, ge=0, le=1, description="Negatives from other theorems (share).")
    depth_loss_weight: float = Field(default=0.3, ge=0, description="Weight of the depth loss (ratio).")
    d_hidden1: int = Field(default=256, ge=1, description="Width of the first hidden layer (units).")
    d_hidden2: int = Field(default=128, ge=1, description="Width of the second hidden layer (units).")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout (share of units).")
    valid_fraction: float = Field(
        default=0.1, ge=0, lt=1, description="Training theorems held out to stop early (share)."
    )
    seed: int = Field(default=0, ge=0, description="Seed of initialisation, sampling and dropout.")
    history: int = Field(
        default=0, ge=0, description="Train on this many of the latest iterations (count); 0 means on all so far."
    )
    calibration_expansions: int = Field(
        default=32, ge=1, description="Budget per validation theorem while the weight is chosen (expansions)."
    )
    betas: list[float] = Field(
        default=[0.0, 0.25, 0.5, 1.0, 2.0],
        description="Candidate weights of the energy against the log-probability; 0 must be among them.",
    )

    @field_validator("betas")
    @classmethod
    def _has_zero(cls, betas: list[float]) -> list[float]:
        if 0 not in betas or min(betas) < 0:
            raise ValueError("weights are 0 or more, and 0 (the policy alone) is among them: it is what they must beat")
        return betas

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainingConfig":
        shares = (self.hard_ratio, self.medium_ratio, self.easy_ratio)
        if abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"hard_ratio, medium_ratio and easy_ratio add up to 1, not to {sum(shares):g}")
        if self.warmup_steps > self.total_steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) is at most total_steps ({self.total_steps})")
        return self


class ReportConfig(dg.Config):
    """The comparison and the promotion."""

    budgets: list[int] = Field(
        default=[4, 8, 16, 32, 64], description="Budgets at which solved theorems are counted (expansions)."
    )

    @field_validator("budgets")
    @classmethod
    def _are_counts(cls, budgets: list[int]) -> list[int]:
        if not budgets or min(budgets) < 1:
            raise ValueError("give at least one budget; a budget is 1 expansion or more")
        return budgets

    minimum_gain: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Promote only if validation's area under the solve curve grows by this much (share, 0 to 1). "
        "A random energy moves it by about 0.01.",
    )
    promote: bool = Field(default=True, description="Whether a better model becomes the champion, or is only reported.")


class PolicyTuningConfig(dg.Config):
    """Fine-tuning of the policy on certified proofs, and whether the next iterations search with the result."""

    start: Literal["configured", "current"] = Field(
        default="configured",
        description="Tune the policy as configured, on all proofs so far (errors do not add up), or the one that this "
        "iteration searched with, which an earlier one may have tuned.",
    )
    method: Literal["auto", "full", "lora"] = Field(
        default="auto", description="Tune all weights, or LoRA adapters (extra [lora]). auto: LoRA above 100M weights."
    )
    steps: int = Field(default=600, ge=1, le=1_000_000, description="Most gradient steps (count).")
    epochs: float = Field(default=8.0, gt=0, le=1000, description="Most passes over the steps of proofs (count).")
    batch_size: int = Field(default=32, ge=1, le=65_536, description="Steps of proofs per gradient step (count).")
    learning_rate: float = Field(
        default=1e-3, gt=0, le=1, description="Peak learning rate (AdamW). Large models want 1e-4 or less."
    )
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="Weight decay (AdamW, ratio).")
    anchor_weight: float = Field(
        default=0.2, ge=0, description="Weight of the divergence from the policy as it was (ratio); 0 lets it drift."
    )
    deduplicate: bool = Field(
        default=True, description="Whether steps that read and say the same in canonical names are learnt once."
    )
    held_out_share: float = Field(
        default=0.1, ge=0, lt=1, description="Proved theorems kept back to measure the loss on (share)."
    )
    lora_rank: int = Field(default=16, ge=1, le=1024, description="Rank of LoRA adapters (dimensions).")
    lora_alpha: int = Field(default=32, ge=1, le=4096, description="Scale of LoRA adapters (ratio, over the rank).")
    max_tokens: int = Field(default=1024, ge=8, description="Longer steps are left out (tokens).")
    seed: int = Field(default=0, ge=0, description="Seed of the order of steps and of new adapters.")
    validation_expansions: int = Field(
        default=32, ge=2, le=100_000, description="Budget per validation theorem, before and after (expansions)."
    )
    minimum_gain: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Adopt only if validation's area under the solve curve grows by this much (share, 0 to 1).",
    )
    largest_p: float = Field(
        default=0.05, gt=0, le=1, description="Adopt only if the paired sign test gives at most this p (probability)."
    )
    keep_separation: bool = Field(
        default=True,
        description="Whether a policy is turned down whose vectors lost half of what tells positive from negative.",
    )
    adopt: bool = Field(
        default=True, description="Whether a better policy is used by the next iterations, or is only reported."
    )


BY_ASSET: Mapping[str, type[dg.Config]] = {
    "theorems": TheoremsConfig,
    "baseline_trajectories": HeldOutConfig,
    "trajectories": TrajectoriesConfig,
    "state_embeddings": EmbeddingsConfig,
    "ebm_checkpoint": TrainingConfig,
    "guided_trajectories": GuidedConfig,
    "iteration_report": ReportConfig,
    "policy_checkpoint": PolicyTuningConfig,
}
"""The settings of each asset, for `prover_assets.operate.preflight`."""

"""How training goes: energies of positives and negatives, and what they warn of. ENERGY: lower is better."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from torch import Tensor

from prover.files import write_atomic
from prover.parquet import ParquetDamaged, read_table, write_sealed

Split = Literal["train", "valid"]


@dataclass(frozen=True, slots=True)
class EBMMetrics:
    """Figures of a stretch of training, or of one evaluation."""

    loss: float
    """contrastive_loss + depth_loss_weight * depth_loss."""
    contrastive_loss: float
    """InfoNCE, nats; ln(K + 1) is what a head that knows nothing has."""
    depth_loss: float
    energy_gap: float
    """neg_energy_mean - pos_energy_mean: should be positive and grow."""
    pos_energy_mean: float
    neg_energy_mean: float
    rank_accuracy: float
    """Share of examples whose positive has a strictly lower energy than all its negatives."""
    energy_std: float
    """Standard deviation of all energies: near 0, they say nothing."""
    depth_correlation: float | None = None
    """Spearman's correlation of a positive's energy with its remaining depth, over known depths; None below two."""
    learning_rate: float | None = None
    grad_norm: float | None = None
    """Mean norm of the gradient before clipping."""
    temperature: float | None = None
    n_examples: int = 0
    split: Split = "train"

    @classmethod
    def compute(
        cls,
        pos_energy: Tensor | np.ndarray,
        neg_energies: Tensor | np.ndarray,
        contrastive_loss: float,
        depth_loss: float,
        total_loss: float,
        *,
        remaining_depth: Tensor | np.ndarray | None = None,
        learning_rate: float | None = None,
        grad_norm: float | None = None,
        temperature: float | None = None,
        split: Split = "train",
    ) -> "EBMMetrics":
        """From energies (B,) of positives and (B, K) of their negatives; `remaining_depth` (B,), -1 unknown."""
        positive, negative = _array(pos_energy), _array(neg_energies)
        if positive.ndim != 1 or negative.ndim != 2 or len(positive) != len(negative) or not negative.size:
            raise ValueError(f"expected energies (B,) and (B, K), got {positive.shape} and {negative.shape}")
        pos_mean, neg_mean = float(positive.mean()), float(negative.mean())
        return cls(
            loss=float(total_loss),
            contrastive_loss=float(contrastive_loss),
            depth_loss=float(depth_loss),
            energy_gap=neg_mean - pos_mean,
            pos_energy_mean=pos_mean,
            neg_energy_mean=neg_mean,
            rank_accuracy=float((positive < negative.min(axis=1)).mean()),
            energy_std=float(np.concatenate([positive, negative.ravel()]).std()),
            depth_correlation=None if remaining_depth is None else depth_correlation(positive, _array(remaining_depth)),
            learning_rate=learning_rate,
            grad_norm=grad_norm,
            temperature=temperature,
            n_examples=len(positive),
            split=split,
        )

    def health_check(self) -> list[str]:
        """Warnings, each at most once; none when training is healthy. docs/energy-model.md says what to do."""
        warnings = []
        if not math.isfinite(self.loss):
            warnings.append(f"training diverged: the loss is {self.loss}")
        if self.energy_std < 0.1:
            warnings.append(
                f"possible mode collapse: the energies' standard deviation is {self.energy_std:.3f} (< 0.1)"
            )
        if self.energy_gap < 0.0:
            warnings.append(
                f"negatives have lower energy than positives: the energy gap is {self.energy_gap:.3f} (< 0)"
            )
        if self.rank_accuracy > 0.95 and self.contrastive_loss > 0.5:
            warnings.append(
                f"negatives may be too easy: rank accuracy {self.rank_accuracy:.2f} (> 0.95) with a contrastive loss "
                f"of {self.contrastive_loss:.2f} (> 0.5)"
            )
        if self.pos_energy_mean > 0 and self.neg_energy_mean < 0:
            warnings.append(
                f"energy polarity inverted: positives average {self.pos_energy_mean:.3f} (> 0), "
                f"negatives {self.neg_energy_mean:.3f} (< 0)"
            )
        return warnings

    def display(self) -> str:
        """The figures in one line, for progress bars and logs."""
        return (
            f"loss={self.loss:.4f} gap={self.energy_gap:.2f} rank={self.rank_accuracy:.2f} "
            f"pos_e={self.pos_energy_mean:.2f} neg_e={self.neg_energy_mean:.2f} std={self.energy_std:.2f}"
        )

    def __str__(self) -> str:
        return self.display()


def depth_correlation(energy: np.ndarray, remaining_depth: np.ndarray) -> float | None:
    """Spearman's rank correlation over known depths (>= 0), ties by average rank; None where it is not defined.

    Positive when states farther from QED have a higher energy, which is what is wanted.
    """
    known = remaining_depth >= 0
    if known.sum() < 2:
        return None
    ranks = [pl.Series(values[known]).rank("average").to_numpy() for values in (energy, remaining_depth)]
    deviations = [rank - rank.mean() for rank in ranks]
    norm = math.sqrt(float(np.square(deviations[0]).sum() * np.square(deviations[1]).sum()))
    return float((deviations[0] * deviations[1]).sum()) / norm if norm > 0 else None


@dataclass(slots=True)
class MetricsHistory:
    """(training step, metrics) in order; steps count from 1 and are those completed."""

    history: list[tuple[int, EBMMetrics]] = field(default_factory=list)

    def push(self, step: int, metrics: EBMMetrics) -> None:
        """Append the metrics of a training step."""
        self.history.append((step, metrics))

    def last(self, split: Split = "train") -> EBMMetrics | None:
        """The latest metrics of a split; None if there are none."""
        return next((metrics for _, metrics in reversed(self.history) if metrics.split == split), None)

    def of_split(self, split: Split) -> list[tuple[int, EBMMetrics]]:
        """(training step, metrics) of a split, in order."""
        return [(step, metrics) for step, metrics in self.history if metrics.split == split]

    def is_improving(self, window: int) -> bool:
        """Whether the energy gap rises over the last `window` training entries (slope of the least-squares line)."""
        if window < 2:
            raise ValueError(f"a trend needs a window of at least 2 entries, got {window}")
        gaps = np.array([metrics.energy_gap for _, metrics in self.of_split("train")[-window:]])
        if len(gaps) < 2:
            return False
        steps = np.arange(len(gaps)) - (len(gaps) - 1) / 2
        return bool((steps * gaps).sum() > 0)

    def to_frame(self) -> pl.DataFrame:
        """One row per entry: the training step and every field of `EBMMetrics`."""
        kinds: dict[str, type[pl.DataType]] = {"split": pl.String, "n_examples": pl.Int64}
        schema = {"step": pl.Int64} | {f.name: kinds.get(f.name, pl.Float64) for f in fields(EBMMetrics)}
        return pl.DataFrame([{"step": step, **asdict(metrics)} for step, metrics in self.history], schema=schema)

    def write_parquet(self, path: str | Path) -> None:
        """One row per entry, written atomically."""
        table = self.to_frame().to_arrow()
        write_atomic(Path(path), lambda temporary: write_sealed(temporary, [table], table.schema))

    @classmethod
    def read_parquet(cls, path: str | Path) -> "MetricsHistory":
        """The history in a file. Raises ValueError that names a damaged one, FileNotFoundError for a missing one."""
        try:
            rows = read_table(Path(path)).to_pylist()
            return cls([(row.pop("step"), EBMMetrics(**row)) for row in rows])
        except (ParquetDamaged, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged: {error}; train again without resuming") from error

    def __len__(self) -> int:
        return len(self.history)

    def __iter__(self) -> Iterator[tuple[int, EBMMetrics]]:
        return iter(self.history)


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    return (values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)).astype(np.float64)

"""Contrastive examples: a positive state against K states that are farther from QED.

Everything is index arrays: a batch is drawn with a few NumPy calls, whatever its size, and names states by their row
in the index (`ebm.training.index`).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self, TypedDict, Unpack

import numpy as np

from ebm.training.config import BALANCES, EBMTrainingConfig
from ebm.training.index import NEVER, ContrastiveIndex
from ebm.training.records import ProofStateRecord, TrainingDataError, load_records_from_parquet

__all__ = [
    "NEVER",
    "ContrastiveIndex",
    "ContrastiveSample",
    "ContrastiveSampler",
    "Draw",
    "NegativeKind",
    "ProofStateRecord",
    "load_records_from_parquet",
]

_REDRAWS = 2
"""Rounds in which negatives that repeat within an example are drawn again; then the next candidate is taken, K times
over. What still repeats comes from a pool that is too small."""


class NegativeKind(IntEnum):
    """Where a negative was drawn from."""

    HARD = 0
    """A dead end of the positive's theorem: a sibling of the positive while there are any, then any other."""
    MEDIUM = 1
    """A state of the positive's theorem that leads to a proof, but is farther from QED: a sibling off the positive's
    path while there are any, then any other farther positive. Dead ends pad what is still missing."""
    EASY = 2
    """A dead end of another theorem."""


@dataclass(frozen=True, slots=True)
class ContrastiveSample:
    """One example, as records."""

    positive: ProofStateRecord
    negatives: list[ProofStateRecord]
    """K records."""
    remaining_depth: int
    """Of the positive: shortest known over all its records; -1 unknown."""
    kinds: list[NegativeKind]
    """Where each negative was drawn from."""


@dataclass(frozen=True, slots=True)
class Draw:
    """n examples, as rows of the index."""

    positives: np.ndarray
    """(n,) int64."""
    negatives: np.ndarray
    """(n, K) int64."""
    remaining_depth: np.ndarray
    """(n,) int32 of the positives, steps to QED; -1 unknown."""
    kinds: np.ndarray
    """(n, K) int8 `NegativeKind`s."""

    @property
    def rows(self) -> np.ndarray:
        """(n, 1 + K): each positive, then its negatives."""
        return np.concatenate([self.positives[:, None], self.negatives], axis=1)


class SamplerSettings(TypedDict, total=False):
    """What `ContrastiveSampler` takes beside the index."""

    k_negatives: int
    hard_ratio: float
    medium_ratio: float
    easy_ratio: float
    seed: int
    balance: str


class ContrastiveSampler:
    """Draws positives with K negatives each, mixed hard, medium and easy in fixed proportions.

    How positives are drawn from the eligible theorems' distinct positive states is `balance` (see
    `EBMTrainingConfig.balance`). The kinds of an example's negatives are drawn systematically (one uniform offset, K
    equidistant points), so that the proportions hold over examples although .5 / .3 / .2 does not divide 4. A kind
    without candidates falls back to the next harder one.

    A draw is a function of (seed, stream) alone: a resumed run draws what an uninterrupted one would.
    """

    def __init__(
        self,
        index: ContrastiveIndex,
        k_negatives: int = 4,
        hard_ratio: float = 0.5,
        medium_ratio: float = 0.3,
        easy_ratio: float = 0.2,
        seed: int = 0,
        balance: str = "theorem",
    ) -> None:
        ratios = (hard_ratio, medium_ratio, easy_ratio)
        if k_negatives < 1:
            raise ValueError(f"k_negatives must be at least 1, got {k_negatives}")
        if min(ratios) < 0 or abs(sum(ratios) - 1.0) > 1e-6:
            raise ValueError(
                f"hard, medium and easy ratios must be non-negative and add up to 1, got {ratios} (sum {sum(ratios):g})"
            )
        if balance not in BALANCES:
            raise ValueError(f"balance must be one of {', '.join(BALANCES)}, got {balance!r}")
        if not len(index.anchors):
            raise no_examples_error(len(index), len(index.positives), len(index.negatives))
        self.index = index
        self.k_negatives = k_negatives
        self.ratios = ratios
        self.seed = seed
        self.balance = balance
        self._cumulative = np.cumsum(_anchor_weights(index, balance))
        self._stream = 0
        if easy_ratio > 0 and not index.easy_count.any():
            warnings.warn(
                f"no theorem other than {index.eligible_theorems[0]!r} has dead ends: easy negatives are drawn from "
                "the positive's own theorem instead",
                stacklevel=2,
            )

    @classmethod
    def of(cls, index: ContrastiveIndex, config: EBMTrainingConfig) -> Self:
        """With the negatives, their mix, the balance and the seed of `config`. Raises as the constructor."""
        return cls(
            index,
            config.k_negatives,
            config.hard_ratio,
            config.medium_ratio,
            config.easy_ratio,
            config.seed,
            config.balance,
        )

    @classmethod
    def from_records(cls, records: Sequence[ProofStateRecord], **settings: Unpack[SamplerSettings]) -> Self:
        """A sampler over records; `settings` are those of the class."""
        return cls(ContrastiveIndex.build(records), **settings)

    @classmethod
    def from_parquet(cls, paths: str | Path | Sequence[str | Path], **settings: Unpack[SamplerSettings]) -> Self:
        """A sampler over trajectory files; `settings` are those of the class."""
        return cls.from_records(load_records_from_parquet(paths), **settings)

    @property
    def records(self) -> list[ProofStateRecord]:
        """The records that examples are drawn from."""
        return self.index.records

    def draw(self, n: int, stream: int) -> Draw:
        """n examples; the same for the same seed, stream and n."""
        index, k = self.index, self.k_negatives
        rng = np.random.default_rng([self.seed, stream])
        anchor = self._draw_anchors(rng, n)  # (n,) positions in index.anchors
        points = (rng.random((n, 1)) + np.arange(k)) / k  # (n, K) rising in [0, 1)
        kind = np.searchsorted(np.cumsum(self.ratios)[:2], points, side="right").astype(np.int8)
        kind[(kind == NegativeKind.EASY) & (index.easy_count[anchor] == 0)[:, None]] = NegativeKind.MEDIUM

        start, count = self._pools(anchor, kind)
        # Easy negatives skip over the theorem's own stretch.
        skip_from = np.where(kind == NegativeKind.EASY, index.own_start[anchor][:, None], count)
        skip = np.broadcast_to(index.own_count[anchor][:, None], (n, k))

        offset = (rng.random((n, k)) * count).astype(np.int64)
        negatives = index.candidates[start + offset + skip * (offset >= skip_from)]
        repeated = _repeats_earlier(index.key_code[negatives])
        rows = np.arange(n)
        for attempt in range(_REDRAWS + k):
            still = repeated.any(axis=1)
            if not still.any():
                break
            rows, repeated = rows[still], repeated[still]
            pool, place = count[rows][repeated], offset[rows]
            if attempt < _REDRAWS:
                place[repeated] = (rng.random(len(pool)) * pool).astype(np.int64)
            else:
                place[repeated] = (place[repeated] + 1) % pool
            offset[rows] = place
            negatives[rows] = index.candidates[start[rows] + place + skip[rows] * (place >= skip_from[rows])]
            repeated = _repeats_earlier(index.key_code[negatives[rows]])
        rows = index.anchors[anchor]
        return Draw(rows, negatives.astype(np.int64), index.remaining_depth[rows], kind)

    def _draw_anchors(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """(n,) int64 positions in `index.anchors`, with the probabilities of `balance`."""
        points = rng.random(n) * self._cumulative[-1]
        return np.minimum(np.searchsorted(self._cumulative, points, side="right"), len(self._cumulative) - 1)

    def _pools(self, anchor: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each negative is drawn from: start and count in `index.candidates`, (n, K) int64 each.

        The kinds of an example rise from hard to easy, so the hard ones are first. Siblings take the first
        places of their kind, as many as there are of them.
        """
        index, k = self.index, self.k_negatives
        at = np.broadcast_to(anchor[:, None], kind.shape)
        medium = kind == NegativeKind.MEDIUM
        place = np.arange(k)
        medium_place = place - (kind == NegativeKind.HARD).sum(axis=1, keepdims=True)
        start = np.full(kind.shape, index.easy_start, dtype=np.int64)
        count = index.easy_count[at].astype(np.int64)
        hard = kind == NegativeKind.HARD
        for holds, starts, counts in (  # the last that holds for a negative is its pool
            (hard | medium, index.hard_start, index.hard_count),
            (hard & (place < index.sibling_count[at]), index.sibling_start, index.sibling_count),
            (medium & (medium_place < index.farther_count[at]), index.farther_start, index.farther_count),
            (
                medium & (medium_place < index.farther_sibling_count[at]),
                index.farther_sibling_start,
                index.farther_sibling_count,
            ),
        ):
            start = np.where(holds, starts[at], start)
            count = np.where(holds, counts[at], count)
        return start, count

    def sample(self) -> ContrastiveSample:
        """The next example of this sampler."""
        return self.sample_batch(1)[0]

    def sample_batch(self, batch_size: int) -> list[ContrastiveSample]:
        """The next `batch_size` examples of this sampler, as records; training uses `draw`."""
        draw = self.draw(batch_size, self._stream)
        self._stream += 1
        records = self.index.records
        return [
            ContrastiveSample(
                records[positive],
                [records[row] for row in negatives],
                remaining,
                [NegativeKind(kind) for kind in kinds],
            )
            for positive, negatives, remaining, kinds in zip(
                draw.positives.tolist(),
                draw.negatives.tolist(),
                draw.remaining_depth.tolist(),
                draw.kinds.tolist(),
                strict=True,
            )
        ]


def _anchor_weights(index: ContrastiveIndex, balance: str) -> np.ndarray:
    """(anchors,) float64: how likely each anchor is drawn, up to a factor."""
    theorem = index.theorem[index.anchors]
    n_positive = np.bincount(theorem)[theorem].astype(np.float64)
    power = {"theorem": -1.0, "sqrt": -0.5, "state": 0.0}[balance]
    return n_positive**power


def no_examples_error(n_states: int, n_positives: int, n_negatives: int) -> TrainingDataError:
    """Why nothing can be contrasted, and what to do about it."""
    if not n_positives:
        return TrainingDataError(
            f"0 of {n_states} states are positive: prove at least one theorem first, e.g. with a larger search budget "
            "or easier theorems (`prover search --budget 128`)"
        )
    if not n_negatives:
        return TrainingDataError(
            f"0 of {n_states} states are negative: search with more candidates, so that some lead nowhere "
            "(`prover search --candidates 16`)"
        )
    return TrainingDataError(
        f"no theorem has both positive and negative states ({n_positives} positive, {n_negatives} negative of "
        f"{n_states}): search with more candidates or a larger budget"
    )


def _repeats_earlier(keys: np.ndarray) -> np.ndarray:
    """(n, K) bool: this entry equals an earlier one of its row."""
    same = keys[:, :, None] == keys[:, None, :]  # (n, K, K)
    return np.tril(same, k=-1).any(axis=2)

"""Contrastive examples: a positive state against K states that are farther from QED.

Everything is index arrays: a batch is drawn with a few NumPy calls, whatever its size, and names states by their row
in the index. Rows that show one state of one theorem again (another search, another path) stand behind the first.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from ebm.training.records import (
    NEGATIVE,
    POSITIVE,
    UNKNOWN,
    ProofStateRecord,
    TrainingDataError,
    load_records_from_parquet,
    merge_labels,
    records_of,
    states_of,
)

__all__ = [
    "ContrastiveIndex",
    "ContrastiveSample",
    "ContrastiveSampler",
    "Draw",
    "NegativeKind",
    "ProofStateRecord",
    "load_records_from_parquet",
]

NEVER = np.int64(2**31 - 1)
"""Distance to QED of a state that no search completed."""

_REDRAWS = 2
"""Rounds in which negatives that repeat within an example are drawn again; then the next candidate is taken, K times
over. What still repeats comes from a pool that is too small."""


class NegativeKind(IntEnum):
    """Where a negative was drawn from."""

    HARD = 0
    """A dead end of the positive's theorem: a sibling of the positive while there are any, then any other."""
    MEDIUM = 1
    """Any state of the positive's theorem that is farther from QED: off-path ones and farther positives."""
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


class ContrastiveIndex:
    """Which states may be contrasted with which.

    A negative is never as near to QED as its positive, whatever theorem, search or id either was met under: a state's
    distance is the shortest over all its records, and candidates lie strictly farther away than the positive. A
    positive whose distance is unknown is contrasted with dead ends only, and is never a negative.
    """

    def __init__(self, states: pl.DataFrame, theorems: Iterable[str] | None = None) -> None:
        """`states`: a table of `STATE_SCHEMA`, labels merged, whose row numbers are kept; `theorems`: use these alone.

        Other tables and records go through `from_states` and `build`.
        """
        self.states = states
        names = self.states["theorem_name"].unique().sort().to_list()
        self.theorem_names: list[str] = names
        self.theorem = _codes(self.states["theorem_name"], names)  # (N,) int64
        self.distance, known = _distances(self.states)  # (N,) int64, (N,) bool
        self.remaining_depth = np.where(known, self.distance, -1).astype(np.int32)
        self.label = self.states["label"].to_numpy()
        first = self.states.select(pl.struct("theorem_name", "state_key").is_first_distinct()).to_series().to_numpy()
        self.key_code = self.states["state_key"].rank("dense").to_numpy().astype(np.int64)

        used = first & (self.label != UNKNOWN) & ~self.states["is_proof_complete"].to_numpy()
        if theorems is not None:
            wanted = set(theorems)
            used &= np.array([name in wanted for name in names], dtype=bool)[self.theorem]
        self.positives = np.flatnonzero(used & (self.label == POSITIVE))
        self.negatives = np.flatnonzero(used & (self.label == NEGATIVE))
        dead = np.flatnonzero(used & (self.distance == NEVER))
        dead = dead[np.argsort(self.theorem[dead], kind="stable")]

        n = len(names)
        n_dead = np.bincount(self.theorem[dead], minlength=n)
        n_positive = np.bincount(self.theorem[self.positives], minlength=n)
        self._eligible = (n_dead > 0) & (n_positive > 0)
        self.anchors = self.positives[self._eligible[self.theorem[self.positives]]]
        """Rows that are drawn as positives."""
        self._build_pools(np.flatnonzero(used), dead, n_dead)

    def _build_pools(self, used: np.ndarray, dead: np.ndarray, n_dead: np.ndarray) -> None:
        """Lay the candidates of every anchor out as ranges of one array: `candidates[start : start + count]`.

        Three stretches: all states by (theorem, distance); dead ends by parent; dead ends by theorem.
        """
        span = NEVER + 1
        place = self.theorem[used] * span + np.where(self.distance[used] < 0, 0, self.distance[used])
        order = np.argsort(place, kind="stable")
        by_distance, place = used[order], place[order]
        anchors, theorem = self.anchors, self.theorem[self.anchors]
        # A positive of unknown distance is below nothing but dead ends.
        threshold = np.where(self.distance[anchors] < 0, NEVER - 1, self.distance[anchors])
        end = np.searchsorted(place, (theorem + 1) * span)
        self.farther_start = np.searchsorted(place, theorem * span + threshold, side="right")
        self.farther_count = end - self.farther_start
        self.hard_start = end - n_dead[theorem]
        self.hard_count = n_dead[theorem]

        group = self._parent_groups()
        with_parent = dead[group[dead] >= 0]
        by_parent = with_parent[np.argsort(group[with_parent], kind="stable")]
        start = np.searchsorted(group[by_parent], group[anchors], side="left")
        stop = np.searchsorted(group[by_parent], group[anchors], side="right")
        self.sibling_start = len(by_distance) + start
        self.sibling_count = np.where(group[anchors] >= 0, stop - start, 0)

        self.easy_start = len(by_distance) + len(by_parent)
        first_of_theorem = np.cumsum(n_dead) - n_dead
        self.own_start = first_of_theorem[theorem]
        self.own_count = n_dead[theorem]
        self.easy_count = len(dead) - self.own_count
        self.candidates = np.concatenate([by_distance, by_parent, dead])

    def _parent_groups(self) -> np.ndarray:
        """(N,) int64: equal for states of one theorem below the same parent state; -1 without a parent."""
        node = ["search_id", "theorem_name", "state_id"]
        parents = self.states.select(*node, parent_key="state_key").unique(node, keep="first")
        joined = self.states.join(
            parents,
            left_on=["search_id", "theorem_name", "parent_state_id"],
            right_on=node,
            how="left",
            maintain_order="left",
        )
        # A parent without a row of its own is known by its number in its search.
        orphan = pl.concat_str(pl.lit("#"), "search_id", pl.lit("#"), pl.col("parent_state_id").cast(pl.String))
        parent = pl.when(pl.col("parent_state_id").is_not_null()).then(pl.coalesce("parent_key", orphan))
        groups = joined.select(pl.struct("theorem_name", parent.alias("parent")).rank("dense"), none=parent.is_null())
        code = groups.to_series(0).to_numpy().astype(np.int64)
        return np.where(groups["none"].to_numpy(), -1, code)

    @classmethod
    def build(cls, records: Sequence[ProofStateRecord]) -> Self:
        """Index of records; its rows are their positions. Labels of one state are merged, unknown ones not used."""
        return cls.from_states(states_of(records))

    from_records = build

    @classmethod
    def from_states(cls, states: pl.DataFrame) -> Self:
        """Index of a table of `STATE_SCHEMA`; its rows are those of the table. Labels are merged."""
        return cls(merge_labels(states))

    def restricted_to(self, theorems: Iterable[str]) -> "ContrastiveIndex":
        """The same rows, with positives and negatives from these theorems alone."""
        return ContrastiveIndex(self.states, theorems)

    @cached_property
    def records(self) -> list[ProofStateRecord]:
        """All rows as records, labels and depths merged."""
        return records_of(self.states)

    def __len__(self) -> int:
        """Number of rows, used or not."""
        return len(self.states)

    @property
    def eligible_theorems(self) -> list[str]:
        """Theorems with a positive state and a dead end: those that positives are drawn from."""
        return [self.theorem_names[code] for code in np.flatnonzero(self._eligible)]

    @property
    def used_rows(self) -> np.ndarray:
        """Sorted rows that may be drawn, as a positive or as a negative."""
        return np.unique(np.concatenate([self.anchors, self.candidates]))

    @cached_property
    def pos_by_theorem(self) -> dict[str, list[int]]:
        """Rows of distinct positive states."""
        return self._by_theorem(self.positives)

    @cached_property
    def neg_by_theorem(self) -> dict[str, list[int]]:
        """Rows of distinct negative states."""
        return self._by_theorem(self.negatives)

    @property
    def all_negatives(self) -> list[int]:
        return self.negatives.tolist()

    def _by_theorem(self, rows: np.ndarray) -> dict[str, list[int]]:
        grouped: dict[str, list[int]] = {}
        for row, code in zip(rows.tolist(), self.theorem[rows].tolist(), strict=True):
            grouped.setdefault(self.theorem_names[code], []).append(row)
        return grouped


class ContrastiveSampler:
    """Draws positives with K negatives each, mixed hard, medium and easy in fixed proportions.

    Positives are drawn uniformly from the eligible theorems' distinct positive states. The kinds of an example's
    negatives are drawn systematically (one uniform offset, K equidistant points), so that the proportions hold over
    examples although .5 / .3 / .2 does not divide 4. A kind without candidates falls back to the next harder one.

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
    ) -> None:
        ratios = (hard_ratio, medium_ratio, easy_ratio)
        if k_negatives < 1:
            raise ValueError(f"k_negatives must be at least 1, got {k_negatives}")
        if min(ratios) < 0 or abs(sum(ratios) - 1.0) > 1e-6:
            raise ValueError(
                f"hard, medium and easy ratios must be non-negative and add up to 1, got {ratios} (sum {sum(ratios):g})"
            )
        if not len(index.anchors):
            raise no_examples_error(len(index), len(index.positives), len(index.negatives))
        self.index = index
        self.k_negatives = k_negatives
        self.ratios = ratios
        self.seed = seed
        self._stream = 0
        if easy_ratio > 0 and not index.easy_count.any():
            warnings.warn(
                f"no theorem other than {index.eligible_theorems[0]!r} has dead ends: easy negatives are drawn from "
                "the positive's own theorem instead",
                stacklevel=2,
            )

    @classmethod
    def from_records(cls, records: Sequence[ProofStateRecord], **settings: float) -> Self:
        return cls(ContrastiveIndex.build(records), **settings)  # type: ignore[arg-type]

    @classmethod
    def from_parquet(cls, paths: str | Path | Sequence[str | Path], **settings: float) -> Self:
        return cls.from_records(load_records_from_parquet(paths), **settings)

    @property
    def records(self) -> list[ProofStateRecord]:
        return self.index.records

    def draw(self, n: int, stream: int) -> Draw:
        """n examples; the same for the same seed, stream and n."""
        index, k = self.index, self.k_negatives
        rng = np.random.default_rng([self.seed, stream])
        anchor = rng.integers(len(index.anchors), size=n)  # (n,) positions in index.anchors
        points = (rng.random((n, 1)) + np.arange(k)) / k  # (n, K) rising in [0, 1)
        kind = np.searchsorted(np.cumsum(self.ratios)[:2], points, side="right").astype(np.int8)
        kind[(kind == NegativeKind.EASY) & (index.easy_count[anchor] == 0)[:, None]] = NegativeKind.MEDIUM

        at = np.broadcast_to(anchor[:, None], (n, k))
        sibling = (kind == NegativeKind.HARD) & (np.arange(k) < index.sibling_count[anchor][:, None])
        choice = np.where(sibling, 3, kind)
        start = np.choose(
            choice, [index.hard_start[at], index.farther_start[at], index.easy_start, index.sibling_start[at]]
        )
        count = np.choose(
            choice, [index.hard_count[at], index.farther_count[at], index.easy_count[at], index.sibling_count[at]]
        )
        # Easy negatives skip over the theorem's own stretch.
        skip_from = np.where(kind == NegativeKind.EASY, index.own_start[at], count)
        skip = index.own_count[at]

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
        return Draw(rows, negatives, index.remaining_depth[rows], kind)

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


def _codes(values: pl.Series, names: list[str]) -> np.ndarray:
    return np.searchsorted(np.array(names, dtype=object), values.to_numpy().astype(object)).astype(np.int64)


def _distances(states: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Steps to QED of each row's state over all theorems: NEVER if no record is positive, -1 if none says how many."""
    positive = pl.col("label") == POSITIVE
    depth = pl.col("remaining_depth").filter(positive & (pl.col("remaining_depth") >= 0))
    table = states.select(
        nearest=depth.min().over("state_key").cast(pl.Int64),
        solved=positive.any().over("state_key"),
    )
    known = table["nearest"].is_not_null().to_numpy()
    nearest = table["nearest"].fill_null(-1).to_numpy()
    return np.where(table["solved"].to_numpy(), nearest, NEVER), known


def _repeats_earlier(keys: np.ndarray) -> np.ndarray:
    """(n, K) bool: this entry equals an earlier one of its row."""
    same = keys[:, :, None] == keys[:, None, :]  # (n, K, K)
    return np.tril(same, k=-1).any(axis=2)

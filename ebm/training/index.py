"""Which states of trajectories may be contrasted with which: pools of candidates, laid out as ranges of one array.

Rows that show one state of one theorem again (another search, another path) stand behind the first.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Self

import numpy as np
import polars as pl

from ebm.training.records import (
    NEGATIVE,
    POSITIVE,
    UNKNOWN,
    ProofStateRecord,
    merge_labels,
    records_of,
    states_of,
)

NEVER = np.int64(2**31 - 1)
"""Distance to QED of a state that no search completed."""


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
        self.theorem = self.states["theorem_name"].rank("dense").to_numpy().astype(np.int64) - 1  # (N,) place in names
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

        Four stretches: all states by (theorem, distance), dead ends last in each theorem; dead ends by parent; proved
        states by (parent, distance); dead ends by theorem.
        """
        span = NEVER + 1
        place = self.theorem[used] * span + np.where(self.distance[used] < 0, 0, self.distance[used])
        order = np.argsort(place, kind="stable")
        by_distance, place = used[order], place[order]
        anchors, theorem = self.anchors, self.theorem[self.anchors]
        # A positive of unknown distance is below nothing but dead ends.
        threshold = np.where(self.distance[anchors] < 0, NEVER - 1, self.distance[anchors])
        end = np.searchsorted(place, (theorem + 1) * span)
        self.hard_start = end - n_dead[theorem]
        self.hard_count = n_dead[theorem]
        self.farther_start = np.searchsorted(place, theorem * span + threshold, side="right")
        self.farther_count = self.hard_start - self.farther_start  # proved ones alone

        group = self._parent_groups()
        with_parent = dead[group[dead] >= 0]
        by_parent = with_parent[np.argsort(group[with_parent], kind="stable")]
        start = np.searchsorted(group[by_parent], group[anchors], side="left")
        stop = np.searchsorted(group[by_parent], group[anchors], side="right")
        self.sibling_start = len(by_distance) + start
        self.sibling_count = np.where(group[anchors] >= 0, stop - start, 0)

        proved = used[(self.distance[used] >= 0) & (self.distance[used] < NEVER) & (group[used] >= 0)]
        place = group[proved] * span + self.distance[proved]
        order = np.argsort(place, kind="stable")
        proved, place = proved[order], place[order]
        start = np.searchsorted(place, group[anchors] * span + threshold, side="right")
        stop = np.searchsorted(place, (group[anchors] + 1) * span)
        self.farther_sibling_start = len(by_distance) + len(by_parent) + start
        self.farther_sibling_count = np.where(group[anchors] >= 0, stop - start, 0)

        self.easy_start = len(by_distance) + len(by_parent) + len(proved)
        first_of_theorem = np.cumsum(n_dead) - n_dead
        self.own_start = first_of_theorem[theorem]
        self.own_count = n_dead[theorem]
        self.easy_count = len(dead) - self.own_count
        self.candidates = np.concatenate([by_distance, by_parent, proved, dead])

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
        """Row numbers of the negative states."""
        return self.negatives.tolist()

    def _by_theorem(self, rows: np.ndarray) -> dict[str, list[int]]:
        grouped: dict[str, list[int]] = {}
        for row, code in zip(rows.tolist(), self.theorem[rows].tolist(), strict=True):
            grouped.setdefault(self.theorem_names[code], []).append(row)
        return grouped


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

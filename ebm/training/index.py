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
from prover.trajectory.edges import NONE, parent_rows

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
        # Of ten million rows an int64 array takes 80 MB, so what stays is int32 where the numbers fit.
        self.theorem = self.states["theorem_name"].rank("dense").to_numpy().astype(np.int32) - 1  # (N,) place in names
        self.key_code = self.states["state_key"].rank("dense").to_numpy().astype(np.int32)
        self.distance, known = _distances(self.states, self.key_code)  # (N,) int64, (N,) bool
        self.remaining_depth = np.where(known, self.distance, -1).astype(np.int32)

        used = _first_of_theorem(self.theorem, self.key_code) & ~self.states["is_proof_complete"].to_numpy()
        if theorems is not None:
            wanted = set(theorems)
            used &= np.array([name in wanted for name in names], dtype=bool)[self.theorem]
        self.positives = np.flatnonzero(used & self._labelled(POSITIVE))
        self.negatives = np.flatnonzero(used & self._labelled(NEGATIVE))
        used &= ~self._labelled(UNKNOWN)
        dead = np.flatnonzero(used & (self.distance == NEVER))
        dead = dead[np.argsort(self.theorem[dead], kind="stable")]

        n = len(names)
        n_dead = np.bincount(self.theorem[dead], minlength=n)
        n_positive = np.bincount(self.theorem[self.positives], minlength=n)
        self._eligible = (n_dead > 0) & (n_positive > 0)
        self.anchors = self.positives[self._eligible[self.theorem[self.positives]]]
        """Rows that are drawn as positives."""
        self._build_pools(np.flatnonzero(used), dead, n_dead)

    @property
    def label(self) -> np.ndarray:
        """(N,) texts: the merged label of each row. Made anew each time, for it is large."""
        return self.states["label"].to_numpy()

    def _labelled(self, label: str) -> np.ndarray:
        """(N,) bool: whether a row has this label."""
        return self.states["label"].eq(label).to_numpy()

    def _build_pools(self, used: np.ndarray, dead: np.ndarray, n_dead: np.ndarray) -> None:
        """Lay the candidates of every anchor out as ranges of one array: `candidates[start : start + count]`.

        Four stretches: all states by (theorem, distance), dead ends last in each theorem; dead ends by parent; proved
        states by (parent, distance); dead ends by theorem.
        """
        span = NEVER + 1
        group = self._parent_groups()
        place = self.theorem[used] * span + np.where(self.distance[used] < 0, 0, self.distance[used])
        order = np.argsort(place, kind="stable")
        by_distance, place = used[order], place[order]
        del order
        anchors, theorem = self.anchors, self.theorem[self.anchors]
        # A positive of unknown distance is below nothing but dead ends.
        threshold = np.where(self.distance[anchors] < 0, NEVER - 1, self.distance[anchors])
        end = np.searchsorted(place, (theorem + 1) * span)
        self.hard_start = _smaller(end - n_dead[theorem])
        self.hard_count = _smaller(n_dead[theorem])
        self.farther_start = _smaller(np.searchsorted(place, theorem * span + threshold, side="right"))
        self.farther_count = self.hard_start - self.farther_start  # proved ones alone
        del place, end

        of_anchor = group[anchors]
        with_parent = dead[group[dead] >= 0]
        by_parent = with_parent[np.argsort(group[with_parent], kind="stable")]
        place = group[by_parent]
        start = np.searchsorted(place, of_anchor, side="left")
        stop = np.searchsorted(place, of_anchor, side="right")
        self.sibling_start = _smaller(len(by_distance) + start)
        self.sibling_count = _smaller(np.where(of_anchor >= 0, stop - start, 0))
        del with_parent, place, start, stop

        proved = used[(self.distance[used] >= 0) & (self.distance[used] < NEVER) & (group[used] >= 0)]
        place = group[proved] * span + self.distance[proved]
        order = np.argsort(place, kind="stable")
        proved, place = proved[order], place[order]
        del order
        start = np.searchsorted(place, of_anchor * span + threshold, side="right")
        stop = np.searchsorted(place, (of_anchor + 1) * span)
        self.farther_sibling_start = _smaller(len(by_distance) + len(by_parent) + start)
        self.farther_sibling_count = _smaller(np.where(of_anchor >= 0, stop - start, 0))
        del place, start, stop, threshold, of_anchor, group

        self.easy_start = len(by_distance) + len(by_parent) + len(proved)
        first_of_theorem = np.cumsum(n_dead) - n_dead
        self.own_start = _smaller(first_of_theorem[theorem])
        self.own_count = self.hard_count
        self.easy_count = len(dead) - self.own_count
        self.candidates = _smaller(np.concatenate([by_distance, by_parent, proved, dead]))

    def _parent_groups(self) -> np.ndarray:
        """(N,) int64: equal for states of one theorem below the same parent state; -1 without a parent."""
        above = parent_rows(self.states, ["search_id", "theorem_name"])
        parent = np.where(above == NONE, -1, self.key_code[above])
        orphan = np.flatnonzero((above == NONE) & self.states["parent_state_id"].is_not_null().to_numpy())
        del above
        n_parents = int(self.key_code.max(initial=0)) + 1
        if len(orphan):  # a parent without a row of its own is known by its number in its search
            own = self.states.select("search_id", "parent_state_id")[orphan]
            parent[orphan] = n_parents - 1 + own.select(pl.struct(pl.all()).rank("dense")).to_series().to_numpy()
            n_parents += len(orphan)
        both = self.theorem * np.int64(n_parents) + parent
        both[parent < 0] = -1
        return np.where(parent < 0, -1, pl.Series(both).rank("dense").to_numpy().astype(np.int64))

    @classmethod
    def build(cls, records: Sequence[ProofStateRecord]) -> Self:
        """Index of records; its rows are their positions. Labels of one state are merged, unknown ones not used."""
        return cls.from_states(states_of(records))

    from_records = build

    @classmethod
    def from_states(cls, states: pl.DataFrame) -> Self:
        """Index of a table of `STATE_SCHEMA`; its rows are those of the table. Labels are merged."""
        states = merge_labels(states)  # by the same name: the columns that it replaces are not held any longer
        return cls(states)

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


def _distances(states: pl.DataFrame, key_code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps to QED of each row's state over all theorems: NEVER if no record is positive, -1 if none says how many.

    key_code: (N,) equal for rows of one state. Returns (N,) int64, and (N,) bool: whether a record says how many.
    """
    positive = states["label"].eq(POSITIVE).to_numpy()
    depth = states["remaining_depth"].to_numpy()
    measured = positive & (depth >= 0)
    nearest = np.full(int(key_code.max(initial=0)) + 1, NEVER, dtype=np.int64)
    np.minimum.at(nearest, key_code[measured], depth[measured])
    known = nearest != NEVER
    unmeasured = key_code[positive]
    unmeasured = unmeasured[~known[unmeasured]]
    nearest[unmeasured] = -1
    return nearest[key_code], known[key_code]


def _first_of_theorem(theorem: np.ndarray, key_code: np.ndarray) -> np.ndarray:
    """(N,) bool: whether a row is the first of its theorem that shows its state."""
    both = theorem * np.int64(int(key_code.max(initial=0)) + 1) + key_code
    return pl.Series(both).is_first_distinct().to_numpy()


def _smaller(numbers: np.ndarray) -> np.ndarray:
    """Row numbers or counts as int32, where all of them fit."""
    fits = not len(numbers) or int(numbers.max()) <= np.iinfo(np.int32).max
    return numbers.astype(np.int32) if fits else numbers

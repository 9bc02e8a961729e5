"""From each node to its parent, over tables of millions of rows: whole columns at a time, in numbers."""

from collections.abc import Sequence

import numpy as np
import polars as pl

NONE = -1
"""Row of a parent that is not there."""
_ROWS_AT_ONCE = 1_000_000


def parent_rows(frame: pl.DataFrame, scope: Sequence[str]) -> np.ndarray:
    """(rows,) int64: the row (from 0) of each node's parent; `NONE` for a root, and where the parent has no row.

    frame: nodes, with `state_id` and `parent_state_id`. scope: the columns within which ids are unique, such as
    theorem_name. Of a node that has two rows, the first counts.
    """
    ids = frame["state_id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    if is_unique(ids, order):
        return _by_id_alone(frame, scope, ids, order)
    keys = [*scope, "state_id"]
    rows = frame.select(*keys, "parent_state_id").with_row_index("row")
    parents = rows.select(*keys, pl.col("row").alias("parent_row")).unique(keys, keep="first")
    found = (
        rows.filter(pl.col("parent_state_id").is_not_null())
        .join(parents, left_on=[*scope, "parent_state_id"], right_on=keys, how="inner", maintain_order="left")
        .select("row", "parent_row")
    )
    above = np.full(len(frame), NONE, dtype=np.int64)
    above[found["row"].to_numpy()] = found["parent_row"].to_numpy()
    return above


def is_unique(values: np.ndarray, order: np.ndarray | None = None) -> bool:
    """Whether no number occurs twice. order: an argsort of the numbers, if there is one."""
    ascending = np.sort(values) if order is None else values[order]
    return bool(np.all(ascending[1:] != ascending[:-1]))


def _by_id_alone(frame: pl.DataFrame, scope: Sequence[str], ids: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The same where no id occurs twice in the table: the row with the parent's id, if its scope is the same."""
    above = np.full(len(frame), NONE, dtype=np.int64)
    children = np.flatnonzero(frame["parent_state_id"].is_not_null().to_numpy())
    for first in range(0, len(children), _ROWS_AT_ONCE):
        some = children[first : first + _ROWS_AT_ONCE]
        wanted = frame["parent_state_id"].gather(some).to_numpy()
        place = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
        parents = order[place]
        there = ids[parents] == wanted
        for column in scope:
            values = frame[column]
            there &= (values.gather(parents) == values.gather(some)).fill_null(False).to_numpy()
        above[some[there]] = parents[there]
    return above


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(sum of counts,) int64: `starts[i], starts[i] + 1, ...` of each range in turn."""
    before = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) + np.repeat(starts - before, counts)

"""What must hold between the rows of a trajectory file before anything is learnt from them.

A file written back by another program may have lost what it says: ids as floating-point numbers are rounded above 2^53,
so that edges between states are wrong or gone; a NaN log-prob spoils every figure that it goes into. Such a file is
refused with the column and the row (from 1), never repaired.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from prover.trajectory.edges import NONE, is_unique, parent_rows

CHECKED = ("theorem_name", "search_id", "state_id", "parent_state_id", "llm_log_prob", "ebm_score", "depth_from_root")
"""Columns that `check_rows` looks at."""
LARGEST_EXACT_ID = 2**53
"""Above this, a float64 column cannot tell two neighbouring whole numbers apart."""
_ID_COLUMNS = ("state_id", "parent_state_id")

Problem = Callable[[str, int, str], Exception]
"""Makes the error to raise from a column, a row (from 1) and what is wrong."""


def exact_ids(column: pa.ChunkedArray, name: str, problem: Problem) -> pa.ChunkedArray:
    """A column of ids as uint64 where it came as floating-point numbers; any other column as it is."""
    if name not in _ID_COLUMNS or not pa.types.is_floating(column.type):
        return column
    values = column.cast(pa.float64())
    largest = LARGEST_EXACT_ID if column.type == pa.float64() else 2**24
    checks = (
        (pc.greater(pc.abs(values), largest), f"is a floating-point number above {largest}, so the id was rounded"),
        (pc.not_equal(values, pc.floor(values)), "is not a whole number"),
        (pc.less(values, 0), "is below zero"),
        (pc.invert(pc.is_finite(values)), "is not a finite number"),
    )
    for wrong, what in checks:
        row = pc.index(pc.fill_null(wrong, False), True).as_py()
        if row >= 0:
            raise problem(name, row + 1, f"{what} ({column[row].as_py()!r}); write ids as 64-bit integers (UInt64)")
    return values.cast(pa.uint64())


def check_rows(frame: pl.DataFrame, problem: Problem) -> None:
    """Raise for log-probs and scores that are not finite, ids given twice, unknown parents, and cycles of parents.

    frame: the nodes of one file. Ids are compared within a theorem (and a search, where the file tells them apart).
    """
    for name in ("llm_log_prob", "ebm_score"):
        _refuse(frame, ~pl.col(name).is_finite(), name, "is {}; expected a finite number", problem)
    keys = ["theorem_name", *(["search_id"] if "search_id" in frame.columns else []), "state_id"]
    if not is_unique(frame["state_id"].to_numpy()):
        twice = pl.struct(keys).is_duplicated()
        _refuse(frame, twice, "state_id", "is {}, as in another row of the theorem; ids must differ", problem)
    above = parent_rows(frame, keys[:-1])
    children = np.flatnonzero(frame["parent_state_id"].is_not_null().to_numpy())
    dangling = children[above[children] == NONE]
    if len(dangling):
        row = int(dangling[0])
        parent = frame["parent_state_id"][row]
        raise problem("parent_state_id", row + 1, f"is {parent}, which is no row's `state_id` in this theorem")
    circle = _cycle(frame, children, above[children])
    if circle is not None:
        raise problem("parent_state_id", circle + 1, "leads back to its own row: the parents make a circle")


def _refuse(frame: pl.DataFrame, wrong: pl.Expr, column: str, message: str, problem: Problem) -> None:
    found = frame.select(wrong.fill_null(False).arg_max().alias("row"), wrong.fill_null(False).any().alias("any"))
    if len(frame) and found["any"][0]:
        row = int(found["row"][0])
        raise problem(column, row + 1, message.format(frame[column][row]))


def _cycle(frame: pl.DataFrame, child: np.ndarray, parent: np.ndarray) -> int | None:
    """A row (from 0) whose parents lead back to it; None where all lead to a root. child, parent: rows of each edge."""
    depth = frame["depth_from_root"].to_numpy().astype(np.int64)
    if bool(np.all(depth[child] > depth[parent])):
        return None
    root = len(frame)
    above = np.full(root + 1, root, dtype=np.int64)
    above[child] = parent
    first = above.copy()
    for _ in range(max(1, root).bit_length()):  # each round doubles how far up `above` looks
        above = above[above]
    lost = np.flatnonzero(above != root)
    if not len(lost):
        return None
    seen: set[int] = set()
    row = int(lost[0])
    while row not in seen:
        seen.add(row)
        row = int(first[row])
    return row

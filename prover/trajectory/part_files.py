"""The files that a search leaves while it runs and merges at its end: written whole, checked, read in small pieces."""

import logging
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from prover.parquet import ParquetDamaged, RowGroups, check, read_table, write_sealed
from prover.trajectory.schema import KINDS, sibling_path

logger = logging.getLogger(__name__)

ROWS_A_GROUP = 50_000
"""Rows of a row group of the merged files."""
_ROWS_HELD, _GROUPS_HELD = 200_000, 256  # of part files, while merging


class OutputError(RuntimeError):
    """The output cannot be written, or holds something else. The message names the path and what to do."""


class WriteFailed(OutputError):
    """Writing failed half way through a search, e.g. on a full disk. What was flushed before is safe."""


def write_parquet(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write tables, a row group each, with a digest, under a temporary name; fsync, rename, fsync the folder."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        write_sealed(temporary, tables, schema)
        os.replace(temporary, path)
    except OSError as error:
        raise WriteFailed(
            f"cannot write {path}: {error.strerror or error}. What was finished before is safe: make room and go on "
            "with resume"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_sound(nodes: Path) -> bool:
    """Whether the files of a part are as they were written. One that is not counts as never written, with a warning."""
    for kind in KINDS:
        path = sibling_path(nodes, kind)
        try:
            check(path)
        except (ParquetDamaged, FileNotFoundError) as error:
            logger.warning("%s: %s; the theorems of this part are searched again", path, error)
            return False
    return True


def take_over(merged: Path, part: Path) -> None:
    """Make a merged file a part as well. It is linked where that is possible, and copied otherwise: never read whole.

    Raises OutputError for a damaged one, which must not be merged again.
    """
    temporary = part.with_name(part.name + ".tmp")
    try:
        check(merged)
        temporary.unlink(missing_ok=True)
        try:
            os.link(merged, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(merged, temporary)
        os.replace(temporary, part)
    except (ParquetDamaged, OSError) as error:
        raise _unusable(merged, error) from error
    finally:
        temporary.unlink(missing_ok=True)  # replacing a link to the same file does nothing


class PartRows:
    """Rows of part files, by place. Few row groups are held, so that a part of any size needs little memory."""

    def __init__(self) -> None:
        self._groups: dict[Path, RowGroups] = {}
        self._held: dict[tuple[Path, int], pa.Table] = {}
        self._rows_held = 0

    def rows(self, path: Path, first: int, count: int) -> pa.Table:
        """`count` rows of a part from row `first` (from 0). Raises OutputError for a part that is damaged."""
        try:
            groups = self._groups.get(path)
            if groups is None:
                groups = self._groups[path] = RowGroups(path)
            if not groups.starts:
                return read_table(path)  # no rows, but the columns
            number = max(0, bisect_right(groups.starts, first) - 1)
            found = []
            while True:
                start, table = groups.starts[number], self._group(groups, number)
                end = min(first + count, start + len(table))
                found.append(table.slice(max(0, first - start), max(0, end - max(first, start))))
                number += 1
                if end >= first + count or number == len(groups.starts):
                    break
        except (ParquetDamaged, OSError) as error:
            raise _unusable(path, error) from error
        return found[0] if len(found) == 1 else pa.concat_tables(found)

    def _group(self, groups: RowGroups, number: int) -> pa.Table:
        key = (groups.path, number)
        if key not in self._held:
            while self._held and (self._rows_held > _ROWS_HELD or len(self._held) >= _GROUPS_HELD):
                self._rows_held -= len(self._held.pop(next(iter(self._held))))
            self._held[key] = groups.read(number)
            self._rows_held += len(self._held[key])
        return self._held[key]


def _unusable(path: Path, error: Exception) -> OutputError:
    return OutputError(f"cannot use {path}: {error}; delete it, and with resume its theorems are searched again")


def regroup(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables joined into row groups of `ROWS_A_GROUP` rows, whatever their sizes: the same rows make the same bytes."""
    held: list[pa.Table] = []
    rows = 0
    yielded = False
    for table in tables:
        held.append(table)
        rows += len(table)
        while rows >= ROWS_A_GROUP:
            joined = pa.concat_tables(held)
            yield joined.slice(0, ROWS_A_GROUP).combine_chunks()
            yielded = True
            held, rows = [joined.slice(ROWS_A_GROUP)], rows - ROWS_A_GROUP
    if held and (rows or not yielded):
        yield pa.concat_tables(held).combine_chunks()

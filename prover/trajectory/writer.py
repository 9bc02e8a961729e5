"""Writes trajectories. A killed run loses at most the theorems that were not flushed; no row is torn or written twice.

While a search runs, finished theorems are flushed to part files in `X.parts/`: a batch of them, or those of the last
seconds, whichever comes first. A part is three files (nodes,
attempts, summary), each written under a temporary name, fsynced and renamed; the summary comes last, so a part without
its summary does not count. `finish` merges the parts into `X.parquet` and its two companions, theorem by theorem in the
order the theorems were given, and removes them. `X.parts/lock` is locked meanwhile: two writers of one output would mix
up each other's parts.
"""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import pyarrow as pa

from prover.parquet import ParquetDamaged, read_table
from prover.trajectory.part_files import (
    ROWS_A_GROUP,
    OutputError,
    PartRows,
    WriteFailed,
    is_sound,
    regroup,
    take_over,
    write_parquet,
)
from prover.trajectory.schema import (
    COUNTS_KEY,
    KINDS,
    SCHEMA_VERSION,
    SUMMARY_SCHEMA,
    Record,
    TheoremRows,
    footer_counts,
    parts_folder,
    sibling_path,
    to_table,
)

MIN_FREE_BYTES = 64 * 2**20
_PROBE_BYTES = 4096
_LOCK_NAME = "lock"
_TAKEN_UP = ("theorem_name", "nodes", "tactics", "header", "statement", "ended")
FLUSH_EVERY_S = 10.0
"""A finished theorem waits at most this long (seconds) for its batch to fill, as long as `flush_if_due` is called."""
_FLUSH_FIRST_S = 2.0  # after a start the wait is shorter: a run that is killed early keeps what it finished
_FLUSH_SHARE = 30  # the wait grows with the run's age to FLUSH_EVERY_S, so that parts stay few


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a finished theorem is: a part, by its base path, and its rows there."""

    base: Path
    spans: dict[str, tuple[int, int]]  # kind -> first row, number of rows


class TrajectoryWriter:
    """Collects finished theorems into `output` (`X.parquet`).

    output: the node file; its name must end in `.parquet`. order: theorem names in the order the merged files keep;
    names that are not in it come last. statements: theorem name -> (header, statement), of those that are searched: a
    resumed run keeps a theorem only if it is still the same, and never one that crashed. metadata: plain values kept in
    the files (key `prover`). counted: what this call has counted so far, by name; kept in the files with the counts of
    the earlier calls that a resumed search takes up (`policy_counts`, one entry per call). batch: theorems a part.
    resume: keep what an earlier run of the same search finished; otherwise its parts are removed at once, and its
    merged files are replaced at the end. search_id: a resumed run must have the same one. expected_bytes: refuse to
    start with less free disk.

    Raises `OutputError` at once when the folder cannot be written, the disk is too full, or another process is writing
    the same output. `finish` and `close` let the output go.
    """

    def __init__(
        self,
        output: str | Path,
        *,
        search_id: str,
        order: Sequence[str] = (),
        statements: Mapping[str, tuple[str, str]] | None = None,
        metadata: Mapping[str, object] | None = None,
        counted: Callable[[], Mapping[str, int]] | None = None,
        batch: int = 16,
        resume: bool = False,
        expected_bytes: int = 0,
    ) -> None:
        self.output = Path(output)
        self._search_id = search_id
        self._order = {name: place for place, name in enumerate(order)}
        self._statements = statements or {}
        self._metadata = {"schema": SCHEMA_VERSION, "search_id": search_id, **(metadata or {})}
        self._counted = counted
        self._earlier_counts: list[dict[str, int]] = []  # of the calls before this one, oldest first
        self._batch = batch
        self._pending: list[TheoremRows] = []
        self._opened = self._pending_since = time.monotonic()
        self._places: dict[str, _Place] = {}
        probe_output(self.output, expected_bytes)
        self._parts = parts_folder(self.output)
        self._next_part = 0
        self._lock = _hold(self._parts, self.output)
        try:
            if resume:
                self._take_up()
            else:
                self._remove_parts()
        except BaseException:
            self._let_go()
            raise

    @property
    def finished(self) -> set[str]:
        """Names of the theorems that are safely on disk."""
        return set(self._places)

    def add(self, rows: TheoremRows) -> None:
        """Take a finished theorem; flushed with its batch. A theorem that is there already is an error."""
        name = rows.summary.theorem_name
        if name in self._places or any(other.summary.theorem_name == name for other in self._pending):
            raise OutputError(f"theorem {name} is in {self.output} already; names must be distinct within a search")
        if not self._pending:
            self._pending_since = time.monotonic()
        self._pending.append(rows)
        if len(self._pending) >= self._batch:
            self.flush()

    def flush_if_due(self) -> None:
        """Write what is pending if its oldest theorem has waited long enough. Cheap: call it often."""
        if self._pending:
            now = time.monotonic()
            wait = min(FLUSH_EVERY_S, max(_FLUSH_FIRST_S, (now - self._opened) / _FLUSH_SHARE))
            if now - self._pending_since >= wait:
                self.flush()

    def flush(self) -> None:
        """Write what is pending as one part."""
        if not self._pending:
            return
        base = self._parts / f"part-{self._next_part:05d}.parquet"
        pending = self._pending
        places = {rows.summary.theorem_name: _Place(base, {}) for rows in pending}
        for kind, schema in KINDS.items():  # the summary is the last kind: it makes the part count
            records: list[Record] = []
            for rows in pending:
                some = rows.of(kind)
                places[rows.summary.theorem_name].spans[kind] = (len(records), len(some))
                records.extend(some)
            write_parquet(sibling_path(base, kind), [to_table(records, schema)], self._with_footer(schema))
        self._places |= places
        self._pending = []
        self._next_part += 1

    def finish(self) -> Path:
        """Flush, merge the parts into the final files, remove the parts, and return the path of the node file."""
        self.flush()
        last = len(self._order)
        names = sorted(self._places, key=lambda name: (self._order.get(name, last), name))
        for kind, schema in KINDS.items():
            tables = self._tables(kind, names)
            write_parquet(sibling_path(self.output, kind), regroup(tables), self._with_footer(schema))
        self._remove_parts()
        self._let_go()
        return self.output

    def close(self) -> None:
        """Flush what is pending, keep the parts for a later run with `resume`, and let the output go."""
        try:
            self.flush()
        finally:
            self._let_go()

    def _remove_parts(self) -> None:
        for path in self._parts.iterdir():
            if path.name != _LOCK_NAME and path.is_file():
                path.unlink()

    def _let_go(self) -> None:
        """Unlock; where no part is kept, the folder goes before that, since afterwards it may be another's."""
        if self._lock.closed:
            return
        if [path.name for path in self._parts.iterdir()] == [_LOCK_NAME]:
            (self._parts / _LOCK_NAME).unlink()
            with contextlib.suppress(OSError):  # another run has begun there since
                self._parts.rmdir()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, WriteFailed):
            self._let_go()
        else:
            self.close()

    def _with_footer(self, schema: pa.Schema, *, this_call: bool = True) -> pa.Schema:
        """The schema with what the footer says of the search, and of what was counted in its calls."""
        calls = list(self._earlier_counts)
        if this_call and self._counted is not None:
            calls.append(dict(self._counted()))
        return schema.with_metadata({b"prover": json.dumps({**self._metadata, COUNTS_KEY: calls}).encode()})

    def _tables(self, kind: str, names: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of the theorems in turn. They finish roughly in their order, so few row groups need be held."""
        parts = PartRows()
        for base, first, count in self._stretches(kind, names):
            yield parts.rows(sibling_path(base, kind), first, count)

    def _stretches(self, kind: str, names: Sequence[str]) -> Iterator[tuple[Path, int, int]]:
        """(part, first row, rows) of the theorems in turn; neighbours in a part are taken together."""
        base, first, count = Path(), 0, 0
        for name in names:
            place = self._places[name]
            next_first, more = place.spans[kind]
            if place.base == base and next_first == first + count and count + more <= ROWS_A_GROUP:
                count += more
                continue
            if base.name:
                yield base, first, count
            base, first, count = place.base, next_first, more
        if base.name:
            yield base, first, count

    def _take_up(self) -> None:
        """Find what an earlier run finished: its parts, and the merged files if it got that far."""
        self._adopt_merged()
        if not self._parts.is_dir():
            return
        for leftover in self._parts.glob("*.tmp"):
            leftover.unlink()
        for nodes in sorted(self._parts.glob("part-?????.parquet")):
            self._next_part = max(self._next_part, int(nodes.stem.removeprefix("part-")) + 1)
            summary = sibling_path(nodes, "summary")
            if not summary.exists():
                continue  # killed between the files of a part: its theorems are searched again
            if not is_sound(nodes):
                continue
            table = self._own(summary)
            # A part holds the counts of its own call so far, behind those of the calls before.
            known = footer_counts(table.schema)
            self._earlier_counts[: len(known)] = known
            next_row = dict.fromkeys(KINDS, 0)
            columns = [table[column].to_pylist() for column in _TAKEN_UP]
            for name, n_nodes, n_tactics, header, statement, ended in zip(*columns, strict=True):
                place = _Place(nodes, {})
                for kind, count in (("nodes", n_nodes), ("attempts", n_tactics), ("summary", 1)):
                    place.spans[kind] = (next_row[kind], count)
                    next_row[kind] += count
                same = self._statements.get(name, (header, statement)) == (header, statement)
                if same and ended != "crashed":
                    self._places.setdefault(name, place)

    def _adopt_merged(self) -> None:
        """Turn merged files of an earlier run into a part again, so that more theorems can be added to them."""
        summary_path = sibling_path(self.output, "summary")
        if not (self.output.exists() and summary_path.exists()) or any(self._parts.glob("part-*.summary.parquet")):
            return
        self._earlier_counts = footer_counts(self._own(summary_path).schema)
        self._parts.mkdir(parents=True, exist_ok=True)
        base = self._parts / "part-00000.parquet"
        for kind in KINDS:
            take_over(sibling_path(self.output, kind), sibling_path(base, kind))

    def _own(self, summary: Path) -> pa.Table:
        """The summary of an earlier run, which must be of the same search."""
        try:
            table = read_table(summary)
        except (ParquetDamaged, OSError) as error:
            raise OutputError(f"cannot resume from {summary}: {error}; start anew without resume") from error
        if not set(SUMMARY_SCHEMA.names) <= set(table.column_names):
            raise OutputError(f"{summary} is not a summary of this version; start anew without resume")
        others = set(table["search_id"].to_pylist()) - {self._search_id}
        if others:
            raise OutputError(
                f"{summary} comes from another search ({', '.join(sorted(others))}, not {self._search_id}): the "
                "settings, the policy, the energy model or Lean differ. Give another output, or start anew without "
                "resume"
            )
        return table


def probe_output(output: Path, expected_bytes: int = 0) -> None:
    """Raise `OutputError` unless files can be written beside `output` and the disk has room for them."""
    if output.suffix != ".parquet":
        raise OutputError(f"the output is {output}; give a file name that ends in .parquet")
    if output.is_dir():
        raise OutputError(f"the output {output} is a folder; give a file name")
    folder = output.parent
    probe = folder / f".{output.name}.probe-{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with probe.open("wb") as file:
            file.write(b"\0" * _PROBE_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"cannot write in {folder}: {error.strerror or error}; give another output folder") from error
    finally:
        if folder.is_dir():
            probe.unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    needed = max(MIN_FREE_BYTES, expected_bytes)
    if free < needed:
        raise OutputError(
            f"{folder} has {free / 2**20:.0f} MiB free and this search may need {needed / 2**20:.0f} MiB; make room, "
            "or give an output on another disk"
        )


def _hold(parts: Path, output: Path) -> TextIO:
    """The lock file of an output, locked until it is closed. Raises `OutputError` while another process holds it."""
    path = parts / _LOCK_NAME
    while True:
        try:
            parts.mkdir(parents=True, exist_ok=True)
            handle = path.open("a+", encoding="utf-8")
        except FileNotFoundError:
            continue  # another run has just ended, and removed the folder
        except OSError as error:
            raise OutputError(f"cannot write in {parts}: {error.strerror or error}; give another output") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            who = handle.read().strip() or "unknown"
            handle.close()
            raise OutputError(
                f"another process ({who}) is writing {output}: wait for it to end, stop it, or give another output"
            ) from None
        except OSError:
            return handle  # a file system without locks: better unguarded than not at all
        if path.exists() and os.path.samestat(path.stat(), os.fstat(handle.fileno())):
            handle.truncate(0)
            handle.write(f"process {os.getpid()}")
            handle.flush()
            return handle
        handle.close()  # locked, but of a run that ended in the meantime: its folder is gone

"""Databases of rows that never change: on a store, files of rows instead of one file that is sent whole each time.

The memo of a search only ever gains rows: a key of 16 bytes, and the answer. Beside `memo.sqlite` lies the folder
`memo.sqlite.segments`, and that folder is what is published. Before a publication, rows that are in none of its files
are written as a new one. After a fetch, rows of new files are put into the database; a key that is there stays as it
is. So only new rows are sent, and two machines that each found something both keep it.

Files are never changed. As soon as `_PER_TIER` files are of about the same size they are joined, so their number grows
with the logarithm of the number of rows, and so does the number of times that a row is sent.

A database that cannot be read, or a damaged file, costs remembered answers alone: it is logged and passed over.
"""

import logging
import os
import re
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from prover.files import file_digest
from prover.parquet import ParquetDamaged, RowGroups, read_table, write_sealed

logger = logging.getLogger(__name__)

_SCHEMA = pa.schema([("table", pa.string()), ("key", pa.binary()), ("value", pa.string())])
_TABLE = re.compile(r"[a-z_]+[0-9]+")
_JOINED = "joined_segments"
_ROWS_AT_ONCE = 20_000
_PER_TIER = 8
_ENDING = ".rows"
_LOCK_TIMEOUT_S = 30.0


def segments_of(database: Path) -> Path:
    """The folder of a database's files of rows."""
    return database.with_name(f"{database.name}.segments")


def split(database: Path) -> None:
    """Write the rows that are in no file yet as a new file."""
    if not database.exists():
        return
    folder = segments_of(database)
    try:
        known = {key for path in _files(folder) for key in _keys(path)}
        with _opened(database) as opened:
            new = _write(folder, _rows(opened, known))
            if new is None:
                return
            tier = _full_tier(folder)
            _remember(opened, [(_joined(folder, tier) if tier else new).name])
    except (sqlite3.Error, ParquetDamaged, OSError) as error:
        logger.warning("%s: what was remembered since the last time is not published: %s", database, error)


def join(database: Path) -> None:
    """Put the rows of files that are not yet in the database into it, and make it where there is none."""
    files = _files(segments_of(database))
    if not files:
        return
    try:
        with _opened(database) as opened:
            opened.execute(f"CREATE TABLE IF NOT EXISTS {_JOINED} (name TEXT PRIMARY KEY)")
            done = {name for (name,) in opened.execute(f"SELECT name FROM {_JOINED}")}
            for path in files:
                if path.name not in done:
                    _insert(opened, path)
                    _remember(opened, [path.name])
    except (sqlite3.Error, ParquetDamaged, OSError) as error:
        logger.warning("%s: what others have remembered is not used: %s", database, error)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_ENDING}"))


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database, timeout=_LOCK_TIMEOUT_S, isolation_level=None)) as opened:
        opened.text_factory = _text
        opened.execute("PRAGMA journal_mode = WAL")
        yield opened


def _remember(opened: sqlite3.Connection, names: Iterable[str]) -> None:
    """Note that these files' rows are in the database."""
    opened.execute(f"CREATE TABLE IF NOT EXISTS {_JOINED} (name TEXT PRIMARY KEY)")
    opened.executemany(f"INSERT OR IGNORE INTO {_JOINED} VALUES (?)", [(name,) for name in names])


def _tables(opened: sqlite3.Connection) -> list[str]:
    """The tables of keys and values."""
    names = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    fit = [name for name in names if _TABLE.fullmatch(name)]
    return [
        name for name in fit if [row[1] for row in opened.execute(f"PRAGMA table_info({name})")] == ["key", "value"]
    ]


def _rows(opened: sqlite3.Connection, known: set[bytes]) -> Iterator[pa.Table]:
    """Rows whose key is not known, some at a time."""
    for name in _tables(opened):
        found = opened.execute(f"SELECT key, value FROM {name}")
        while some := found.fetchmany(_ROWS_AT_ONCE):
            # What a damaged file gives back may be of any type.
            fresh = [(k, v) for k, v in some if type(k) is bytes and type(v) is str and k not in known]
            if fresh:
                keys, values = zip(*fresh, strict=True)
                yield pa.table([[name] * len(fresh), keys, values], schema=_SCHEMA)


def _write(folder: Path, tables: Iterator[pa.Table]) -> Path | None:
    """Write rows as a file that is named by its content; None where there are none."""
    first = next(tables, None)
    if first is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{secrets.token_hex(8)}.tmp"
    rows = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal rows
        for table in chain([first], tables):
            rows += len(table)
            yield table

    try:
        write_sealed(temporary, counted(), _SCHEMA)
        path = folder / f"{rows:010d}-{file_digest(temporary)[:24]}{_ENDING}"
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _size(path: Path) -> int:
    """Rows of a file, from its name."""
    digits = path.name.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


def _full_tier(folder: Path) -> list[Path]:
    """Files of about the same size where there are enough to be joined, and those that the result joins in turn."""
    tiers: dict[int, list[Path]] = {}
    for path in _files(folder):
        tiers.setdefault(len(f"{_size(path):o}"), []).append(path)  # a digit more for eight times the rows
    taken: list[Path] = []
    for tier in sorted(tiers):
        if len(tiers[tier]) + (1 if taken else 0) >= _PER_TIER:
            taken += tiers[tier]
        elif taken:
            break
    return taken


def _joined(folder: Path, files: Sequence[Path]) -> Path:
    """One file of the rows of several, which are removed."""
    path = _write(folder, (table for each in files for table in _tables_of(each)))
    assert path is not None, "files of rows hold rows"
    for each in files:
        if each != path:
            each.unlink()
    return path


def _keys(path: Path) -> list[bytes]:
    return list(read_table(path, ["key"])["key"].to_pylist())


def _tables_of(path: Path) -> Iterator[pa.Table]:
    """The rows of a file, some at a time. Raises ParquetDamaged."""
    groups = RowGroups(path)
    for number in range(len(groups.starts)):
        table = groups.read(number)
        if table.schema.names != _SCHEMA.names or table.schema.types != _SCHEMA.types:
            raise ParquetDamaged(f"{path.name} holds {table.schema.names}, expected {_SCHEMA.names}")
        yield table


def _insert(opened: sqlite3.Connection, path: Path) -> None:
    """Put a file's rows into the database, all or none."""
    opened.execute("BEGIN IMMEDIATE")
    try:
        for table in _tables_of(path):
            names = table["table"].to_pylist()
            for name in sorted({name for name in names if name is not None and _TABLE.fullmatch(name)}):
                columns = "key BLOB PRIMARY KEY, value TEXT NOT NULL"
                opened.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}) WITHOUT ROWID")
                of_table = table.filter(pc.equal(table["table"], name))
                rows = zip(of_table["key"].to_pylist(), of_table["value"].to_pylist(), strict=True)
                opened.executemany(f"INSERT OR IGNORE INTO {name} VALUES (?, ?)", rows)
        opened.execute("COMMIT")
    except (sqlite3.Error, ParquetDamaged):
        opened.execute("ROLLBACK")
        raise


def _text(raw: bytes) -> str | bytes:
    """Text of a database. What damage made of it is given back as bytes, which no answer is."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw

"""What an error of SQLite means for people: which fault it is, and what to do about it.

Moving a database away is the advice for a damaged one alone: a full disk or a lock does not go away with the file.
"""

import shutil
import sqlite3
from enum import StrEnum
from pathlib import Path

_LEAST_FREE_BYTES = 128 << 10


class SqliteFault(StrEnum):
    """Kinds of faults that ask for different answers. The values are the ends of sentences that begin with a name."""

    LOCKED = "is held by another process"
    FULL = "cannot be written: the disk is full"
    READ_ONLY = "cannot be opened for writing: it, or its folder, is read-only or belongs to somebody else"
    DAMAGED = "is damaged, or is no SQLite database"
    UNREADABLE = "cannot be read: its disk, or the network behind it, does not answer as it should"
    OTHER = "cannot be used"


_BY_CODE = {
    sqlite3.SQLITE_BUSY: SqliteFault.LOCKED,
    sqlite3.SQLITE_LOCKED: SqliteFault.LOCKED,
    sqlite3.SQLITE_FULL: SqliteFault.FULL,
    sqlite3.SQLITE_READONLY: SqliteFault.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: SqliteFault.READ_ONLY,
    sqlite3.SQLITE_PERM: SqliteFault.READ_ONLY,
    sqlite3.SQLITE_CORRUPT: SqliteFault.DAMAGED,
    sqlite3.SQLITE_NOTADB: SqliteFault.DAMAGED,
    sqlite3.SQLITE_IOERR: SqliteFault.UNREADABLE,
}
_PRIMARY = 0xFF  # an extended error code holds the primary one in its low byte


def fault_of(error: BaseException, path: Path | None = None) -> SqliteFault:
    """Which fault an error of `sqlite3`, or one that wraps it, stands for. path: the database, for its disk's room.

    Where no code is known (a wrapper kept the words alone), SQLite's own fixed words decide.
    """
    code = getattr(error, "sqlite_errorcode", None)
    fault = SqliteFault.OTHER if code is None else _BY_CODE.get(code & _PRIMARY, SqliteFault.OTHER)
    if fault is SqliteFault.OTHER:
        fault = next((fault for words, fault in _BY_WORDS if words in str(error).lower()), fault)
    read_only_for_sure = "readonly" in str(error)
    unclear = fault in (SqliteFault.UNREADABLE, SqliteFault.READ_ONLY) and not read_only_for_sure
    if unclear and path is not None and _is_full(path):
        return SqliteFault.FULL
    return fault


_BY_WORDS = (
    ("database is locked", SqliteFault.LOCKED),
    ("table is locked", SqliteFault.LOCKED),
    ("disk is full", SqliteFault.FULL),
    ("no space left", SqliteFault.FULL),
    ("readonly database", SqliteFault.READ_ONLY),
    ("unable to open database", SqliteFault.READ_ONLY),
    ("malformed", SqliteFault.DAMAGED),
    ("not a database", SqliteFault.DAMAGED),
    ("disk i/o error", SqliteFault.UNREADABLE),
)


def _is_full(path: Path) -> bool:
    """SQLite says "I/O error" or "unable to open" where a full disk has no room for its companion files."""
    folder = next((parent for parent in path.absolute().parents if parent.is_dir()), None)
    return folder is not None and shutil.disk_usage(folder).free < _LEAST_FREE_BYTES

"""Digests of large files, computed once: remembered by path, size, times and inode, in memory and on disk.

A 14 GB model would otherwise be read whole at each start. `PROVER_VERIFY_WEIGHTS=1` reads all files again, whatever is
remembered; a file whose content changed with size, times and inode kept is found that way alone.
"""

import hashlib
import json
import os
import re
import time
from functools import lru_cache
from pathlib import Path

from prover.files import write_atomic

VERIFY_VARIABLE = "PROVER_VERIFY_WEIGHTS"
REMEMBERED_BYTES = 16 * 2**20
"""Smaller files are read again by each process: that takes milliseconds."""
_SETTLED_S = 5.0
"""A file this young is not remembered: it may change again within the resolution of its time."""


def cache_folder() -> Path:
    """Where digests are remembered: `prover/` in XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prover"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits."""
    target = path.resolve()
    # A hub cache's files are links to blobs that are named by their SHA-256 already.
    if target.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", target.name) and not _verify():
        return target.name
    status = target.stat()
    known = (str(target), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return _read(target) if _verify() else _remembered(*known)


def forget() -> None:
    """Drop what this process remembers; the file on disk stays."""
    _remembered.cache_clear()


def _verify() -> bool:
    return os.environ.get(VERIFY_VARIABLE, "") not in ("", "0")


@lru_cache(maxsize=1024)
def _remembered(path: str, size: int, modified_ns: int, changed_ns: int, inode: int) -> str:
    if size < REMEMBERED_BYTES:
        return _read(Path(path))
    note = cache_folder() / "digests" / f"{hashlib.sha256(path.encode()).hexdigest()[:32]}.json"
    state = [size, modified_ns, changed_ns, inode]
    try:
        noted = json.loads(note.read_text("utf-8"))
        if noted["state"] == state and re.fullmatch(r"[0-9a-f]{64}", noted["sha256"]):
            return str(noted["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not noted yet, or by a version that wrote something else: the file itself is read
    digest = _read(Path(path))
    if time.time_ns() - max(modified_ns, changed_ns) > _SETTLED_S * 1e9:
        _write(note, {"path": path, "state": state, "sha256": digest})
    return digest


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(note: Path, content: dict[str, object]) -> None:
    """Write a note, or do without it: a cache folder that cannot be written costs time only."""
    try:
        write_atomic(note, lambda temporary: temporary.write_text(json.dumps(content), encoding="utf-8"))
    except OSError:
        return

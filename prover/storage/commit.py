"""The commit file: which files a folder on a store holds, with size and digest. Other files there do not count."""

import json
import secrets
from dataclasses import dataclass, field

from prover.json_digest import json_text, parse_json
from prover.storage.store import StorageError, Store

HIDDEN = ".prover"
"""Folder of our own files, on the store and in the local copy."""
COMMIT = f"{HIDDEN}/commit.json"
"""Commit file of a folder."""
COMMIT_SUFFIX = ".commit.json"
"""Ending of the commit file of one search's files, which lies beside them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file: size in bytes, and SHA-256 digest in hex."""

    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Commit:
    """What one publication has put on a store."""

    files: dict[str, Entry]
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    def to_bytes(self) -> bytes:
        """As `read_commit` reads it."""
        files = {name: [entry.size, entry.digest] for name, entry in sorted(self.files.items())}
        return json_text({"id": self.id, "files": files}).encode()


def read_commit(store: Store, name: str) -> Commit | None:
    """A commit file; None where there is none. Raises StorageError for one that is damaged, after a second look."""
    for attempt in (1, 2):
        raw = store.read(name)
        if raw is None:
            return None
        try:
            found = parse_json(raw.decode("utf-8"))
            files = {str(file): Entry(int(size), str(digest)) for file, (size, digest) in found["files"].items()}
            for file in files:
                _require_inside(file)
            return Commit(files, str(found["id"]))
        except (UnicodeDecodeError, json.JSONDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
            if attempt == 2:
                raise StorageError(
                    f"{store.at(name)} is damaged ({' '.join(str(error).split())[:200]}); publish the folder again "
                    "from the machine that made it, or restore this file"
                ) from error
    raise AssertionError("unreachable")


def _require_inside(name: str) -> None:
    """Raise ValueError for a name that leads out of the folder: the store's writers are not trusted with our files."""
    parts = name.split("/")
    if not name or name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"it names {name!r}, which is no file inside the folder")

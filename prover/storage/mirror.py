"""A local folder that mirrors one on a store: fetched before work, published after it.

On the store, files have the same names. Publishing writes them in place and the commit file last; a file that a
published one replaces is first copied to `.prover/old/DIGEST`, so that until the new commit is there, all files of the
old one can be had. A note of what is being replaced makes a later publication mend what a killed one has left.

The memo of remembered answers is not sent whole: see `prover.storage.row_segments`. One that an older version
published as a file is fetched as that, and the next publication puts its rows in the file's place.
"""

import fcntl
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from prover.files import file_digest, write_json_atomic
from prover.json_digest import json_text, parse_json
from prover.storage.commit import COMMIT, HIDDEN, Commit, Entry, read_commit
from prover.storage.store import StorageError, Store

logger = logging.getLogger(__name__)

RECORD = f"{HIDDEN}/mirror.json"
"""In the local folder: which commit it was fetched from, and what its files were then."""
DATABASES = frozenset({".sqlite", ".db"})
DATABASES_OF_ROWS = frozenset({"memo.sqlite"})
"""Names, at the top of a data folder, of the databases that are published as rows: see `row_segments`."""
_BESIDE_DATABASES = ("-wal", "-shm", "-journal")
_AT_ONCE = 8  # requests
_LOOKS = 3  # at a store whose commit changes while it is read


@dataclass(frozen=True, slots=True)
class _Known:
    """A local file as it was last compared: its stat, and the digest of what is on the store."""

    size: int
    mtime_ns: int
    digest: str


@dataclass
class _Record:
    commit: str | None
    files: dict[str, _Known]


class Mirror:
    """Keeps `local` and the folder `store` in step.

    commit: name of the commit file. belongs: whether a name is of this folder's files (others are left alone). Nothing
    is locked here: hold a `StoreLock` while you write.
    """

    def __init__(
        self, store: Store, local: Path, *, commit: str = COMMIT, belongs: Callable[[str], bool] = lambda name: True
    ) -> None:
        self.store, self.local = store, local
        self._commit_name, self._belongs = commit, belongs
        self._note_name = f"{HIDDEN}/publishing-{PurePosixPath(commit).name}"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Processes of this machine that share the local folder fetch and publish one after another."""
        folder = self.local / HIDDEN
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "a+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def fetch(self) -> int:
        """Bring the local folder to the store's commit; returns how many files were fetched.

        A local folder that is ahead of the very commit that is on the store (work of a killed run) keeps its newer
        files, and gets back those it lost. Where another machine has published since, its files replace those here.
        Raises StorageError.
        """
        with self._alone():
            return self._fetch()

    def _fetch(self) -> int:
        missing: list[str] = []
        for _ in range(_LOOKS):
            commit = read_commit(self.store, self._commit_name)
            record = self._read_record()
            if commit is None:
                self._write_record(_Record(None, {}))
                return 0
            ahead = commit.id == record.commit
            stale = [name for name, entry in commit.files.items() if self._is_stale(name, entry, record, ahead=ahead)]
            missing = [name for name, found in self._each(stale, partial(self._get, commit)) if not found]
            if not missing:
                if not ahead:
                    self._drop_others(commit)
                    record = _Record(commit.id, {name: self._stat(name, e.digest) for name, e in commit.files.items()})
                record.files |= {name: self._stat(name, commit.files[name].digest) for name in stale}
                self._write_record(record)
                from prover.storage.row_segments import join  # loads pyarrow

                for name in DATABASES_OF_ROWS:
                    join(self.local / name)
                return len(stale)
        raise StorageError(
            f"{self.store.at(missing[0])} is not what was published: its digest does not fit; publish the folder again "
            "from the machine that made it, or restore the file"
        )

    def adopt(self) -> None:
        """Empty the local folder and take the store's commit as known: the next publication replaces its files."""
        with self._alone():
            for _, path in self._files():
                path.unlink()
            commit = read_commit(self.store, self._commit_name)
            self._write_record(_Record(commit.id if commit else None, {}))

    def publish(self, before_commit: Callable[[], None] = lambda: None, *, remove: bool = True) -> int:
        """Put what changed on the store, the commit file last; returns how many files were sent.

        before_commit: called when all files are there; what it raises leaves the old commit in force. remove: files
        that are not here any more go on the store too; without it, they stay there. Raises StorageError, also where
        another process has published since this folder was fetched.
        """
        with self._alone():
            return self._publish(before_commit, remove=remove)

    def _publish(self, before_commit: Callable[[], None], *, remove: bool) -> int:
        from prover.storage.row_segments import split  # loads pyarrow

        for name in DATABASES_OF_ROWS:
            split(self.local / name)
        record, base = self._read_record(), read_commit(self.store, self._commit_name)
        if (base.id if base else None) != record.commit:
            raise StorageError(
                f"{self.store.url}: another process has published since this one fetched it; nothing was published. "
                "Run this again: it starts from what is there now"
            )
        before = base.files if base else {}
        snapshots = self.local / HIDDEN / "snapshots"
        try:
            unsettled = self._unsettled()
            found, content = self._look(record, snapshots, unsettled)
            changed = [
                name
                for name, known in found.items()
                if name not in before or before[name].digest != known.digest or name in unsettled
            ]
            kept = {name for name in before if name in found or (not remove and name not in unsettled)}
            gone = [name for name in {*before, *unsettled} if name not in found and name not in kept]
            if not changed and not gone and base is not None:
                self._write_record(_Record(base.id, found))
                return 0
            self._send(changed, gone, before, content, unsettled)
            before_commit()
            sent = {name: Entry(content[name].stat().st_size, found[name].digest) for name in changed}
            commit = Commit({**{name: before[name] for name in kept}, **sent})
            self.store.write(self._commit_name, commit.to_bytes())
            self._write_record(_Record(commit.id, found))
        finally:
            shutil.rmtree(snapshots, ignore_errors=True)
        self._tidy(changed, gone, before)
        return len(changed)

    def _send(
        self,
        changed: Iterable[str],
        gone: Iterable[str],
        before: dict[str, Entry],
        content: dict[str, Path],
        unsettled: set[str],
    ) -> None:
        """Keep what is replaced, then write the files in place."""
        note = {"files": sorted({*changed, *gone, *unsettled})}
        self.store.write(self._note_name, json_text(note).encode())
        replaced = [name for name in changed if name in before and name not in unsettled]
        self._each(replaced, lambda name: self.store.copy(name, _old(before[name])))
        self._each(changed, lambda name: self.store.upload(content[name], name))

    def _tidy(self, changed: Iterable[str], gone: Iterable[str], before: dict[str, Entry]) -> None:
        """Remove what the new commit does not need. A failure here costs space and nothing else."""
        try:
            self._each(gone, self.store.remove)
            self._each((_old(before[name]) for name in {*changed} & {*before}), self.store.remove)
            self.store.remove(self._note_name)
        except StorageError as error:
            logger.warning("%s was published, but old files were left there: %s", self.store.url, error)

    def _unsettled(self) -> set[str]:
        """Names that a publication that did not end may have left in any state."""
        raw = self.store.read(self._note_name)
        if raw is None:
            return set()
        try:
            return {str(name) for name in parse_json(raw.decode("utf-8"))["files"]}
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{self.store.at(self._note_name)} is damaged ({error}); remove it together with {self._commit_name}, "
                "and publish again"
            ) from error

    def _get(self, commit: Commit, name: str) -> bool:
        """Fetch a file of a commit, in place or from what a later publication has put aside. False: it is neither."""
        entry, path = commit.files[name], self.local / name
        for place in (name, _old(entry)):
            try:
                if self.store.download(place, path, size=entry.size, digest=entry.digest):
                    for ending in _BESIDE_DATABASES if path.suffix in DATABASES else ():
                        path.with_name(path.name + ending).unlink(missing_ok=True)
                    return True
            except (FileNotFoundError, StorageError) as error:
                logger.info("%s: %s", self.store.at(place), error)
        return False

    def _drop_others(self, commit: Commit) -> None:
        """Remove local files that the commit does not name: work that was never published, on an older commit."""
        others = [path for name, path in self._files() if name not in commit.files]
        for path in others:
            path.unlink(missing_ok=True)
        if others:
            logger.warning(
                "%s: %d files of an older state were removed, for another process has published since (%s, ...)",
                self.local, len(others), others[0].relative_to(self.local),
            )  # fmt: skip

    def _files(self) -> list[tuple[str, Path]]:
        """(name, path) of the local files that belong to the folder. Hidden ones and locks do not, nor databases that
        are published as rows.
        """
        found = []
        for path in sorted(self.local.rglob("*")) if self.local.is_dir() else ():
            relative = path.relative_to(self.local)
            hidden = any(part.startswith(".") for part in relative.parts)
            lock = path.name == "lock" and path.parent.suffix == ".parts"
            beside = path.name.endswith(_BESIDE_DATABASES) or relative.as_posix() in DATABASES_OF_ROWS
            if hidden or lock or beside or not path.is_file():
                continue
            if self._belongs(relative.as_posix()):
                found.append((relative.as_posix(), path))
        return found

    def _look(self, record: _Record, snapshots: Path, unsettled: set[str]) -> tuple[dict[str, _Known], dict[str, Path]]:
        """What is in the local folder, and the file that holds each content: of a changed database, a copy."""
        found: dict[str, _Known] = {}
        content: dict[str, Path] = {}
        for name, path in self._files():
            known = record.files.get(name)
            now = self._stat(name, known.digest if known else "")
            log = path.with_name(path.name + "-wal")  # what a database wrote and has not moved into its file yet
            still = now == known and not (log.exists() and log.stat().st_size)
            if not still or name in unsettled:
                is_database = path.suffix in DATABASES
                content[name] = _snapshot(path, snapshots / name) if is_database else path
                now = _Known(now.size, now.mtime_ns, file_digest(content[name]))
            found[name] = now
        return found, {name: content.get(name, self.local / name) for name in found}

    def _is_stale(self, name: str, entry: Entry, record: _Record, *, ahead: bool) -> bool:
        """Whether a file is to be fetched. ahead: the local folder may hold newer content of this very commit."""
        if not (self.local / name).is_file():
            return True
        if ahead:
            return False
        known = record.files.get(name)
        unchanged = known is not None and known == self._stat(name, known.digest)
        digest = known.digest if known is not None and unchanged else file_digest(self.local / name)
        return digest != entry.digest

    def _stat(self, name: str, digest: str) -> _Known:
        stat = (self.local / name).stat()
        return _Known(stat.st_size, stat.st_mtime_ns, digest)

    def _each(self, names: Iterable[str], call: Callable[[str], object]) -> list[tuple[str, object]]:
        """`call` for each name, several at a time; (name, what it returned). The first error is raised."""
        names = list(names)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(zip(names, pool.map(call, names), strict=True))

    def _read_record(self) -> _Record:
        try:
            found = parse_json((self.local / RECORD).read_text(encoding="utf-8"))
            files = {name: _Known(*values) for name, values in found["files"].items()}
            return _Record(found["commit"], files)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return _Record(None, {})  # then every file is compared by digest

    def _write_record(self, record: _Record) -> None:
        files = {name: [known.size, known.mtime_ns, known.digest] for name, known in record.files.items()}
        content = {"url": self.store.url, "folder": str(self.local), "commit": record.commit, "files": files}
        write_json_atomic(self.local / RECORD, content)


def url_of(folder: Path) -> str | None:
    """The store that a local folder mirrors; None for a folder that is on a disk alone, or a copy of a mirror.

    Raises StorageError for a damaged record: work in the folder would stay on this machine, or go to another store.
    """
    path = folder / RECORD
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        return str(found["url"]) if found["folder"] == str(folder.absolute()) else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path} is damaged ({' '.join(str(error).split())[:200]}): it says which store this folder is a copy of. "
            "Remove it, and give the address of the store as the data folder; it is then written anew"
        ) from error


def _old(entry: Entry) -> str:
    """Where a file that is being replaced is kept until the next commit is there."""
    return f"{HIDDEN}/old/{entry.digest}"


def _snapshot(path: Path, copy: Path) -> Path:
    """A consistent copy of an SQLite database, which another thread may be writing. Raises StorageError."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=30)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be published: {error}; close what holds it, and run this again") from error
    return copy

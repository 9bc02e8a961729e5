"""Local copies of inputs that lie on a store: trajectory files, checkpoints, theorem sets."""

from pathlib import Path, PurePosixPath

from prover.files import file_digest
from prover.storage.commit import COMMIT, COMMIT_SUFFIX, HIDDEN, Commit, Entry, read_commit
from prover.storage.places import is_url, plain_path, working_folder
from prover.storage.store import StorageError, Store

_GLOB = frozenset("*?[")
_COMPANIONS = (".attempts.parquet", ".summary.parquet")


def on_disk(given: str | Path) -> Path:
    """A path on this machine: the one that is given, or the local copy of what lies at a URL. Raises StorageError."""
    return local_copy(given) if isinstance(given, str) and is_url(given) else plain_path(given)


def local_copy(url: str) -> Path:
    """Fetch a file, a folder or what a glob names, and return where it lies on this machine.

    What was published from here has a commit file: its digests are checked, and a file that is there already and fits
    is not fetched again. Of files made elsewhere, the size is checked. A trajectory file brings its companions along.
    A glob becomes the same glob of local files. Raises StorageError if nothing is there.
    """
    url = url.rstrip("/")
    if _GLOB & set(url):
        folder, _, pattern = url.partition("://")[2].rpartition("/")
        if _GLOB & set(folder):
            raise StorageError(f"{url}: a pattern may be in the last part of a URL only; name the folder instead")
        return _folder(Store(url.rpartition("/")[0]), pattern) / pattern
    parent, _, name = url.rpartition("/")
    if parent.endswith(":/") or not name:  # a bucket alone
        return _folder(Store(url))
    store = Store(parent)
    if not store.is_file(name):
        return _folder(Store(url))
    stem = name.removesuffix(".parquet")
    names = [name] if stem == name else [name, *(stem + ending for ending in _COMPANIONS)]
    local = working_folder(parent)
    known = _entries_of_file(parent, name)
    for file in names:
        if file == name or file in known or (not known and store.is_file(file)):
            _bring(store, file, local, known.get(file))
    return local / name


def _folder(store: Store, pattern: str = "*") -> Path:
    """All files of a folder on the store; those at its top that fit a pattern, if one is given."""
    local = working_folder(store.url)
    known = _entries_of_folder(store)
    names = sorted(known) if known else [name for name in store.find() if not _hidden(name)]
    if pattern != "*":
        names = [name for name in names if PurePosixPath(name).match(pattern) or _is_companion(name, pattern)]
    if not names:
        raise StorageError(f"{store.url}: there is no file; correct the address, or look at the bucket's rights")
    for name in names:
        entry = known.get(name) or _entries_of_file(store.url, name).get(name)
        _bring(store, name, local, entry)
    kept = {local / name for name in names}
    if pattern == "*":  # what is gone there must not be read here
        for path in local.rglob("*"):
            if path.is_file() and path not in kept and not _hidden(path.relative_to(local).as_posix()):
                path.unlink()
    return local


def _is_companion(name: str, pattern: str) -> bool:
    node_files = (name.removesuffix(ending) + ".parquet" for ending in _COMPANIONS if name.endswith(ending))
    return any(PurePosixPath(file).match(pattern) for file in node_files)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/")) or name.endswith(COMMIT_SUFFIX)


def _bring(store: Store, name: str, local: Path, entry: Entry | None) -> None:
    """Fetch a file, unless the copy here has the digest that the commit says. Raises StorageError."""
    path = local / name
    known = entry is not None and path.is_file() and path.stat().st_size == entry.size
    if known and entry is not None and file_digest(path) == entry.digest:
        return
    try:
        if entry is None:
            whole = store.download(name, path)
        else:
            old = f"{HIDDEN}/old/{entry.digest}"
            whole = store.download(name, path, size=entry.size, digest=entry.digest) or (
                store.is_file(old) and store.download(old, path, size=entry.size, digest=entry.digest)
            )
    except FileNotFoundError:
        raise StorageError(f"{store.at(name)} is not there; correct the address, or publish its folder again") from None
    if not whole:
        raise StorageError(
            f"{store.at(name)} is not what was published: its size or digest does not fit; publish it again"
        )


def _entries_of_file(folder: str, name: str) -> dict[str, Entry]:
    """The committed files of the search that a file is one of, else of the data folder that it lies in."""
    stem = PurePosixPath(name).name.partition(".")[0]
    place = f"{folder}/{name}".rpartition("/")[0]
    commit = read_commit(Store(place), stem + COMMIT_SUFFIX)
    if commit is not None and PurePosixPath(name).name in commit.files:
        prefix = name.rpartition("/")[0]
        return {f"{prefix}/{file}" if prefix else file: entry for file, entry in commit.files.items()}
    return _entries_of_folder(Store(folder)) if name.count("/") == 0 else {}


def _entries_of_folder(store: Store) -> dict[str, Entry]:
    """The files of a folder that its commit, or that of a folder above it, names; relative to the folder."""
    url, below = store.url, ""
    while True:
        commit: Commit | None = read_commit(Store(url), COMMIT)
        if commit is not None:
            found = {name: entry for name, entry in commit.files.items() if name.startswith(below)}
            return {name.removeprefix(below): entry for name, entry in found.items()}
        parent, _, name = url.rpartition("/")
        if parent.endswith(":/"):
            return {}
        url, below = parent, f"{name}/{below}"

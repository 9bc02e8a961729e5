"""The data folder: a path, or the local copy of a folder on a store."""

import os
from functools import cache
from pathlib import Path

from prover.storage.mirror import Mirror, url_of
from prover.storage.places import is_url, plain_path, working_folder
from prover.storage.store import Store

VARIABLE = "PROVER_DATA"
_named: dict[Path, str] = {}  # local copies whose URL this process was given


def data_root(given: str | None = None) -> Path:
    """The folder on this machine: what is given, else `PROVER_DATA`, else `./data`. Of a URL, its local copy's place.

    Nothing is fetched.
    """
    text = given or os.environ.get(VARIABLE) or "data"
    if not is_url(text):
        return plain_path(text)
    local = working_folder(text)
    _named[local.resolve()] = text.rstrip("/")
    return local


def data_url(root: Path) -> str | None:
    """The URL of the folder on a store that a data folder is the local copy of; None for one on a disk alone."""
    return _named.get(root.resolve()) or url_of(root)


def data_folder() -> Path:
    """`data_root()`; where `PROVER_DATA` is a URL, what is on the store is fetched first, once per process.

    What a command then writes there (remembered answers, vectors) stays on this machine until a run that holds the
    data folder publishes it. Raises StorageError.
    """
    root = data_root()
    url = data_url(root)
    return root if url is None else _fetched(url, root)


@cache
def _fetched(url: str, root: Path) -> Path:
    Mirror(Store(url), root).fetch()
    return root

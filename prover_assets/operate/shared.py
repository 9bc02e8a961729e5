"""A data folder on a store while a process works on it: locked, fetched, and published after each step."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prover.storage.commit import HIDDEN
from prover.storage.data import data_url
from prover.storage.lock import StoreLock
from prover.storage.mirror import Mirror
from prover.storage.store import Store
from prover_assets.operate.processes import RunProcess
from prover_assets.store.layout import DataFolder
from prover_assets.tracking.relocation import relocate

logger = logging.getLogger(__name__)

LOCK = f"{HIDDEN}/lock.json"
_held: dict[Path, tuple[Mirror, StoreLock]] = {}
"""The data folders that this process holds on their stores, by local copy."""


@contextmanager
def shared(data: DataFolder) -> Iterator[None]:
    """Work on a data folder. One on a disk is left as it is.

    One on a store is locked, its local copy brought up to date, and what changed is published on the way out, after an
    error too: the store then holds what a disk would. Within another such context of this process (a step of a run)
    only the publication is left to do. Raises StorageError; one that comes on top of another error is logged.
    """
    held = _held.get(data.root)
    if held is not None:
        with _publishing(*held):
            yield
        return
    url = data_url(data.root)
    if url is None:
        yield
        return
    store = Store(url)
    with StoreLock(store, LOCK, str(RunProcess.this()), _is_alive) as lock:
        mirror = Mirror(store, data.root)
        mirror.fetch()
        relocate(data.mlflow)  # its artifacts are where this machine keeps its copy
        _held[data.root] = (mirror, lock)
        try:
            with _publishing(mirror, lock):
                yield
        finally:
            del _held[data.root]


def fetch_for_reading(data: DataFolder) -> None:
    """Bring the local copy of a data folder on a store up to date, without a lock. Raises StorageError."""
    url = data_url(data.root)
    if url is not None:
        Mirror(Store(url), data.root).fetch()


@contextmanager
def _publishing(mirror: Mirror, lock: StoreLock) -> Iterator[None]:
    try:
        yield
    except BaseException:
        try:
            mirror.publish(before_commit=lock.check)
        except OSError as error:
            logger.warning("what was made is in %s, and was not published: %s", mirror.local, error)
        raise
    mirror.publish(before_commit=lock.check)


def _is_alive(holder: str) -> bool | None:
    process = RunProcess.parse(holder)
    return None if process is None else process.is_alive()

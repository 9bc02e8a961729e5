"""Outputs on a store: a search's files, a checkpoint's folder. Made on this machine, published from here."""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prover.storage.commit import COMMIT, COMMIT_SUFFIX, HIDDEN
from prover.storage.lock import StoreLock
from prover.storage.mirror import Mirror
from prover.storage.places import is_url, plain_path, working_folder
from prover.storage.store import Store

logger = logging.getLogger(__name__)

PUBLISH_EVERY_S = 60.0
"""How often the finished theorems of a running search go to the store (seconds)."""


@dataclass
class Output:
    """Where to write: `path`, on this machine. Without a mirror it is the place itself."""

    path: Path
    mirror: Mirror | None = None
    _lock: StoreLock | None = None
    _published: float = field(default_factory=time.monotonic)

    def publish(self, *, whole: bool = False) -> None:
        """Put what there is on the store. whole: it is all of the output; older files there go. Raises StorageError."""
        if self.mirror is not None:
            self.mirror.publish(before_commit=self._lock.check if self._lock else lambda: None, remove=whole)
            self._published = time.monotonic()

    def publish_if_due(self) -> None:
        """`publish`, if the last time is `PUBLISH_EVERY_S` ago. A failure is logged: the last publication will tell."""
        if self.mirror is None or time.monotonic() - self._published < PUBLISH_EVERY_S:
            return
        self._published = time.monotonic()
        try:
            self.publish()
        except OSError as error:
            logger.warning("what is finished so far was not published: %s", error)


def this_process() -> str:
    """Who holds a lock, for people: process and machine."""
    return f"process {os.getpid()} on {socket.gethostname()}"


@contextmanager
def published(given: str | Path, *, keep: bool = False) -> Iterator[Output]:
    """An output: a path as it is, or, for a URL, a local place whose files are published when the context ends.

    given: `FILE.parquet` of a search, or a folder. keep: go on with what is on the store; otherwise it is replaced. The
    place on the store is locked meanwhile. An error in the context is not hidden: what is finished is published too,
    and if that fails it is logged. Raises StorageError.
    """
    if not is_url(given):
        yield Output(plain_path(given))
        return
    url = str(given).rstrip("/")
    parent, _, name = url.rpartition("/")
    if name.endswith(".parquet"):
        stem = name.removesuffix(".parquet")
        store, local = Store(parent), working_folder(f"{url}#output")
        commit, lock, path = stem + COMMIT_SUFFIX, f"{HIDDEN}/{stem}.lock.json", local / name
        belongs: Callable[[str], bool] = lambda found: found.startswith(f"{stem}.")  # noqa: E731
    else:
        store, path = Store(url), working_folder(f"{url}#output")
        local, commit, lock = path, COMMIT, f"{HIDDEN}/lock.json"
        belongs = lambda found: True  # noqa: E731
    with StoreLock(store, lock, this_process(), lambda holder: None) as held:
        mirror = Mirror(store, local, commit=commit, belongs=belongs)
        if keep:
            mirror.fetch()
        else:
            mirror.adopt()
        output = Output(path, mirror, held)
        try:
            yield output
        except BaseException:
            try:
                output.publish()
            except OSError as error:
                logger.warning("what is finished is in %s, and was not published: %s", local, error)
            raise
        output.publish(whole=True)

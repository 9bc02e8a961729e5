"""A lock that is a file on a store: made only where there is none, and renewed as long as its holder lives."""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from prover.storage.store import StorageError, Store

logger = logging.getLogger(__name__)

RENEW_EVERY_S = 20.0
STALE_AFTER_S = 180.0
"""A lock that was not renewed for so long (seconds, by the store's clock) is of a holder that is gone."""
SETTLE_S = 0.5
"""After taking over a dead holder's lock: how long to wait for another taker to show."""


class StoreLock:
    """Holds `name` on a store against others, for as long as the context is open.

    holder: who holds it, for people, and for `is_alive`, which says of another holder whether it lives: True, False, or
    None where that cannot be told from here. Entering raises StorageError if another process holds it.
    """

    def __init__(self, store: Store, name: str, holder: str, is_alive: Callable[[str], bool | None]) -> None:
        self._store, self._name, self._holder, self._is_alive = store, name, holder, is_alive
        self._id = secrets.token_hex(8)
        self._beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="store lock", daemon=True)

    def __enter__(self) -> Self:
        if not self._store.create(self._name, self._content()):
            self._take_over()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        try:
            if self._read().get("id") == self._id:
                self._store.remove(self._name)
        except StorageError as fault:  # it goes stale by itself, and why the work failed matters more
            logger.warning("the lock was not removed: %s", fault)

    def check(self) -> None:
        """Raises StorageError if the lock is no more this process's: nothing may be published then."""
        found = self._read()
        if found.get("id") != self._id:
            raise StorageError(
                f"{self._store.at(self._name)}: this process has lost its lock, to {found.get('holder', 'nobody')}; "
                "what it made is kept on this machine and not published: run this again"
            )

    def _content(self) -> bytes:
        return json.dumps({"id": self._id, "holder": self._holder, "beats": self._beats}).encode()

    def _read(self) -> dict[str, object]:
        raw = self._store.read(self._name)
        try:
            found = json.loads(raw or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _take_over(self) -> None:
        found = self._read()
        holder = str(found.get("holder", "unknown"))
        dead = self._is_alive(holder) is False
        if not dead:
            age = self._age_s()
            if age is not None and age < STALE_AFTER_S:
                raise StorageError(
                    f"{self._store.url} is in use by another process ({holder}); wait for it to end, or stop it, and "
                    f"run this again. A lock of a machine that is gone is free {STALE_AFTER_S:.0f} s after its last "
                    f"sign of life; its file is {self._store.at(self._name)}"
                )
        logger.warning("%s: the process that held it (%s) is gone; taken over", self._store.url, holder)
        if self._read().get("id") == found.get("id"):
            self._store.remove(self._name)
        mine = self._store.create(self._name, self._content())
        time.sleep(SETTLE_S)
        if not mine or self._read().get("id") != self._id:
            raise StorageError(f"{self._store.url} was just taken by another process; run this again once it has ended")

    def _age_s(self) -> float | None:
        """Seconds since the lock was last written, by the store's clock; None if it is gone."""
        probe = f"{self._name}.{self._id}.now"
        self._store.write(probe, b"")
        try:
            now, written = self._store.modified(probe), self._store.modified(self._name)
        finally:
            self._store.remove(probe)
        if written is None or now is None:
            return None
        return (_utc(now) - _utc(written)).total_seconds()

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_EVERY_S):
            try:
                if self._read().get("id") != self._id:
                    return  # `check` says so before anything is published
                self._beats += 1
                self._store.write(self._name, self._content())
            except StorageError as error:
                logger.warning("the lock could not be renewed: %s", error)


def _utc(moment: datetime) -> datetime:
    """A moment in UTC; a store's client that names no zone means UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

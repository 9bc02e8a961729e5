"""Waiting for a server: pauses that an interruption ends, and a countdown that says how long is left."""

import logging
import threading
import time
from collections.abc import Callable

from prover.policy.base import PolicyInterrupted

logger = logging.getLogger(__name__)
_SAY_EVERY_S = 30.0


class Patience:
    """Shared by all requests to one server. Thread-safe.

    sleep: for tests; the default waits in such a way that `interrupt` ends it.
    """

    def __init__(self, sleep: Callable[[float], None] | None = None) -> None:
        self.interrupted = threading.Event()
        self._sleep = sleep
        self._lock = threading.Lock()
        self._down_since: float | None = None
        self._said_at = 0.0
        self.answered = 0
        """Requests that were answered."""

    def pause(self, seconds: float) -> None:
        """Wait. Raises PolicyInterrupted once the search is to stop."""
        if self._sleep is None:
            self.interrupted.wait(seconds)
        else:
            self._sleep(seconds)
        self.check()

    def check(self) -> None:
        """Raise `PolicyInterrupted` once the search has been stopped."""
        if self.interrupted.is_set():
            raise PolicyInterrupted("the search was stopped while the server was at work")

    def waiting(self, what: str, left_s: float) -> None:
        """Say, now and then, what is waited for and how long it may take."""
        with self._lock:
            now = time.monotonic()
            if self._down_since is not None and now - self._said_at < _SAY_EVERY_S:
                return
            if self._down_since is None:
                self._down_since = now
            self._said_at = now
        minutes, seconds = divmod(max(0, round(left_s)), 60)
        logger.warning(
            "%s. The search waits for it, %d:%02d more at most, and goes on by itself.", what, minutes, seconds
        )

    def success(self) -> None:
        """A request was answered."""
        with self._lock:
            self.answered += 1
            down_since, self._down_since = self._down_since, None
        if down_since is not None:
            logger.warning("The server is back after %.0f s; the search goes on.", time.monotonic() - down_since)

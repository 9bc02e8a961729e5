"""Threads that each own a worker, and a queue that sends work to the worker that knows its state."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

W = TypeVar("W", bound="Closable")
T = TypeVar("T")

LOOK_AHEAD = 64
"""How many waiting jobs a free worker chooses among; the oldest wins among equals."""


class Closable(Protocol):
    """A worker that a pool owns."""

    def interrupt(self) -> None:
        """End the call that is under way, from another thread."""
        ...

    def close(self) -> None:
        """Free what the worker holds."""
        ...


class PoolClosed(RuntimeError):
    """Work was given to a pool that is closed, or the pool was closed before the work was done."""


@dataclass(slots=True)
class _Job(Generic[W]):
    work: Callable[[W], Any]
    cost: Callable[[W], int]
    future: Future[Any]


class WorkerPool(Generic[W]):
    """Runs jobs on workers, one at a time on each.

    cost: of a job on a worker, lower is better; 0 means that the worker knows the job's state.
    """

    def __init__(self, workers: Sequence[W]) -> None:
        self._jobs: dict[int, _Job[W]] = {}
        self._next = 0
        self._changed = threading.Condition()
        self._closed = False
        self._workers = list(workers)
        self._threads = [
            threading.Thread(target=self._serve, args=(worker,), name=f"lean-repl-{index}", daemon=True)
            for index, worker in enumerate(self._workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[W], T], cost: Callable[[W], int]) -> Future[T]:
        """Have a worker do `work`; its result or exception is in the future."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise PoolClosed("this Lean environment is closed")
            self._jobs[self._next] = _Job(work, cost, future)
            self._next += 1
            self._changed.notify()
        return future

    def close(self) -> None:
        """Drop what waits, interrupt what runs, and close every worker."""
        with self._changed:
            self._closed = True
            waiting, self._jobs = list(self._jobs.values()), {}
            self._changed.notify_all()
        for job in waiting:
            job.future.set_exception(PoolClosed("this Lean environment was closed"))
        for thread, worker in zip(self._threads, self._workers, strict=True):
            while thread.is_alive():  # a worker may start a new server between two looks
                worker.interrupt()
                thread.join(0.1)

    def _serve(self, worker: W) -> None:
        try:
            while (job := self._take(worker)) is not None:
                try:
                    job.future.set_result(job.work(worker))
                except BaseException as error:  # noqa: BLE001 - it is raised where the result is read
                    job.future.set_exception(error)
        finally:
            worker.close()

    def _take(self, worker: W) -> _Job[W] | None:
        """The next job for `worker`; waits for one, None when the pool is closed."""
        with self._changed:
            while not self._closed:
                if self._jobs:
                    number = min(islice(self._jobs, LOOK_AHEAD), key=lambda number: self._jobs[number].cost(worker))
                    return self._jobs.pop(number)
                self._changed.wait()
            return None

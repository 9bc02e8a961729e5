"""Requests side by side, in threads that never hold the program up."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

_POLL_S = 0.1

Job = TypeVar("Job")
Result = TypeVar("Result")


class _Shared(Generic[Job, Result]):
    """What the threads of one call share."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.waiting = deque(enumerate(jobs))
        self.results: dict[int, Result] = {}
        self.error: BaseException | None = None
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)


def side_by_side(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int, check: Callable[[], None]
) -> list[Result]:
    """`work` of each job, in the order of the jobs; at most `workers` at a time.

    check: called every tenth of a second in the caller's thread; what it raises ends the call at once. So does the
    first error of a job. Work that is under way then is left to end by itself: nothing waits for it, not even the end
    of the program.
    """
    shared: _Shared[Job, Result] = _Shared(jobs)

    def run() -> None:
        while True:
            with shared.lock:
                if not shared.waiting or shared.error is not None:
                    return
                index, job = shared.waiting.popleft()
            try:
                result = work(job)
            except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
                with shared.lock:
                    shared.error = shared.error or error
                    shared.changed.notify()
                return
            with shared.lock:
                shared.results[index] = result
                shared.changed.notify()

    for number in range(min(workers, len(jobs))):
        threading.Thread(target=run, name=f"policy-server-{number}", daemon=True).start()
    try:
        with shared.lock:
            while len(shared.results) < len(jobs) and shared.error is None:
                shared.changed.wait(_POLL_S)
                check()
    finally:
        with shared.lock:
            shared.waiting.clear()
    if shared.error is not None:
        raise shared.error
    return [shared.results[index] for index in range(len(jobs))]

"""Progress of long steps: bars on a terminal under `make run`, a line every 15 seconds in the run's log in Dagster."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from logging import Logger
from typing import Protocol

from prover_assets.protocols import Update

LOG_EVERY_S = 15.0
TERMINAL_EVERY_S = 60.0
"""Where output is no terminal: a log file, a pipe."""


class Reporter(Protocol):
    """Shows steps that take a while."""

    def stage(self, title: str) -> AbstractContextManager[Update]:
        """Opens a step; what it yields is called as often as there is news."""
        ...


_current: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


@contextmanager
def using(reporter: Reporter) -> Iterator[None]:
    """Show the steps of assets that run in this process on `reporter`."""
    token = _current.set(reporter)
    try:
        yield
    finally:
        _current.reset(token)


def reporter_for(log: Logger, stages: Sequence[str]) -> Reporter:
    """Writes to `log`, the run's log in Dagster, and shows the same on the reporter of this process, if there is one.

    stages: of the run, see `stages_of`.
    """
    own, current = LogReporter(log, stages), _current.get()
    return own if current is None else _Both(current, own)


STAGES = (
    "search held-out theorems, policy",
    "search training theorems",
    "embed states",
    "train the energy model",
    "choose its weight on validation",
    "search held-out theorems, guided",
    "search held-out theorems, random",
    "train and search, other head seeds",
    "compare and report",
)
"""The stages of an iteration that take a while, in order: "step 3 of 9"."""
TUNING_STAGES = ("tune the policy on proofs", "search validation, before and after")
"""The two that follow where the policy is tuned: "step 10 of 11"."""


def stages_of(*, tuning: bool) -> tuple[str, ...]:
    """The stages of a run. tuning: whether it tunes the policy."""
    return (*STAGES, *TUNING_STAGES) if tuning else STAGES


def place_of(title: str, stages: Sequence[str] = STAGES) -> str:
    """`3/9` for the third stage of an iteration; "" for one that is not part of it."""
    return f"{stages.index(title) + 1}/{len(stages)}" if title in stages else ""


def in_words(seconds: float) -> str:
    """A duration as people say it: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Pace:
    """How far a stage is, and how fast it goes.

    The rate counts from the first news on: what is loaded before, and what an earlier run had finished, would spoil it.
    A count that falls is another part of the stage (the next model), whose rate counts from there.
    """

    def __init__(self) -> None:
        self.done, self.total, self.note = 0, 0, ""
        self._since: tuple[float, int] | None = None

    def update(self, done: int, total: int, note: str) -> None:
        """Take in news; see `Update`."""
        if self._since is None or done < self.done:
            self._since = (time.monotonic(), done)
        self.done, self.total, self.note = done, total, note

    @property
    def per_second(self) -> float:
        """Of what is counted; 0 while it is not known."""
        if self._since is None:
            return 0.0
        began, first = self._since
        seconds = time.monotonic() - began
        return (self.done - first) / seconds if seconds > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest takes at that rate; None while it is not known, or where nothing is left."""
        rate = self.per_second
        return (self.total - self.done) / rate if rate > 0 and self.total > self.done else None

    def __str__(self) -> str:
        """`12/60, 0.8/s, 1 min 2 s left, 9 proved`, without what is not known yet."""
        if not self.done:
            return ", ".join(part for part in (f"0/{self.total}" if self.total else "", self.note) if part) or (
                "no news yet"
            )
        rate, left = self.per_second, self.left_s
        parts = [f"{self.done}/{self.total}" if self.total else str(self.done)]
        if rate:
            parts.append(f"{rate:.3g}/s")
        if left is not None:
            parts.append(f"{in_words(left)} left")
        return ", ".join([*parts, *([self.note] if self.note else [])])


@contextmanager
def _telling(tell: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call `tell` every so many seconds, from a thread of its own, with or without news."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(every_s):
            tell()

    teller = threading.Thread(target=go_on, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


class LogReporter:
    """A line in the run's log at the start, every `LOG_EVERY_S` seconds with or without news, and at the end."""

    def __init__(self, log: Logger, stages: Sequence[str] = STAGES, every_s: float = LOG_EVERY_S) -> None:
        self._log, self._stages, self._every_s = log, stages, every_s

    @contextmanager
    def stage(self, title: str) -> Iterator[Update]:
        """See `Reporter.stage`: lines in the log."""
        began, pace = time.monotonic(), Pace()
        place = place_of(title, self._stages)
        name = f"step {place.replace('/', ' of ')}, {title}" if place else title
        self._log.info(f"{name}: started")

        def tell() -> None:
            self._log.info(f"{name}: {pace} ({in_words(time.monotonic() - began)} so far)")

        try:
            with _telling(tell, self._every_s):
                yield pace.update
        finally:
            said = ", ".join(part for part in (f"{pace.done}/{pace.total}" if pace.total else "", pace.note) if part)
            self._log.info(f"{name}: {said or 'done'} ({in_words(time.monotonic() - began)})")


class _Both:
    """Two reporters as one."""

    def __init__(self, first: Reporter, second: Reporter) -> None:
        self._first, self._second = first, second

    @contextmanager
    def stage(self, title: str) -> Iterator[Update]:
        """See `Reporter.stage`."""
        with self._first.stage(title) as first, self._second.stage(title) as second:

            def update(done: int, total: int, note: str) -> None:
                first(done, total, note)
                second(done, total, note)

            yield update


class TerminalReporter:
    """One progress bar per step on a terminal; elsewhere a line per finished step, and one per minute of a long one."""

    def __init__(self, stages: Sequence[str] = STAGES, every_s: float = TERMINAL_EVERY_S) -> None:
        from rich.console import Console

        self.console = Console(highlight=False)
        self._stages, self._every_s = stages, every_s

    @contextmanager
    def stage(self, title: str) -> Iterator[Update]:
        """See `Reporter.stage`: a line with a progress bar."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        began, pace = time.monotonic(), Pace()
        width = 2 * len(str(len(self._stages))) + 1  # of the longest place
        name = f"{place_of(title, self._stages):>{width}} {title}"
        columns = (
            TextColumn("{task.description:<42}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        live = self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=not live) as progress:
            task = progress.add_task(name, total=None, note="")

            def update(done: int, total: int, note: str) -> None:
                pace.update(done, total, note)
                progress.update(task, completed=done, total=total or None, note=note)

            def tell() -> None:
                self.console.print(f"  {name}: {pace}", soft_wrap=True)

            with nullcontext() if live else _telling(tell, self._every_s):
                yield update
        self.console.print(
            f"[green]✓[/] {name:<42} {time.monotonic() - began:6.1f} s  [dim]{pace.note}[/]", soft_wrap=True
        )

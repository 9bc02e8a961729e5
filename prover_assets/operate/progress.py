"""Progress of long steps: bars on a terminal under `make run`, a log line now and then in Dagster."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from logging import Logger
from typing import Protocol

from prover_assets.protocols import Update

LOG_EVERY_S = 15.0


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


def reporter_for(log: Logger) -> Reporter:
    """The reporter of this process, or else one that writes to `log`, the run's log in Dagster."""
    return _current.get() or LogReporter(log)


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


def place_of(title: str) -> str:
    """`3/9` for the third stage of an iteration; "" for one that is not part of every iteration."""
    return f"{STAGES.index(title) + 1}/{len(STAGES)}" if title in STAGES else ""


def in_words(seconds: float) -> str:
    """A duration as people say it: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def how_far(done: int, total: int, note: str, elapsed_s: float) -> str:
    """`12/60, 0.8/s, 1 min 2 s left, 9 proved`: done and total, rate, time left, and a remark of the step's own.

    The time left is what the rest takes at the rate so far. Left out is what is not known yet.
    """
    if not done:
        return ", ".join(part for part in (f"0/{total}" if total else "", note) if part) or "no news yet"
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    parts = [f"{done}/{total}" if total else str(done)]
    if rate:
        parts.append(f"{rate:.3g}/s")
        if total > done:
            parts.append(f"{in_words((total - done) / rate)} left")
    return ", ".join([*parts, *([note] if note else [])])


class LogReporter:
    """A line in the run's log at the start, every `LOG_EVERY_S` seconds with or without news, and at the end."""

    def __init__(self, log: Logger, every_s: float = LOG_EVERY_S) -> None:
        self._log, self._every_s = log, every_s

    @contextmanager
    def stage(self, title: str) -> Iterator[Update]:
        """See `Reporter.stage`: lines in the log."""
        began = time.monotonic()
        latest: tuple[int, int, str] = (0, 0, "")
        ended = threading.Event()
        place = place_of(title)
        name = f"step {place.replace('/', ' of ')}, {title}" if place else title
        self._log.info(f"{name}: started")

        def update(done: int, total: int, note: str) -> None:
            nonlocal latest
            latest = (done, total, note)

        def tell() -> None:
            while not ended.wait(self._every_s):
                seconds = time.monotonic() - began
                self._log.info(f"{name}: {how_far(*latest, seconds)} ({in_words(seconds)} so far)")

        teller = threading.Thread(target=tell, name="progress", daemon=True)
        teller.start()
        try:
            yield update
        finally:
            ended.set()
            teller.join()
        done, total, note = latest
        said = ", ".join(part for part in (f"{done}/{total}" if total else "", note) if part)
        self._log.info(f"{name}: {said or 'done'} ({in_words(time.monotonic() - began)})")


class TerminalReporter:
    """One progress bar per step on a terminal; elsewhere one line per finished step."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False)

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

        began = time.monotonic()
        note_at_end = ""
        name = f"{place_of(title):>3} {title}"
        columns = (
            TextColumn("{task.description:<38}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(name, total=None, note="")

            def update(done: int, total: int, note: str) -> None:
                nonlocal note_at_end
                note_at_end = note
                progress.update(task, completed=done, total=total or None, note=note)

            yield update
        self.console.print(
            f"[green]✓[/] {name:<38} {time.monotonic() - began:6.1f} s  [dim]{note_at_end}[/]", soft_wrap=True
        )

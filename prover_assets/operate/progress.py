"""Progress of long steps: bars on a terminal under `make run`, a log line now and then in Dagster."""

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


class LogReporter:
    """A line in the run's log at the start, every `LOG_EVERY_S` seconds, and at the end."""

    def __init__(self, log: Logger) -> None:
        self._log = log

    @contextmanager
    def stage(self, title: str) -> Iterator[Update]:
        """See `Reporter.stage`: a line in the log."""
        began = last = time.monotonic()
        latest = ""
        self._log.info(f"{title}: started")

        def update(done: int, total: int, note: str) -> None:
            nonlocal last, latest
            latest = f"{done}/{total} {note}" if total else f"{done} {note}"
            if time.monotonic() - last >= LOG_EVERY_S:
                last = time.monotonic()
                self._log.info(f"{title}: {latest}")

        yield update
        self._log.info(f"{title}: {latest or 'done'} ({time.monotonic() - began:.1f} s)")


class TerminalReporter:
    """One progress bar per step on a terminal; elsewhere one line per finished step."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False)

    @contextmanager
    def stage(self, title: str) -> Iterator[Update]:
        """See `Reporter.stage`: a line with a progress bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        began = time.monotonic()
        note_at_end = ""
        columns = (
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(title, total=None, note="")

            def update(done: int, total: int, note: str) -> None:
                nonlocal note_at_end
                note_at_end = note
                progress.update(task, completed=done, total=total or None, note=note)

            yield update
        self.console.print(
            f"[green]✓[/] {title:<34} {time.monotonic() - began:6.1f} s  [dim]{note_at_end}[/]", soft_wrap=True
        )

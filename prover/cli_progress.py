"""How far a search is, on standard error: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from prover.search import SearchProgress

_LINE_EVERY_S = 15.0
_RATE_WINDOW_S = 20.0


class SearchProgressView:
    """Theorems done, solved, expansions per second, and the time that the budgets still allow at most."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True)
        self._quiet = quiet
        self._live = self._console.is_terminal and not quiet
        self._bar = Progress(
            TextColumn("theorems"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=self._console,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("search", total=None, figures="starting")
        self._marks: list[tuple[float, int]] = []
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._bar.stop()

    def __call__(self, progress: "SearchProgress") -> None:
        if self._quiet:
            return
        figures = self._figures(progress)
        if self._live:
            self._bar.update(self._task, total=progress.theorems, completed=progress.done, figures=figures)
        elif time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._last_line = time.monotonic()
            print(f"{progress.done}/{progress.theorems} theorems, {figures}", file=sys.stderr, flush=True)

    def _figures(self, progress: "SearchProgress") -> str:
        """The rate is that of the last seconds, so that it follows the search's end, where few theorems are left."""
        self._marks.append((progress.elapsed_s, progress.expansions))
        while len(self._marks) > 2 and progress.elapsed_s - self._marks[0][0] > _RATE_WINDOW_S:
            self._marks.pop(0)
        (since, before), (now, after) = self._marks[0], self._marks[-1]
        rate = (after - before) / (now - since) if now > since else 0.0
        eta = f"at most {_clock(progress.expansions_left / rate)} left" if rate > 0 else "at most -:-- left"
        return f"{progress.proved} solved, {rate:.1f} expansions/s, {eta}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

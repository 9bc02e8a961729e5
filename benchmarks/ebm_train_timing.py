"""Seconds, tables and targets of `ebm_train.py`."""

import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

console = Console(highlight=False, width=120)
missed: list[str] = []


def clock() -> float:
    """CPU seconds of this process on one thread, so that other work on the machine counts little; else wall time."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def seconds(action: Callable[[], object], repeats: int) -> float:
    started = clock()
    for _ in range(repeats):
        action()
    return (clock() - started) / repeats


def interleaved(actions: dict[str, Callable[[], object]], rounds: int, repeats: int) -> dict[str, float]:
    """Seconds per call of each action in its least disturbed round. Rounds take turns."""
    for action in actions.values():
        seconds(action, 2)
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            times[name].append(seconds(action, repeats))
    return {name: min(values) for name, values in times.items()}


def show(title: str, rows: list[tuple[str, str]]) -> None:
    table = Table(title=title, title_justify="left", show_header=False, min_width=100)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def judged(name: str, value: float, limit: float, text: str, *, at_least: bool = False) -> str:
    good = value >= limit if at_least else value <= limit
    if not good:
        missed.append(f"{name}: {text}, wanted {'at least' if at_least else 'at most'} {limit:g}")
    return f"{text}   ({'met' if good else 'MISSED'}: {'>=' if at_least else '<='} {limit:g})"

"""Expansions per second, busy cores and where the time goes, for a real search with different speed settings.

    python benchmarks/search_throughput.py --theorems propositional:test --limit 60 --budget 64

Every row is the same search; `same trees` counts the theorems whose tree has the same states and tactics as in the
first row (a model's last digits vary with the batch, which may turn a near tie). `again` repeats the last row with its
memo filled.
CPU time is that of this process and everything it started, so another program's load shows as lower `cores busy`.
"""

import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table

from prover.environments import open_environment
from prover.policy import load_policy
from prover.search import SearchConfig, SearchMemo, search_to_files
from prover.theorems import TheoremSet
from prover.trajectory import read_trajectories

ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("one wave at a time", {"cohorts": 1}),
    ("two waves", {"cohorts": 2}),
    ("two waves, filled to 16", {"cohorts": 2, "fill_wave_to": 16}),
    ("two waves, filled to 32", {"cohorts": 2, "fill_wave_to": 32}),
    ("three waves", {"cohorts": 3}),
)


class TreeMeter:
    """CPU seconds and peak resident memory (MiB) of this process and its descendants."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._stop = threading.Event()
        self._process = psutil.Process()

    def __enter__(self) -> "TreeMeter":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._cpu = self.cpu_seconds()
        self._began = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.wall = time.perf_counter() - self._began
        self.cpu = self.cpu_seconds() - self._cpu
        self._stop.set()
        self._thread.join()

    def cpu_seconds(self) -> float:
        """CPU seconds of all living processes and, through their parents, of those that have ended."""
        return sum(sum(times[:4]) for times in self._each("cpu_times"))

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            rss = sum(memory.rss for memory in self._each("memory_info"))
            self.peak_mib = max(self.peak_mib, rss / 2**20)

    def _each(self, what: str) -> list[Any]:
        found = []
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                found.append(getattr(process, what)())
            except psutil.NoSuchProcess:
                continue
        return found


def tree_texts(output: Path) -> dict[str, tuple[Any, ...]]:
    """Each theorem's states and tactics, in order of creation."""
    frame = read_trajectories(output).group_by("theorem_name").agg("state_key", "tactic_applied", "expanded")
    return {name: (keys, tactics, expanded) for name, keys, tactics, expanded in frame.iter_rows()}


def main(
    theorems: Annotated[str, typer.Option(help="Theorem file or built-in set.")] = "propositional:test",
    limit: Annotated[int, typer.Option(help="First N theorems.")] = 60,
    budget: Annotated[int, typer.Option(help="Expansions per theorem.")] = 32,
    candidates: Annotated[int, typer.Option(help="Tactics tried at a node.")] = 8,
    llm_path: Annotated[str | None, typer.Option(help="Policy folder; default: the shipped one.")] = None,
    ebm_path: Annotated[str | None, typer.Option(help="Energy-model checkpoint folder; default: none.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the model.")] = 1,
    rows: Annotated[int, typer.Option(help="How many of the settings to try.")] = len(ROWS),
) -> None:
    chosen = list(TheoremSet.load(theorems, limit=limit))
    policy = load_policy(llm_path, threads=threads)
    scorer = None
    if ebm_path is not None:
        from ebm.inference import load_scorer

        scorer = load_scorer(ebm_path, policy, tempfile.mkdtemp())
    columns = ("expansions", "seconds", "expansions/s", "tactics/s", "model s", "Lean s", "waited s", "own s")
    table = Table(
        "search",
        *columns,
        "cores busy",
        "peak MiB",
        "same trees",
        title=f"{theorems}, {len(chosen)} theorems, k={candidates}",
    )
    first: Any = None
    with tempfile.TemporaryDirectory() as folder, open_environment() as environment:
        memo_path = Path(folder) / "memo.sqlite"
        settings = ROWS[:rows]
        for name, speed in (*settings, ("again, from the memo", settings[-1][1])):
            config = SearchConfig(max_expansions=budget, n_candidates=candidates, **speed)
            if not name.startswith("again"):
                memo_path.unlink(missing_ok=True)
            with SearchMemo(memo_path) as memo, TreeMeter() as meter:
                output = Path(folder) / "x.parquet"
                figures = search_to_files(chosen, output, environment, policy, config, scorer=scorer, memo=memo)
            trees = tree_texts(output)
            first = trees if first is None else first
            same = sum(tree == first[theorem] for theorem, tree in trees.items())
            seconds = meter.wall
            table.add_row(
                name,
                str(figures["expansions"]),
                f"{seconds:.1f}",
                f"{figures['expansions'] / seconds:.1f}",
                f"{figures['tactics'] / seconds:.0f}",
                f"{figures['model_seconds']:.1f}",
                f"{figures['lean_seconds']:.1f}",
                f"{figures['waited_seconds']:.1f}",
                f"{figures['own_seconds']:.1f}",
                f"{100 * meter.cpu / seconds / (psutil.cpu_count() or 1):.0f}%",
                f"{meter.peak_mib:.0f}",
                f"{same}/{len(first)}",
            )
    Console(width=160).print(table)
    print(f"proved {figures['proved']} of {figures['theorems']}; {figures['mode']}; {psutil.cpu_count()} cores")


if __name__ == "__main__":
    typer.run(main)

"""What a search pays, in CPU seconds, for being watched on its live page.

    python benchmarks/live_cost.py                               # 40 theorems, three searches of each kind
    python benchmarks/live_cost.py --theorems nng --limit 64 --pairs 5

The same search runs alternately with and without a watcher, each time in a process of its own. The watcher asks the
reports' server once per second, as an open page does; watcher and server do not count as the search. `showing` is what
the search itself spends on being shown, timed inside it, as a share of its CPU seconds, Lean's included. `ratio`
compares the CPU seconds of the two kinds of search (medians), and carries the noise of the machine. No wall time is
compared.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Annotated
from urllib.error import URLError

import typer
from search_throughput import TreeMeter

from prover.environments import open_environment
from prover.policy import load_policy
from prover.search import SearchConfig, search_to_files
from prover.search.glimpse import Glimpses
from prover.search.searcher import SearchProgress
from prover.theorems import TheoremSet

LOOK_EVERY_S = 1.0


class TimedGlimpses(Glimpses):
    """Glimpses that measure what they cost."""

    seconds = 0.0
    """CPU seconds, of all of them together."""
    shown = 0

    def write_if_watched(self, progress: SearchProgress) -> None:
        began = time.thread_time()
        super().write_if_watched(progress)
        TimedGlimpses.seconds += time.thread_time() - began

    def _write(self, progress: SearchProgress) -> None:
        TimedGlimpses.shown += 1
        super()._write(progress)


def search_once(theorems: str, limit: int, budget: int, output: Path) -> dict[str, float]:
    """Search in this process; its CPU seconds, those of showing it, and how often it was shown."""
    import prover.search.run as run

    run.Glimpses = TimedGlimpses  # type: ignore[misc]
    chosen = list(TheoremSet.load(theorems, limit=limit))
    with open_environment() as lean, TreeMeter() as meter:
        config = SearchConfig(max_expansions=budget, n_candidates=8)
        search_to_files(chosen, output, lean, load_policy(threads=1), config)
    return {"cpu": meter.cpu, "showing": TimedGlimpses.seconds, "shown": TimedGlimpses.shown}


def watch(address: str, stop: threading.Event) -> None:
    """Ask for the state of a search, again and again; before it has begun there is none."""
    while not stop.wait(LOOK_EVERY_S):
        try:
            with urllib.request.urlopen(address, timeout=60) as reply:
                reply.read()
        except URLError:
            continue


def main(
    theorems: Annotated[str, typer.Option(help="Theorem file or built-in set.")] = "propositional:test",
    limit: Annotated[int, typer.Option(help="First N theorems.")] = 40,
    budget: Annotated[int, typer.Option(help="Expansions per theorem.")] = 64,
    pairs: Annotated[int, typer.Option(min=1, help="Searches of each kind.")] = 3,
    output: Annotated[Path | None, typer.Option(help="Search once, and print what it cost.", hidden=True)] = None,
) -> None:
    if output is not None:
        print(json.dumps(search_once(theorems, limit, budget, output)))
        return
    from prover_assets.operate.report_server import HOST, ReportServer
    from prover_assets.store.layout import DataFolder

    found: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    options = ["--theorems", theorems, "--limit", str(limit), "--budget", str(budget)]
    with tempfile.TemporaryDirectory() as folder, ReportServer(DataFolder(Path(folder)), 0) as server:
        server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for number in range(2 * pairs):
            watched = number % 2 == 1
            stop = threading.Event()
            address = f"http://{HOST}:{server.server_port}/live/search-{number}/state.json"
            watcher = threading.Thread(target=watch, args=(address, stop))
            if watched:
                watcher.start()
            command = [sys.executable, __file__, *options, "--output", str(Path(folder) / f"search-{number}.parquet")]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            stop.set()
            found[watched].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{'watched' if watched else 'alone':8}{found[watched][-1]}", file=sys.stderr)
        server.shutdown()
    cpu = {watched: median(one["cpu"] for one in ones) for watched, ones in found.items()}
    showing = sum(one["showing"] for one in found[True]) / sum(one["cpu"] for one in found[True])
    idle = sum(one["showing"] for one in found[False]) / sum(one["cpu"] for one in found[False])
    figures = {
        "cpu_seconds_alone": round(cpu[False], 1),
        "cpu_seconds_watched": round(cpu[True], 1),
        "ratio": round(cpu[True] / cpu[False], 4),
        "showing": round(showing, 5),
        "showing_when_nobody_watches": round(idle, 6),
        "times_shown": sum(int(one["shown"]) for one in found[True]),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)

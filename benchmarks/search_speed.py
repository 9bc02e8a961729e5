"""How fast a search is on one machine, against the targets, in one run: a table, and exit code 1 if one is missed.

    python benchmarks/search_speed.py
    python benchmarks/search_speed.py --against ../other-checkout     and how much faster than the code in that folder

The search is the default one: the shipped policy, k = 8, one thread for the model, a new memo. Then comes the same
search from its memo, then a step of training (`benchmarks/ebm_train.py --only step`). With `--against` the searches of
both checkouts take turns, and their trees are compared.

Every share is printed twice: by the clock, as the targets mean it, and by CPU seconds, which other programs on the
machine disturb less. CPU seconds are those of the process and all that it starts. "Own" is our Python code: by the
clock what is neither the policy nor waiting for Lean; by CPU all of the process but the policy.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table

TACTICS_PER_S = 1300
FASTER = 1.6
OWN_SHARE = 0.05
MEMO_SHARE = 0.05
BUSY = 0.9
STEP_RATIO = 1.43

HERE = Path(__file__).resolve().parent


def measure(theorems: str, limit: int, budget: int) -> dict[str, Any]:
    """One search and the same again from its memo, with the code of the folder that `prover` is imported from."""
    from search_throughput import TreeMeter, tree_texts

    from prover.environments import open_environment
    from prover.policy import load_policy
    from prover.search import SearchConfig, SearchMemo, search_to_files
    from prover.theorems import TheoremSet

    chosen = list(TheoremSet.load(theorems, limit=limit))
    policy: Any = load_policy(threads=1)
    model_cpu = 0.0
    generate = policy.generate

    def timed(*arguments: Any, **options: Any) -> Any:
        nonlocal model_cpu
        began = time.thread_time()
        try:
            return generate(*arguments, **options)
        finally:
            model_cpu += time.thread_time() - began

    policy.generate = timed
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, open_environment() as environment:
        warm = SearchConfig(max_expansions=2)
        search_to_files(chosen[:2], Path(folder) / "warm.parquet", environment, policy, warm)
        for name in ("first", "again"):
            meter = TreeMeter()  # asked twice alone: what it would watch all the time costs CPU of ours
            cpu, model_cpu, own_cpu, began = meter.cpu_seconds(), 0.0, time.process_time(), time.perf_counter()
            with SearchMemo(Path(folder) / "memo.sqlite") as memo:
                config = SearchConfig(max_expansions=budget, n_candidates=8)
                output = Path(folder) / "x.parquet"
                figures = search_to_files(chosen, output, environment, policy, config, memo=memo)
            wall, own_cpu = time.perf_counter() - began, time.process_time() - own_cpu - model_cpu
            found[name] = {
                "wall": wall,
                "cpu": meter.cpu_seconds() - cpu,
                "own_wall": figures["own_seconds"],
                "own_cpu": own_cpu,
                "model_cpu": model_cpu,
                "tactics": figures["tactics"],
                "expansions": figures["expansions"],
                "proved": figures["proved"],
                "trees": repr(sorted(tree_texts(output).items())),
            }
    return found


def run_in(folder: Path, *arguments: str) -> dict[str, Any]:
    """`measure` in a process of its own, with the code of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, str(Path(__file__).resolve()), "--one", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the search with the code in {folder} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def step_ratio() -> float:
    """A training step over its bare matrix products."""
    command = [sys.executable, str(HERE / "ebm_train.py"), "--only", "step", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"step / bare products\s*\S\s*([\d.]+)", done.stdout)
    if found is None:
        raise SystemExit(f"benchmarks/ebm_train.py printed no ratio:\n{(done.stdout + done.stderr)[-2000:]}")
    return float(found[1])


def main(
    theorems: Annotated[str, typer.Option(help="Theorem file or built-in set.")] = "propositional:test",
    limit: Annotated[int, typer.Option(help="First N theorems.")] = 100,
    budget: Annotated[int, typer.Option(help="Expansions per theorem.")] = 32,
    against: Annotated[Path | None, typer.Option(help="Another checkout, to take turns with.")] = None,
    rounds: Annotated[int, typer.Option(help="Searches of each checkout; medians are shown.")] = 1,
    step: Annotated[bool, typer.Option(help="Time a training step too.")] = True,
    one: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    if one:
        print(json.dumps(measure(theorems, limit, budget)))
        return
    arguments = ("--theorems", theorems, "--limit", str(limit), "--budget", str(budget))
    ours, theirs = [], []
    for _ in range(rounds):
        if against is not None:
            theirs.append(run_in(against.resolve(), *arguments))
        ours.append(run_in(HERE.parent, *arguments))
    cores = psutil.cpu_count() or 1
    missed: list[str] = []

    def middle(runs: list[dict[str, Any]], search: str, of: str) -> float:
        return statistics.median(float(run[search][of]) for run in runs)

    def row(name: str, by_clock: float, by_cpu: float | None, target: float, *, at_least: bool, form: str) -> None:
        good = by_clock >= target if at_least else by_clock <= target
        if not good:
            missed.append(name)
        sign = ">=" if at_least else "<="
        cpu = "" if by_cpu is None else format(by_cpu, form)
        table.add_row(name, format(by_clock, form), cpu, f"{sign} {format(target, form)}", "" if good else "missed")

    first = ours[0]["first"]
    table = Table("", "by the clock", "by CPU seconds", "target", "", title=f"{theorems}, {limit} theorems, k = 8")
    wall, cpu = middle(ours, "first", "wall"), middle(ours, "first", "cpu")
    tactics = first["tactics"]
    row("tactics per second", tactics / wall, cores * tactics / cpu, TACTICS_PER_S, at_least=True, form=".0f")
    if theirs:
        ratio = middle(theirs, "first", "wall") / wall
        row(
            "times as fast as the other", ratio, middle(theirs, "first", "cpu") / cpu, FASTER, at_least=True, form=".2f"
        )
        equal = sum(run[search]["trees"] == first["trees"] for run in (*ours, *theirs) for search in ("first", "again"))
        row("searches with the same trees", equal, None, 2 * len(ours + theirs), at_least=True, form=".0f")
    own, own_cpu = middle(ours, "first", "own_wall"), middle(ours, "first", "own_cpu")
    row("own share", own / wall, own_cpu / cpu, OWN_SHARE, at_least=False, form=".3f")
    memo, memo_cpu = middle(ours, "again", "wall") / wall, middle(ours, "again", "cpu") / cpu
    row("again from the memo", memo, memo_cpu, MEMO_SHARE, at_least=False, form=".3f")
    row("cores busy", cpu / wall / cores, None, BUSY, at_least=True, form=".2f")
    if step:
        row("training step / its products", step_ratio(), None, STEP_RATIO, at_least=False, form=".2f")
    Console(width=110).print(table)
    print(
        f"{tactics} tactics, {first['expansions']} expansions, {first['proved']} proved; {cores} cores, load "
        f"{os.getloadavg()[0]:.1f}"
    )
    for name, runs in (("", ours), (", of the other", theirs)):
        if runs:
            total, model, own_cpu = (middle(runs, "first", of) for of in ("cpu", "model_cpu", "own_cpu"))
            rest = total - model - own_cpu
            print(f"CPU seconds{name}: {total:.1f}; policy {model:.1f}, own {own_cpu:.1f}, Lean {rest:.1f}")
    if missed:
        print(f"missed: {', '.join(missed)}")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

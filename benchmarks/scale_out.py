"""A search on Ray against the same search in one process, and what a cluster of this kind would do.

    python benchmarks/scale_out.py --theorems propositional:test --limit 60 --budget 64 --actors 2

Both searches run in this call, after everything has started, without a memo; the ratio is that of their wall times.
`messages` are the questions that the driver asks the actors. The last table is a model: the speed of one worker and the
driver's cost per theorem are measured here, and the rest is arithmetic.
"""

import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from prover.environments import open_environment
from prover.policy import open_policy
from prover.scale import EnvironmentSpec, PolicySpec, RayConfig
from prover.scale.cluster import RayCluster
from prover.search import SearchConfig, search
from prover.search.rows import SearchIdentity
from prover.search.run import RowsMaker
from prover.theorems import Theorem, TheoremSet

WORKERS = (1, 8, 64, 256)


def timed(run: Any) -> tuple[float, float, Any]:
    """(wall seconds, CPU seconds of this process, what `run` returned)."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = run()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def local(theorems: list[Theorem], config: SearchConfig) -> tuple[float, int]:
    """(wall seconds, expansions) in this process."""
    with open_environment() as lean:
        policy = open_policy(threads=1)
        search(theorems[:2], lean, policy, config)  # everything is loaded
        wall, _, report = timed(lambda: search(theorems, lean, policy, config, keep_results=False))
    return wall, report.progress.expansions


def on_ray(theorems: list[Theorem], config: SearchConfig, actors: int) -> dict[str, float]:
    """What the driver sees of the search on `actors` search actors."""
    began = time.perf_counter()
    with RayCluster(RayConfig(search_actors=actors), EnvironmentSpec(), PolicySpec()) as cluster:
        started = time.perf_counter() - began
        made = RowsMaker(_identity(cluster, config), config)
        rows: list[Any] = []

        def run(some: list[Theorem]) -> Any:
            return cluster.search(some, cluster.environment, cluster.policy, config, reduce=made, on_result=rows.append)

        run(theorems[:2])
        rows.clear()
        before = cluster.messages
        wall, cpu, report = timed(lambda: run(theorems))
        messages = cluster.messages - before
    expansions = report.progress.expansions
    return {
        "start_s": started,
        "wall_s": wall,
        "driver_cpu_s": cpu,
        "messages": messages,
        "expansions": expansions,
        "theorems": len(rows),
    }


def _identity(cluster: RayCluster, config: SearchConfig) -> SearchIdentity:
    from prover.search.guidance import Guidance

    guidance = Guidance.resolve(config, has_scorer=False, calibration=None)
    return SearchIdentity.of(cluster.environment, cluster.policy, config, guidance, ebm_id=None, iteration=0)


def main(
    theorems: Annotated[str, typer.Option(help="Theorem set.")] = "propositional:test",
    limit: Annotated[int, typer.Option(help="Theorems.")] = 60,
    budget: Annotated[int, typer.Option(help="Expansions per theorem.")] = 64,
    actors: Annotated[int, typer.Option(help="Search actors.")] = 2,
) -> None:
    """Print both searches, their ratio, and the model."""
    some = list(TheoremSet.load(theorems, limit=limit))
    config = SearchConfig(max_expansions=budget, mode="policy-mean")
    local_s, expansions = local(some, config)
    found = on_ray(some, config, actors)
    console, table = Console(), Table("engine", "wall s", "expansions/s", "messages per expansion", "start s")
    table.add_row("local", f"{local_s:.1f}", f"{expansions / local_s:.0f}", "", "")
    table.add_row(
        f"ray, {actors} actors",
        f"{found['wall_s']:.1f}",
        f"{found['expansions'] / found['wall_s']:.0f}",
        f"{found['messages'] / found['expansions']:.4f}",
        f"{found['start_s']:.1f}",
    )
    console.print(table)
    console.print(f"speed of Ray against local: {local_s / found['wall_s']:.2f}")
    per_theorem = 1000 * found["driver_cpu_s"] / found["theorems"]
    console.print(f"driver: {per_theorem:.1f} ms of CPU per theorem")
    _model(console, rate=found["expansions"] / found["wall_s"] / actors, found=found)


def _model(console: Console, *, rate: float, found: dict[str, float]) -> None:
    """How many workers of this speed one driver process can serve."""
    driver_s = found["driver_cpu_s"] / found["expansions"]
    table = Table("workers", "expansions/s if all workers are busy", "driver busy", "expansions/s in the end")
    for workers in WORKERS:
        wanted = workers * rate
        busy = wanted * driver_s
        table.add_row(str(workers), f"{wanted:.0f}", f"{min(1.0, busy):.0%}", f"{wanted / max(1.0, busy):.0f}")
    console.print(table)
    console.print(f"one driver is busy all the time with {1 / (rate * driver_s):.0f} workers of this speed")


if __name__ == "__main__":
    typer.run(main)

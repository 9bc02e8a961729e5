"""What Dagster and MLflow cost: code-location import, start of the UI, an iteration's overhead, MLflow beside training.

    python benchmarks/orchestration.py                  # the demonstration, some minutes
    python benchmarks/orchestration.py --config FILE    # another preset or YAML file of run configuration

Overhead is everything that is not inside a call of `prover` or `ebm`: starting Python, importing, Dagster, MLflow,
reading results, drawing, writing the report. Its wall time is noisy on a busy machine; CPU seconds are beside it.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.error import URLError

ROOT = Path(__file__).resolve().parents[1]
IMPORT_S, READY_S, OVERHEAD_S, OVERHEAD_SHARE, LOGGING_SHARE = 1.5, 20.0, 15.0, 0.05, 0.01
QUERY = '{"query": "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"}'

IMPORT = (
    "import json, sys, time; w, c = time.perf_counter(), time.process_time(); import prover_assets.definitions; "
    "print(json.dumps([time.perf_counter() - w, time.process_time() - c, 'torch' in sys.modules]))"
)


def import_times(repeats: int = 5) -> tuple[float, float, bool]:
    """(wall s, CPU s, whether torch was loaded) of importing the code location: medians of fresh processes."""
    found = [
        json.loads(subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True, cwd=ROOT).stdout)
        for _ in range(repeats)
    ]
    walls, cpus, torch = zip(*found, strict=True)
    return statistics.median(walls), statistics.median(cpus), any(torch)


def ready_times(folder: Path) -> tuple[float, float]:
    """(wall s, CPU s of all its processes) from starting `dagster dev` until its UI has the code location loaded."""
    import psutil

    from prover_assets.operate.addresses import free_port
    from prover_assets.store.layout import DataFolder
    from prover_assets.ui import commands

    environment = project(folder)
    port = free_port(3400)
    began = time.perf_counter()
    with open(folder / "dagster.log", "wb") as log:
        process = subprocess.Popen(
            commands(DataFolder(folder / "data"), port, 0)["Dagster"],
            env=environment,
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while not loaded(port):
            if process.poll() is not None or time.perf_counter() - began > 300:
                raise SystemExit(f"dagster dev did not come up: {(folder / 'dagster.log').read_text()[-2000:]}")
            time.sleep(0.1)
        wall = time.perf_counter() - began
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        cpu = sum(sum(member.cpu_times()[:2]) for member in tree if member.is_running())
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
    return wall, cpu


def loaded(port: int) -> bool:
    """Whether the UI at `port` answers and has loaded its code location."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", QUERY.encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return '"loadStatus":"LOADED"' in reply.read().decode().replace(" ", "")
    except (URLError, OSError):
        return False


def project(folder: Path) -> dict[str, str]:
    """An empty project in `folder`; the environment to run it in."""
    home = folder / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "dagster_home" / "dagster.yaml", home)
    own = {"DAGSTER_HOME": str(home), "PROVER_DATA": str(folder / "data"), "HF_HUB_OFFLINE": "1"}
    return {**{name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}, **own}


class Stopwatch:
    """Times the calls of `prover` and `ebm` (an asset's stages), and the calls of MLflow, by asset."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float, float]] = []
        self.logging: Counter[str] = Counter()
        self.logging_cpu: Counter[str] = Counter()
        self._inside = False
        self._working = False

    @contextmanager
    def stage(self, title: str) -> Iterator[Callable[[int, int, str], None]]:
        within, self._working = self._working, True
        wall, cpu = time.perf_counter(), time.process_time()
        yield lambda done, total, note: None
        self._working = within
        if not within:  # else the stage around it counts its time
            self.stages.append((title, time.perf_counter() - wall, time.process_time() - cpu))

    def loading(self, title: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, a call of `prover` outside of the stages, as a stage of its own."""

        @wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            with self.stage(title):
                return function(*arguments, **keywords)

        return call

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose time is counted as MLflow's; calls inside of calls are counted once."""

        @wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            if self._inside:
                return function(*arguments, **keywords)
            self._inside, wall, cpu = True, time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                self._inside = False
                self.logging[name] += time.perf_counter() - wall
                self.logging_cpu[name] += time.process_time() - cpu

        return call


def iterate(config: str, output: Path) -> None:
    """Run the first iteration in this process, as `make run` does, and write what it took."""
    import dagster as dg

    import prover.environments
    import prover.policy
    from prover_assets.definitions import defs
    from prover_assets.defs.assets import ebm_checkpoint, iteration_report
    from prover_assets.defs.partitions import ITERATION
    from prover_assets.operate.presets import load_run_config
    from prover_assets.operate.progress import using
    from prover_assets.store.iterations import FIRST_ITERATION
    from prover_assets.tracking.mlflow import Store
    from prover_assets.tracking.tracked_run import TrackedRun

    watch = Stopwatch()
    prover.policy.open_policy = watch.loading("load the policy", prover.policy.open_policy)
    prover.environments.open_environment = watch.loading("start Lean", prover.environments.open_environment)
    for name in ("params", "curve", "metrics", "summary", "picture", "artifact", "dataset", "tags"):
        setattr(TrackedRun, name, watch.timed(name, getattr(TrackedRun, name)))
    for name in ("__init__", "parent", "close"):
        setattr(Store, name, watch.timed("open and close runs", getattr(Store, name)))
    ebm_checkpoint.register_version = watch.timed("register the model", ebm_checkpoint.register_version)
    iteration_report.promote_version = watch.timed("register the model", iteration_report.promote_version)
    instance = dg.DagsterInstance.get()
    instance.add_dynamic_partitions(ITERATION, [FIRST_ITERATION])
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with using(watch):
        result = defs.resolve_job_def("first_iteration").execute_in_process(
            instance=instance, partition_key=FIRST_ITERATION, run_config={**load_run_config(config), **quiet}
        )
    if not result.success:
        raise SystemExit("the iteration failed")
    facts = result.asset_materializations_for_node("ebm_checkpoint")[0].metadata
    content = {
        "stages": watch.stages,
        "logging": {name: (wall, watch.logging_cpu[name]) for name, wall in watch.logging.items()},
        "train_s": facts["seconds"].value,
        "cpu_s": time.process_time(),
    }
    output.write_text(json.dumps(content), encoding="utf-8")


def report(what: str, wall: float, cpu: float, most: float, form: str = "{:.1f} s") -> None:
    """One line: wall seconds and CPU seconds, the target, and whether each meets it."""
    met = ["met" if value <= most else "MISSED" for value in (wall, cpu)]
    verdict = met[0] if met[0] == met[1] else f"{met[0]} on the wall, {met[1]} in CPU time"
    measured = f"{form.format(wall)} wall, {form.format(cpu)} CPU"
    print(f"{what:<44} {measured:>26}   target {form.format(most)}: {verdict}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="demo", help="preset or YAML file of run configuration (default demo)")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        iterate(options.config, options.worker)
        return
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores (wall times want less than 1)")
    wall, cpu, torch = import_times()
    report("import of the code location" + (", WITH TORCH" if torch else ", no torch"), wall, cpu, IMPORT_S, "{:.2f} s")
    with tempfile.TemporaryDirectory(prefix="orchestration-") as name:
        folder = Path(name)
        report("`dagster dev` ready", *ready_times(folder / "ui"), READY_S)
        output = folder / "worker.json"
        began = time.perf_counter()
        command = [sys.executable, __file__, "--worker", str(output), "--config", options.config]
        subprocess.run(command, check=True, env=project(folder / "run"), cwd=ROOT, stderr=subprocess.DEVNULL)
        total = time.perf_counter() - began
        found = json.loads(output.read_text(encoding="utf-8"))
    inside = sum(wall for _, wall, _ in found["stages"])
    wall, cpu = total - inside, found["cpu_s"] - sum(cpu for _, _, cpu in found["stages"])
    took: Counter[str] = Counter()
    for title, seconds, _ in found["stages"]:
        took[title] += seconds
    for title, seconds in took.items():
        print(f"  {title:<42} {seconds:8.1f} s")
    report(f"overhead of an iteration of {total:.0f} s", wall, cpu, OVERHEAD_S)
    # Of a quiet machine's iteration: the CPU share leaves out the waiting of both.
    report("  as a share of it", wall / total, cpu / (inside + cpu), OVERHEAD_SHARE, "{:.1%}")
    for name, (wall, cpu) in sorted(found["logging"].items(), key=lambda item: -item[1][0]):
        print(f"  MLflow, {name:<34} {wall:8.2f} s wall, {cpu:.2f} s CPU")
    wall, cpu = found["logging"]["curve"]
    seconds = found["train_s"]
    report(f"MLflow's curves, of {seconds:.0f} s of training", wall / seconds, cpu / seconds, LOGGING_SHARE, "{:.2%}")
    print(f"load average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

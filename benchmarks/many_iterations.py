"""A thousand iterations in one data folder and one Dagster instance: `python benchmarks/many_iterations.py [--n 1000]`.

Makes what finished iterations leave (their files, one Dagster run each, the materializations of their assets), then
times finding the next iteration, and, on a Dagster webserver that it starts, the questions behind the pages of the UI:
the asset graph, the partitions of the assets, one asset's events, the list of runs. For each question the best of three
is printed, in wall seconds and in CPU seconds of the servers. The exit code is 1 if one of them takes 2 s or more of
both.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
from rich.console import Console
from rich.table import Table

MOST_S = 2.0
TRIES = 3
UP_WITHIN_S = 600.0
QUESTIONS = {
    "asset graph": "{ assetNodes { assetKey { path } assetMaterializations(limit: 1) { timestamp runId partition } } }",
    "partitions of all assets": "{ assetNodes { assetKey { path } partitionStats { numMaterialized numPartitions } "
    "assetPartitionStatuses { __typename ... on DefaultPartitionStatuses { materializedPartitions } } } }",
    "partition keys of one asset": '{ assetNodeOrError(assetKey: {path: ["iteration_report"]}) '
    "{ ... on AssetNode { partitionKeys staleStatus } } }",
    "events of one asset": '{ assetOrError(assetKey: {path: ["iteration_report"]}) { ... on Asset { '
    "assetMaterializations(limit: 100) { timestamp partition metadataEntries { label } } } } }",
    "list of runs": "{ runsOrError(limit: 25) { ... on Runs { results { runId status tags { key value } } } } "
    "count: runsOrError(filter: {statuses: [SUCCESS]}, limit: 1) { ... on Runs { count } } }",
}
"""Page of the UI -> what it asks, with the fields that grow with the number of iterations."""


def make_iterations(instance: dg.DagsterInstance, root: Path, n: int) -> None:
    """What `n` finished iterations leave in a data folder and in Dagster."""
    from prover_assets.operate.next import _files
    from prover_assets.store.iterations import iteration_key
    from prover_assets.store.layout import DataFolder

    data, keys = DataFolder(root), [iteration_key(i) for i in range(n)]
    instance.add_dynamic_partitions("iteration", keys)
    for i, key in enumerate(keys):
        tags = {"dagster/partition": key}
        run = dg.DagsterRun("iteration", str(uuid.uuid4()), status=dg.DagsterRunStatus.SUCCESS, tags=tags)
        instance.run_storage.add_run(run)
        for name, path in _files(data, data.iteration(i)).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            metadata = {"proved": i, "theorems": 60, "file": dg.MetadataValue.path(str(path))}
            instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=key, metadata=metadata))


@contextmanager
def webserver(home: Path, root: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A webserver over the project: its address, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/graphql"
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PROVER_DATA": str(root)}
    command = [sys.executable, "-m", "dagster_webserver", "-m", "prover_assets.definitions", "-p", str(port)]
    with (home / "webserver.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        give_up = time.monotonic() + UP_WITHIN_S
        while True:
            try:
                ask(address, "{ version }")
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > give_up:
                    sys.exit(f"the webserver does not come up: {(home / 'webserver.log').read_text('utf-8')[-2000:]}")
                time.sleep(0.5)
        yield address, psutil.Process(server.pid)
    finally:
        children = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        server.wait(30)
        psutil.wait_procs(children, timeout=30)


def ask(address: str, query: str) -> int:
    """Bytes of the answer. Ends the program if the answer holds an error."""
    request = urllib.request.Request(
        address, json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as reply:
        answer = reply.read()
    if "errors" in json.loads(answer):
        sys.exit(f"{query}: {answer[:1000]!r}")
    return len(answer)


def cpu_s(server: psutil.Process) -> float:
    """CPU seconds of the webserver and of the code server that it started."""
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def timed(address: str, query: str, server: psutil.Process) -> tuple[float, float, int]:
    """Best of three: seconds by the clock, CPU seconds, bytes of the answer."""
    found = []
    for _ in range(TRIES):
        began, cpu = time.perf_counter(), cpu_s(server)
        size = ask(address, query)
        found.append((time.perf_counter() - began, cpu_s(server) - cpu, size))
    return min(row[0] for row in found), min(row[1] for row in found), found[0][2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="iterations")
    options = parser.parse_args()
    from prover_assets.operate.next import next_iteration
    from prover_assets.store.iterations import iteration_key
    from prover_assets.store.layout import DataFolder

    table = Table("with as many iterations as given", "seconds", "CPU seconds", "KiB")
    slow = False
    with tempfile.TemporaryDirectory(prefix="iterations-") as name:
        home, root = Path(name) / "dagster", Path(name) / "data"
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
        os.environ["DAGSTER_HOME"] = str(home)
        with dg.DagsterInstance.get() as instance:
            make_iterations(instance, root, options.n)
            began, cpu = time.perf_counter(), time.process_time()
            assert next_iteration(instance, DataFolder(root)).key == iteration_key(options.n)
            wall, spent = time.perf_counter() - began, time.process_time() - cpu
        rows = {"the next iteration is found": (wall, spent, 0)}
        with webserver(home, root) as (address, server):
            rows |= {page: timed(address, query, server) for page, query in QUESTIONS.items()}
    for page, (wall, spent, size) in rows.items():
        table.add_row(page, f"{wall:.2f}", f"{spent:.2f}", f"{size / 1024:.0f}" if size else "")
        slow = slow or min(wall, spent) >= MOST_S
    Console(width=100).print(table)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())

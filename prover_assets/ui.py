"""`make ui`: Dagster's webserver and daemon, MLflow's UI and the reports, on 127.0.0.1, until Ctrl-C."""

import argparse
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.error import URLError

from prover_assets.operate.addresses import DEFAULT_PORTS, HOST, VARIABLES, address, choose_ports
from prover_assets.operate.live_pages import PREFIX
from prover_assets.operate.shared import fetch_for_reading
from prover_assets.operate.versions import ROOT
from prover_assets.store.files import DamagedFile
from prover_assets.store.layout import DataFolder, DataFolderError
from prover_assets.store.manifest import read_manifest
from prover_assets.tracking.database import TrackingError
from prover_assets.tracking.relocation import relocate

READY_WITHIN_S = 300
POLICY = "PROVER_POLICY"
"""What `resources.policy.path` is where it is left out."""


def dagster_home() -> Path:
    """$DAGSTER_HOME, or the folder in the tree."""
    return Path(os.environ.get("DAGSTER_HOME") or ROOT / "dagster_home").resolve()


def commands(data: DataFolder, dagster_port: int, mlflow_port: int, report_port: int) -> dict[str, list[str]]:
    """What is started, by name."""
    artifacts = (data.mlflow / "artifacts").resolve()
    return {
        "Dagster": [
            *(sys.executable, "-m", "dagster", "dev", "--workspace", str(ROOT / "workspace.yaml")),
            *("--host", HOST, "--port", str(dagster_port), "--log-level", "warning"),
        ],
        "MLflow": [
            *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1"),
            *("--backend-store-uri", os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{data.mlflow / 'mlflow.db'}"),
            *("--default-artifact-root", artifacts.as_uri()),
        ],
        "Reports": [sys.executable, "-m", "prover_assets.operate.report_server", "--port", str(report_port)],
    }


def charts_of(data: DataFolder, server: str) -> str:
    """Address of the saved view of all iterations, which is made if need be. server: address of MLflow's UI.

    Raises TrackingError. Before the first iteration the page is there, and empty.
    """
    from prover_assets.defs.tracking import MlflowResource

    return MlflowResource().view(data, server)


def with_policy(environment: Mapping[str, str], data: DataFolder) -> dict[str, str]:
    """The environment in which runs that are launched without settings use the policy that the data folder's baseline
    was searched with, unless PROVER_POLICY names one already: with another, they would be refused."""
    try:
        manifest = read_manifest(data.baseline)
    except DamagedFile:  # the asset that reads it says so, with the remedy
        manifest = None
    chosen = environment.get(POLICY, "") or ("" if manifest is None else manifest.policy)
    return {**environment, POLICY: chosen} if chosen else dict(environment)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return reply.status == 200
    except (URLError, OSError):
        return False


def _stop(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Ask every server and its children to end, then insist."""
    for wait_s, number in ((15.0, signal.SIGTERM), (5.0, signal.SIGKILL)):
        alive = [process for process in processes.values() if process.poll() is None]
        for process in alive:
            os.killpg(process.pid, number)
        until = time.monotonic() + wait_s
        while any(process.poll() is None for process in alive) and time.monotonic() < until:
            time.sleep(0.1)


def _wait_until_ready(processes: Mapping[str, subprocess.Popen[bytes]], urls: Mapping[str, str], logs: Path) -> str:
    """Wait until every server answers, and print the address of each that does; what went wrong, "" for nothing."""
    until = time.monotonic() + READY_WITHIN_S
    waiting = dict(urls)
    while waiting:
        for name, url in list(waiting.items()):
            if processes[name].poll() is not None:
                return f"{name} ended at once; see {logs / (name.lower() + '.log')}"
            if _answers(url):
                print(f"{name:8} {url}", flush=True)
                del waiting[name]
        if time.monotonic() > until:
            return f"{', '.join(waiting)} did not answer within {READY_WITHIN_S} s; see {logs}"
        time.sleep(0.3)
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Start all of them, say where they are, and stay until Ctrl-C or until one of them ends."""
    parser = argparse.ArgumentParser(prog="make ui", description=__doc__)
    for name, port in DEFAULT_PORTS.items():
        text = f"port of {name} (that of the last time, else {port}; the next free one if taken)"
        parser.add_argument(f"--{name.lower().rstrip('s')}-port", type=int, help=text)
    options = parser.parse_args(arguments)
    data = DataFolder.default()
    try:
        data.prepare()
        fetch_for_reading(data)
        relocate(data.mlflow)
        asked = {name: getattr(options, f"{name.lower().rstrip('s')}_port") for name in DEFAULT_PORTS}
        ports, news = choose_ports(data, asked)
    except (DataFolderError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    (data.mlflow / "artifacts").mkdir(parents=True, exist_ok=True)
    try:
        charts = charts_of(data, address(ports["MLflow"]))
    except TrackingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    home = dagster_home()
    home.mkdir(parents=True, exist_ok=True)
    urls = {name: address(port) for name, port in ports.items()}
    environment = {
        **with_policy(os.environ, data),
        "DAGSTER_HOME": str(home),
        "PROVER_DATA": str(data.root),
        **{VARIABLES[name]: url for name, url in urls.items()},
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }

    def interrupted(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # Handlers of our own also undo an inherited "ignore", which a shell gives to what it starts with `&`.
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    log_path = data.root / "logs"
    log_path.mkdir(exist_ok=True)
    try:
        for name, command in commands(data, ports["Dagster"], ports["MLflow"], ports["Reports"]).items():
            with open(log_path / f"{name.lower()}.log", "ab") as log:
                processes[name] = subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
                )
        print(f"starting Dagster, MLflow and the reports (logs in {log_path}) ...", flush=True)
        if trouble := _wait_until_ready(processes, urls, log_path):
            print(f"error: {trouble}", file=sys.stderr)
            return 1
        for sentence in news:
            print(f"note: {sentence}")
        print(f"charts   {charts}  (all iterations, one line per number)")
        print(f"live     {urls['Reports']}{PREFIX}  (searches, also while they run)\nCtrl-C stops them.", flush=True)
        while all(process.poll() is None for process in processes.values()):
            time.sleep(0.5)
        ended = [name for name, process in processes.items() if process.poll() is not None]
        print(f"error: {', '.join(ended)} ended; see {log_path}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopping ...", flush=True)
        return 0
    finally:
        _stop(processes)


if __name__ == "__main__":
    sys.exit(main())

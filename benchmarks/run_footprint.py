"""What an iteration of `make run` needs: seconds, peak memory, disk.

    python benchmarks/run_footprint.py                          # the default iteration
    python benchmarks/run_footprint.py --config laptop          # arguments of `make run` are passed on

It runs in a temporary folder, from nothing. Memory is that of all processes of the run together, read once a second;
pages that processes share are counted once where the system says so (Linux), else once per process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil


def memory_of(process: psutil.Process) -> int:
    """Bytes of the process: its proportional share of memory where the system knows it, else its resident size."""
    try:
        info = process.memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(info, "pss", info.rss))


def memory_of_all(root: psutil.Process) -> int:
    """Bytes of the process and all its descendants."""
    try:
        return sum(memory_of(process) for process in [root, *root.children(recursive=True)])
    except psutil.Error:
        return 0


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> int:
    """Run, measure, print one JSON object; the exit code of the run."""
    parser = argparse.ArgumentParser(description="Seconds, peak memory and disk of one iteration.")
    _, passed_on = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        data, dagster = Path(temporary) / "data", Path(temporary) / "dagster"
        dagster.mkdir()
        began = time.monotonic()
        run = subprocess.Popen(
            [sys.executable, "-m", "prover_assets.run", *passed_on],
            env={**os.environ, "PROVER_DATA": str(data), "DAGSTER_HOME": str(dagster), "HF_HUB_OFFLINE": "1"},
            stdout=sys.stderr,
        )
        root, peak = psutil.Process(run.pid), 0
        while run.poll() is None:
            peak = max(peak, memory_of_all(root))
            time.sleep(1)
        figures = {
            "seconds": round(time.monotonic() - began, 1),
            "peak_memory_mib": round(peak / 2**20),
            "data_mib": round(folder_bytes(data) / 2**20),
            "environment_mib": round(folder_bytes(Path(sys.prefix)) / 2**20),
            "cores": os.cpu_count(),
        }
    print(json.dumps(figures))
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())

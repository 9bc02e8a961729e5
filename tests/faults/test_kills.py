"""`prover search` and `make run`'s graph killed at seeded points, and started again: the same as undisturbed.

A handful of points in the slow tests; `make soak` (PROVER_KILLS=30) tries as many as are asked for.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from prover.trajectory import read_summaries, read_trajectories
from prover.trajectory.schema import sibling_path

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("PROVER_KILLS", "4"))
ARGUMENTS = [
    *("search", "--theorems", "propositional", "--split", "valid", "--limit", "12", "--budget", "12", "--no-ebm"),
    *("--candidates", "6", "--lean-workers", "2", "--seed", "3", "--batch-tokens", "1"),
]
COUNTS = ["theorem_name", "proved", "nodes", "expansions", "ended"]


def start(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PROVER_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from prover.cli import main; main()", *ARGUMENTS, "--output", "x.parquet", *more]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def counts(folder: Path) -> pl.DataFrame:
    return read_summaries(folder / "x.parquet").select(COUNTS).sort("theorem_name")


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A search to its end, and its seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    process = start(folder)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return folder, time.monotonic() - began


@pytest.mark.parametrize("point", range(KILLS))
def test_a_killed_search_goes_on_and_ends_as_if_undisturbed(
    tmp_path: Path, undisturbed: tuple[Path, float], point: int
) -> None:
    """SIGKILL to the main process, or to one of Lean's, in turn, at a seeded moment; three times at most."""
    whole, seconds = undisturbed
    draw = random.Random(point)
    victim = ("main", "lean", "host")[point % 3]
    for attempt in range(4):
        process = start(tmp_path, *(["--resume"] if attempt else []))
        time.sleep(draw.uniform(0.1, 1.0) * seconds)
        children = family(process)
        if attempt < 3:
            if victim == "main" or not children:
                process.kill()
            else:
                target = draw.choice(children) if victim == "lean" else children[0]
                with contextlib.suppress(psutil.NoSuchProcess):
                    target.send_signal(signal.SIGKILL)
        _, said = process.communicate(timeout=300)
        psutil.wait_procs(children, timeout=20)
        left = [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        assert not left, "processes of Lean outlive the search"
        assert b"Traceback" not in said, said.decode()
        if process.returncode == 0:
            break
    assert process.returncode == 0, said
    nodes = read_trajectories(tmp_path / "x.parquet")
    assert nodes.select("theorem_name", "state_id").is_duplicated().sum() == 0
    assert not sibling_path(tmp_path / "x.parquet", "nodes").with_suffix(".parts").exists()
    assert [path.name for path in tmp_path.glob("*.tmp")] == []
    found, wanted = counts(tmp_path), counts(whole)
    assert found["theorem_name"].to_list() == wanted["theorem_name"].to_list()
    if victim == "main":  # a Lean that is killed costs the tactics it was trying
        assert found.equals(wanted), json.dumps([found.to_dicts(), wanted.to_dicts()])

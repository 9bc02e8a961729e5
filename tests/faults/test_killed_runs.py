"""`make run` killed at seeded writes of any of its steps, and started again: the same as undisturbed.

Over the maze of tests/prover_assets, whose Lean and policy cost nothing; test_kills.py kills searches on the real ones.
A few kills in the slow tests, as many as PROVER_KILLS says in `make soak`.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from prover.parquet import read_table
from prover.trajectory import read_summaries, read_trajectories
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("killed_runs")]

KILLS = int(os.environ.get("PROVER_KILLS", "4"))
PER_RUN = 5
"""Kills of one run, one after another."""
MOVED_AFTER = 2
"""After so many kills the data folder is moved."""
SCRIPT = Path(__file__).parents[1] / "helpers" / "killed_run.py"
COUNTS = ["theorem_name", "proved", "nodes", "expansions", "ended"]
SEARCHES = ("baseline/trajectories", "iterations/iter_000/trajectories", "iterations/iter_000/guided",
            "iterations/iter_000/control")  # fmt: skip


def data_of(project: Path) -> Path:
    """The data folder, which the test moves."""
    moved = project / "moved"
    return moved if moved.exists() else project / "data"


def make_run(project: Path, at: int = 0) -> subprocess.CompletedProcess[str]:
    """`make run`, killed before its write number `at`."""
    environment = {
        **os.environ, "PROVER_DATA": str(data_of(project)), "DAGSTER_HOME": str(project / "dagster"),
        "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(project), str(at)], env=environment, capture_output=True, text=True,
        timeout=2400, check=False,
    )  # fmt: skip


def write_project(project: Path) -> Path:
    """Theorems, run configuration and an empty Dagster home."""
    (project / "dagster").mkdir(parents=True)
    (project / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    for split, count in {"train": 24, "valid": 6, "test": 8}.items():
        lines = [json.dumps({"name": f"{split}{i}", "statement": f": statement {split} {i}"}) for i in range(count)]
        (project / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ops: dict[str, dict[str, Any]] = {
        "theorems": {split: str(project / f"{split}.jsonl") for split in ("train", "valid", "test")},
        "baseline_trajectories": {"max_expansions": 16, "n_candidates": 5},
        "trajectories": {"n_theorems": 16, "max_expansions": 24, "n_candidates": 5},
        "ebm_checkpoint": {
            "total_steps": 80, "lr": 1e-3, "batch_size": 32, "warmup_steps": 10, "d_hidden1": 16, "d_hidden2": 8,
            "calibration_expansions": 16, "betas": [0.0, 1.0], "checkpoint_interval": 40,
        },
        "guided_trajectories": {"head_seeds": 1},
        "iteration_report": {"budgets": [4, 8, 16]},
    }  # fmt: skip
    config = {"ops": {name: {"config": values} for name, values in ops.items()}}
    (project / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return project


def writes(project: Path) -> list[int]:
    """Writes of each start."""
    return [len(line) for line in (project / "writes").read_text("ascii").split("\n")[1:]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = write_project(tmp_path_factory.mktemp("undisturbed"))
    done = make_run(project)
    assert done.returncode == 0, done.stderr
    return project


def outcome(project: Path) -> dict[str, Any]:
    """What the iteration came to, without times."""
    data = DataFolder(data_of(project))
    iteration = data.iteration(0)
    report = read_json(iteration.report_file)
    found: dict[str, Any] = {
        name: read_summaries(data.root / f"{name}.parquet").select(COUNTS).sort("theorem_name").to_dicts()
        for name in SEARCHES
    }
    found["weights"] = hashlib.sha256((iteration.checkpoint / "model.safetensors").read_bytes()).hexdigest()
    found["vectors"] = sorted({key for path in data.root.rglob("*.keys") for key in keys_of(path)})
    found["report"] = {key: report[key] for key in ("searches", "promoted") if key in report}
    return found


def keys_of(path: Path) -> list[str]:
    """Keys of a part of the embedding cache, one per line."""
    return path.read_text("ascii").split()


def finished(project: Path) -> dict[tuple[str, str], int]:
    """(search, theorem) -> when its last node was written, of all theorems that are on disk."""
    found: dict[tuple[str, str], int] = {}
    for name in SEARCHES:
        whole = data_of(project) / f"{name}.parquet"
        parts = [] if whole.exists() else sorted(whole.with_suffix(".parts").glob("part-?????.parquet"))
        for path in [whole] if whole.exists() else parts:
            nodes = read_trajectories(path)
            for theorem, at in nodes.group_by("theorem_name").agg(pl.col("timestamp_ms").max()).iter_rows():
                found[name, theorem] = at
    return found


def left_behind(project: Path) -> list[str]:
    """Files that only a run in progress has."""
    endings = (".tmp", ".parts", ".partial", ".unfinished")
    return [str(path) for path in data_of(project).rglob("*") if path.name.endswith(endings) or ".tmp-" in path.name]


def statuses(project: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """Of all runs: Dagster's statuses, and MLflow's."""
    from mlflow import MlflowClient

    monkeypatch.setenv("DAGSTER_HOME", str(project / "dagster"))
    with dg.DagsterInstance.get() as instance:
        dagster = [run.status.value for run in instance.get_runs()]
    client = MlflowClient(f"sqlite:///{data_of(project) / 'mlflow' / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    return dagster, [run.info.status for run in runs]


@pytest.mark.parametrize("seed", range(-(-KILLS // PER_RUN)))
def test_a_killed_run_goes_on_and_ends_as_if_undisturbed(
    tmp_path: Path, undisturbed: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    (total,) = writes(undisturbed)
    project, kept = write_project(tmp_path / "project"), dict[tuple[str, str], int]()
    kills = 0
    while True:
        done = make_run(project, draw.randint(1, total // PER_RUN) if kills < PER_RUN else 0)
        assert "Traceback" not in done.stderr, done.stderr
        on_disk = finished(project)
        again = [key for key, at in kept.items() if on_disk.get(key) != at]
        assert not again, f"finished, and searched again or lost: {again}"
        kept = on_disk
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        kills += 1
        if kills == MOVED_AFTER:
            (project / "data").rename(project / "moved")
    assert kills >= MOVED_AFTER, "too few kills: this test shows nothing"
    assert outcome(project) == outcome(undisturbed)
    for name in SEARCHES:
        nodes = read_trajectories(data_of(project) / f"{name}.parquet")
        assert nodes.select("theorem_name", "state_id").is_duplicated().sum() == 0
    for path in data_of(project).rglob("*.parquet"):
        read_table(path)
    assert left_behind(project) == left_behind(undisturbed) == []
    dagster, mlflow = statuses(project, monkeypatch)
    assert dagster.count("SUCCESS") >= 1
    assert set(dagster) <= {"SUCCESS", "FAILURE", "CANCELED"}, dagster
    assert set(mlflow) <= {"FINISHED", "FAILED", "KILLED"}, mlflow

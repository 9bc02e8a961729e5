"""A small project for `make run` to be killed in (killed_run.py), and what is looked at afterwards.

Its folder has the data, the Dagster home and the temporary files, so that nothing of it can be elsewhere.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import psutil
import pytest
import yaml

from prover.trajectory import read_summaries, read_trajectories
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder

SCRIPT = Path(__file__).with_name("killed_run.py")
COUNTS = ["theorem_name", "proved", "nodes", "expansions", "ended"]
SEARCHES = ("baseline/trajectories", "iterations/iter_000/trajectories", "iterations/iter_000/guided",
            "iterations/iter_000/control")  # fmt: skip
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}, {"FINISHED", "FAILED", "KILLED"}
"""Of Dagster's and of MLflow's runs: what they are when nothing of them is open."""
_Ops = dict[str, dict[str, Any]]


def _maze(project: Path) -> dict[str, Any]:
    """Theorems of the maze and the run configuration."""
    for split, count in {"train": 24, "valid": 6, "test": 8}.items():
        lines = [json.dumps({"name": f"{split}{i}", "statement": f": statement {split} {i}"}) for i in range(count)]
        (project / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ops: _Ops = {
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
    return {"ops": {name: {"config": values} for name, values in ops.items()}}


def _lean(project: Path) -> dict[str, Any]:
    """The run configuration for a few shipped theorems, the embedded Lean and the shipped policy.

    States go through the policy one at a time, so that no digit depends on which are asked together.
    """
    search = {"max_expansions": 12, "n_candidates": 8}
    ops: _Ops = {
        "theorems": {
            **{split: f"propositional:{split}" for split in ("train", "valid", "test")},
            "valid_limit": 5, "test_limit": 5,
        },
        "baseline_trajectories": search,
        "trajectories": {"n_theorems": 16, **search},
        "ebm_checkpoint": {
            "total_steps": 40, "lr": 1e-3, "batch_size": 16, "warmup_steps": 5, "d_hidden1": 16, "d_hidden2": 8,
            "calibration_expansions": 8, "betas": [0.0, 1.0], "checkpoint_interval": 20,
        },
        "guided_trajectories": {"head_seeds": 1},
        "iteration_report": {"budgets": [4, 8, 12]},
    }  # fmt: skip
    resources = {"policy": {"batch_tokens": 1, "threads": 1}, "lean": {"workers": 2}}
    return {
        "ops": {name: {"config": values} for name, values in ops.items()},
        "resources": {name: {"config": values} for name, values in resources.items()},
    }


WORLDS = {"maze": _maze, "lean": _lean}


@dataclass(frozen=True)
class Project:
    """A folder that `make run` runs in, and what its theorems are about (a key of WORLDS)."""

    root: Path
    world: str

    @classmethod
    def written(cls, root: Path, world: str) -> "Project":
        """A new one: run configuration, theorems, an empty Dagster home and an empty folder for temporary files."""
        for folder in (root / "dagster", root / "tmp"):
            folder.mkdir(parents=True)
        for folder in (root / "tmp", *root.parents):  # the user whom Lean runs as must reach its scratch files
            if folder.stat().st_uid == os.getuid():
                folder.chmod(folder.stat().st_mode | 0o111)
        (root / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
        (root / "config.yaml").write_text(yaml.safe_dump(WORLDS[world](root)), encoding="utf-8")
        return cls(root, world)

    @property
    def data(self) -> DataFolder:
        """The data folder, which `move` moves."""
        moved = self.root / "moved"
        return DataFolder(moved if moved.exists() else self.root / "data")

    def move(self) -> None:
        """Move the data folder."""
        (self.root / "data").rename(self.root / "moved")

    def make_run(self, *points: str, victim: str = "main") -> subprocess.CompletedProcess[str]:
        """`make run`, with `victim` killed at the points (STEP:N, see killed_run.py)."""
        (self.root / "writes").write_bytes(b"")
        return subprocess.run(
            [sys.executable, str(SCRIPT), str(self.root), self.world, victim, *points], env=self.environment,
            capture_output=True, text=True, timeout=2400, check=False,
        )  # fmt: skip

    def launch(self) -> subprocess.Popen[bytes]:
        """The first iteration as Dagster's UI would run it, each step in a worker process of its own.

        What they say is in launched.log.
        """
        config = self.root / "launched.yaml"
        given = yaml.safe_load((self.root / "config.yaml").read_text(encoding="utf-8"))
        config.write_text(yaml.safe_dump({**given, "execution": {"config": {"kind": "spawn"}}}), encoding="utf-8")
        with dg.DagsterInstance.from_config(str(self.root / "dagster")) as instance:
            instance.add_dynamic_partitions("iteration", ["iter_000"])
        tags = json.dumps({"dagster/partition": "iter_000"})
        with (self.root / "launched.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dagster", "job", "execute", "-m", "prover_assets.definitions", "-j",
                 "first_iteration", "-c", str(config), "--tags", tags],
                env=self.environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process that works on the project."""
        return {
            **os.environ, "PROVER_DATA": str(self.data.root), "DAGSTER_HOME": str(self.root / "dagster"),
            "TMPDIR": str(self.root / "tmp"), "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1",
        }  # fmt: skip

    def writes(self) -> Counter[str]:
        """Writes of the last start by step, in the order of the steps; `STEP VICTIM` counts kills of such a victim."""
        return Counter((self.root / "writes").read_text("ascii").splitlines())

    def outcome(self) -> dict[str, Any]:
        """What the iteration came to, without times."""
        iteration = self.data.iteration(0)
        report = read_json(iteration.report_file)
        found: dict[str, Any] = {name: self.counts(name) for name in SEARCHES}
        found["weights"] = hashlib.sha256((iteration.checkpoint / "model.safetensors").read_bytes()).hexdigest()
        found["vectors"] = sorted(
            {key for path in self.data.root.rglob("*.keys") for key in path.read_text("ascii").split()}
        )
        found["report"] = {key: report[key] for key in ("searches", "promoted") if key in report}
        return found

    def counts(self, search: str) -> list[dict[str, Any]]:
        """Of each theorem of a search: proved or not, nodes, expansions, how the search ended."""
        summaries = read_summaries(self.data.root / f"{search}.parquet")
        return summaries.select(COUNTS).sort("theorem_name").to_dicts()

    def finished(self) -> dict[tuple[str, str], int]:
        """(search, theorem) -> when its last node was written, of all theorems that are on disk."""
        found: dict[tuple[str, str], int] = {}
        for name in SEARCHES:
            whole = self.data.root / f"{name}.parquet"
            parts = [] if whole.exists() else sorted(whole.with_suffix(".parts").glob("part-?????.parquet"))
            for path in [whole] if whole.exists() else parts:
                nodes = read_trajectories(path)
                for theorem, at in nodes.group_by("theorem_name").agg(pl.col("timestamp_ms").max()).iter_rows():
                    found[name, theorem] = at
        return found

    def left_behind(self) -> list[str]:
        """Files that only a run in progress has, and locks that are held."""
        endings = (".tmp", ".parts", ".partial", ".unfinished")
        found = [str(path) for path in self.data.root.rglob("*") if path.name.endswith(endings) or ".tmp-" in path.name]
        for path in self.data.root.rglob("*.lock"):
            with path.open("rb") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(f"{path} is locked")
        return found

    def temporary_files(self) -> list[str]:
        """What is in the folder for temporary files, but for what PyTorch keeps there for later processes."""
        return [path.name for path in (self.root / "tmp").iterdir() if not path.name.startswith("torchinductor_")]

    def age_temporary_files(self) -> None:
        """Make them look old: a young folder may be of a process that is about to lock it."""
        for path in (self.root / "tmp").iterdir():
            os.utime(path, (time.time() - 3600,) * 2)

    def processes(self, *, wait_s: float = 20) -> list[str]:
        """Command lines of processes of the project that are there even after some seconds."""
        found = self._processes()
        psutil.wait_procs(found, timeout=wait_s)
        return [" ".join(process.cmdline()) for process in self._processes()]

    def _processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                texts = [*process.cmdline(), *process.environ().values()]
            except psutil.Error:
                continue
            if process.pid != os.getpid() and any(str(self.root) in text for text in texts):
                found.append(process)
        return found

    def statuses(self, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
        """Of all runs: Dagster's statuses, and MLflow's."""
        from mlflow import MlflowClient

        monkeypatch.setenv("DAGSTER_HOME", str(self.root / "dagster"))
        with dg.DagsterInstance.get() as instance:
            dagster = [run.status.value for run in instance.get_runs()]
        client = MlflowClient(f"sqlite:///{self.data.mlflow / 'mlflow.db'}")
        runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
        return dagster, [run.info.status for run in runs]

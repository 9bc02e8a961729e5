"""The command line from first search to guided search, nothing faked: shipped policy, embedded Lean, real files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ebm.checkpoint import checkpoint_id, read_calibration, read_config
from ebm.inference import EBMScorer
from prover.policy import load_policy
from prover.trajectory import read_trajectories

pytestmark = pytest.mark.slow


def prover(*arguments: object, data: Path) -> dict:
    """Run a command in a process of its own; the JSON object that it ends with."""
    finished = subprocess.run(
        [sys.executable, "-c", "from prover.cli import main; main()", *map(str, arguments), "--json"],
        env={**os.environ, "PROVER_DATA": str(data), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_search_train_calibrate_search(tmp_path):
    data, first, second, head = (tmp_path / name for name in ("data", "a.parquet", "b.parquet", "ebm"))
    options = ("--budget", 16, "--candidates", 8)
    found = prover("search", "--theorems", "propositional:train", "--limit", 30, "--output", first, *options, data=data)
    assert found["theorems"] == 30
    assert found["proved"] > 3

    trained = prover(
        *("train-ebm", "--trajectories", first, "--output", head),
        *("--steps", 200, "--lr", "0.001", "--warmup-steps", 20, "--batch-size", 16, "--valid-fraction", 0),
        data=data,
    )
    assert (trained["status"], trained["step"]) == ("finished", 200)
    assert trained["metrics"]["energy_gap"] > 0

    calibrated = prover(
        *("calibrate", "--trajectories", first, "--ebm-path", head),
        *("--theorems", "propositional:valid", "--limit", 6, "--budget", 8),
        data=data,
    )
    stored = read_calibration(head)
    assert stored is not None
    assert calibrated["chosen"] == read_config(head)["calibration"]["evidence"]["chosen"]
    assert calibrated["theorems"] == 6

    guided = prover(
        *("search", "--theorems", "propositional:test", "--limit", 6, "--output", second, "--ebm-path", head),
        *("--mode", "energy-only"),
        *options,
        data=data,
    )
    assert guided["mode"] == "energy-only"
    rows = read_trajectories(second)
    assert rows["ebm_id"].unique().to_list() == [checkpoint_id(head)]
    proved = set(rows.filter("is_proof_complete")["theorem_name"].to_list())
    unscored = rows.filter(rows["ebm_score"].is_null() & (rows["state_pp"] != ""))
    assert set(unscored["theorem_name"].to_list()) <= proved, "the expansion that finds the proof scores no more states"
    scored = rows.filter(rows["ebm_score"].is_not_null())
    assert len(scored) > 0.9 * len(rows)
    expected = EBMScorer.load(head, load_policy(threads=1)).score_states(scored["state_pp"].to_list())
    np.testing.assert_allclose(scored["ebm_score"].to_numpy(), expected, rtol=1e-3, atol=1e-3)
    assert scored["ebm_score"].n_unique() > len(scored) // 4

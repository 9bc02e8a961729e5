"""A data folder made by the release before goes on working: its report, its head, its rows, and its next iteration."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ebm.inference import EBMScorer
from prover.policy import load_policy
from prover.trajectory.reader import read_trajectories
from prover_assets.report.compare_runs import find_side, pair
from prover_assets.store.champion import starting_champion
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder
from prover_assets.store.manifest import read_manifest

RELEASED = Path(__file__).parents[2] / "data" / "release_0_1_0" / "data"


@pytest.fixture
def old(tmp_path: Path) -> DataFolder:
    """A copy, since going on writes to the folder."""
    return DataFolder(shutil.copytree(RELEASED, tmp_path / "data"))


def test_its_report_is_read_and_compared(old: DataFolder):
    side = find_side(old, "iter_000")
    assert side.report["comparison"]["theorems"] == 6
    assert pair(side, find_side(old, "iter_000"))["budgets"] == [4, 8, 12]


def test_its_rows_and_manifests_are_read(old: DataFolder):
    iteration = find_side(old, "iter_000").iteration
    nodes = read_trajectories(iteration.trajectories.nodes)
    assert set(nodes["label"].unique()) >= {"positive", "negative"}
    manifest = read_manifest(iteration.trajectories)
    assert manifest is not None
    assert manifest.complete


def test_its_next_iteration_begins_without_a_champion(old: DataFolder):
    assert starting_champion(old.iteration("iter_001")).ebm_id is None


def test_its_head_scores_with_the_policy_that_it_was_trained_on(old: DataFolder):
    scorer = EBMScorer.load(find_side(old, "iter_000").iteration.checkpoint, load_policy(threads=1))
    scores = scorer.score_states(["p : Prop\nh : p\n⊢ p", "p : Prop\n⊢ p"])
    assert np.isfinite(scores).all()
    assert scorer.calibration is not None
    assert scorer.calibration.beta == 0.0


@pytest.mark.slow
def test_its_next_iteration_is_made(old: DataFolder, tmp_path: Path, templates):
    """With the real Lean and policy; the baseline is searched again, since a Lean's fingerprint covers the release."""
    for split in ("train", "valid", "test"):
        shutil.copy(old.root / "theorems" / f"{split}.jsonl", tmp_path)
    small = {"max_expansions": 12, "n_candidates": 8}
    (tmp_path / "dagster").mkdir()
    with templates.opened(tmp_path, real=True) as project:
        project.config = {
            "baseline_trajectories": small,
            "trajectories": small | {"n_theorems": 14},
            "ebm_checkpoint": {"total_steps": 24, "warmup_steps": 4, "batch_size": 8, "calibration_expansions": 12},
            "iteration_report": {"budgets": [4, 8, 12]},
        }
        project.instance.add_dynamic_partitions("iteration", ["iter_000"])
        assert project.run(partition="iter_001").success
    report = read_json(old.iteration("iter_001").report_file)
    assert report is not None
    config = read_json(old.iteration("iter_001").checkpoint / "config.json")
    assert config is not None
    learnt_from = {entry["sha256"] for entry in config["data"]["trajectories"]}
    before = read_json(old.iteration("iter_000").checkpoint / "config.json")
    assert before is not None
    assert {entry["sha256"] for entry in before["data"]["trajectories"]} < learnt_from, "the old rows are trained on"

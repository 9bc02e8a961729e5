"""The policy tuned for real through its asset: the shipped policy, the real Lean, a few gradient steps.

What follows from an adopted or rejected policy is tested over the maze, in test_policy_tuning.py.
"""

import json

import pytest
import typer

from ebm.cli import register
from prover.cli import run
from prover.theorems import TheoremSet
from prover_assets.defs.jobs import ITERATION_ASSETS, TUNING_ASSET
from prover_assets.defs.resources import PolicyResource
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder
from prover_assets.store.policy import read_policy

pytestmark = pytest.mark.slow

SEARCH = {"max_expansions": 8, "n_candidates": 6}
LEARN = {"max_expansions": 48, "n_candidates": 6}
CONFIG = {
    "trajectories": LEARN,
    "baseline_trajectories": SEARCH,
    "ebm_checkpoint": {"total_steps": 40, "warmup_steps": 5, "calibration_expansions": 8},
    "guided_trajectories": {"head_seeds": 1, "random_control": False},
    "iteration_report": {"budgets": [4, 8]},
    # Judged on the theorems that it learns from, with a sixth of the budget: steps learnt by heart show.
    TUNING_ASSET: {
        "steps": 60,
        "epochs": 50.0,
        "anchor_weight": 0.0,
        "validation_expansions": 8,
        "minimum_gain": 0.0,
        "least_probability": 0.5,
    },
}


def test_a_policy_is_tuned_adopted_searched_with_and_found_by_the_command_line(new_project, monkeypatch, capsys):
    project = new_project(real=True, track=True, config=CONFIG)
    textbook = list(TheoremSet.load("textbook"))[:24]
    for split, theorems in {"train": textbook, "valid": textbook, "test": textbook[:4]}.items():
        lines = [json.dumps({"name": f"{split}.{t.name}", "statement": t.statement}) for t in theorems]
        (project.root / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert project.run(partition="iter_000").success
    assert project.run(TUNING_ASSET, partition="iter_000").success

    numbers = project.metadata(TUNING_ASSET, "iter_000")
    assert numbers["decision"].startswith("adopted: gain of +")
    assert numbers["loss_after"] < numbers["loss_before"] / 2
    assert numbers["gradient_steps"] == 60
    assert numbers["learnt_theorems"] >= 5
    assert numbers["faster"] > numbers["slower"]
    assert numbers["centroid_distance_after"] > 0
    data = DataFolder(project.data)
    record = read_policy(data.iteration(1))
    tuned, shipped = PolicyResource(path=str(data.root / record.policy)).load(), PolicyResource().load()
    assert tuned.fingerprint != shipped.fingerprint
    assert tuned.encoder_fingerprint == record.encoder_fingerprint != shipped.encoder_fingerprint

    assert project.run(*ITERATION_ASSETS, partition="iter_001").success
    manifest = read_json(data.iteration(1).trajectories.manifest)
    assert manifest["policy_fingerprint"] == tuned.fingerprint
    assert (
        read_json(data.iteration(1).checkpoint / "config.json")["encoder"]["fingerprint"] == tuned.encoder_fingerprint
    )

    # The command line, which is told the energy model alone, evaluates it with the policy that it was trained with.
    monkeypatch.setenv("PROVER_DATA", str(data.root))
    app = typer.Typer()
    register(app)
    arguments = ["--theorems", str(project.root / "test.jsonl"), "--budgets", "4,8", "--json"]
    asked = ["eval", *arguments, "--ebm-path", str(data.iteration(1).checkpoint)]
    capsys.readouterr()
    assert run(app, asked) == 0
    said = capsys.readouterr()
    assert f"policy: {data.root / record.policy}, which the energy model was trained on" in said.err
    assert json.loads(said.out.splitlines()[-1])["theorems"] == 4
    (data.root / record.policy).rename(data.root / "elsewhere")
    assert run(app, asked) == 2
    assert "load that policy, or train a head on this one" in capsys.readouterr().err

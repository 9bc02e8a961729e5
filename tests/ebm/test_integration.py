"""The energy model as a whole, on synthetic states and on what the embedded Lean and the shipped policy leave."""

import math
import os

import numpy as np
import pytest
import torch

from ebm.inference import EBMScorer
from ebm.model import EnergyHead, EnergyHeadConfig
from ebm.training import ContrastiveIndex, ContrastiveSampler, EBMTrainingConfig, train, train_from_files


def test_training_loop_synthetic(new_records):
    """4 theorems, 20 positives around one direction and 40 negatives around another, in 64 dimensions, 200 steps."""
    records = new_records(n_theorems=4, n_positive=5, n_negative=10)
    table = np.random.default_rng(0).normal(0.0, 0.1, (60, 64)).astype(np.float32)
    table[np.arange(60), [0 if record.label == "positive" else 1 for record in records]] += 1.0
    sampler = ContrastiveSampler(ContrastiveIndex.build(records), k_negatives=2)
    torch.manual_seed(0)
    result = train(
        EBMTrainingConfig(total_steps=200, lr=1e-3, batch_size=4, k_negatives=2, log_interval=50),
        EnergyHead(EnergyHeadConfig(64, 32, 16)),
        table,
        sampler,
        "cpu",
    )
    metrics = [metrics for _, metrics in result.history]
    assert len(metrics) == 4
    assert metrics[-1].loss < metrics[0].loss
    assert metrics[-1].energy_gap > 0
    assert metrics[-1].rank_accuracy > 0.6
    assert result.warnings == []
    assert all(math.isfinite(m.loss) and math.isfinite(m.energy_std) and math.isfinite(m.grad_norm) for m in metrics)


@pytest.mark.slow
def test_training_with_real_data(tmp_path, capsys):
    """Train on trajectories of real searches, and score their states with the head.

    By default on a small search of the shipped policy in the embedded Lean. With the environment variables MODEL_PATH
    (a model folder in Hugging Face format) and TRAJECTORIES (files that it left, comma-separated), on those:

        MODEL_PATH=models/prover-7b TRAJECTORIES=data/a.parquet pytest --slow -k real_data
    """
    from prover.policy import load_policy
    from prover.trajectory import merge_labels, read_trajectories

    model, given = os.environ.get("MODEL_PATH"), os.environ.get("TRAJECTORIES")
    policy = load_policy(model or None, threads=1)
    files = given.split(",") if given else [small_search(policy, tmp_path / "a.parquet")]
    rows = merge_labels(read_trajectories(files))
    config = EBMTrainingConfig(total_steps=300, lr=1e-3, warmup_steps=30, log_interval=50, valid_fraction=0.0)
    result = train_from_files(files, policy, tmp_path / "ebm", config)
    history = [metrics for _, metrics in result.history]
    with capsys.disabled():
        print(f"\n{result.summary}\n{history[0]}\n{history[-1]}")
    assert history[-1].loss < history[0].loss
    assert history[-1].energy_gap > 0
    assert history[-1].rank_accuracy > 0.6

    scorer = EBMScorer.load(tmp_path / "ebm", policy)
    rows = rows.filter(~rows["is_proof_complete"])
    by_label = {
        label: scorer.score_states(rows.filter(rows["label"] == label)["state_pp"].to_list())
        for label in ("positive", "negative")
    }
    assert by_label["positive"].mean() > by_label["negative"].mean(), "SCORE: higher is better"


def small_search(policy, output):
    """Trajectories of 30 training theorems."""
    from prover.environments import open_environment
    from prover.search import SearchConfig, search_to_files
    from prover.theorems import TheoremSet

    theorems = list(TheoremSet.load("propositional", split="train", limit=30))
    with open_environment("embedded", workers=1) as environment:
        search_to_files(theorems, output, environment, policy, SearchConfig(max_expansions=24))
    return output

"""Metrics, their warnings, and their history."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from ebm.training import EBMMetrics, MetricsHistory
from ebm.training.metrics import depth_correlation

HEALTHY = EBMMetrics(
    loss=0.4321,
    contrastive_loss=0.40,
    depth_loss=0.1,
    energy_gap=1.23,
    pos_energy_mean=-0.45,
    neg_energy_mean=0.78,
    rank_accuracy=0.78,
    energy_std=0.82,
)


def test_compute_perfect():
    metrics = EBMMetrics.compute(torch.tensor([-2.0, -1.0]), torch.tensor([[1.0, 2.0], [3.0, 2.0]]), 0.1, 0.2, 0.16)
    assert metrics.rank_accuracy == 1.0
    assert metrics.energy_gap == pytest.approx(3.5)
    assert metrics.pos_energy_mean == -1.5
    assert metrics.neg_energy_mean == 2.0
    assert metrics.energy_std == pytest.approx(np.std([-2, -1, 1, 2, 3, 2]))
    assert (metrics.loss, metrics.contrastive_loss, metrics.depth_loss) == (0.16, 0.1, 0.2)
    assert metrics.n_examples == 2


def test_compute_random():
    """Equal energies rank nothing: a tie is not a win."""
    metrics = EBMMetrics.compute(torch.ones(8), torch.ones(8, 4), 1.6, 0.0, 1.6)
    assert metrics.rank_accuracy == 0.0
    assert metrics.energy_gap == 0.0
    metrics = EBMMetrics.compute(torch.randn(4000), torch.randn(4000, 4), 1.6, 0.0, 1.6)
    assert metrics.rank_accuracy == pytest.approx(1 / 5, abs=0.03)


def test_compute_refuses_wrong_shapes():
    with pytest.raises(ValueError, match=r"\(B,\) and \(B, K\)"):
        EBMMetrics.compute(torch.zeros(2), torch.zeros(3, 2), 0, 0, 0)


def test_health_check_healthy():
    assert HEALTHY.health_check() == []


def test_health_check_mode_collapse():
    warnings = replace(HEALTHY, energy_std=0.01).health_check()
    assert len(warnings) == 1
    assert "mode collapse" in warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy_gap": -0.1}, "negatives have lower energy"),
        ({"rank_accuracy": 0.96, "contrastive_loss": 0.51}, "too easy"),
        ({"pos_energy_mean": 0.2, "neg_energy_mean": -0.1}, "polarity inverted"),
        ({"loss": math.nan}, "diverged"),
        ({"loss": math.inf}, "diverged"),
    ],
)
def test_health_check_other_warnings(change, message):
    warnings = replace(HEALTHY, **change).health_check()
    assert len(warnings) == 1
    assert message in warnings[0]


@pytest.mark.parametrize(
    "change",
    [
        {"energy_std": 0.1},
        {"energy_gap": 0.0},
        {"rank_accuracy": 0.95, "contrastive_loss": 0.9},
        {"rank_accuracy": 1.0, "contrastive_loss": 0.5},
        {"pos_energy_mean": 0.5, "neg_energy_mean": 0.9},
        {"pos_energy_mean": -0.5, "neg_energy_mean": -0.1},
    ],
)
def test_health_check_at_the_thresholds(change):
    assert replace(HEALTHY, **change).health_check() == []


def test_display():
    line = "loss=0.4321 gap=1.23 rank=0.78 pos_e=-0.45 neg_e=0.78 std=0.82"
    assert HEALTHY.display() == line
    assert str(HEALTHY) == line


def test_depth_correlation():
    depth = np.array([1, 2, 3, 4, -1])
    assert depth_correlation(np.array([0.1, 0.2, 5.0, 6.0, -99.0]), depth) == pytest.approx(1.0)
    assert depth_correlation(np.array([6.0, 5.0, 0.2, 0.1, -99.0]), depth) == pytest.approx(-1.0)
    assert depth_correlation(np.array([1.0, 2.0]), np.array([3, -1])) is None, "one known depth has no correlation"
    assert depth_correlation(np.array([1.0, 2.0]), np.array([3, 3])) is None, "nor have equal ones"


def test_depth_correlation_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    energy, depth = rng.normal(size=50).round(1), rng.integers(0, 6, size=50)
    assert depth_correlation(energy, depth) == pytest.approx(stats.spearmanr(energy, depth).statistic)


def test_history():
    history = MetricsHistory()
    assert history.last() is None
    assert not history.is_improving(3)
    for step, gap in enumerate([0.0, 0.5, 0.4, 0.9]):
        history.push(step, replace(HEALTHY, energy_gap=gap))
    assert history.last().energy_gap == 0.9
    assert len(history) == 4
    assert history.is_improving(4)
    history.push(5, replace(HEALTHY, energy_gap=0.1))
    history.push(6, replace(HEALTHY, energy_gap=0.0))
    assert not history.is_improving(3)
    with pytest.raises(ValueError, match="at least 2"):
        history.is_improving(1)


def test_history_splits():
    history = MetricsHistory()
    history.push(1, HEALTHY)
    history.push(1, replace(HEALTHY, split="valid", loss=9.0))
    assert history.last() == HEALTHY
    assert history.last("valid").loss == 9.0
    assert [step for step, _ in history.of_split("valid")] == [1]


def test_history_parquet_round_trip(tmp_path):
    history = MetricsHistory()
    history.push(50, replace(HEALTHY, depth_correlation=0.5, learning_rate=1e-4, n_examples=1600))
    history.push(50, replace(HEALTHY, split="valid"))
    history.write_parquet(tmp_path / "metrics.parquet")
    assert MetricsHistory.read_parquet(tmp_path / "metrics.parquet").history == history.history
    frame = pl.read_parquet(tmp_path / "metrics.parquet")
    assert frame["step"].to_list() == [50, 50]
    assert frame["energy_gap"].to_list() == [1.23, 1.23]
    assert list(tmp_path.iterdir()) == [tmp_path / "metrics.parquet"], "no temporary file is left"
    MetricsHistory().write_parquet(tmp_path / "empty.parquet")
    assert len(MetricsHistory.read_parquet(tmp_path / "empty.parquet")) == 0

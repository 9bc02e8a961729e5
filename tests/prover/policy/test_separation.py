import numpy as np
import pytest

from prover.policy.separation import (
    Separation,
    auc,
    centroid_distance,
    measure_separation,
    probe_auc,
    separation_warnings,
)


class Lookup:
    """Encodes the text "0.3 1.2" as that vector."""

    def encode_only(self, states):
        return np.array([[float(x) for x in state.split()] for state in states], dtype=np.float32)


def test_centroid_distance() -> None:
    positive = np.array([[1.0, 0.0], [3.0, 0.0]])
    negative = np.array([[-3.0, 0.0], [-1.0, 0.0]])
    assert centroid_distance(positive, negative) == pytest.approx(4.0)  # means 4 apart, standard deviation 1
    assert centroid_distance(positive, positive) == 0.0


def test_auc_against_counting_pairs() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    pairs = [(p > n) + (p == n) / 2 for p in scores[labels] for n in scores[~labels]]
    assert auc(scores, labels) == pytest.approx(float(np.mean(pairs)))


def test_probe_finds_a_linear_signal_and_not_noise() -> None:
    groups = np.repeat(np.arange(20), 20)
    of_noise = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        labels, vectors = rng.random(400) < 0.5, rng.normal(size=(400, 8))
        of_noise.append(probe_auc(vectors, labels, groups))
        vectors[:, 3] += 3 * labels
        assert probe_auc(vectors, labels, groups) > 0.95
    assert 0.46 < float(np.mean(of_noise)) < 0.54


def test_measure_needs_enough_states() -> None:
    states, labels, theorems = ["0 1"] * 12, [True] * 12, ["a"] * 12
    with pytest.raises(ValueError, match="12 positive and 0 negative"):
        measure_separation(Lookup(), states, labels, theorems)
    states = [f"{i % 2} {i}" for i in range(40)]
    found = measure_separation(Lookup(), states, [i % 2 == 0 for i in range(40)], [f"t{i // 4}" for i in range(40)])
    assert (found.n_positive, found.n_negative) == (20, 20)
    assert found.probe_auc == 1.0


def test_warnings_when_half_is_lost() -> None:
    before = Separation(1.0, 0.9, 10, 10)
    assert separation_warnings(before, Separation(0.6, 0.75, 10, 10)) == []
    assert "distance" in separation_warnings(before, Separation(0.4, 0.8, 10, 10))[0]
    assert "AUC" in separation_warnings(before, Separation(0.9, 0.65, 10, 10))[0]

"""Where the vectors of a training step come from."""

import numpy as np
import pytest
import torch

from ebm.embeddings import EmbeddingCache
from ebm.training import ContrastiveIndex
from ebm.training.features import ArraySource, BatchFeeder, StateFeatures, feature_statistics, features_of


@pytest.fixture
def index(records) -> ContrastiveIndex:
    return ContrastiveIndex.build(records)


def test_statistics_are_those_of_the_rows_given():
    table = np.random.default_rng(0).normal(5.0, 3.0, (9000, 6)).astype(np.float32)
    table[:, 2] = 7.0
    table[:, 3] *= 1e-3
    features = StateFeatures(ArraySource(table), np.arange(9000))
    rows = np.arange(500, 9000)
    mean, std, n = feature_statistics(features, rows)
    assert n == 8500
    np.testing.assert_allclose(mean, table[rows].mean(0, dtype=np.float64), rtol=1e-5)
    expected = table[rows].std(0, dtype=np.float64)
    expected[2] = 1.0
    np.testing.assert_allclose(std, expected, rtol=1e-4)


def test_statistics_keep_their_digits_far_from_zero():
    table = (1e4 + np.random.default_rng(0).normal(0.0, 1.0, (5000, 2))).astype(np.float32)
    _, std, _ = feature_statistics(StateFeatures(ArraySource(table), np.arange(5000)), np.arange(5000))
    np.testing.assert_allclose(std, table.astype(np.float64).std(0), rtol=1e-3)


def test_statistics_of_many_states_use_an_even_selection():
    table = np.linspace(0.0, 1.0, 70_000, dtype=np.float32)[:, None]
    mean, std, n = feature_statistics(StateFeatures(ArraySource(table), np.arange(70_000)), np.arange(70_000))
    assert n == 65_536
    assert mean[0] == pytest.approx(0.5, abs=1e-3)
    assert std[0] == pytest.approx(12**-0.5, abs=1e-3)


def test_features_in_memory_are_the_same(tmp_path, index, records, embed):
    with EmbeddingCache(tmp_path, "f" * 64, 64) as cache:
        cache.add([record.key for record in records], embed(records))
        features = features_of(cache, index)
        rows = index.used_rows
        limit = len(rows) * 64 * 4
        held = features.in_memory(rows, limit)
        assert isinstance(held.source, ArraySource)
        np.testing.assert_array_equal(held.gather(rows[::-1]), features.gather(rows[::-1]))
        assert features.in_memory(rows, limit - 1) is features, "it does not fit"
    assert held.in_memory(rows, 0) is held


def test_a_table_needs_a_row_for_each_state(index, embed, records):
    table = embed(records)
    np.testing.assert_array_equal(features_of(table, index).gather(np.array([3, 1])), table[[3, 1]])
    for wrong in (table[:-1], table[0], table[None]):
        with pytest.raises(ValueError, match="a row for each of the 60 states"):
            features_of(wrong, index)
    with pytest.raises(ValueError, match=r"\(states, width\), got shape \(5,\)"):
        ArraySource(np.zeros(5))


def test_a_mapping_may_lack_states_that_are_never_used(new_records, embed):
    records = new_records(n_theorems=2)
    index = ContrastiveIndex.build(records).restricted_to(["thm_0"])
    own = [record for record in records if record.theorem_name == "thm_0"]
    vectors = {record.state_pp: vector for record, vector in zip(own, embed(own), strict=True)}
    features = features_of(vectors, index)
    np.testing.assert_array_equal(features.gather(np.array([4])), embed([records[4]]))
    assert features.width == 64


@pytest.mark.parametrize("mapped", [False, True])
def test_batches_of_a_block(tmp_path, index, records, embed, mapped):
    table = embed(records)
    cache = EmbeddingCache(tmp_path, "f" * 64, 64)
    cache.add([record.key for record in records], table)
    feeder = BatchFeeder(features_of(cache if mapped else table, index), torch.device("cpu"))
    rows = np.array([[0, 1, 2], [7, 7, 3]])
    feeder.load(rows)
    out = torch.zeros(3, 64)
    for step in (1, 0):
        feeder.batch(step, out)
        np.testing.assert_array_equal(out.numpy(), table[rows[step]])

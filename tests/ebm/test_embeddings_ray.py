"""Encoding on Ray leaves the vectors that encoding here leaves."""

from pathlib import Path

import numpy as np
import pytest

from ebm.embeddings import EmbeddingCache
from ebm.embeddings_ray import _Encoder, encode_missing_on_ray
from prover.policy import open_policy
from prover.scale import PolicySpec, RayConfig

STATES = {f"k{i}": f"p q : Prop\nh : p ∧ q{' ∧ p' * i}\n⊢ q" for i in range(12)}


def cache_of(root: Path) -> EmbeddingCache:
    policy = open_policy(threads=1)
    return EmbeddingCache(root, policy.encoder_fingerprint, policy.encoding_width, pooling=policy.pooling)


def vectors_here(root: Path) -> np.ndarray:
    with cache_of(root) as cache:
        cache.encode_missing(open_policy(threads=1), STATES)
        return cache.gather(list(STATES))


def test_an_encoder_writes_parts_that_another_process_reads(tmp_path: Path):
    encoder = _Encoder(PolicySpec(options={"threads": 1}), str(tmp_path / "there"), 4)
    answer = encoder({"key": np.array(list(STATES)), "text": np.array(list(STATES.values()))})
    assert answer["key"].tolist() == list(STATES)
    with cache_of(tmp_path / "there") as cache:
        np.testing.assert_allclose(cache.gather(list(STATES)), vectors_here(tmp_path / "here"), atol=1e-5)


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_ray_data_encodes_what_is_missing_and_nothing_else(tmp_path: Path):
    pytest.importorskip("ray.data", reason="the extra [ray] is not installed: pip install -e '.[ray]'")
    expected = vectors_here(tmp_path / "here")
    config = RayConfig(policy_actors=2)
    seen: list[tuple[int, int]] = []
    policy = PolicySpec(options={"threads": 1})
    with cache_of(tmp_path / "there") as cache:
        first = dict(list(STATES.items())[:3])
        cache.encode_missing(open_policy(threads=1), first)
        counts = encode_missing_on_ray(
            cache,
            tmp_path / "there",
            policy,
            STATES,
            config,
            on_progress=lambda done, total: seen.append((done, total)),
        )
        assert (counts.requested, counts.cached, counts.encoded) == (12, 3, 9)
        assert seen[-1] == (9, 9)
        np.testing.assert_allclose(cache.gather(list(STATES)), expected, atol=1e-5)
        again = encode_missing_on_ray(cache, tmp_path / "there", policy, STATES, config)
        assert again.encoded == 0

"""Synthetic proof states and embeddings that the energy model's tests share."""

import hashlib

import numpy as np
import polars as pl
import pytest

from ebm.training import ContrastiveIndex, ContrastiveSampler, ProofStateRecord


class FakePolicy:
    """A TacticGenerator whose vectors are a function of the text alone, as the real one's are."""

    def __init__(self, hidden_size: int = 64, fingerprint: str = "f" * 64) -> None:
        self.hidden_size = hidden_size
        self.encoding_width = hidden_size
        self.encoder_fingerprint = fingerprint
        self.fingerprint = fingerprint
        self.policy_id = "fake:ffffffff"
        self.pooling = "mean/1"
        self.encoded: list[str] = []
        """Every text ever encoded, so that tests can count."""

    def generate(self, states, n_candidates):
        raise NotImplementedError("the energy model never generates")

    def encode_only(self, states):
        self.encoded += states
        return np.stack([state_vector(state, self.hidden_size) for state in states])


def state_vector(text: str, width: int = 64) -> np.ndarray:
    """A unit direction for `good` states, another for the rest, with noise that depends on the text alone."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    vector = np.random.default_rng(seed).normal(0.0, 0.15, width)
    vector[0 if "good" in text else 1] += 1.0
    return vector.astype(np.float32)


def make_records(n_theorems: int = 4, n_positive: int = 5, n_negative: int = 10) -> list[ProofStateRecord]:
    """Theorems whose proof is the line of `good` states 0, 1, ..., with the negatives hung below its states in turn."""
    records = []
    for t in range(n_theorems):
        for i in range(n_positive):
            records.append(
                ProofStateRecord(
                    theorem_name=f"thm_{t}",
                    state_pp=f"h : thm{t}\n⊢ good {t} {i}",
                    label="positive",
                    depth_from_root=i,
                    remaining_depth=n_positive - i,
                    state_id=i,
                    parent_state_id=i - 1 if i else None,
                    llm_log_prob=-float(i),
                )
            )
        for i in range(n_negative):
            records.append(
                ProofStateRecord(
                    theorem_name=f"thm_{t}",
                    state_pp=f"h : thm{t}\n⊢ bad {t} {i}",
                    label="negative",
                    depth_from_root=i % n_positive + 1,
                    state_id=n_positive + i,
                    parent_state_id=i % n_positive,
                    llm_log_prob=-float(i),
                )
            )
    return records


def table_of(records: list[ProofStateRecord], width: int = 64) -> np.ndarray:
    return np.stack([state_vector(record.state_pp, width) for record in records])


def write_trajectories(path, records, *, extra: dict | None = None) -> None:
    """A trajectory file of the twelve columns that every tool writes."""
    n = len(records)
    columns = {
        "theorem_name": pl.Series([r.theorem_name for r in records], dtype=pl.String),
        "state_id": pl.Series([r.state_id for r in records], dtype=pl.UInt64),
        "state_pp": pl.Series([r.state_pp for r in records], dtype=pl.String),
        "tactic_applied": pl.Series(["" if r.parent_state_id is None else "t" for r in records], dtype=pl.String),
        "parent_state_id": pl.Series([r.parent_state_id for r in records], dtype=pl.UInt64),
        "label": pl.Series([r.label for r in records], dtype=pl.String),
        "depth_from_root": pl.Series([r.depth_from_root for r in records], dtype=pl.UInt32),
        "remaining_depth": pl.Series([r.remaining_depth for r in records], dtype=pl.Int32),
        "llm_log_prob": pl.Series([r.llm_log_prob for r in records], dtype=pl.Float64),
        "ebm_score": pl.Series([None] * n, dtype=pl.Float64),
        "is_proof_complete": pl.Series([False] * n, dtype=pl.Boolean),
        "timestamp_ms": pl.Series([0] * n, dtype=pl.UInt64),
    }
    pl.DataFrame(columns | (extra or {})).write_parquet(path)


@pytest.fixture
def policy() -> FakePolicy:
    return FakePolicy()


@pytest.fixture
def new_policy():
    """The class, for tests that need several policies."""
    return FakePolicy


@pytest.fixture
def new_records():
    """`make_records`, for tests that need other sizes."""
    return make_records


@pytest.fixture
def records() -> list[ProofStateRecord]:
    return make_records()


@pytest.fixture
def embed():
    """`table_of`: records -> a row of vectors each."""
    return table_of


@pytest.fixture
def write():
    """`write_trajectories`."""
    return write_trajectories


@pytest.fixture
def sampler(records) -> ContrastiveSampler:
    return ContrastiveSampler(ContrastiveIndex.build(records), k_negatives=2)

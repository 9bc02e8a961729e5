"""What a policy is: a frozen language model that proposes tactics and lends its hidden vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


class PolicyError(RuntimeError):
    """A policy that fails at its work. The message says what it was asked, what came back and what to do."""


@dataclass(frozen=True, slots=True)
class TacticCandidate:
    """A proposed tactic. `log_prob`: sum of token log-probabilities over the tactic alone, nats, higher is better."""

    tactic: str
    log_prob: float
    n_tokens: int


@runtime_checkable
class TacticGenerator(Protocol):
    """A frozen policy. Deterministic: the same states give the same candidates and vectors, whatever their batch, up to
    the last digits: a matrix product rounds by the size of its batch."""

    hidden_size: int
    """Width of one hidden layer of the model."""

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        """Up to `n_candidates` distinct tactics a state, best log-prob first. `states`: texts as Lean prints them."""
        ...

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        """Pooled hidden vectors, (n, encoding width) float32, without the language-model head."""
        ...


class FingerprintedPolicy(TacticGenerator, Protocol):
    """What the product's own policies add, so that memos and caches can be content-addressed."""

    policy_id: str
    """Human-readable: model name and the first digits of the fingerprint."""
    fingerprint: str
    """Hex digest over weights, tokenizer, prompt template, dtype and decoding settings."""
    pooling: str
    """Named, versioned pooling of `encode_only`, e.g. `mean+max+early/1`."""
    encoding_width: int
    """Width of an `encode_only` vector: hidden_size times the parts of the pooling."""
    encoder_fingerprint: str
    """Hex digest over weights, tokenizer, prompt template, dtype and pooling: the embedding cache's address."""

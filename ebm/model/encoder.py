"""The frozen policy as an encoder of proof states."""

from collections.abc import Sequence

import numpy as np

from prover.policy.base import TacticGenerator
from prover.policy.complete import as_policy


class EncoderBackend:
    """Embeddings from any `TacticGenerator`; shares its model, so nothing is loaded twice."""

    def __init__(self, generator: TacticGenerator) -> None:
        self.generator = generator
        self.policy = as_policy(generator)
        """The same, with a default for what it does not say of itself."""

    @property
    def hidden_dim(self) -> int:
        """Width of an embedding: the policy's `encoding_width` where its pooling has several parts."""
        return self.policy.encoding_width

    @property
    def fingerprint(self) -> str | None:
        """The policy's `encoder_fingerprint`, or None where it has none and its vectors cannot be addressed."""
        return self.policy.encoder_fingerprint

    def encode(self, state: str) -> np.ndarray:
        """One state text -> (hidden_dim,) float32."""
        return self.encode_batch([state])[0]

    def encode_batch(self, states: Sequence[str]) -> np.ndarray:
        """n state texts -> (n, hidden_dim) float32, in order; (0, hidden_dim) for none.

        Raises:
            ValueError: the policy answered with another shape.
        """
        if not states:
            return np.empty((0, self.hidden_dim), dtype=np.float32)
        vectors = np.asarray(self.generator.encode_only(list(states)), dtype=np.float32)
        if vectors.shape != (len(states), self.hidden_dim):
            raise ValueError(
                f"the policy encoded {len(states)} states into shape {vectors.shape}, "
                f"expected ({len(states)}, {self.hidden_dim})"
            )
        return vectors

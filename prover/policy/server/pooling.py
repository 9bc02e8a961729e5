"""`PoolingEncoder`: hidden vectors from a vLLM server in pooling mode, instead of a local copy of the model."""

import hashlib
import json
import logging
from collections.abc import Sequence

import numpy as np

from prover.json_types import JsonObject
from prover.policy.prompts import get_template, template_identity
from prover.policy.server.config import ServerConfig
from prover.policy.server.connection import Connection
from prover.policy.server.errors import ServerPolicyError
from prover.policy.server.parallel import side_by_side
from prover.policy.server.patience import Patience
from prover.policy.server.start import PROBE_STATES, base_of, read_facts

logger = logging.getLogger(__name__)

POOLINGS = ("mean", "last")
_BATCH_TOLERANCE = 0.02  # relative; half precision rounds to about .01 over a deep model
_START = "vllm serve MODEL --runner pooling --convert embed --pooler-config.task token_embed"


class PoolingEncoder:
    """A `prover.policy.base.StateEncoder` over vLLM's `/pooling`. pooling: mean, mean/1, last or last/1.

    The vectors of all tokens are asked for and pooled here, in float32, so that it does not matter how the server
    pools. Made by `open`, which asks the server.
    """

    def __init__(self, config: ServerConfig, pooling: str) -> None:
        name, _, version = pooling.partition("/")
        if name not in POOLINGS or version not in ("", "1"):
            raise ServerPolicyError(
                f"a pooling server gives the last layer alone, so pooling {pooling!r} cannot be had from it; choose "
                f"one of: {', '.join(POOLINGS)}"
            )
        self.config = config
        self.template = get_template(config.template)
        self.pooling = f"{name}/1"
        self._mean = name == "mean"
        self._connection = Connection(config, Patience())
        self.hidden_size = self.encoding_width = 0
        self.encoder_fingerprint = self.policy_id = ""

    @classmethod
    def open(cls, config: ServerConfig, pooling: str) -> "PoolingEncoder":
        """The encoder, once the server has shown that it pools, and that a vector does not depend on its batch.

        Raises ServerPolicyError.
        """
        encoder = cls(config, pooling)
        facts = read_facts(encoder._connection)
        alone = encoder._vectors([PROBE_STATES[0]])[0]
        filler = [f"h{i} : p\n⊢ {'p ∧ ' * i}p" for i in range(1, 8)]
        among = encoder._vectors([*filler, PROBE_STATES[0]])[-1]
        difference = float(np.linalg.norm(alone - among) / max(float(np.linalg.norm(alone)), 1e-12))
        if difference > _BATCH_TOLERANCE:
            raise ServerPolicyError(
                f"{config.url}: a state's vector differs by {difference:.1%} with what else is in its batch, so no "
                "energy could be relied on. Start the server without batching (--max-num-seqs 1), or in float32"
            )
        encoder.hidden_size = encoder.encoding_width = len(alone)
        identity = {
            "model": config.model,
            "root": facts.root,
            "template": template_identity(encoder.template),
            "pooling": encoder.pooling,
            "probe": [round(float(value), 2) for value in alone[:64] / max(float(np.abs(alone).max()), 1e-12)],
        }
        digest = hashlib.sha256(f"pooling-server/1 {json.dumps(identity, sort_keys=True)}".encode()).hexdigest()
        encoder.encoder_fingerprint, encoder.policy_id = digest, f"{config.model}@pooling:{digest[:12]}"
        logger.info("%s: vectors of width %d, %.1e apart over batches", config.url, len(alone), difference)
        return encoder

    def with_pooling(self, pooling: str) -> "PoolingEncoder":
        """The same server with another pooling; asks it as `open` does. Raises ServerPolicyError."""
        return self.open(self.config, pooling)

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        """Pooled hidden vectors of whole states, (n, encoding_width) float32. ServerPolicyError if there is none."""
        made = side_by_side(
            lambda state: self._vectors([state])[0], list(states), workers=self.config.parallel, check=lambda: None
        )
        return np.stack(made) if made else np.empty((0, self.encoding_width), dtype=np.float32)

    def _vectors(self, states: Sequence[str]) -> np.ndarray:
        """(n, width) float32, of one request."""
        texts = [self.template.encoding_text(state) for state in states]
        if not all(texts):
            raise ValueError("an empty state was given to encode_only: a finished proof has no vector")
        body = {
            "model": self.config.model,
            "input": texts,
            "task": "token_embed",
            "use_activation": False,
            "encoding_format": "float",
        }
        answer = self._connection.post_to(f"{base_of(self.config.url)}/pooling", body)
        found = answer.get("data")
        if not isinstance(found, list) or len(found) != len(texts):
            raise ServerPolicyError(f"{self.config.url} sent no vectors; start it as a pooling server: {_START}")
        return np.stack([self._pool(one, text) for one, text in zip(found, texts, strict=True)])

    def _pool(self, entry: JsonObject, text: str) -> np.ndarray:
        """(width,) float32 of the vectors of all tokens, (tokens, width)."""
        try:
            tokens = np.array(entry["data"], dtype=np.float32)
        except (TypeError, KeyError, ValueError) as error:
            raise ServerPolicyError(f"{self.config.url} sent vectors that cannot be read: {error}") from error
        if tokens.ndim != 2 or not tokens.size:
            raise ServerPolicyError(
                f"{self.config.url} sent one vector of {tokens.size} numbers instead of one for each token; start it "
                f"as: {_START}"
            )
        pooled = tokens.mean(axis=0, dtype=np.float32) if self._mean else tokens[-1]
        if not np.isfinite(pooled).all() or not pooled.any():
            raise ServerPolicyError(
                f"{self.config.url} sent a vector of zeros or NaN for a state of {len(text)} characters"
            )
        if self.encoding_width and len(pooled) != self.encoding_width:
            raise ServerPolicyError(f"{self.config.url} sent {len(pooled)} numbers, at start {self.encoding_width}")
        return pooled

"""A policy behind a server: an OpenAI-compatible completions endpoint, and a pooling endpoint for hidden vectors."""

from prover.policy.server.config import API_KEY_VARIABLE, ServerConfig
from prover.policy.server.errors import (
    ContextTooLongError,
    RequestRefusedError,
    ServerPolicyError,
    ServerUnavailableError,
)
from prover.policy.server.policy import ServerCounters, ServerPolicy
from prover.policy.server.pooling import PoolingEncoder

__all__ = [
    "API_KEY_VARIABLE",
    "ContextTooLongError",
    "PoolingEncoder",
    "RequestRefusedError",
    "ServerConfig",
    "ServerCounters",
    "ServerPolicy",
    "ServerPolicyError",
    "ServerUnavailableError",
]

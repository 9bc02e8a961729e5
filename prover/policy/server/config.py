"""How a server is asked."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

API_KEY_VARIABLE = "PROVER_API_KEY"
"""Environment variable with the server's key, unless another one is named."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Settings of a `ServerPolicy`."""

    model: str
    """Name of the model, as the server lists it under /v1/models."""
    url: str = "http://127.0.0.1:8000/v1"
    """Address of the API, up to and with its version."""
    template: str = "deepseek-prover-v2/1"
    """Prompt template: a name of `prover.policy.prompts`, or a file of your own (FILE.jinja)."""
    temperature: float = 1.0
    """Of sampling. Log-probs are reported as the server gives them."""
    top_p: float = 1.0
    """Nucleus of sampling; 1 = all of it."""
    oversampling: float = 2.0
    """Completions asked for per candidate wanted: samples repeat themselves."""
    max_tactic_tokens: int = 64
    """A longer tactic is given up."""
    seed: int = 0
    """With the state's text it seeds each request, where the server honours seeds."""
    parallel: int = 32
    """Requests in flight."""
    timeout_s: float = 60.0
    """Wall-clock limit of one request, seconds. A server that says nothing for so long hangs."""
    retries: int = 5
    """Further tries after an answer that cannot be used: HTTP 500, or JSON that is cut short."""
    backoff_s: float = 0.5
    """Pause before the first retry, seconds; doubled each time, at most 30, and varied by a quarter."""
    wait_s: float = 600.0
    """How long a server that is gone, or asks to wait (HTTP 429), is waited for, seconds. 0 ends the search at once."""
    max_answer_bytes: int = 64 << 20
    """A longer answer is refused."""
    api_key: str | None = None
    """Sent as a bearer token; never part of a fingerprint, a message or a log line."""
    api_key_env: str = API_KEY_VARIABLE
    """Environment variable that the key came from, or should come from: for messages."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"url = {self.url!r} must be an http(s) address such as http://127.0.0.1:8000/v1")
        if parts.username is not None:
            raise ValueError(
                f"url has a user or a password in it: give the address alone, and the key in {self.api_key_env}"
            )
        for name in ("oversampling", "max_tactic_tokens", "parallel", "max_answer_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        for name in ("retries", "backoff_s", "wait_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be 0 or more")
        for name in ("temperature", "timeout_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be above 0")
        if self.api_key and not re.fullmatch(r"[\x21-\x7e]+", self.api_key):
            raise ValueError(f"the key in {self.api_key_env} has blanks or characters that no HTTP header can carry")

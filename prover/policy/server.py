"""`ServerPolicy`: tactics from an OpenAI-compatible completions endpoint (vLLM, SGLang, llama.cpp's server, ...).

The server generates; hidden vectors come from a local model, if one is given, since no such endpoint hands out what the
energy model needs. Requests are made in parallel, retried with growing pauses, and stopped by a circuit breaker when
the server is gone, so that a search ends with a clear error and not after hours of time-outs.
"""

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np

from prover.policy.base import FingerprintedPolicy, PolicyError, TacticCandidate
from prover.policy.prompts import get_template, prompt_key
from prover.states import normalise

_RETRIED_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class ServerPolicyError(PolicyError):
    """The server cannot be used. The message says what was asked, what came back and what to do."""


class ServerUnavailableError(ServerPolicyError):
    """The server did not answer, after all retries, or the circuit breaker is open."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How the endpoint is asked."""

    model: str
    """Name of the model, as the server lists it under /v1/models."""
    url: str = "http://127.0.0.1:8000/v1"
    """Address of the API, up to and with its version."""
    template: str = "deepseek-prover-v2/1"
    """Prompt template, see `prover.policy.prompts`."""
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
    timeout_s: float = 120.0
    """Wall-clock limit of one request, seconds."""
    retries: int = 5
    """Further tries after a request that failed for a passing reason."""
    backoff_s: float = 0.5
    """Pause before the first retry, seconds; doubled each time, at most 30, and varied by a quarter."""
    breaker_failures: int = 10
    """Failed tries in a row, over all requests, that open the circuit breaker."""
    breaker_cooldown_s: float = 30.0
    """Seconds until an open breaker lets one request through to see whether the server is back."""
    api_key: str | None = None
    """Sent as a bearer token; never part of a fingerprint, a message or a log line."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"url = {self.url!r} must be an http(s) address such as http://127.0.0.1:8000/v1")
        for name in ("oversampling", "max_tactic_tokens", "parallel", "breaker_failures"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.temperature <= 0:
            raise ValueError(f"temperature = {self.temperature} must be above 0: candidates are samples")


class CircuitBreaker:
    """Counts failures in a row; open, it refuses at once, and after a while lets one trial through. Thread-safe."""

    def __init__(self, failures: int, cooldown_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.cooldown_s, self._clock = failures, cooldown_s, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: float | None = None
        self._trial = False

    def allow(self) -> bool:
        """Whether a request may be made now."""
        with self._lock:
            if self._opened_at is None:
                return True
            if self._trial or self._clock() - self._opened_at < self.cooldown_s:
                return False
            self._trial = True
            return True

    def succeeded(self) -> None:
        """A request was answered."""
        with self._lock:
            self._failures, self._opened_at, self._trial = 0, None, False

    def failed(self) -> None:
        """A request failed for a reason that is the server's."""
        with self._lock:
            self._failures += 1
            if self._trial or self._failures >= self.limit:
                self._opened_at, self._trial = self._clock(), False


class ServerPolicy:
    """See `prover.policy.base.FingerprintedPolicy`. `encoder`: the local policy whose vectors `encode_only` gives.

    The fingerprint covers the model's name and the settings: which weights stand behind a name is the server's word.
    """

    def __init__(
        self,
        config: ServerConfig,
        encoder: FingerprintedPolicy | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.config = config
        self.template = get_template(config.template)
        self._encoder = encoder
        self._sleep = sleep
        self._breaker = CircuitBreaker(config.breaker_failures, config.breaker_cooldown_s)
        settings = {
            name: value
            for name, value in asdict(config).items()
            if name in ("model", "template", "temperature", "top_p", "oversampling", "max_tactic_tokens", "seed")
        }
        self.fingerprint: str = hashlib.sha256(f"server/1 {json.dumps(settings, sort_keys=True)}".encode()).hexdigest()
        self.policy_id: str = f"{config.model}@server:{self.fingerprint[:12]}"
        self.hidden_size: int = encoder.hidden_size if encoder else 0
        self.pooling: str = encoder.pooling if encoder else "none"
        self.encoding_width: int = encoder.encoding_width if encoder else 0
        self.encoder_fingerprint: str = encoder.encoder_fingerprint if encoder else ""

    def prompt_key(self, state: str) -> str:
        """States with the same key have the same candidates."""
        return prompt_key(self.template, state)

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        """The local encoder's vectors. ServerPolicyError if there is none."""
        if self._encoder is None:
            raise ServerPolicyError(
                "this policy was made without an encoder: an OpenAI-compatible endpoint has no hidden vectors to give. "
                "Pass encoder=load_policy(...) (the same model's folder, or a smaller one's), or search without energy."
            )
        return self._encoder.encode_only(states)

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        """Up to `n_candidates` distinct tactics a state, best log-prob first.

        log_prob: nats, over the tactic's tokens, and its end where the server reports one. Raises
        ServerUnavailableError when the server is gone and ServerPolicyError when it answers something else.
        """
        if n_candidates < 1:
            raise ValueError(f"n_candidates = {n_candidates} must be at least 1")
        places: dict[str, list[int]] = {}
        for index, state in enumerate(states):
            if normalise(state):
                places.setdefault(self.prompt_key(state), []).append(index)
        results: list[list[TacticCandidate]] = [[] for _ in states]
        with ThreadPoolExecutor(self.config.parallel, thread_name_prefix="policy-server") as pool:
            futures = {key: pool.submit(self._ask, states[where[0]], n_candidates) for key, where in places.items()}
            try:
                for key, where in places.items():
                    candidates = futures[key].result()
                    for index in where:
                        results[index] = list(candidates)
            except ServerPolicyError:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return results

    def _ask(self, state: str, n_candidates: int) -> list[TacticCandidate]:
        config = self.config
        digest = hashlib.blake2b(f"{config.seed} {self.prompt_key(state)}".encode(), digest_size=4).digest()
        answer = self._post(
            "completions",
            {
                "model": config.model,
                "prompt": self.template.prompt(state),
                "n": round(n_candidates * config.oversampling),
                "max_tokens": config.max_tactic_tokens,
                "temperature": config.temperature,
                "top_p": config.top_p,
                "logprobs": 1,
                "seed": int.from_bytes(digest, "little") >> 1,
                "stop": self._stop_texts(),
            },
        )
        choices = answer.get("choices")
        if not isinstance(choices, list):
            raise ServerPolicyError(
                f"{config.url} answered without `choices` (keys: {', '.join(sorted(answer))}): is it an "
                "OpenAI-compatible completions endpoint?"
            )
        best: dict[str, TacticCandidate] = {}
        for choice in choices:
            candidate = self._read(choice, state)
            if candidate and (candidate.tactic not in best or best[candidate.tactic].log_prob < candidate.log_prob):
                best[candidate.tactic] = candidate
        return sorted(best.values(), key=lambda c: (-round(c.log_prob, 4), c.tactic))[:n_candidates]

    def _stop_texts(self) -> list[str]:
        """Fences and turn markers. A line break may not be one: some prompts leave the indentation to the model, and
        the first line's end is found in the answer."""
        return [*self.template.stop, "\n\n"][:4]

    def _read(self, choice: dict[str, Any], state: str) -> TacticCandidate | None:
        """The tactic in a choice with its log-prob; None when it has none or was cut off in the middle."""
        text = choice.get("text", "")
        tactic = self.template.tactic(text, state)
        if tactic is None:
            return None
        log_probs = choice.get("logprobs") or {}
        tokens, values = log_probs.get("tokens"), log_probs.get("token_logprobs")
        if not tokens or values is None or len(tokens) != len(values):
            raise ServerPolicyError(
                f"{self.config.url} sent no usable log-probabilities (`logprobs.token_logprobs`): the search orders by "
                "them. Start the server with log-probs enabled (vLLM: --max-logprobs 1 or more)."
            )
        lead = len(text) - len(text.lstrip())
        line_ends = "\n" in text[lead:]
        if not line_ends and choice.get("finish_reason") == "length":
            return None
        total, read, n_tokens = 0.0, "", 0
        for token, value in zip(tokens, values, strict=True):
            read += token
            total += float(value) if value is not None else 0.0
            if "\n" in read[lead:]:
                break
            n_tokens += 1
        return TacticCandidate(tactic, total, n_tokens)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        config = self.config
        pause = config.backoff_s
        last = ""
        for attempt in range(config.retries + 1):
            if not self._breaker.allow():
                raise ServerUnavailableError(
                    f"{config.url} failed {config.breaker_failures} times in a row and is left alone for "
                    f"{config.breaker_cooldown_s:.0f} s{f' (last: {last})' if last else ''}. Check that the server "
                    f"runs (curl {config.url}/models) and start the search again: it goes on where it stopped."
                )
            wait = pause * random.uniform(0.75, 1.25)
            try:
                answer = self._send(path, body)
            except HTTPError as error:
                detail = error.read(300).decode(errors="replace").strip()
                last = f"HTTP {error.code} {detail}"
                if error.code not in _RETRIED_STATUS:
                    self._breaker.succeeded()  # it is there, and does not like what it was asked
                    raise ServerPolicyError(f"{config.url}/{path} refused the request: {last}") from error
                wait = max(wait, _retry_after(error.headers.get("Retry-After")))
            except (URLError, HTTPException, TimeoutError, ConnectionError, json.JSONDecodeError) as error:
                last = f"{type(error).__name__}: {getattr(error, 'reason', error)}"
            else:
                self._breaker.succeeded()
                return answer
            self._breaker.failed()
            if attempt < config.retries:
                self._sleep(min(wait, 60.0))
                pause = min(pause * 2, 30.0)
        raise ServerUnavailableError(
            f"{config.url}/{path} did not answer in {config.retries + 1} tries (last: {last}). Check that the server "
            f"runs (curl {config.url}/models) and serves {config.model}."
        )

    def _send(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.config.api_key:
            headers["Authorization"] = f"Bearer {self.config.api_key}"
        request = Request(f"{self.config.url.rstrip('/')}/{path}", json.dumps(body).encode(), headers, method="POST")
        with urlopen(request, timeout=self.config.timeout_s) as response:
            answer = json.load(response)
        if not isinstance(answer, dict):
            raise ServerPolicyError(f"{self.config.url}/{path} answered {type(answer).__name__}, expected an object")
        return answer


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header; 0 where there is none or it is a date."""
    try:
        return max(0.0, float(value)) if value else 0.0
    except ValueError:
        return 0.0

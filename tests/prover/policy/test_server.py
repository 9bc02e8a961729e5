"""ServerPolicy against a stand-in endpoint on 127.0.0.1."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prover.policy import FingerprintedPolicy, HuggingFacePolicy, open_policy
from prover.policy.server import (
    CircuitBreaker,
    ServerConfig,
    ServerPolicy,
    ServerPolicyError,
    ServerUnavailableError,
)

STATE = "p q : Prop\nh : p ∧ q\n⊢ q"
Reply = tuple[int, Any]


class StandIn(ThreadingHTTPServer):
    """Answers with what `reply` makes of the request's body; keeps the bodies."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply: Callable[[dict[str, Any]], Reply] = lambda body: (200, answer(("  exact h.2", -1.0)))
        self.bodies: list[dict[str, Any]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.headers_seen.append(dict(self.headers))
            status, content = self.server.reply(body)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


def answer(*choices: tuple[str, float], finish: str = "stop") -> dict[str, Any]:
    """A completions answer: one token a word, the log-prob shared evenly."""
    made = []
    for text, log_prob in choices:
        tokens = [f" {word}" for word in text.split(" ") if word] if "\n" not in text else list(text)
        made.append(
            {
                "text": text,
                "finish_reason": finish,
                "logprobs": {"tokens": tokens, "token_logprobs": [log_prob / len(tokens)] * len(tokens)},
            }
        )
    return {"choices": made}


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        thread = threading.Thread(target=stand_in.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield stand_in
        stand_in.shutdown()


def make(server: StandIn, pauses: list[float] | None = None, **settings: Any) -> ServerPolicy:
    config = ServerConfig(model="prover-7b", url=server.url, timeout_s=5, **settings)
    return ServerPolicy(config, sleep=(pauses if pauses is not None else []).append)


def test_candidates_are_distinct_and_best_first(server: StandIn) -> None:
    choices = (("  exact h.2", -2.0), ("  exact h.2", -1.5), ("  constructor", -3.0), ("  -- hm", -0.1))
    server.reply = lambda body: (200, answer(*choices))
    candidates = make(server).generate([STATE, ""], 2)
    assert [(c.tactic, c.log_prob) for c in candidates[0]] == [
        ("exact h.2", pytest.approx(-1.5)),
        ("constructor", pytest.approx(-3.0)),
    ]
    assert candidates[1] == []


def test_the_request_is_what_was_configured(server: StandIn) -> None:
    policy = make(server, temperature=0.7, oversampling=3, api_key="secret")
    policy.generate([STATE, STATE], 4)
    assert len(server.bodies) == 1  # equal states are asked once
    body = server.bodies[0]
    assert body["prompt"] == policy.template.prompt(STATE)
    assert (body["model"], body["n"], body["temperature"], body["logprobs"]) == ("prover-7b", 12, 0.7, 1)
    assert server.headers_seen[0]["Authorization"] == "Bearer secret"
    policy.generate([STATE], 4)
    assert server.bodies[1]["seed"] == body["seed"]


def test_only_the_first_lines_tokens_count(server: StandIn) -> None:
    server.reply = lambda body: (200, answer(("  exact h\n  foo", -15.0)))
    candidate = make(server).generate([STATE], 1)[0][0]
    assert candidate.tactic == "exact h"
    assert candidate.n_tokens == 9
    assert candidate.log_prob == pytest.approx(-10.0)  # nine characters and the line's end, of 15


def test_a_tactic_cut_off_by_the_limit_is_dropped(server: StandIn) -> None:
    server.reply = lambda body: (200, answer(("  exact foo bar", -1.0), finish="length"))
    assert make(server).generate([STATE], 1) == [[]]


def test_passing_failures_are_retried_with_growing_pauses(server: StandIn) -> None:
    replies = [(503, b"busy"), (429, b"slow down"), (200, b"{half an ans"), (200, answer(("  exact h.2", -1.0)))]
    server.reply = lambda body: replies[len(server.bodies) - 1]
    pauses: list[float] = []
    assert make(server, pauses, backoff_s=1.0).generate([STATE], 1)[0][0].tactic == "exact h.2"
    assert len(pauses) == 3
    assert 0.75 <= pauses[0] <= 1.25
    assert pauses[1] == 7.0  # what Retry-After asks for
    assert 3.0 <= pauses[2] <= 5.0


def test_a_refused_request_is_not_retried(server: StandIn) -> None:
    server.reply = lambda body: (404, b'{"message": "The model prover-7b does not exist."}')
    with pytest.raises(ServerPolicyError, match="does not exist"):
        make(server).generate([STATE], 1)
    assert len(server.bodies) == 1


def test_a_dead_server_opens_the_breaker() -> None:
    config = ServerConfig(model="m", url="http://127.0.0.1:9/v1", retries=50, breaker_failures=4, parallel=1)
    policy = ServerPolicy(config, sleep=lambda s: None)
    with pytest.raises(ServerUnavailableError, match="failed 4 times in a row"):
        policy.generate([STATE], 1)
    with pytest.raises(ServerUnavailableError, match="left alone"):
        policy.generate([STATE], 1)


def test_all_tries_used_up(server: StandIn) -> None:
    server.reply = lambda body: (500, b"")
    with pytest.raises(ServerUnavailableError, match="3 tries"):
        make(server, retries=2).generate([STATE], 1)
    assert len(server.bodies) == 3


def test_breaker_lets_one_trial_through() -> None:
    now = [0.0]
    breaker = CircuitBreaker(2, 10.0, clock=lambda: now[0])
    breaker.failed()
    assert breaker.allow()
    breaker.failed()
    assert not breaker.allow()
    now[0] = 11.0
    assert breaker.allow()
    assert not breaker.allow()  # one trial at a time
    breaker.failed()
    assert not breaker.allow()
    now[0] = 22.0
    assert breaker.allow()
    breaker.succeeded()
    assert breaker.allow()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"error": "no"}, "without `choices`"),
        ([1, 2], "expected an object"),
        ({"choices": [{"text": "  exact h.2", "finish_reason": "stop"}]}, "no usable log-probabilities"),
    ],
)
def test_strange_answers_are_named(server: StandIn, content: Any, message: str) -> None:
    server.reply = lambda body: (200, content)
    with pytest.raises(ServerPolicyError, match=message):
        make(server).generate([STATE], 1)


def test_vectors_come_from_the_local_encoder(server: StandIn, policy: HuggingFacePolicy) -> None:
    typed: FingerprintedPolicy = ServerPolicy(ServerConfig(model="m", url=server.url), encoder=policy)
    np.testing.assert_array_equal(typed.encode_only([STATE]), policy.encode_only([STATE]))
    assert typed.encoder_fingerprint == policy.encoder_fingerprint
    with pytest.raises(ServerPolicyError, match="without an encoder"):
        make(server).encode_only([STATE])


@pytest.mark.parametrize("wrong", [{"url": "localhost:8000"}, {"parallel": 0}, {"temperature": 0}])
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ServerConfig(**{"model": "m", **wrong})


def test_open_policy_takes_an_address(server: StandIn, random_checkpoint: Path) -> None:
    opened = open_policy(f"{server.url}#prover-7b", encoder=random_checkpoint, pooling="mean", device="cpu")
    assert isinstance(opened, ServerPolicy)
    assert opened.config.model == "prover-7b"
    assert opened.encoding_width == 32
    assert [c.tactic for c in opened.generate([STATE], 1)[0]] == ["exact h.2"]
    assert isinstance(open_policy(random_checkpoint, device="cpu"), HuggingFacePolicy)
    with pytest.raises(ValueError, match="names no model"):
        open_policy(server.url)

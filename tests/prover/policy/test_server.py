"""ServerPolicy against a stand-in endpoint on 127.0.0.1."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in_server import StandIn, answer

from prover.policy import FingerprintedPolicy, HuggingFacePolicy, open_policy
from prover.policy.server import (
    ServerConfig,
    ServerPolicy,
    ServerPolicyError,
    ServerUnavailableError,
)

STATE = "p q : Prop\nh : p ∧ q\n⊢ q"


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        yield stand_in.start()
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
    server.reply = lambda body: (200, answer(*[("  exact h.2", -1.0)] * body["n"]))
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
    replies = [
        (503, b"busy"),
        (429, b"slow down", {"Retry-After": "7"}),
        (200, b"{half an ans"),
        (200, answer(("  exact h.2", -1.0))),
    ]
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


def test_a_dead_server_is_waited_for_and_then_given_up() -> None:
    pauses: list[float] = []
    config = ServerConfig(model="m", url="http://127.0.0.1:9/v1", wait_s=60, parallel=1)
    policy = ServerPolicy(config, sleep=pauses.append)
    with pytest.raises(ServerUnavailableError, match=r"cannot be reached after \d+ s of waiting.*--resume"):
        policy.generate([STATE], 1)
    assert 50 <= sum(pauses) <= 60
    assert max(pauses) <= 5  # it is back at work soon after the server is


def test_all_tries_used_up(server: StandIn) -> None:
    server.reply = lambda body: (500, b"")
    with pytest.raises(ServerUnavailableError, match="3 tries"):
        make(server, retries=2).generate([STATE], 1)
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"error": "no"}, "answered with an error: no"),
        ({"id": "x"}, "without `choices`"),
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


def test_open_policy_takes_an_address(
    server: StandIn, random_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVER_DATA", str(tmp_path))
    opened = open_policy(f"{server.url}#prover-7b", encoder=random_checkpoint, pooling="mean", device="cpu")
    assert isinstance(opened, ServerPolicy)
    assert opened.config.model == "prover-7b"
    assert opened.encoding_width == 32
    assert opened.template.name == "state-comment/1"
    assert [c.tactic for c in opened.generate([STATE], 1)[0]] == ["exact h.2"]
    assert (tmp_path / "server_probes.json").is_file()
    assert isinstance(open_policy(random_checkpoint, device="cpu"), HuggingFacePolicy)
    with pytest.raises(ValueError, match="names no model"):
        open_policy(server.url)
    with pytest.raises(ValueError, match="hidden vectors of its own"):
        open_policy(random_checkpoint, encoder=random_checkpoint)


def test_the_environment_names_the_policy_and_the_key(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVER_DATA", str(tmp_path))
    monkeypatch.setenv("PROVER_POLICY", f"{server.url}#deepseek-prover-v2-7b")
    monkeypatch.setenv("PROVER_API_KEY", "first")
    opened = open_policy()
    assert isinstance(opened, ServerPolicy)
    assert opened.template.name == "deepseek-prover-v2/1"
    assert server.headers_seen[-1]["Authorization"] == "Bearer first"
    monkeypatch.setenv("OTHER_KEY", "second")
    open_policy(api_key_env="OTHER_KEY")
    assert server.headers_seen[-1]["Authorization"] == "Bearer second"
    with pytest.raises(ValueError, match="NO_SUCH_KEY"):
        open_policy(api_key_env="NO_SUCH_KEY")
    monkeypatch.setenv("PROVER_API_KEY", "two\nlines")
    with pytest.raises(ValueError, match="PROVER_API_KEY") as caught:
        open_policy()
    assert "lines" not in str(caught.value)


def test_states_are_asked_from_several_threads_at_once(server: StandIn) -> None:
    policy = make(server)
    states = [f"h : p{i}\n⊢ p{i}" for i in range(40)]
    found: list[int] = []

    def ask() -> None:
        found.extend(len(some) for some in policy.generate(states, 1))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 160

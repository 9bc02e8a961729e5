"""What is asked of a server before a search, and what its fingerprint is made of."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in_server import StandIn, answer

from prover.policy.server import (
    PoolingEncoder,
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


def serve(server: StandIn, **model: Any) -> None:
    server.pages["/v1/models"] = (200, {"data": [{"id": "prover", **model}]})


def make(server: StandIn, **settings: Any) -> ServerPolicy:
    return ServerPolicy(ServerConfig(**{"model": "prover", "url": server.url} | settings))


class Tokenizer:
    """An encoder of the same model that counts words."""

    policy_id = "prover:0123456789ab"
    hidden_size = encoding_width = 4
    pooling = "mean/1"
    encoder_fingerprint = "e"

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        return np.ones((len(states), 4), dtype=np.float32)

    def token_ids(self, text: str, add_special_tokens: bool) -> list[int]:
        return [0] * (len(text.split()) + add_special_tokens)

    def token_text(self, ids: Sequence[int]) -> str:
        return {1: "  exact", 2: " h.2\n"}[ids[0]]


def test_name_context_and_root_are_learnt(server: StandIn) -> None:
    serve(server, max_model_len=4096, root="/models/DeepSeek-Prover-V2-7B", owned_by="vllm")
    policy = make(server)
    facts = policy.start(None, choose_template=True)
    assert (facts.context_length, facts.root, facts.owner) == (4096, "/models/DeepSeek-Prover-V2-7B", "vllm")
    assert policy.template.name == "deepseek-prover-v2/1"  # by the root, not by the name
    assert server.bodies[0]["return_tokens_as_token_ids"] is False
    assert server.bodies[0]["add_special_tokens"] is False


def test_a_wrong_name_is_said_at_start(server: StandIn) -> None:
    serve(server)
    with pytest.raises(ServerPolicyError, match=r"does not serve 'provr'.*; did you mean 'prover'"):
        make(server, model="provr").start()
    assert server.bodies == []


def test_nothing_there_is_said_at_start() -> None:
    policy = ServerPolicy(ServerConfig(model="m", url="http://127.0.0.1:9/v1"))
    with pytest.raises(ServerUnavailableError, match="Start the server first"):
        policy.start()


def test_a_missing_key_is_said_at_start(server: StandIn) -> None:
    server.pages["/v1/models"] = (401, {"error": "Unauthorized"})
    with pytest.raises(ServerPolicyError, match="PROVER_API_KEY"):
        make(server).start()


def test_a_server_without_log_probs_is_refused_at_start(server: StandIn) -> None:
    serve(server)
    server.reply = lambda body: (200, {"choices": [{"text": "  simp", "finish_reason": "stop"}]})
    with pytest.raises(ServerPolicyError, match="no usable log-probabilities"):
        make(server).start()


def test_a_server_that_lists_nothing_is_used_all_the_same(server: StandIn) -> None:
    facts = make(server).start()
    assert any("lists no models" in note for note in facts.notes)


def test_llama_cpp_says_how_many_completions_it_makes(server: StandIn) -> None:
    serve(server, owned_by="llamacpp", meta={"n_ctx": 8192, "n_params": 7})
    server.pages["/props"] = (200, {"total_slots": 3, "default_generation_settings": {"n_ctx": 2048}})
    policy = make(server)
    assert policy.start().context_length == 2048
    server.bodies.clear()
    server.reply = lambda body: (200, answer(*[(f"  t{body['seed']}{i}", -1.0) for i in range(body["n"])]))
    assert len(policy.generate([STATE], 4)[0]) == 4
    assert [body["n"] for body in server.bodies] == [3, 3]


def fingerprint(server: StandIn, book: Path | None, log_prob: float, text: str = "  exact h.2", **model: Any) -> str:
    serve(server, **model)
    server.reply = lambda body: (200, answer((text, log_prob)))
    policy = make(server)
    policy.start(book)
    return policy.fingerprint


def test_the_fingerprint_notices_other_weights_and_forgives_rounding(server: StandIn, tmp_path: Path) -> None:
    book = tmp_path / "probes.json"
    first = fingerprint(server, book, -1.005)
    assert fingerprint(server, book, -1.0049) == first  # .01 apart once rounded, and the same weights
    assert fingerprint(server, book, -1.0151) == first
    assert fingerprint(server, book, -1.4) != first  # trained again behind one name
    assert fingerprint(server, book, -1.005) == first
    assert fingerprint(server, book, -1.005, text="  simp") != first
    assert fingerprint(server, book, -1.005, root="/models/other") != first
    assert fingerprint(server, book, -1.005, max_model_len=64) != first
    assert fingerprint(server, None, -1.4) != fingerprint(server, None, -1.005)


def test_a_damaged_probe_file_is_made_anew(server: StandIn, tmp_path: Path) -> None:
    book = tmp_path / "probes.json"
    book.write_text('{"x": [{"digest"')
    assert fingerprint(server, book, -1.0) == fingerprint(server, book, -1.0)
    assert json.loads(book.read_text())


def tokens_reply(server: StandIn, extra: int) -> None:
    """The server makes one token a word, and `extra` of its own where the prompt begins with a special token."""

    def reply(body: dict[str, Any]) -> tuple[Any, ...]:
        count = len(body["prompt"].split()) + extra
        return 200, answer(*[("  exact h.2", -1.0)] * body["n"]) | {"usage": {"prompt_tokens": count}}

    server.reply = reply


def test_a_doubled_first_token_is_found_and_mended(server: StandIn) -> None:
    serve(server)
    bos = "<｜begin▁of▁sentence｜>"

    def reply(body: dict[str, Any]) -> tuple[Any, ...]:
        count = len(body["prompt"].split()) + (1 if body["prompt"].startswith(bos) else 0)
        return 200, answer(*[("  exact h.2", -1.0)] * body["n"]) | {"usage": {"prompt_tokens": count}}

    server.reply = reply
    policy = ServerPolicy(ServerConfig(model="prover", url=server.url), encoder=Tokenizer())
    policy.start()
    policy.generate([STATE], 1)
    assert not server.bodies[-1]["prompt"].startswith(bos)
    assert policy.template.prompt(STATE) == bos + server.bodies[-1]["prompt"]


def test_other_tokens_than_ours_are_warned_of(server: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    serve(server)
    tokens_reply(server, extra=5)
    ServerPolicy(ServerConfig(model="prover", url=server.url), encoder=Tokenizer()).start()
    assert "log-probs may be shifted" in caplog.text


def test_the_servers_own_tokenizer_will_do(server: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    serve(server)
    tokens_reply(server, extra=0)
    server.posts["/tokenize"] = lambda body: (200, {"tokens": [0] * (len(body["prompt"].split()) - 3)})
    make(server).start()
    assert "log-probs may be shifted" in caplog.text


def test_token_ids_are_read_with_the_local_tokenizer(server: StandIn) -> None:
    serve(server)
    ids = {"tokens": ["token_id:1", "token_id:2", "token_id:1"], "token_logprobs": [-0.2, -0.3, -9.0]}
    made = {"text": "  exact h.2\n  exact", "finish_reason": "stop", "logprobs": ids}

    def reply(body: dict[str, Any]) -> tuple[Any, ...]:
        return 200, {"choices": [made] * body["n"], "usage": {"prompt_tokens": len(body["prompt"].split())}}

    server.reply = reply
    policy = ServerPolicy(ServerConfig(model="prover", url=server.url), encoder=Tokenizer())
    policy.start()
    ((candidate,),) = policy.generate([STATE], 1)
    assert candidate.log_prob == pytest.approx(-0.5)


def pool(server: StandIn, drift: float = 0.0, width: int = 6) -> None:
    def reply(body: dict[str, Any]) -> tuple[Any, ...]:
        rows = []
        for index, text in enumerate(body["input"]):
            tokens = [
                [len(word) + column + drift * len(body["input"]) for column in range(width)] for word in text.split()
            ]
            rows.append({"index": index, "data": tokens})
        return 200, {"data": rows}

    server.posts["/pooling"] = reply


def test_a_pooling_server_is_an_encoder(server: StandIn) -> None:
    serve(server)
    pool(server)
    config = ServerConfig(model="prover", url=server.url, template="state-comment/1")
    mean, last = PoolingEncoder.open(config, "mean"), PoolingEncoder.open(config, "last")
    words = [len(word) for word in STATE.split()]
    np.testing.assert_allclose(mean.encode_only([STATE, "⊢ p"])[0], np.arange(6) + np.mean(words), rtol=1e-5)
    np.testing.assert_allclose(last.encode_only([STATE])[0], np.arange(6) + words[-1])
    assert mean.encoding_width == 6
    assert mean.encoder_fingerprint != last.encoder_fingerprint
    policy = ServerPolicy(config, encoder=mean)
    assert policy.encoder_fingerprint == mean.encoder_fingerprint


def test_a_pooling_server_whose_vectors_depend_on_the_batch_is_refused(server: StandIn) -> None:
    serve(server)
    pool(server, drift=5.0)
    with pytest.raises(ServerPolicyError, match="what else is in its batch"):
        PoolingEncoder.open(ServerConfig(model="prover", url=server.url), "mean")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"data": [{"data": [1.0, 2.0]}]}, "instead of one for each token"),
        ({"data": [{"data": [[float("nan"), 1.0]]}]}, "zeros or NaN"),
        ({"data": [{"data": [["x"]]}]}, "cannot be read"),
        ({"data": []}, "runner pooling"),
        ({}, "runner pooling"),
    ],
)
def test_vectors_that_cannot_be_used(server: StandIn, data: dict[str, Any], message: str) -> None:
    serve(server)
    server.posts["/pooling"] = lambda body: (200, data)
    with pytest.raises(ServerPolicyError, match=message):
        PoolingEncoder.open(ServerConfig(model="prover", url=server.url), "mean")


def test_a_pooling_server_has_the_last_layer_alone() -> None:
    with pytest.raises(ServerPolicyError, match="mean, last"):
        PoolingEncoder(ServerConfig(model="m"), "mean+max+early")

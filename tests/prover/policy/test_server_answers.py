"""Answers of many shapes, each from a real HTTP server: read, left out and counted, or refused in one sentence."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stand_in_server import StandIn, answer

from prover.policy.server import ServerConfig, ServerPolicy, ServerPolicyError

STATE = "p q : Prop\nh : p ∧ q\n⊢ q"
OTHER = "p q : Prop\nk : q\n⊢ q"
GOOD = answer(("  exact h.2", -1.0))


CASES = json.loads((Path(__file__).parents[2] / "data/server_cases/server_answers.json").read_text(encoding="utf-8"))


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        yield stand_in.start()
        stand_in.shutdown()


def make(server: StandIn, **settings: Any) -> ServerPolicy:
    config = ServerConfig(model="m", url=server.url, timeout_s=5, **settings)
    return ServerPolicy(config, sleep=lambda seconds: None)


def choice(text: str | None, tokens: list[Any] | None = None, values: list[Any] | None = None) -> dict[str, Any]:
    log_probs = None if tokens is None else {"tokens": tokens, "token_logprobs": values}
    return {"text": text, "finish_reason": "stop", "logprobs": log_probs}


def content(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"text": "  exact h.2\n", "finish_reason": "stop", "logprobs": {"content": list(entries)}}


@pytest.mark.parametrize(
    ("read", "log_prob", "n_tokens"),
    [
        (content({"id": 1, "token": "  exact h.2\n", "bytes": [], "logprob": -0.5, "top_logprobs": []}), -0.5, 0),
        (content({"token": "  exact", "logprob": -0.25}, {"token": " h.2\n", "logprob": -0.25}), -0.5, 1),
        (choice("  exact h.2\n", ["token_id:1", "token_id:2"], [-0.2, -0.3]), -0.5, 1),
        (choice("  exact h.2", [11, 12, 13], [-0.2, -0.2, -0.1]), -0.5, 2),
        (choice("  exact h.2\n", ["ĠĠexact", "Ġh.2", "Ċ"], [-0.2, -0.2, -0.1]), -0.5, 2),
        (choice("  exact h.2", ["▁▁exact", "▁h.2", "</s>"], [-0.2, -0.2, -0.1]), -0.5, 3),
        (choice("  exact h.2\nfoo", [" ", " exact h.2", "<0x0A>", "foo"], [-0.2, -0.2, -0.1, -9]), -0.5, 2),
        (choice("  exact h.2\n\u27e8", ["  exact h.2", "\n", "\ufffd", "\ufffd"], [-0.4, -0.1, -1, -1]), -0.5, 1),
        (choice("  exact h.2", ["bytes:\\x20\\x20", "exact h.2"], [-0.2, -0.3]), -0.5, 2),
        (
            content({"token": "", "bytes": list(b"  exact h.2"), "logprob": -0.5}, {"token": "\n", "logprob": 0}),
            -0.5,
            1,
        ),
        (choice("  exact h.2", ["  exact", " h.2"], [None, -0.5]), -0.5, 2),
        (
            {"text": "  exact h.2", "meta_info": {"output_token_logprobs": [[-0.2, 1, "  exact"], [-0.3, 2, " h.2"]]}},
            -0.5,
            2,
        ),
        (
            {
                "message": {"content": "  exact h.2"},
                "logprobs": {"content": [{"token": "  exact h.2", "logprob": -0.5}]},
            },
            -0.5,
            1,
        ),
    ],
)
def test_shapes_that_are_read(server: StandIn, read: dict[str, Any], log_prob: float, n_tokens: int) -> None:
    server.reply = lambda body: (200, {"choices": [read]})
    ((candidate,),) = make(server).generate([STATE], 1)
    assert candidate.tactic == "exact h.2"
    assert candidate.log_prob == pytest.approx(log_prob)
    assert candidate.n_tokens == n_tokens


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (choice(None), "no text"),
        ({"index": 0}, "no text"),
        (choice("  simp", ["  simp"], [float("-inf")]), "cannot be"),
        (choice("  simp", ["  simp"], [float("nan")]), "cannot be"),
        (choice("  simp", ["  simp"], [-9999.0]), "cannot be"),
        (choice("  simp", ["  simp"], [0.7]), "cannot be"),
        (choice("  simp", ["  simp"], ["-1"]), "no number"),
        (choice("  simp", ["  si", "mp"], [-1.0, None]), "no number"),
        (choice("  simp", ["  si", "mp"], [None, -1.0]), "first token"),
        (choice("  simp", ["  si", "mp"], [-1.0]), "without log-probs"),
        (choice("  simp", [["x"]], [-1.0]), "unknown form"),
        (choice("  simp\nfoo", ["token_id:1", "token_id:2"], [-1.0, -1.0]), "do not spell"),
        (choice("  simp\nfoo", ["quite", "another"], [-1.0, -1.0]), "do not spell"),
        (choice("  simp \ud800", ["  simp \ud800"], [-1.0]), "no Unicode"),
        (choice("  simp\0", ["  simp\0"], [-1.0]), "no Unicode"),
        (choice("  simp"), "no log-probs"),
        (choice("  -- words", ["  -- words"], [-1.0]), "no tactic"),
    ],
)
def test_a_choice_that_cannot_be_used_is_left_out_and_counted(
    server: StandIn, bad: dict[str, Any], reason: str
) -> None:
    server.reply = lambda body: (200, {"choices": [bad, *GOOD["choices"]]})
    policy = make(server)
    ((candidate,),) = policy.generate([STATE], 1)
    assert candidate.tactic == "exact h.2"
    ((counted, times),) = policy.answers.choices_left_out.items()
    assert reason in counted
    assert times == 1


def first_alone(case: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """Answers with the case for the state with `p ∧ q`, and with a good one for the other."""
    body = case["body"]
    if isinstance(body, str) and body.startswith("bytes: "):
        body = body.removeprefix("bytes: ").encode("latin-1").decode("unicode_escape").encode("latin-1")
    elif body == "JSON with -Infinity as a token_logprob":
        body = {"choices": [choice("  exact h.2", ["  exact", " h.2"], [-0.5, float("-inf")])]}
    return lambda asked: (case["status"], body, case["headers"]) if "p ∧ q" in asked["prompt"] else (200, GOOD)


READ: dict[
    str, tuple[list[float], Callable[[ServerPolicy], int] | None]
] = {  # name: (log-probs of the first state's candidates, what is counted)
    "context_too_long": ([], lambda policy: policy.counters.prompts_too_long),
    "text_null": ([], lambda policy: policy.answers.choices_left_out["no text"]),
    "infinite_logprob": ([], lambda policy: policy.answers.choices_left_out["a log-prob that cannot be"]),
    "llama_cpp_logprobs": ([-0.5], None),
    "token_ids": ([-0.5], None),
}
REFUSED = {"not_utf8": "not UTF-8", "error_in_200": "The model `x` does not exist", "key_needed": "PROVER_API_KEY"}


def test_the_file_of_cases_holds_no_others() -> None:
    assert sorted(case["name"] for case in CASES) == sorted([*READ, *REFUSED])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_cases_of_the_file(case: dict[str, Any], server: StandIn) -> None:
    server.reply = first_alone(case)
    policy = make(server)
    states = ["⊢ p ∧ q", OTHER]
    if case["name"] in REFUSED:
        with pytest.raises(ServerPolicyError, match=REFUSED[case["name"]]):
            policy.generate(states, 1)
        return
    log_probs, counted = READ[case["name"]]
    first, second = policy.generate(states, 1)
    assert [candidate.log_prob for candidate in first] == pytest.approx(log_probs)
    assert [candidate.tactic for candidate in first] == ["exact h.2"] * len(log_probs)
    assert [candidate.tactic for candidate in second] == ["exact h.2"]  # the search of all others goes on
    assert counted is None or counted(policy) >= 1


LONG = [
    (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested 5000",
        },
    ),
    (
        400,
        {"error": {"message": "the request exceeds the available context size", "type": "exceed_context_size_error"}},
    ),
    (400, {"error": {"message": "The input (5000 tokens) is longer than the model's context length (4096 tokens)."}}),
    (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000"}),
    (200, {"error": {"message": "prompt is too long: 5000 tokens > 4096 context window", "code": 400}}),
]


@pytest.mark.parametrize(("status", "words"), LONG)
def test_a_state_too_long_loses_itself_alone(server: StandIn, status: int, words: dict[str, Any]) -> None:
    server.reply = lambda body: (status, words) if "p ∧ q" in body["prompt"] else (200, GOOD)
    policy = make(server)
    bare = "⊢ p ∧ q"
    assert [[c.tactic for c in found] for found in policy.generate([bare, OTHER], 1)] == [[], ["exact h.2"]]
    assert policy.counters.prompts_too_long == 1


def test_a_prompt_too_long_is_shortened(server: StandIn) -> None:
    server.reply = lambda body: (*LONG[0],) if "p ∧ q" in body["prompt"] else (200, GOOD)
    policy = make(server)
    assert [c.tactic for c in policy.generate([STATE], 1)[0]] == ["exact h.2"]
    assert policy.counters.prompts_shortened == 1
    assert policy.counters.prompts_too_long == 0


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((200, b'{"choices":[{"text":"exact \xff"}]}'), "not UTF-8"),
        ((200, b"<html>"), "not JSON"),
        ((200, b"[" * 100_000), "not JSON"),
        ((200, b""), "not JSON"),
        ((200, {"object": "error", "message": "The model `x` does not exist.", "code": 404}), "The model `x` does not"),
        ((200, {"error": {"message": "CUDA error", "code": 500}}), "CUDA error"),
        ((200, {"choices": None}), "without `choices`"),
        ((200, {"choices": [choice("  simp")]}), "no usable log-probabilities"),
        ((401, {"error": "Unauthorized"}), "PROVER_API_KEY"),
        ((403, {"error": "Forbidden"}), "PROVER_API_KEY"),
        ((302, b"", {"Location": "http://127.0.0.1:1/"}), "redirected to http://127.0.0.1:1/"),
        ((200, b"x" * 2_000_000), "more than 1 MiB"),
    ],
)
def test_answers_that_end_the_search_say_what_they_were(server: StandIn, reply: Any, message: str) -> None:
    server.reply = lambda body: reply
    with pytest.raises(ServerPolicyError, match=message):
        make(server, max_answer_bytes=1 << 20).generate([STATE], 1)


def test_a_key_that_is_refused_is_not_repeated(server: StandIn) -> None:
    server.reply = lambda body: (401, {"error": "Unauthorized"})
    with pytest.raises(
        ServerPolicyError, match="does not accept the key that the environment variable PROVER"
    ) as caught:
        make(server, api_key="very-secret").generate([STATE], 1)
    assert "very-secret" not in str(caught.value)


def test_chunked_and_large_answers_are_read(server: StandIn) -> None:
    padded = GOOD | {"padding": "x" * 3_000_000}
    server.reply = lambda body: (200, json.dumps(GOOD).encode(), {"Transfer-Encoding": "chunked"})
    assert make(server).generate([STATE], 1)[0][0].tactic == "exact h.2"
    server.reply = lambda body: (200, padded)
    assert make(server).generate([STATE], 1)[0][0].tactic == "exact h.2"


def test_a_body_that_ends_early_is_asked_for_again(server: StandIn) -> None:
    cut = (200, json.dumps(GOOD).encode()[:40], {"Content-Length": "4000"})
    server.reply = lambda body: cut if len(server.bodies) == 1 else (200, GOOD)
    assert make(server).generate([STATE], 1)[0][0].tactic == "exact h.2"
    assert len(server.bodies) == 2


def test_a_server_that_drops_n_is_asked_until_there_are_enough(server: StandIn) -> None:
    tactics = ["exact h.2", "exact h.2", "constructor", "simp", "rfl"]
    server.reply = lambda body: (200, answer((f"  {tactics[len(server.bodies) % 5]}", -1.0)))
    found = make(server).generate([STATE], 3)[0]
    assert len({candidate.tactic for candidate in found}) == 3
    assert len({body["seed"] for body in server.bodies}) == len(server.bodies)  # or the same answer would come again


def test_a_server_that_has_no_more_to_say_is_left_alone(server: StandIn) -> None:
    policy = make(server, oversampling=2)
    server.reply = lambda body: (200, GOOD)
    assert len(policy.generate([STATE], 4)[0]) == 1
    assert len(server.bodies) == 8  # all samples, one at a time
    assert policy.answers.states_short_of_candidates == 1


def test_a_server_that_refuses_n_is_asked_for_one(server: StandIn) -> None:
    refusal = (400, {"error": {"message": "n_cmpl cannot be greater than the number of slots"}})
    server.reply = lambda body: refusal if body["n"] > 1 else (200, GOOD)
    policy = make(server)
    policy.generate([STATE], 2)
    assert [body["n"] for body in server.bodies][:3] == [4, 1, 1]


def test_options_that_a_server_does_not_know_are_left_out(server: StandIn) -> None:
    refusal = (400, {"detail": "Extra inputs are not permitted: add_special_tokens"})
    server.reply = lambda body: refusal if "add_special_tokens" in body else (200, GOOD)
    policy = make(server)
    assert policy.generate([STATE], 1)[0][0].tactic == "exact h.2"
    policy.generate([OTHER], 1)
    assert ["add_special_tokens" in body for body in server.bodies] == [True, False, False]

"""Replies of the REPL, judged: recorded ones, those of older and newer REPLs, and nonsense."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prover.environments.repl.reply import (
    Failed,
    Finished,
    Garbled,
    LimitReached,
    Loaded,
    OpenGoals,
    StateLost,
    classify_header,
    classify_reply,
    classify_root,
    needs_sequence_brackets,
)

DATA = Path(__file__).parents[3] / "data" / "lean_repl_recorded"
PAIRS = [json.loads(line) for line in (DATA / "pairs.jsonl").read_text("utf-8").splitlines()]
TACTIC_PAIRS = [pair for pair in PAIRS if "tactic" in pair["request"]]
VERDICTS = [json.loads(line) for line in (DATA / "verdicts.jsonl").read_text("utf-8").splitlines()]


def reply(goals=(), status="Incomplete: open goals remain", state=1, **rest):
    body = {"goals": list(goals), "proofState": state, **rest}
    return body if status is None else body | {"proofStatus": status}


def message(data, severity="error"):
    return {"severity": severity, "pos": {"line": 0, "column": 0}, "endPos": {"line": 0, "column": 0}, "data": data}


def test_recorded_tactic_replies_get_the_verdicts_read_off_them_by_hand():
    found = [
        {"test": pair["test"], "step": pair["step"], "verdict": type(classify_reply(pair["response"])).__name__}
        for pair in TACTIC_PAIRS
    ]
    assert len(found) == 53
    assert found == VERDICTS


def test_a_recorded_claim_is_completed_without_error_and_without_sorry():
    claims, empty = 0, 0
    for pair in TACTIC_PAIRS:
        answer = pair["response"]
        errors = [m for m in answer.get("messages", []) if m["severity"] == "error"]
        is_claim = answer.get("proofStatus") == "Completed" and not errors and not answer.get("sorries")
        assert isinstance(classify_reply(answer), Finished) == is_claim, pair
        claims += is_claim
        empty += answer.get("goals") == []
    assert (claims, empty) == (12, 19)  # seven empty goal lists are not proofs


def test_recorded_open_goals_keep_their_text_case_tags_and_daggers():
    pair = next(p for p in TACTIC_PAIRS if p["test"] == "test/Mathlib/test/induction" and p["step"] == 2)
    verdict = classify_reply(pair["response"])
    assert isinstance(verdict, OpenGoals)
    assert verdict.text == "case zero\n⊢ 0 = 0\n\ncase succ\nn✝ : ℕ\na✝ : n✝ = n✝\n⊢ n✝ + 1 = n✝ + 1"
    assert verdict.proof_state == 1


HOLE = {"proofState": 4, "goal": "⊢ q"}
FAILED = {
    "status says sorry": reply(status="Incomplete: contains sorry"),
    "holes in the term": reply(status="Incomplete: contains metavariable(s)"),
    "goal not assigned": reply(status="Error: Goal not assigned"),
    "kernel": reply(status="Error: kernel type check failed: (kernel) declaration has free variables"),
    "not verified": reply(status="Not verified: more than one initial goal"),
    "a status nobody documents": reply(status="completed"),
    "older REPL, no status": reply(status=None),
    "oldest REPL, empty lists spelled out": reply(status=None, messages=[]),
    "completed with error": reply(status="Completed", messages=[message("unsolved goals\n⊢ False")]),
    "completed, unknown severity": reply(status="Completed", messages=[message("?", "fatal")]),
    "completed with sorry": reply(status="Completed", sorries=[HOLE]),
    "old spelling of sorry": reply(status="Completed", sorries=[{"proofState": 4, "goals": "⊢ False"}]),
    "warning, old": reply(status="Completed", messages=[message("declaration uses 'sorry'", "warning")]),
    "warning, new": reply(status="Completed", messages=[message("declaration uses `sorry`", "warning")]),
    "warning of a fork": reply(status=None, messages=[message("Proof contains sorry", "warning")]),
    "recovered error, goals remain": reply(["⊢ p"], messages=[message("unknown identifier 'h'")]),
    "smuggled sorry, goals remain": reply(["⊢ p"], sorries=[HOLE]),
    "goals remain, status is an error": reply(["⊢ p"], status="Error: kernel type check failed: bad"),
    "error reply": {"message": "Lean error:\n<input>:1:1: unknown tactic"},
    "error reply with more beside it": {"message": "Lean error:\nno", "traces": [], "infotree": None},
    "kernel, quoted by the status": reply(status="Error: kernel type check failed", messages=[]),
    "sorry in the status of open goals": reply(["⊢ p"], status="Incomplete: contains sorry"),
    "completed is not completed": reply(status="Completed: but not quite"),
    "error reply of the oldest REPL": {"message": "type mismatch\n  h₀ x\nhas type"},
}


@pytest.mark.parametrize("answer", FAILED.values(), ids=FAILED.keys())
def test_what_is_neither_progress_nor_a_proof_is_a_failure_of_the_tactic(answer):
    assert isinstance(classify_reply(answer), Failed)


def test_failure_keeps_leans_words_without_the_repls_prefix():
    assert classify_reply({"message": "Lean error:\nsimp made no progress"}) == Failed("simp made no progress")
    both = reply(messages=[message("first"), message("note", "info"), message("second")])
    assert classify_reply(both) == Failed("first\nsecond")


@pytest.mark.parametrize(
    "answer",
    [
        reply(status="Completed", messages=[message("Try this:\n  [apply] exact Nat.one_pos", "info")]),
        reply(status="Completed", messages=[message("unused variable `h`", "warning")]),
        reply(status="Completed", traces=["[Meta.Tactic.simp.rewrite] eq_self:1000"], messages=None),
        reply(status="Completed", state=None),
        reply(status="Completed", messages=[], sorries=[], state=9) | {"infotree": [], "tactics": [], "time": 3},
    ],
)
def test_completed_with_only_remarks_is_a_claim(answer):
    assert classify_reply(answer) == Finished()


def test_open_goals_without_status_are_progress():
    """Old REPLs: what remains to be proved is safe to go on with; only the end needs the status."""
    assert classify_reply(reply(["⊢ p", "h : q\n⊢ r"], status=None, state=7)) == OpenGoals(("⊢ p", "h : q\n⊢ r"), 7)


@pytest.mark.parametrize(
    "answer",
    [
        {"message": "Lean error:\n(deterministic) timeout at `whnf`, maximum number of heartbeats (200000)"},
        {"message": "Lean error:\nmaximum recursion depth has been reached\nuse `set_option maxRecDepth <num>`"},
        {"message": "Operation timed out after 1ms"},
        reply(messages=[message("(deterministic) timeout at `isDefEq`, maximum number of heartbeats (200000)")]),
        reply(status="Error: kernel type check failed: (kernel) deterministic timeout"),
        reply(status="Error: kernel type check failed: (kernel) deep recursion detected"),
        reply(status="Error: kernel type check failed: (kernel) excessive memory consumption detected"),
    ],
)
def test_leans_own_limits_are_not_failures_of_the_tactic(answer):
    assert isinstance(classify_reply(answer), LimitReached)


@pytest.mark.parametrize("text", ["Unknown proof state.", "Unknown proof State.", "Unknown environment 5"])
def test_lost_state_is_not_a_failure_of_the_tactic(text):
    assert isinstance(classify_reply({"message": text}), StateLost)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "Completed",
        {},
        {"env": 3},
        {"message": 5},
        {"message": "Could not parse as a valid JSON command:\n..."},
        {"proofStatus": "Completed", "proofState": 1},
        reply("p", status="Completed") | {"goals": None},
        reply(["⊢ p"], status="Completed"),
        reply([3]),
        reply([""]),
        reply([" \n"]),
        reply(["⊢ p"], state=None),
        reply(["⊢ p"], state=True),
        reply(["⊢ p"], state=-1),
        reply(["⊢ p"], state="1"),
        reply(status=5),
        reply(status="Completed", messages="none"),
        reply(status="Completed", messages=["none"]),
        reply(status="Completed", sorries={"goal": "⊢ p"}),
        reply(status="Completed", message="Lean error:\nno"),
        reply(["⊢ p"], message="Unknown proof state."),
        reply(status="Completed", message={}),
    ],
)
def test_what_contradicts_the_protocol_is_garbled(answer):
    assert isinstance(classify_reply(answer), Garbled)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.sampled_from(["", "Completed", "⊢ p", "error", "sorry"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["goals", "proofStatus", "proofState", "messages", "sorries", "message", "severity", "data", "env"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_no_json_makes_a_classifier_raise_or_a_claim_out_of_anything_but_completed(answer):
    verdict = classify_reply(answer)
    classify_root(answer)
    classify_header(answer)
    if isinstance(verdict, Finished):
        assert answer["proofStatus"] == "Completed"
        assert answer["goals"] == []
        assert not answer.get("sorries")
        assert answer.get("message") is None
        assert all(m.get("severity") in ("info", "warning", "trace") for m in answer.get("messages") or [])
    if isinstance(verdict, OpenGoals):
        assert verdict.text.strip()


def test_recorded_statements_open_with_the_goal_of_their_sorry():
    opened = 0
    for pair in PAIRS:
        if pair["request"].get("cmd", "").endswith(":= by sorry") and "allTactics" not in pair["request"]:
            verdict = classify_root(pair["response"])
            if pair["request"].get("rootGoals"):
                assert isinstance(verdict, Failed)
                continue
            if pair["test"] == "test/unknown_environment":
                assert isinstance(verdict, StateLost)
                continue
            assert isinstance(verdict, OpenGoals), pair
            assert verdict.goals == (pair["response"]["sorries"][0]["goal"],)
            opened += 1
    assert opened == 24


def test_statements_that_do_not_elaborate_fail_with_leans_words():
    pair = next(p for p in PAIRS if p["test"] == "test/invalid_line_break" and p["step"] == 0)
    assert classify_root(pair["response"]) == Failed("Unknown identifier `bysorry`")
    two = next(p for p in PAIRS if p["test"] == "test/Mathlib/test/H20231115_2" and p["step"] == 1)
    assert isinstance(classify_root(two["response"]), Failed)
    assert isinstance(classify_root({"env": 0}), Failed)
    assert isinstance(classify_root({"sorries": [{"goal": "⊢ p"}], "env": 0}), Garbled)


def test_headers():
    assert classify_header({"env": 2}) == Loaded(2)
    assert classify_header({"message": "unknown module prefix 'Mathlib'"}) == Failed("unknown module prefix 'Mathlib'")
    assert classify_header({"env": 0, "messages": [message("unknown namespace `Reel`")]}) == Failed(
        "unknown namespace `Reel`"
    )
    assert isinstance(classify_header({"messages": []}), Garbled)
    assert isinstance(classify_header({"env": 0, "message": "unknown module prefix 'Mathlib'"}), Garbled)


def test_only_an_input_that_goes_on_after_a_whole_tactic_needs_brackets():
    assert needs_sequence_brackets(classify_reply({"message": "Lean error:\n<input>:1:9: expected end of input"}))
    assert not needs_sequence_brackets(classify_reply({"message": "Lean error:\n<input>:1:1: unknown tactic"}))
    assert not needs_sequence_brackets(Finished())

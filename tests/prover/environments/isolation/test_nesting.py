"""Depth of any kind is refused before Lean sees it, in linear time; what people write passes."""

import json
from pathlib import Path

import pytest

from prover.environments import ProofState, Rejected, StepRequest, TimedOut
from prover.environments.isolation.nesting import MAX_DEPTH, MAX_TACTIC_LENGTH, too_deep
from prover.environments.isolation.refusal import refuse_tactic
from prover.environments.script.environment import LeanScript
from prover.theorems import Theorem

PROOFS = Path(__file__).parents[2] / "theorem_set_proofs.jsonl"

DEEP = {
    "negations": lambda n: "exact " + "¬" * n + "p",
    "try": lambda n: "try " * n + "skip",
    "projections": lambda n: "exact h" + ".h" * n,
    "numbered projections": lambda n: "exact (h)" + ".1" * n,
    "by": lambda n: "exact by " * n + "skip",
    "by on lines": lambda n: "exact by\n" * n + "skip",
    "fun": lambda n: "exact " + "fun x => " * n + "h",
    "fun on lines": lambda n: "exact " + "fun x =>\n  " * n + "h",
    "fun in brackets": lambda n: "exact " + "(fun x => " * n + "h" + ")" * n,
    "quantifiers": lambda n: "have : " + "∀ x : p, " * n + "p := by skip",
    "have by": lambda n: "have : p := by " * n + "skip",
    "if": lambda n: "exact " + "if p then h else " * n + "h",
    "repeat": lambda n: "repeat " * n + "skip",
    "bullets": lambda n: "· " * n + "skip",
    "at signs": lambda n: "exact " + "@" * n + "h",
    "arrows": lambda n: "have : " + "p → " * n * 3 + "p := by skip",
    "conjunctions on lines": lambda n: "have : " + "p ∧\n  " * n * 3 + "p := by skip",
    "then": lambda n: "skip <;> " * n * 3 + "skip",
}


@pytest.mark.parametrize("kind", DEEP)
def test_each_kind_of_depth_has_a_limit(kind: str) -> None:
    assert too_deep(DEEP[kind](MAX_DEPTH // 4)) is None
    refused = refuse_tactic(DEEP[kind](MAX_DEPTH + 1))
    assert refused is not None
    assert "split it into several steps" in refused


def test_length_has_a_limit() -> None:
    assert too_deep("simp [" + ", ".join(["foo"] * 1000) + "]") is None
    assert "characters" in (too_deep("skip; " * (MAX_TACTIC_LENGTH // 6 + 1)) or "")


@pytest.mark.parametrize(
    "tactic",
    [
        "skip; " * 200 + "skip",
        "simp only [" + ", ".join(f"lemma_{i}.1.2" for i in range(300)) + "]",
        "\n".join(f"have h{i} : p := by\n  exact h" for i in range(200)),
        "\n".join("· intro x; exact fun y => by simpa using x" for _ in range(100)),
        "nlinarith [" + ", ".join(f"sq_nonneg (a - {i} * b)" for i in range(120)) + "]",
        "exact ⟨" + ", ".join("fun x => by simp" for _ in range(100)) + "⟩",
        "rcases h with " + " | ".join(f"⟨a{i}, b{i}⟩" for i in range(100)),
        "first " + "".join(f"| exact h{i} " for i in range(100)),
        "rw [show a - b = -(b - a) by ring] -- fun fun fun " + "fun " * 100,
        "calc a = b := by simp\n" + "\n".join("  _ = c := by rw [foo]" for _ in range(100)),
    ],
)
def test_many_steps_one_after_another_are_not_deep(tactic: str) -> None:
    assert too_deep(tactic) is None


def test_known_proofs_pass() -> None:
    proofs = [json.loads(line) for line in PROOFS.read_text("utf-8").splitlines()]
    texts = [
        text for proof in proofs for value in proof.values() for text in ([value] if isinstance(value, str) else value)
    ]
    assert len(texts) > 200
    assert [text for text in texts if too_deep(str(text))] == []


def test_the_wave_of_nine_strings_that_took_minutes(lean: LeanScript) -> None:
    """None of them reaches Lean, so none times out, and their neighbours keep their outcomes."""
    (root,) = lean.start([Theorem("t", "(p q : Prop) (h : p) : q → p")])
    assert isinstance(root, ProofState)
    hostile = [make(n) for make in DEEP.values() for n in (200, 400, 900)]
    before = lean.counts().get("tactics", 0)
    ((*outcomes, last),) = lean.step([StepRequest(root, (*hostile, "exact fun _ => h"))])
    assert lean.counts()["tactics"] <= before + 2  # the last one, tried and confirmed
    assert all(isinstance(outcome, Rejected) and outcome.refused for outcome in outcomes)
    assert not isinstance(last, Rejected | TimedOut)

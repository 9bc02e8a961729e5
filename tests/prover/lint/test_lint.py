"""What the lint finds, and the whitelist that a search reads back."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover.environments import ProofEnvironment, ProofState, Rejected, open_environment
from prover.lint import lint_theorems
from prover.lint.lean_checks import negation
from prover.lint.signature import canonical
from prover.lint.text_checks import count_sorries
from prover.lint.whitelist import WhitelistedEnvironment, WhitelistError, statement_hash, write_whitelist
from prover.theorems import Theorem


@pytest.fixture(scope="module")
def lean() -> Iterator[ProofEnvironment]:
    with open_environment("embedded", workers=1) as environment:
        yield environment


TEXT: list[tuple[str, set[tuple[str, str]]]] = [
    ("(p q : Prop) (h : p ∧ q) : q ∧ p", set()),
    ("(p q r : Prop) (h : p) : p ∨ q", {("unused-variable", "r")}),
    ("(p q r : Prop) (h : p) (hr : r) : p ∨ q", {("unused-hypothesis", "hr")}),
    ("(p q r : Prop) (h : p → q) (hr : q → r) (hp : p) : r", set()),  # joined through other hypotheses
    ("(p : Prop) (h : p) (hn : ¬ p) : False", set()),
    ("(x : Nat) : x / 0 = 0", {("division-by-zero", "`/ 0`")}),
    ("(x : ℝ) : x / 0.5 = 2 * x", set()),
    ("(n m : ℕ) : n - m ≤ n", {("natural-subtraction", "`n - m`")}),
    ("(n m : ℤ) : n - m ≤ n", set()),
    ("(n : ℕ) : (n : ℤ) - 1 < n", set()),
    ("(f : ℕ → ℕ) (h : ∀ n, f n = f (n - 1)) : f 1 = f 0", set()),
    ("(n : Nat) : ∀ n : Nat, n = n", {("unused-variable", "n"), ("shadowed", "n")}),
    ("(p p : Prop) (h : p) : p", {("shadowed", "p")}),
]


@pytest.mark.parametrize(("statement", "expected"), TEXT)
def test_checks_of_the_text(tmp_path: Path, statement: str, expected: set[tuple[str, str]]) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"name": "t", "statement": statement}), encoding="utf-8")
    report, verdicts = lint_theorems(path)
    found = {(finding.check, finding.detail) for finding in report.findings}
    assert found - {("unused-variable", "n")} == expected - {("unused-variable", "n")}
    assert verdicts == {}


def test_duplicates_are_the_same_up_to_renaming_under_one_header(tmp_path: Path) -> None:
    rows = [
        {"name": "a", "statement": "(p q : Prop) (h : p ∧ q) : ∃ x : Nat, x = x"},
        {"name": "b", "statement": "(a  b : Prop) (hab : a ∧ b) : ∃ y : Nat, y = y"},
        {"name": "c", "statement": "(p q : Prop) (h : q ∧ p) : ∃ x : Nat, x = x"},
        {"name": "d", "header": "open Nat", "statement": "(p q : Prop) (h : p ∧ q) : ∃ x : Nat, x = x"},
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    report, _ = lint_theorems(path)
    found = [(f.theorem, f.detail) for f in report.findings if f.check == "duplicate"]
    assert found == [("b", "of a")]
    assert canonical("(x : Nat) : x.succ = Nat.succ x") == canonical("(y : Nat) : y.succ = Nat.succ y")
    assert canonical("(x y : Nat) : x = y") != canonical("(x y : Nat) : y = x")


def test_two_sorries_and_what_cannot_be_read_are_findings(tmp_path: Path) -> None:
    answer = "abbrev s : Nat := sorry\n\ntheorem t : s = s := sorry -- sorry"
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"name": "ok", "statement": ": True"}) + "\n" + json.dumps({"name": "bad"}), "utf-8")
    report, _ = lint_theorems(path)
    assert [(f.line, f.check) for f in report.findings] == [(2, "unreadable")]
    assert count_sorries(answer) == 2


LEAN = [
    {"name": "fine", "statement": "(p q : Prop) (h : p ∧ q) : q ∧ p"},
    {"name": "contra", "statement": "(p q : Prop) (h : p) (hn : ¬ p) : q ∧ p"},
    {"name": "false", "statement": "(p : Prop) : p"},
    {"name": "wrong", "statement": ": 2 + 2 = 5"},
    {"name": "easy", "statement": "(n : Nat) : n + 0 = n"},
    {"name": "broken", "statement": "(n : Nat) : n + = n"},
]


@pytest.mark.long
def test_checks_by_lean_and_the_whitelist(tmp_path: Path, lean: ProofEnvironment) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in LEAN), encoding="utf-8")
    report, verdicts = lint_theorems(path, environment=lean)
    by_lean = {(f.theorem, f.check) for f in report.findings if f.check not in ("unused-hypothesis",)}
    assert ("contra", "contradictory") in by_lean
    assert ("false", "negation-provable") in by_lean
    assert ("wrong", "negation-provable") in by_lean
    assert ("easy", "trivial") in by_lean
    assert ("broken", "does-not-elaborate") in by_lean
    assert not any(name == "fine" for name, _ in by_lean)
    assert report.tactics == ["simp", "decide", "trivial"]  # the embedded Lean has no omega
    again, _ = lint_theorems(path, environment=lean)
    assert again.digest == report.digest
    assert lint_theorems(path)[0].digest != report.digest

    listed = tmp_path / "white.json"
    assert write_whitelist(listed, lean, verdicts) == len(LEAN)
    asked: list[str] = []
    known = WhitelistedEnvironment(_Counting(lean, asked), listed)
    theorems = [Theorem(row["name"], row["statement"]) for row in LEAN]
    answers = known.start(theorems)
    assert asked == ["fine", "contra", "false", "wrong", "easy"]  # the broken one cost nothing
    assert [type(answer) for answer in answers] == [ProofState] * 5 + [Rejected]
    assert "from the whitelist" in answers[-1].message  # type: ignore[union-attr]
    assert known.fingerprint == lean.fingerprint


class _Counting:
    """The environment behind it, noting which theorems it is asked to start."""

    def __init__(self, environment: ProofEnvironment, asked: list[str]) -> None:
        self._environment, self._asked = environment, asked
        self.name, self.fingerprint = environment.name, environment.fingerprint

    def start(self, theorems: list[Theorem]) -> list[object]:
        self._asked += [theorem.name for theorem in theorems]
        return list(self._environment.start(theorems))


def test_a_whitelist_is_of_one_lean_and_one_statement(tmp_path: Path, lean: ProofEnvironment) -> None:
    theorem = Theorem("a.t", ": True")
    assert statement_hash(theorem) != statement_hash(Theorem("t", ": True"))  # another namespace reads it differently
    assert statement_hash(theorem) != statement_hash(Theorem("a.t", ": True", header="open Nat"))
    assert statement_hash(theorem) == statement_hash(Theorem("a.u", ": True"))
    listed = tmp_path / "white.json"
    write_whitelist(listed, lean, {theorem: "no"})
    document = json.loads(listed.read_text("utf-8"))
    document["leans"]["another"] = document["leans"].pop(lean.fingerprint)
    listed.write_text(json.dumps(document), encoding="utf-8")
    assert WhitelistedEnvironment(lean, listed).known == 0
    for text in ("[", "{}", '{"schema": "whitelist/1", "leans": {"x": {"statements": {"a": 1}}}}', "[" * 100_000):
        listed.write_text(text, encoding="utf-8")
        with pytest.raises(WhitelistError, match=r"white\.json"):
            WhitelistedEnvironment(lean, listed)


def test_the_negation_of_a_signature() -> None:
    assert negation("(p : Prop) (h : p) : p ∧ p") == ": ¬ (∀ (p : Prop) (h : p), p ∧ p)"
    assert negation(": 1 = 2") == ": ¬ (1 = 2)"


def test_statements_made_from_states_are_announced_once() -> None:
    sample = Path(__file__).parents[2] / "data/theorem_layouts/lean-github.jsonl"
    report, _ = lint_theorems(sample)
    assert report.counts["from-states"] == 1
    own, _ = lint_theorems("textbook")
    assert "from-states" not in own.counts

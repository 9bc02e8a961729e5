"""The world of lists: every theorem has a script, `cases` and `induction` know lists, and no other set has them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover.environments import Complete, ProofClaim, ProofState, Rejected, StepRequest, open_environment
from prover.environments.script.embedded import imports_of, prelude_modules
from prover.environments.script.environment import LeanScript
from prover.theorems import BUILTIN_NAMES, Theorem, TheoremSet
from prover.worlds.canonical import canonical_statement, lemma_forms

LISTS = TheoremSet.load("lists")
SCRIPTS = {
    row["name"]: tuple(row["tactics"])
    for row in map(json.loads, (Path(__file__).parents[1] / "theorem_set_proofs.jsonl").read_text("utf-8").splitlines())
    if row["name"] in LISTS
}
HEADER = "import Prover.List.Reverse"


@pytest.fixture(scope="module")
def lean() -> Iterator[LeanScript]:
    with open_environment() as opened:
        assert isinstance(opened, LeanScript)
        yield opened


def state_of(lean: LeanScript, statement: str, header: str = HEADER) -> ProofState | Rejected:
    """The first state of a theorem, or why it has none."""
    (root,) = lean.start([Theorem("target", statement, header)])
    assert isinstance(root, ProofState | Rejected), root
    return root


def last(lean: LeanScript, theorem: Theorem, script: tuple[str, ...]) -> object:
    """What the last tactic of a script leads to."""
    ((outcome,),) = lean.step([StepRequest(ProofState(theorem, script[:-1], "⊢ a"), script[-1:])])
    return outcome


def test_each_script_ends_in_no_goals_at_its_last_tactic(lean: LeanScript) -> None:
    assert set(SCRIPTS) == set(LISTS.names)
    requests = [
        StepRequest(ProofState(theorem, SCRIPTS[theorem.name][:end], "⊢ a"), (SCRIPTS[theorem.name][end],))
        for theorem in LISTS
        for end in {len(SCRIPTS[theorem.name]) - 1, max(len(SCRIPTS[theorem.name]) - 2, 0)}
    ]
    outcomes = [outcome for (outcome,) in lean.step(requests)]
    ends = [len(r.state.tactics) == len(SCRIPTS[r.state.theorem.name]) - 1 for r in requests]
    assert [
        (r.state, o) for r, o, end in zip(requests, outcomes, ends, strict=True) if isinstance(o, Complete) != end
    ] == []


@pytest.mark.parametrize("one_in", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_scripts_are_certified_without_an_axiom(lean: LeanScript, one_in: int) -> None:
    certificates = lean.certify([ProofClaim(theorem, SCRIPTS[theorem.name]) for theorem in list(LISTS)[::one_in]])
    assert [(c.claim.theorem.name, c.reason, c.axioms) for c in certificates if not c.certified or c.axioms] == []


def test_the_difficulty_is_the_length_of_the_script() -> None:
    assert [(t.name, t.difficulty) for t in LISTS] == [(name, len(SCRIPTS[name])) for name in LISTS.names]
    assert len(LISTS) >= 40


def test_no_two_theorems_are_the_same_and_none_is_a_defining_equation() -> None:
    forms = [canonical_statement(theorem.statement) for theorem in LISTS]
    assert len(set(forms)) == len(forms)
    known = lemma_forms(prelude_modules()["Prover.List.Definitions"].read_text("utf-8"))
    assert len(known) >= 14
    assert not known & set(forms)


def test_states_print_as_lean_prints_lists(lean: LeanScript) -> None:
    root = state_of(lean, "(α : Type) (x y : α) (xs : List α) : [x, y] ++ List.reverse xs = x :: List.nil")
    assert isinstance(root, ProofState)
    assert root.text.endswith("⊢ [x, y] ++ xs.reverse = [x]")


@pytest.mark.parametrize(
    ("statement", "script"),
    [
        ("(α : Type) (x : α) (xs : List α) (h : [] = x :: xs) : False", ("cases h",)),
        ("(α : Type) (x : α) (xs : List α) (h : [] = x :: xs) : False", ("injection h",)),
        ("(α : Type) (x : α) (xs : List α) (h : x :: xs = []) : False", ("contradiction",)),
        ("(α : Type) (x : α) (xs : List α) (h : x :: xs = []) : False", ("nomatch h",)),
        ("(α : Type) (x y : α) (xs ys : List α) (h : x :: xs = y :: ys) : ys = xs", ("cases h", "rfl")),
        (
            "(α : Type) (x y : α) (xs ys : List α) (h : x :: xs = y :: ys) : y = x",
            ("injection h with a b", "exact a.symm"),
        ),
        ("(α : Type) (xs : List α) : xs = xs", ("rcases xs with _ | ⟨x, xs⟩", "rfl", "rfl")),
        (": List.length (List.map Nat.succ [1, 2]) = 2", ("rfl",)),
        (": List.take 1 (List.reverse [1, 2]) = [2]", ("rfl",)),
    ],
)
def test_cases_injection_and_contradiction_know_the_constructors(
    lean: LeanScript, statement: str, script: tuple[str, ...]
) -> None:
    theorem = Theorem("target", statement, HEADER)
    assert isinstance(last(lean, theorem, script), Complete)
    assert lean.certify([ProofClaim(theorem, script)])[0].certified


INDUCTION = "induction xs with | nil => ?_ | cons x xs ih => ?_"
FALSE = {
    "(α : Type) (xs ys : List α) : xs ++ ys = ys ++ xs": (
        "rfl",
        "exact List.append_nil xs",
        "rw [List.append_assoc]",
        "simp",
        "simp [List.append_assoc, List.append_nil]",
        "contradiction",
        "decide",
        "trivial",
        "cases xs <;> cases ys <;> rfl",
        "cases xs <;> cases ys <;> contradiction",
        "induction xs <;> simp_all",
        "exact congrArg List.reverse rfl",
        "injection (rfl : xs ++ ys = xs ++ ys)",
    ),
    "(α : Type) (x y : α) : [x, y] = [y, x]": ("rfl", "decide", "simp", "injection (rfl : [x] = [x])", "congr"),
    "(α : Type) (xs : List α) : List.reverse xs = xs": ("rfl", "cases xs <;> rfl", "induction xs <;> simp_all"),
    "(α : Type) (x : α) : [x] = []": ("rfl", "cases x", "simp", "decide", "nofun", "contradiction"),
    "(xs ys : List Nat) (h : List.length xs = List.length ys) : xs = ys": (
        "injection h",
        "cases h",
        "exact congrArg _ h",
        "cases xs <;> cases ys <;> first | rfl | contradiction",
    ),
}


@pytest.mark.parametrize("statement", FALSE)
def test_what_is_false_stays_unproved(lean: LeanScript, statement: str) -> None:
    root = state_of(lean, statement)
    assert isinstance(root, ProofState)
    (outcomes,) = lean.step([StepRequest(root, FALSE[statement])])
    assert [outcome for outcome in outcomes if isinstance(outcome, Complete)] == []
    claims = [ProofClaim(root.theorem, (tactic,)) for tactic in FALSE[statement][::2]]
    assert not any(certificate.certified for certificate in lean.certify(claims))


def test_a_proof_by_induction_needs_both_cases(lean: LeanScript) -> None:
    theorem = LISTS["Lists.append_nil"]
    (certificate,) = lean.certify([ProofClaim(theorem, (INDUCTION, "rfl"))])
    assert not certificate.certified
    (certificate,) = lean.certify([ProofClaim(theorem, ("induction xs with | nil => rfl",))])
    assert not certificate.certified


@pytest.mark.parametrize("header", ["", "import Prover", "import Prover.Nat.Order6", "import Prover.Nat"])
def test_theorems_of_other_sets_do_not_have_lists(lean: LeanScript, header: str) -> None:
    for statement in (
        "(α : Type) (xs : List α) : xs = xs",
        "(a : Nat) : [a] = [a]",
        "(a b : Nat) : a ++ b = a ++ b",
    ):
        assert isinstance(state_of(lean, statement, header), Rejected)
    root = state_of(lean, "(a : Nat) : a = a", header)
    assert isinstance(root, ProofState)
    words = (
        "have xs : List Nat := List.nil",
        "have h := List.append_nil (List.cons a List.nil)",
        "have h := @List.nil_append",
        "rw [List.map_cons]",
        "have h : [a] = [a] := rfl",
        "have h := Append.append a a",
    )
    (outcomes,) = lean.step([StepRequest(root, (*words, "rfl"))])
    assert [isinstance(outcome, Rejected) for outcome in outcomes] == [True] * len(words) + [False]
    claims = [ProofClaim(root.theorem, (word, "rfl")) for word in words[:2]]
    assert not any(certificate.certified for certificate in lean.certify(claims))


def test_no_header_of_another_set_opens_lists() -> None:
    lists = {module for module in prelude_modules() if module.startswith("Prover.List.")}
    assert len(lists) == 6
    for module in ("Prover", "Prover.Nat", "Prover.SimpNat"):
        assert not lists & imports_of(module)
    for name in set(BUILTIN_NAMES) - {"lists"}:
        assert not [theorem.name for theorem in TheoremSet.load(name) if "List" in theorem.header + theorem.statement]


def test_a_theorem_has_no_later_lemma(lean: LeanScript) -> None:
    for name, tactic in (
        ("append_nil", "exact List.append_nil xs"),
        ("append_assoc", "exact List.append_assoc xs ys zs"),
        ("length_append", "exact List.length_append xs ys"),
        ("map_append", "exact List.map_append f xs ys"),
        ("filter_append", "exact List.filter_append p xs ys"),
        ("reverse_append", "exact List.reverse_append xs ys"),
    ):
        theorem = LISTS[f"Lists.{name}"]
        assert isinstance(last(lean, theorem, (tactic,)), Rejected), name
        assert isinstance(last(lean, Theorem("later", theorem.statement, HEADER), (tactic,)), Complete), name

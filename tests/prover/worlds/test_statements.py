"""Terms, statements read back, canonical forms, and what statements say of small numbers."""

import json
import random
import re
from itertools import product

import pytest

from prover.theorems import BUILTIN_FOLDER
from prover.worlds.arithmetic import arithmetic_theorem
from prover.worlds.canonical import canonical_statement, lemma_forms
from prover.worlds.draft import Made
from prover.worlds.first_order import first_order_theorem
from prover.worlds.meaning import holds, plausible
from prover.worlds.parse import NotReadError, read_formula, read_signature
from prover.worlds.rules import ALL_RULES, prove_by_rewriting, rewrite
from prover.worlds.terms import Expr, evaluate, free_names


def drawn(make, seed: int, n: int) -> list[Made]:
    rng = random.Random(seed)
    found: list[Made] = []
    while len(found) < n:
        made = make(rng, 3 + int(rng.random() * 6))
        if made is not None:
            found.append(made)
    return found


@pytest.mark.parametrize("make", [first_order_theorem, arithmetic_theorem])
def test_statements_are_read_back_as_they_were_meant(make) -> None:
    for made in drawn(make, 3, 60):
        read = read_signature(made.statement)
        printed = str(made.goal).replace(" : Nat,", ",")
        assert str(read.goal).replace("Nat.succ", "succ") == printed.replace("Nat.succ", "succ")
        assert len(read.hypotheses) == len(made.hypotheses)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("(a b : Nat) : a + b = b + a", "(x : Nat) : ∀ y : Nat, y + x = x + y"),
        ("(a b : Nat) (h : a ≠ b) : Nat.succ a ≠ b + 1", "(c d : Nat) : ¬c = d → c + 1 ≠ Nat.succ d"),
        ("(a b : Nat) (h : a = b) (k : b = a) : a ≤ b", "(u v : Nat) (h : v = u) (k : u = v) : u ≤ v"),
        ("(α : Type) (P : α → Prop) (h : ∃ x, P x) : ∃ y, P y", "(β : Type) (Q : β → Prop) : (∃ z, Q z) → ∃ x, Q x"),
        ("(a : Nat) : a.succ = 1 + a", "(b : Nat) : b + 1 = 1 + b"),
        ("(α : Type) (x : α) (xs : List α) : [x] ++ xs = x :: xs", "(α : Type) (y : α) : ∀ l, y :: [] ++ l = y :: l"),
        (
            "(α : Type) (f : α → α) (xs : List α) : List.map (fun x => f x) xs = List.map f xs",
            "(α : Type) (g : α → α) (ys : List α) : List.map (fun z => g z) ys = List.map g ys",
        ),
    ],
)
def test_equal_up_to_names_is_one_form(one: str, other: str) -> None:
    assert canonical_statement(one) == canonical_statement(other.replace("β", "α"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("(a b : Nat) : a + b = b + a", "(a b : Nat) : a + b = a + b"),
        ("(a b : Nat) (h : a ≤ b) : b ≤ a", "(a b : Nat) (h : a ≤ b) : a ≤ b"),
        ("(a b : Nat) : a * b = a + b", "(a b : Nat) : a + b = a * b"),
        ("(α : Type) (R : α → α → Prop) : ∀ x, ∃ y, R x y", "(α : Type) (R : α → α → Prop) : ∀ x, ∃ y, R y x"),
        ("(α : Type) (R : α → α → Prop) (a b : α) : R a b", "(α : Type) (R : α → α → Prop) (a : α) : R a a"),
        ("(a : Nat) (h : a = 0) : False", "(a : Nat) : a = 0"),
        ("(n : Nat) : List.take n [] = []", "(n : Nat) : List.drop n [] = []"),
        ("(α : Type) (xs ys : List α) : xs ++ ys = ys", "(α : Type) (xs ys : List α) : ys ++ xs = ys"),
        ("(α : Type) (x : α) (xs : List α) : x :: xs = xs", "(α : Type) (x : α) (xs : List α) : [x] ++ xs = xs"),
    ],
)
def test_different_theorems_have_different_forms(one: str, other: str) -> None:
    assert canonical_statement(one) != canonical_statement(other)


def test_random_renamings_keep_the_form() -> None:
    rng = random.Random(1)
    for made in drawn(arithmetic_theorem, 4, 40):
        new = ["p", "q", "r", "s"]
        rng.shuffle(new)
        moved = made.statement
        for old, name in zip("abcd", new, strict=True):
            moved = re.sub(rf"(?<![\w.]){old}(?!\w)", name, moved)
        assert canonical_statement(moved) == canonical_statement(made.statement)


def test_what_is_not_of_these_worlds_is_not_read() -> None:
    for text in ("(a b : Nat : a = b", "(a : Nat) : a ^ 2 = a", "(f : Nat → Nat) : (f 0) 1 = 2", ""):
        with pytest.raises(NotReadError):
            read_signature(text)


def test_lemmas_of_the_prelude_are_found() -> None:
    source = (
        "@[simp] theorem foo (n m : Nat) : n + m = m + n := by\n  rfl\n\ntheorem bar (n : Nat) : n ^ 2 = n := sorry\n"
    )
    assert lemma_forms(source) == {canonical_statement("(a b : Nat) : a + b = b + a")}


def test_rules_are_true_of_small_numbers() -> None:
    for rule in ALL_RULES:
        names = sorted({*free_names(rule.left), *free_names(rule.right)})
        for at in product(range(4), repeat=len(names)):
            values = dict(zip(names, at, strict=True))
            assert evaluate(rule.left, values) == evaluate(rule.right, values), rule.name


def test_rw_takes_the_first_match_and_all_its_instances() -> None:
    by_name = {rule.name: rule for rule in ALL_RULES}
    assert str(rewrite(by_name["Nat.add_comm"], read_formula("c * (a + b) = a + b"))) == "c * (b + a) = b + a"
    assert rewrite(by_name["Nat.mul_comm"], read_formula("a + b = b")) is None
    assert prove_by_rewriting(read_formula("a + 0 + 0 = a"), ALL_RULES[:4]) == [
        "rw [Nat.add_zero]",
        "rw [Nat.add_zero]",
    ]


def test_generated_arithmetic_holds_for_small_numbers() -> None:
    """Independent of Lean: wherever the hypotheses hold, so does the goal (witnesses are looked for below 40)."""
    for made in drawn(arithmetic_theorem, 11, 80):
        names = sorted({name for f in (*made.hypotheses, made.goal) for name in free_names(f)})
        for at in product(range(2), repeat=len(names)):
            values = dict(zip(names, at, strict=True))
            if "∃" in str(made.goal) or any(f.bound for f in made.hypotheses):
                continue
            if all(holds(f, values) for f in made.hypotheses):
                assert holds(made.goal, values, 12), made.statement


def test_what_cannot_be_supposed_is_told() -> None:
    contradiction = Made("(a : Nat)", (read_formula("a + 1 = a"),), read_formula("a = 0"), ("exact h1",))
    fine = Made("(a : Nat)", (read_formula("a + a = a"),), read_formula("a = 0"), ("exact h1",))
    assert not plausible(contradiction)
    assert plausible(fine)
    assert isinstance(contradiction.goal, Expr)


@pytest.mark.long
def test_no_two_shipped_theorems_are_the_same_up_to_names() -> None:
    forms: dict[str, str] = {}
    for name in ("first_order", "arithmetic"):
        with (BUILTIN_FOLDER / f"{name}.jsonl").open(encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                form = canonical_statement(row["statement"])
                assert form not in forms, (row["name"], forms[form])
                forms[form] = row["name"]
    assert len(forms) == 2200
    for name in ("nng", "first_order_classic", "lists"):
        with (BUILTIN_FOLDER / f"{name}.jsonl").open(encoding="utf-8") as lines:
            assert not {canonical_statement(json.loads(line)["statement"]) for line in lines} & set(forms), name

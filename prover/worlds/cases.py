"""Goals about natural numbers that are proved by looking at cases, at a witness, or at what was supposed."""

from collections.abc import Callable

from prover.worlds.draft import Context, Draft, Unmade
from prover.worlds.terms import (
    AND,
    EQ,
    EX,
    FALSITY,
    LE,
    NE,
    NUMBER,
    OR,
    ZERO,
    Expr,
    add,
    binary,
    eq,
    implies,
    le,
    quantify,
    succ,
    var,
)

Proved = tuple[Expr, tuple[str, ...]]
"""A goal and its script."""
Term = Callable[[int], Expr]
"""Draws a term of about so many leaves."""


def _plain(term: Expr) -> str:
    return f"({term})" if term.args else str(term)


def _split(draft: Draft, name: str) -> tuple[str, str]:
    element = draft.element_name()
    return element, f"cases {name} with | zero => ?_ | succ {element} => ?_"


def zero_or_successor(draft: Draft, term: Term) -> Proved:
    """`n = 0 ∨ ∃ k, n = k + 1`."""
    name = draft.pick(draft.constants)
    element, split = _split(draft, name)
    some = quantify(EX, "x", eq(var(name), succ(var("x"))), NUMBER)
    zero = eq(var(name), ZERO)
    if draft.chance(0.5):
        return binary(OR, zero, some), (split, "left", "rfl", "right", f"refine ⟨{element}, ?_⟩", "rfl")
    return binary(OR, some, zero), (split, "right", "rfl", "left", f"refine ⟨{element}, ?_⟩", "rfl")


def nothing_added(draft: Draft, term: Term) -> Proved:
    """`t + n = 0` gives `n = 0`; `n ≤ 0` does too."""
    name = draft.pick(draft.constants)
    _, split = _split(draft, name)
    bound = draft.chance(0.4)
    supposed = le(var(name), ZERO) if bound else eq(add(term(1), var(name)), ZERO)
    fact = draft.suppose(supposed, Context())[0]
    end = f"cases {fact}" if draft.chance(0.7) else "contradiction"
    return eq(var(name), ZERO), (split, "rfl", end if not bound else f"cases {fact}")


def not_zero(draft: Draft, term: Term) -> Proved:
    """`n ≠ 0` gives a predecessor, or `1 ≤ n`."""
    name = draft.pick(draft.constants)
    element, split = _split(draft, name)
    fact = draft.suppose(binary(NE, var(name), ZERO), Context())[0]
    start = (split, "exfalso", f"apply {fact}", "rfl")
    if draft.chance(0.4):
        ending = ("apply Nat.succ_le_succ", f"exact Nat.zero_le {element}")
        return le(var("1") if draft.chance(0.5) else succ(ZERO), var(name)), (*start, *ending)
    some = quantify(EX, "x", eq(var(name), succ(var("x"))), NUMBER)
    return some, (*start, f"refine ⟨{element}, ?_⟩", "rfl")


def either(draft: Draft, term: Term) -> Proved:
    """From `A ∨ B`, with a supposed equation or order on each side, the same the other way round, or a common goal."""
    name = var(draft.pick(draft.constants))
    sides = [binary(EQ if draft.chance(0.7) else LE, name, term(1 + i)) for i in range(2)]
    if sides[0] == sides[1]:
        raise Unmade
    known = draft.suppose(binary(OR, *sides), Context())[0]
    facts = draft.fact_name(), draft.fact_name()
    split = f"rcases {known} with {facts[0]} | {facts[1]}"
    if draft.chance(0.5):
        goal = binary(OR, sides[1], sides[0])
        return goal, (split, "right", f"exact {facts[0]}", "left", f"exact {facts[1]}")
    goal = binary(EQ if draft.chance(0.5) else LE, term(2), term(2))
    if goal in sides or goal.args[0] == goal.args[1]:
        raise Unmade
    rules = [draft.suppose(implies(side, goal), Context())[0] for side in sides]
    script = [split]
    for rule, fact in zip(rules, facts, strict=True):
        script += [f"exact {rule} {fact}"] if draft.chance(0.5) else [f"apply {rule}", f"exact {fact}"]
    return goal, tuple(script)


def modus_ponens(draft: Draft, term: Term) -> Proved:
    """A conclusion of one or two supposed implications."""
    premise, goal = (binary(EQ if draft.chance(0.6) else LE, term(1 + draft.chance(0.5)), term(2)) for _ in range(2))
    if premise == goal:
        raise Unmade
    rule = draft.suppose(implies(premise, goal), Context())[0]
    fact = draft.suppose(premise, Context())[0]
    if draft.chance(0.5):
        return goal, (f"exact {rule} {fact}",)
    return goal, (f"apply {rule}", f"exact {fact}")


def against(draft: Draft, term: Term) -> Proved:
    """False, from an equation and its negation."""
    first, second = term(2), term(1)
    if first == second:
        raise Unmade
    names = draft.suppose(eq(first, second), Context())[0], draft.suppose(binary(NE, first, second), Context())[0]
    endings = (f"exact {names[1]} {names[0]}",), ("contradiction",), (f"apply {names[1]}", f"exact {names[0]}")
    return FALSITY, endings[int(draft.rng.random() * 3)]


def difference(draft: Draft, term: Term) -> Proved:
    """Order as the existence of a difference, one way or the other."""
    s, t = term(1 + draft.chance(0.5)), term(1)
    if s == t:
        raise Unmade
    element, fact = draft.element_name(), draft.fact_name()
    if draft.chance(0.5):
        known = draft.suppose(le(s, t), Context())[0]
        start = (f"obtain ⟨{element}, {fact}⟩ := Nat.exists_of_le {known}", f"refine ⟨{element}, ?_⟩")
        forms = (
            (eq(add(var("x"), s), t), ("rw [Nat.add_comm]", f"exact {fact}")),
            (eq(t, add(s, var("x"))), ("symm", f"exact {fact}")),
            (eq(t, add(var("x"), s)), ("rw [Nat.add_comm]", "symm", f"exact {fact}")),
            (eq(succ(t), succ(add(s, var("x")))), (f"rw [{fact}]",)),
        )
        body, ending = forms[int(draft.rng.random() * len(forms))]
        return quantify(EX, "x", body, NUMBER), (*start, *ending)
    forward = draft.chance(0.5)
    known = draft.suppose(
        quantify(EX, "x", eq(t, add(s, var("x")) if forward else add(var("x"), s)), NUMBER), Context()
    )[0]
    lemma = "Nat.le_add_right" if forward else "Nat.le_add_left"
    return le(s, t), (f"obtain ⟨{element}, {fact}⟩ := {known}", f"rw [{fact}]", f"exact {lemma} {_plain(s)} {element}")


def compared(draft: Draft, term: Term) -> Proved:
    """Either way round, of two numbers."""
    s, t = term(1), term(1 + draft.chance(0.5))
    if s == t:
        raise Unmade
    facts = draft.fact_name(), draft.fact_name()
    split = f"rcases Nat.le_total {_plain(s)} {_plain(t)} with {facts[0]} | {facts[1]}"
    if draft.chance(0.5):
        goal = binary(OR, *(quantify(EX, "x", eq(add(p, var("x")), q), NUMBER) for p, q in ((s, t), (t, s))))
        lemma = "Nat.exists_of_le"
        return goal, (split, "left", f"exact {lemma} {facts[0]}", "right", f"exact {lemma} {facts[1]}")
    goal = binary(OR, le(succ(s), succ(t)), le(succ(t), succ(s)))
    lemma = "Nat.succ_le_succ"
    return goal, (split, "left", f"exact {lemma} {facts[0]}", "right", f"exact {lemma} {facts[1]}")


def numerals(draft: Draft, term: Term) -> Proved:
    """A sum or product of numerals, by computing."""
    a, b = int(draft.rng.random() * 6), int(draft.rng.random() * 5)
    left = add(var(str(a)), var(str(b))) if draft.chance(0.6) else Expr("*", (var(str(a)), var(str(b))))
    value = a + b if left.head == "+" else a * b
    inner = draft.chance(0.4)
    right = var(str(value))
    if inner and 0 < value <= 4:
        right = ZERO
        for _ in range(value):
            right = succ(right)
    name = var(draft.pick(draft.constants))
    if draft.chance(0.5):
        return eq(add(name, left), add(name, right)), ("rfl",)
    both = binary(AND, eq(left, right), eq(name, add(name, ZERO)))
    return both, ("constructor", "rfl", "rfl")


SHAPES = (zero_or_successor, nothing_added, not_zero, either, modus_ponens, against, difference, compared, numerals)


def by_looking(draft: Draft, term: Term) -> Proved:
    """A goal of one of these shapes with its script; raises Unmade where the draw came to nothing."""
    return SHAPES[int(draft.rng.random() * len(SHAPES))](draft, term)

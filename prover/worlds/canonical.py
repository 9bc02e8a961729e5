"""A text per statement: equal for statements that differ only in names, so that sets share no theorem."""

import re
from collections.abc import Iterable
from itertools import permutations, product
from math import factorial, prod

from prover.worlds.parse import NotReadError, Signature, read_signature
from prover.worlds.terms import ADD, ALL, EQ, IMP, NE, SUCC, Expr, eq, free_names, negate, rename, succ, walk

_MOST_ORDERS = 5040


class TooSymmetricError(ValueError):
    """More ways to name a statement's variables than it pays to try."""


def canonical_statement(statement: str) -> str:
    """A text that two statements share exactly when they differ in nothing but

    the names of variables and hypotheses, the order and repetition of hypotheses, whether something is declared or
    supposed before the colon or behind ∀ and → of the goal, `Nat.succ n` or `n + 1`, `a ≠ b` or `¬a = b`.
    Raises NotReadError, TooSymmetricError.
    """
    return canonical_signature(read_signature(statement))


def canonical_signature(signature: Signature) -> str:
    """`canonical_statement` of what was read."""
    kinds = dict(signature.declared)
    hypotheses = [_normal(formula) for formula in signature.hypotheses]
    goal = _normal(signature.goal)
    taken = set(kinds)
    while goal.head in (ALL, IMP):
        if goal.head == IMP:
            hypotheses.append(goal.args[0])
            goal = goal.args[1]
            continue
        name = goal.bound
        while name in taken:
            name += "'"
        taken.add(name)
        kinds.setdefault(name, "")
        goal = rename(goal.args[0], {goal.bound: name})
    formulas = [_indexed(formula, 0) for formula in dict.fromkeys(hypotheses)]
    goal = _indexed(goal, 0)
    names = list(dict.fromkeys(name for formula in (*formulas, goal) for name in free_names(formula)))
    groups = _groups(names, kinds, formulas, goal)
    if prod(factorial(len(group)) for group in groups) > _MOST_ORDERS:
        raise TooSymmetricError("too many variables that play the same part")
    best = ""
    for choice in product(*(permutations(group) for group in groups)):
        order = {name: f"v{i}" for i, name in enumerate(name for group in choice for name in group)}
        text = ", ".join(sorted({str(rename(f, order)) for f in formulas})) + " ⊢ " + str(rename(goal, order))
        best = text if not best or text < best else best
    return best


def _groups(names: list[str], kinds: dict[str, str], formulas: list[Expr], goal: Expr) -> list[list[str]]:
    """Names that play the same part, as far as two rounds of looking at their formulas tell; in a fixed order."""
    arities = {e.head: len(e.args) for formula in (*formulas, goal) for e in walk(formula)}
    colours = {name: f"c{arities[name]}" for name in names}
    for _ in range(2):
        seen: dict[str, tuple[str, ...]] = {}
        for name in names:
            marked = {other: "X" if other == name else colours[other] for other in names}
            seen[name] = (str(rename(goal, marked)), *sorted(str(rename(f, marked)) for f in formulas))
        order = sorted(set(seen.values()))
        colours = {name: f"c{order.index(seen[name])}" for name in names}
    groups: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: int(colours[name][1:])):
        groups.setdefault(colours[name], []).append(name)
    return list(groups.values())


def _normal(e: Expr) -> Expr:
    """With `n + 1` as a successor and `≠` as a negated equation."""
    args = tuple(_normal(arg) for arg in e.args)
    if e.head == ADD and args[1] == Expr("1"):
        return succ(args[0])
    if e.head == NE:
        return negate(eq(*args))
    if e.head == EQ or e.head == SUCC or not e.bound:
        return Expr(e.head, args)
    return Expr(e.head, args, e.bound)


def _indexed(e: Expr, depth: int) -> Expr:
    """With bound variables numbered by how deep they are bound."""
    if e.bound:
        return Expr(e.head, (_indexed(rename(e.args[0], {e.bound: f"#{depth}"}), depth + 1),), f"#{depth}")
    return Expr(e.head, tuple(_indexed(arg, depth) for arg in e.args))


_LEMMA = re.compile(r"^(?:@\[[^\]]*\] )?theorem [\w.']+ ((?:.|\n)*?) :=", re.MULTILINE)


def lemma_forms(source: str) -> set[str]:
    """Canonical forms of the lemmas in a file of Lean text that are of these worlds; the others are passed over."""
    return known_forms(" ".join(statement.split()) for statement in _LEMMA.findall(source))


def known_forms(statements: Iterable[str]) -> set[str]:
    """Canonical forms of the statements that can be read."""
    forms = set()
    for statement in statements:
        try:
            forms.add(canonical_statement(statement))
        except (NotReadError, TooSymmetricError):
            continue
    return forms


__all__ = ["TooSymmetricError", "canonical_signature", "canonical_statement", "known_forms", "lemma_forms"]

"""Equations of the prelude as rewriting rules, and `rw` as Lean does it."""

from collections.abc import Iterator
from dataclasses import dataclass

from prover.worlds.terms import (
    ADD,
    FORMULAS,
    MUL,
    SUCC,
    ZERO,
    Expr,
    add,
    match,
    mul,
    replace,
    substitute,
    succ,
    var,
    walk,
)

_A, _B, _C = var("?a"), var("?b"), var("?c")
_ONE = var("1")


@dataclass(frozen=True, slots=True)
class Rule:
    """`name : ∀ holes, left = right`."""

    name: str
    left: Expr
    right: Expr
    holes: tuple[str, ...] = ()


def _rule(name: str, left: Expr, right: Expr) -> Rule:
    holes = sorted({e.head for side in (left, right) for e in walk(side) if e.head.startswith("?")})
    return Rule(f"Nat.{name}", left, right, tuple(holes))


DEFINITIONS = (
    _rule("add_zero", add(_A, ZERO), _A),
    _rule("add_succ", add(_A, succ(_B)), succ(add(_A, _B))),
    _rule("mul_zero", mul(_A, ZERO), ZERO),
    _rule("mul_succ", mul(_A, succ(_B)), add(mul(_A, _B), _A)),
)
FIRST_LEMMAS = (
    _rule("zero_add", add(ZERO, _A), _A),
    _rule("succ_add", add(succ(_A), _B), succ(add(_A, _B))),
    _rule("zero_mul", mul(ZERO, _A), ZERO),
    _rule("succ_mul", mul(succ(_A), _B), add(mul(_A, _B), _B)),
)
LAWS = (
    _rule("add_comm", add(_A, _B), add(_B, _A)),
    _rule("add_assoc", add(add(_A, _B), _C), add(_A, add(_B, _C))),
    _rule("add_left_comm", add(_A, add(_B, _C)), add(_B, add(_A, _C))),
    _rule("add_right_comm", add(add(_A, _B), _C), add(add(_A, _C), _B)),
    _rule("mul_comm", mul(_A, _B), mul(_B, _A)),
    _rule("mul_assoc", mul(mul(_A, _B), _C), mul(_A, mul(_B, _C))),
    _rule("mul_left_comm", mul(_A, mul(_B, _C)), mul(_B, mul(_A, _C))),
    _rule("mul_add", mul(_A, add(_B, _C)), add(mul(_A, _B), mul(_A, _C))),
    _rule("add_mul", mul(add(_A, _B), _C), add(mul(_A, _C), mul(_B, _C))),
    _rule("mul_one", mul(_A, _ONE), _A),
    _rule("one_mul", mul(_ONE, _A), _A),
)
ALL_RULES = DEFINITIONS + FIRST_LEMMAS + LAWS
"""The order of the holes is the order of each lemma's arguments."""


def turned(rule: Rule) -> Rule:
    """The rule from right to left."""
    return Rule(f"← {rule.name}", rule.right, rule.left, rule.holes)


def first_instance(rule: Rule, goal: Expr) -> dict[str, Expr] | None:
    """What the holes stand for in the first place of the goal where the rule applies; None where it does nowhere."""
    for e in walk(goal):
        found: dict[str, Expr] = {}
        if (e.head in (ADD, MUL, SUCC) or not rule.holes) and match(rule.left, e, frozenset(rule.holes), found):
            return found
    return None


def rewrite(rule: Rule, goal: Expr, values: dict[str, Expr] | None = None) -> Expr | None:
    """The goal after `rw [rule]`: all instances of the first match, or of the one that `values` give.

    None where the rule does not apply, or leaves holes open.
    """
    found = values if values is not None else first_instance(rule, goal)
    if found is None or len(found) < len(rule.holes):
        return None
    old, new = substitute(rule.left, found), substitute(rule.right, found)
    done = replace(goal, old, new)
    return None if done == goal else done


def written(rule: Rule, values: dict[str, Expr]) -> str:
    """The rule with its arguments, as `rw` takes it."""
    arguments = [f"({value})" if value.args else str(value) for value in (values[hole] for hole in rule.holes)]
    return " ".join([rule.name, *arguments])


def places(goal: Expr, side: Expr, holes: tuple[str, ...]) -> Iterator[dict[str, Expr]]:
    """What the holes stand for in each term of the goal that is an instance of `side`."""
    for e in walk(goal):
        if e.head in FORMULAS:
            continue
        found: dict[str, Expr] = {}
        if match(side, e, frozenset(holes), found):
            yield found


def prove_by_rewriting(goal: Expr, rules: tuple[Rule, ...], limit: int = 400, depth: int = 7) -> list[str] | None:
    """The shortest script of `rw`, without arguments, that makes both sides of an equation the same; None if not found.

    Breadth first; `limit` bounds the number of goals looked at.
    """
    if goal.args[0] == goal.args[1]:
        return ["rfl"]
    front: list[tuple[Expr, list[str]]] = [(goal, [])]
    seen = {goal}
    while front and len(seen) < limit:
        later: list[tuple[Expr, list[str]]] = []
        for at, script in front:
            for rule in rules:
                after = rewrite(rule, at)
                if after is None or after in seen or after.size > 40:
                    continue
                longer = [*script, f"rw [{rule.name}]"]
                if after.args[0] == after.args[1]:
                    return longer
                seen.add(after)
                if len(longer) < depth:
                    later.append((after, longer))
        front = later
    return None

"""Equations that hold for small numbers, proved by induction."""

from itertools import product

from prover.worlds.draft import Draft, Unmade
from prover.worlds.rules import DEFINITIONS, FIRST_LEMMAS, Rule, prove_by_rewriting, turned
from prover.worlds.terms import ZERO, Expr, add, eq, evaluate, free_names, mul, substitute, succ, var

_RULES = DEFINITIONS + FIRST_LEMMAS
_TERMS = 40
_DRAWS = 4
_GOALS = 120  # looked at in a search for a script


def _term(draft: Draft, size: int) -> Expr:
    if size <= 1:
        return ZERO if draft.chance(0.2) else var(draft.pick(draft.constants))
    if draft.chance(0.3):
        return succ(_term(draft, size - 1))
    left = 1 + int(draft.rng.random() * (size - 1))
    return (mul if draft.chance(0.25) else add)(_term(draft, left), _term(draft, size - left))


def _values(term: Expr, names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(evaluate(term, dict(zip(names, at, strict=True))) for at in product((0, 1, 2, 5), repeat=len(names)))


def by_induction(draft: Draft) -> tuple[Expr, list[str]]:
    """(equation, script); raises Unmade where no conjecture of this draw is proved."""
    for _ in range(_DRAWS):
        found = _conjecture(draft)
        if found is not None:
            return found
    raise Unmade


def _conjecture(draft: Draft) -> tuple[Expr, list[str]] | None:
    names = tuple(draft.constants[: 1 + int(draft.rng.random() * 3)])
    groups: dict[tuple[int, ...], list[Expr]] = {}
    for _ in range(_TERMS):
        term = _term(draft, 2 + int(draft.rng.random() * 4))
        if all(name in names for name in free_names(term)):
            groups.setdefault(_values(term, names), []).append(term)
    pairs = [(x, y) for same in groups.values() for i, x in enumerate(same) for y in same[:i] if x != y]
    draft.rng.shuffle(pairs)
    for left, right in pairs[:2]:
        goal = eq(left, right)
        for name in sorted(free_names(goal), reverse=True):
            script = _script(draft, goal, name)
            if script is not None:
                return goal, script
    return None


def _script(draft: Draft, goal: Expr, name: str) -> list[str] | None:
    """`induction` on one variable, then rewriting; None where that does not prove it, or would do without."""
    if prove_by_rewriting(goal, _RULES, limit=40) is not None:
        return None
    element, fact = draft.element_name(), draft.fact_name()
    base = prove_by_rewriting(substitute(goal, {name: ZERO}), _RULES, _GOALS)
    at = substitute(goal, {name: var(element)})
    known = Rule(fact, at.args[0], at.args[1])
    step = prove_by_rewriting(substitute(goal, {name: succ(var(element))}), (*_RULES, known, turned(known)), _GOALS)
    if base is None or step is None:
        return None
    return [f"induction {name} with | zero => ?_ | succ {element} {fact} => ?_", *base, *step]

"""The elementary tactics on propositional goals, as Lean performs them: states without Lean.

This follows Lean's own behaviour (order of goals, order and names of hypotheses) and is tested against the states that
Lean prints. Training data and tests use it; a search always asks Lean. Only the forms that `proofs` writes are known.
Anything else raises TacticError.
"""

import re
from collections.abc import Iterable, Sequence

from prover.logic.formulas import FALSE, Formula, Hypothesis, Imp, Sequent, print_state

_RCASES_AND = re.compile(r"rcases (\S+) with ⟨(\S+), (\S+)⟩")
_RCASES_OR = re.compile(r"rcases (\S+) with (\S+) \| (\S+)")
_HAVE = re.compile(r"have (\S+) := (\S+) (\S+)")
_WITH_NAME = re.compile(r"(intro|exact|apply|cases) (\S+)")


class TacticError(ValueError):
    """The tactic does not apply to the goal, or is not one of the forms known here."""


def fresh_names(used: Iterable[str], n: int) -> list[str]:
    """The first `n` of h1, h2, h3, ... that are not in `used`."""
    taken = set(used)
    names: list[str] = []
    i = 0
    while len(names) < n:
        i += 1
        if f"h{i}" not in taken:
            names.append(f"h{i}")
    return names


def apply_tactic(goals: Sequence[Sequent], tactic: str) -> tuple[Sequent, ...]:
    """The goals after a tactic on the first one. Raises TacticError."""
    if not goals:
        raise TacticError(f"no goal is left for `{tactic}`")
    return (*_run(goals[0], tactic), *goals[1:])


def trace(sequent: Sequent, script: Sequence[str]) -> list[tuple[str, str]]:
    """(state text before the tactic, tactic) for each tactic of a script. Raises TacticError unless it is a proof.

    The text is what Lean prints, less its `case` lines (see `prover.states.normalise`).
    """
    goals: tuple[Sequent, ...] = (sequent,)
    pairs: list[tuple[str, str]] = []
    for tactic in script:
        pairs.append((print_state(goals), tactic))
        goals = apply_tactic(goals, tactic)
    if goals:
        raise TacticError(f"{len(goals)} goals are left after the script")
    return pairs


def _run(goal: Sequent, tactic: str) -> list[Sequent]:
    target = goal.goal
    match tactic:
        case "assumption":
            return _close(any(_same(f, target) for f in goal.formulas), tactic)
        case "contradiction":
            return _close(_contradictory(goal.formulas), tactic)
        case "exfalso":
            return [_aim(goal, FALSE)]
        case "constructor" | "trivial":
            if target.op == "true":
                return []
            if tactic == "constructor" and target.op in ("and", "iff"):
                return [_aim(goal, part) for part in _conjuncts(target)]
        case "left" | "right" if target.op == "or":
            return [_aim(goal, target.parts[tactic == "right"])]
    if match := _WITH_NAME.fullmatch(tactic):
        verb, name = match.groups()
        if verb == "intro":
            antecedent, consequent = _arrow(target, tactic)
            return [_aim(_add(goal, [(name, antecedent)]), consequent)]
        formula = _find(goal, name)
        if verb == "exact":
            return _close(_same(formula, target), tactic)
        if verb == "cases":
            return _close(formula.op == "false", tactic)
        return [_aim(goal, premise) for premise in _premises(formula, target, tactic)]
    if match := _RCASES_AND.fullmatch(tactic):
        name, first, second = match.groups()
        formula = _find(goal, name)
        if formula.op not in ("and", "iff"):
            raise TacticError(f"`{tactic}`: `{formula}` is not a conjunction")
        return [_add(_remove(goal, name), list(zip((first, second), _conjuncts(formula), strict=True)))]
    if match := _RCASES_OR.fullmatch(tactic):
        name, first, second = match.groups()
        formula = _find(goal, name)
        if formula.op != "or":
            raise TacticError(f"`{tactic}`: `{formula}` is not a disjunction")
        rest = _remove(goal, name)
        return [_add(rest, [(new, part)]) for new, part in zip((first, second), formula.parts, strict=True)]
    if match := _HAVE.fullmatch(tactic):
        new, function, argument = match.groups()
        antecedent, consequent = _arrow(_find(goal, function), tactic)
        extended = _add(goal, [(new, consequent)])
        if argument == "?_":
            return [extended, _aim(goal, antecedent)]
        if not _same(_find(goal, argument), antecedent):
            raise TacticError(f"`{tactic}`: `{argument}` is not a proof of `{antecedent}`")
        return [extended]
    raise TacticError(f"`{tactic}` does not apply to `⊢ {target}`")


def _close(closes: bool, tactic: str) -> list[Sequent]:
    if not closes:
        raise TacticError(f"`{tactic}` does not close the goal")
    return []


def _aim(goal: Sequent, target: Formula) -> Sequent:
    return Sequent(goal.hypotheses, target, goal.variables)


def _add(goal: Sequent, new: list[tuple[str, Formula]]) -> Sequent:
    """The goal with further hypotheses; one whose name is taken again becomes inaccessible, as Lean marks it."""
    names = {name for name, _ in new}
    old = tuple(Hypothesis(h.name + "✝", h.formula) if h.name in names else h for h in goal.hypotheses)
    return Sequent(old + tuple(Hypothesis(name, f) for name, f in new), goal.goal, goal.variables)


def _remove(goal: Sequent, name: str) -> Sequent:
    return Sequent(tuple(h for h in goal.hypotheses if h.name != name), goal.goal, goal.variables)


def _find(goal: Sequent, name: str) -> Formula:
    for hypothesis in goal.hypotheses:
        if hypothesis.name == name and "✝" not in name:
            return hypothesis.formula
    raise TacticError(f"no hypothesis is named `{name}`")


def _conjuncts(formula: Formula) -> tuple[Formula, Formula]:
    left, right = formula.parts
    return (left, right) if formula.op == "and" else (Imp(left, right), Imp(right, left))


def _arrow(formula: Formula, tactic: str) -> tuple[Formula, Formula]:
    if formula.op == "not":
        return formula.negated, FALSE
    if formula.op != "imp":
        raise TacticError(f"`{tactic}`: `{formula}` is not an implication")
    return formula.parts


def _same(a: Formula, b: Formula) -> bool:
    """Equal when every `¬x` is unfolded to `x → False`, which is what Lean compares."""
    return a == b or _unfold(a) == _unfold(b)


def _unfold(formula: Formula) -> Formula:
    if formula.op == "not":
        return Imp(_unfold(formula.negated), FALSE)
    if formula.left is None or formula.right is None:
        return formula
    return Formula(formula.op, _unfold(formula.left), _unfold(formula.right))


def _contradictory(formulas: Sequence[Formula]) -> bool:
    if FALSE in formulas:
        return True
    negated = [f.negated if f.op == "not" else f.parts[0] for f in formulas if _is_negation(f)]
    return any(_same(a, b) for a in negated for b in formulas)


def _is_negation(formula: Formula) -> bool:
    return formula.op == "not" or (formula.op == "imp" and formula.parts[1] == FALSE)


def _premises(formula: Formula, target: Formula, tactic: str) -> list[Formula]:
    """The antecedents that `apply` leaves: as many as it takes until the conclusion is the target."""
    premises: list[Formula] = []
    conclusion = formula
    while not _same(conclusion, target):
        try:
            antecedent, conclusion = _arrow(conclusion, tactic)
        except TacticError:
            raise TacticError(f"`{tactic}`: `{formula}` does not conclude `{target}`") from None
        premises.append(antecedent)
    return premises

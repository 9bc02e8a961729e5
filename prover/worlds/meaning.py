"""What statements of arithmetic say of small numbers: a sanity check that needs no Lean."""

from itertools import product

from prover.worlds.draft import Made
from prover.worlds.terms import ALL, AND, EQ, EX, FALSE, IFF, IMP, LE, LT, NE, NOT, OR, Expr, evaluate, free_names

_NUMBERS = range(4)
_AGAINST = ("succ_ne_zero", "not_succ_le", "cases ", "contradiction", "exfalso")


def holds(formula: Expr, values: dict[str, int], bound: int = 4) -> bool:
    """Whether a formula holds; quantifiers range over the numbers below `bound`."""
    head, args = formula.head, formula.args
    if head in (ALL, EX):
        each = (holds(args[0], {**values, formula.bound: n}, bound) for n in range(bound))
        return all(each) if head == ALL else any(each)
    if head in (EQ, NE, LE, LT):
        left, right = evaluate(args[0], values), evaluate(args[1], values)
        return {EQ: left == right, NE: left != right, LE: left <= right, LT: left < right}[head]
    if head == FALSE:
        return False
    if head == NOT:
        return not holds(args[0], values, bound)
    first, second = (holds(arg, values, bound) for arg in args)
    return {AND: first and second, OR: first or second, IMP: not first or second, IFF: first == second}[head]


def _antecedents(made: Made) -> list[Expr]:
    found, goal = list(made.hypotheses), made.goal
    while goal.head == IMP:
        found.append(goal.args[0])
        goal = goal.args[1]
    return found


def plausible(made: Made) -> bool:
    """Whether what is supposed can be, for some small numbers; or the proof is by showing that it cannot."""
    supposed = _antecedents(made)
    if not supposed or any(word in tactic for tactic in made.script for word in _AGAINST):
        return True
    names = sorted({name for formula in supposed for name in free_names(formula)})
    return any(
        all(holds(formula, dict(zip(names, at, strict=True))) for formula in supposed)
        for at in product(_NUMBERS, repeat=len(names))
    )

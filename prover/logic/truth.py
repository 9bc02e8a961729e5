"""Truth tables: classical validity of sequents over few propositions, as bit arithmetic."""

from prover.logic.formulas import Formula, Sequent

MAX_PROPOSITIONS = 12
"""A table has 2^n rows; more propositions than this are refused."""


def is_tautology(sequent: Sequent) -> bool:
    """Whether every truth assignment that makes all hypotheses true makes the goal true.

    Necessary for provability with elementary tactics, not sufficient: `p ∨ ¬p` is a tautology. Raises ValueError for
    more than MAX_PROPOSITIONS propositions.
    """
    return not refuting_rows(sequent)


def refuting_rows(sequent: Sequent) -> int:
    """The rows of the truth table, as bits, in which the hypotheses are true and the goal is false."""
    names = sorted({name for f in (*sequent.formulas, sequent.goal) for name in f.variables()})
    if len(names) > MAX_PROPOSITIONS:
        raise ValueError(f"{len(names)} propositions: a truth table takes at most {MAX_PROPOSITIONS}")
    rows = 1 << len(names)
    full = (1 << rows) - 1
    columns = {name: full // ((1 << (1 << i)) + 1) for i, name in enumerate(names)}
    remaining = full & ~_column(sequent.goal, columns, full)
    for formula in sequent.formulas:
        if not remaining:
            break
        remaining &= _column(formula, columns, full)
    return remaining


def _column(formula: Formula, columns: dict[str, int], full: int) -> int:
    match formula.op:
        case "var":
            return columns[formula.name]
        case "true":
            return full
        case "false":
            return 0
        case "not":
            return full & ~_column(formula.negated, columns, full)
    left, right = (_column(part, columns, full) for part in formula.parts)
    match formula.op:
        case "and":
            return left & right
        case "or":
            return left | right
        case "imp":
            return full & ~left | right
    return full & ~(left ^ right)

"""Formulas as small integers and sets of formulas as bit masks: the workspace of the decision procedure and the prover.

In an arena `¬A` and `A → False` are the same formula, because Lean unfolds `¬` where a tactic needs it. An equivalence
has its two implications as parts, so it behaves like a conjunction; `constructor` and `rcases` treat it as one. An
implication or negation has its antecedent and its consequent as parts.
"""

from prover.logic.formulas import Formula

ATOM, TRUE, FALSE, CONJUNCTION, DISJUNCTION, IMPLICATION = range(6)

TRUE_ID = 0
FALSE_ID = 1


class Arena:
    """Interned formulas of one problem. Formula `i` is bit `1 << i` of a mask."""

    def __init__(self) -> None:
        self.kind: list[int] = [TRUE, FALSE]
        self.left: list[int] = [-1, -1]
        self.right: list[int] = [-1, -1]
        self.conjunctions = 0
        self.disjunctions = 0
        self.implications = 0
        self._ids: dict[tuple[object, ...], int] = {}
        self._by_formula: dict[Formula, int] = {}

    def add(self, formula: Formula) -> int:
        """The number of a formula, new or known."""
        number = self._by_formula.get(formula)
        if number is None:
            number = self._add(formula)
            self._by_formula[formula] = number
        return number

    def _add(self, formula: Formula) -> int:
        match formula.op:
            case "true":
                return TRUE_ID
            case "false":
                return FALSE_ID
            case "var":
                return self._intern((ATOM, formula.name), ATOM, -1, -1)
            case "not":
                return self.implication(self.add(formula.negated), FALSE_ID)
        left, right = (self.add(part) for part in formula.parts)
        match formula.op:
            case "and":
                return self._intern((CONJUNCTION, left, right), CONJUNCTION, left, right)
            case "or":
                return self._intern((DISJUNCTION, left, right), DISJUNCTION, left, right)
            case "imp":
                return self.implication(left, right)
            case "iff":
                forward, backward = self.implication(left, right), self.implication(right, left)
                return self._intern(("iff", left, right), CONJUNCTION, forward, backward)
        raise AssertionError(f"no such operator: {formula.op!r}")

    def implication(self, left: int, right: int) -> int:
        """The number of `left → right`."""
        return self._intern((IMPLICATION, left, right), IMPLICATION, left, right)

    def _intern(self, key: tuple[object, ...], kind: int, left: int, right: int) -> int:
        number = self._ids.get(key)
        if number is None:
            number = len(self.kind)
            self._ids[key] = number
            self.kind.append(kind)
            self.left.append(left)
            self.right.append(right)
            if kind == CONJUNCTION:
                self.conjunctions |= 1 << number
            elif kind == DISJUNCTION:
                self.disjunctions |= 1 << number
            elif kind == IMPLICATION:
                self.implications |= 1 << number
        return number


def bits(mask: int) -> list[int]:
    """The numbers in a mask, smallest first."""
    numbers = []
    while mask:
        lowest = mask & -mask
        numbers.append(lowest.bit_length() - 1)
        mask ^= lowest
    return numbers

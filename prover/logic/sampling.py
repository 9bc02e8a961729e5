"""Random propositional sequents.

Nearly all draws are thrown away. So a draw is kept as nested tuples with its truth table, and becomes a `Formula` only
if it looks worth keeping.
"""

import random
from dataclasses import dataclass

from prover.logic.formulas import FALSE, TRUE, Formula, Hypothesis, Operator, Sequent, Var, rename

VARIABLES = ("p", "q", "r", "s", "t")


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """What statements look like. Weights need not sum to one."""

    min_steps: int = 6
    """Fewest elementary tactic steps of the shortest script."""
    max_steps: int = 16
    """Most elementary tactic steps of the shortest script."""
    min_variables: int = 3
    """Fewest propositions that a statement may use."""
    max_variables: int = 5
    """Most propositions that a statement may use, at most 5."""
    min_leaves: int = 5
    """Fewest occurrences of propositions in a statement."""
    max_leaves: int = 12
    """Most occurrences of propositions in a statement."""
    max_hypotheses: int = 4
    """Most hypotheses drawn; some statements have them as antecedents of the goal instead."""
    closed_share: float = 0.4
    """Share of statements whose hypotheses become antecedents of the goal."""
    conjoined_share: float = 0.25
    """Share of those whose antecedents are joined into one conjunction."""
    negation: float = 0.2
    """Chance that a formula of two or more leaves is negated; a single leaf is negated half as often."""
    constant: float = 0.02
    """Chance that a leaf is `True` or `False`."""
    connectives: tuple[tuple[Operator, float], ...] = (("imp", 0.40), ("and", 0.22), ("or", 0.30), ("iff", 0.08))
    """Weights of the binary connectives."""
    max_waste: int = 1
    """Most parts of a statement that could be anything without harm; they are what a proof must see past."""
    plain_share: float = 0.25
    """Chance to keep a theorem whose script only takes apart, picks sides and closes; without this most would."""
    node_limit: int = 4_000
    """Bound on the search for a shortest script; a statement that hits it is dropped."""

    def __post_init__(self) -> None:
        for low, high in (("min_steps", "max_steps"), ("min_variables", "max_variables"), ("min_leaves", "max_leaves")):
            if not 1 <= getattr(self, low) <= getattr(self, high):
                raise ValueError(
                    f"{low} = {getattr(self, low)} and {high} = {getattr(self, high)}: expected 1 <= {low} <= {high}"
                )
        if self.max_variables > len(VARIABLES):
            raise ValueError(f"max_variables = {self.max_variables}: expected at most {len(VARIABLES)}")


# A drawn formula: the rows of the truth table over VARIABLES in which it is true, and its shape.
_Shape = tuple[Operator] | tuple[Operator, "_Shape"] | tuple[Operator, "_Shape", "_Shape"] | str
_Draw = tuple[int, _Shape]

_ROWS = 1 << len(VARIABLES)
_ALL = (1 << _ROWS) - 1
_LEAVES: dict[str, _Draw] = {name: (_ALL // ((1 << (1 << i)) + 1), name) for i, name in enumerate(VARIABLES)}
_TRUE: _Draw = (_ALL, ("true",))
_FALSE: _Draw = (0, ("false",))


class Sampler:
    """Random sequents; all randomness comes from one `random.Random`, through `random()` alone."""

    def __init__(self, rng: random.Random, config: GeneratorConfig) -> None:
        self.rng = rng
        self.config = config
        self.total_weight = sum(weight for _, weight in config.connectives)

    def sequent(self) -> Sequent:
        """A random statement, provable or not, whose propositions are not declared yet (see `tidy`)."""
        hypotheses, goal = self._draw()
        return _build(hypotheses, goal)

    def promising(self) -> Sequent | None:
        """The next statement if a truth table does not speak against it, else None.

        It does if the goal does not follow from the hypotheses, or if they contradict each other without being meant
        to.
        """
        hypotheses, goal = self._draw()
        together = _ALL
        for rows, _ in hypotheses:
            together &= rows
        if together & ~goal[0] or (together == 0 and goal[1] != _FALSE[1]):
            return None
        return _build(hypotheses, goal)

    def _below(self, n: int) -> int:
        return int(self.rng.random() * n)

    def _between(self, low: int, high: int) -> int:
        return low + self._below(high - low + 1)

    def _draw(self) -> tuple[list[_Draw], _Draw]:
        """Hypotheses and goal."""
        config = self.config
        variables = VARIABLES[: self._between(config.min_variables, config.max_variables)]
        leaves = self._between(max(config.min_leaves, len(variables)), max(config.max_leaves, len(variables)))
        n_hypotheses = min(self._between(0, config.max_hypotheses), leaves - 1)
        sizes = [1] * (n_hypotheses + 1)
        for _ in range(leaves - len(sizes)):
            sizes[self._below(len(sizes))] += 1
        drawn = [self._formula(size, variables) for size in sizes]
        goal = drawn.pop()
        if drawn and self.rng.random() < config.closed_share:
            if self.rng.random() >= config.conjoined_share:
                for antecedent in reversed(drawn):
                    goal = _join("imp", antecedent, goal)
            else:
                antecedent = drawn[-1]
                for part in reversed(drawn[:-1]):
                    antecedent = _join("and", part, antecedent)
                goal = _join("imp", antecedent, goal)
            drawn = []
        return drawn, goal

    def _formula(self, leaves: int, variables: tuple[str, ...]) -> _Draw:
        config = self.config
        if leaves == 1:
            if self.rng.random() < config.constant:
                return _TRUE if self.rng.random() < 0.3 else _FALSE
            leaf = _LEAVES[variables[self._below(len(variables))]]
            return _negate(leaf) if self.rng.random() < config.negation / 2 else leaf
        if self.rng.random() < config.negation:
            return _negate(self._binary(leaves, variables))
        return self._binary(leaves, variables)

    def _binary(self, leaves: int, variables: tuple[str, ...]) -> _Draw:
        draw = self.rng.random() * self.total_weight
        chosen = self.config.connectives[-1][0]
        for connective, weight in self.config.connectives:
            draw -= weight
            if draw < 0:
                chosen = connective
                break
        left = self._between(1, leaves - 1)
        return _join(chosen, self._formula(left, variables), self._formula(leaves - left, variables))


def _negate(draw: _Draw) -> _Draw:
    return _ALL & ~draw[0], ("not", draw[1])


def _join(op: Operator, left: _Draw, right: _Draw) -> _Draw:
    a, b = left[0], right[0]
    match op:
        case "and":
            rows = a & b
        case "or":
            rows = a | b
        case "imp":
            rows = _ALL & ~a | b
        case _:
            rows = _ALL & ~(a ^ b)
    return rows, (op, left[1], right[1])


def _build(hypotheses: list[_Draw], goal: _Draw) -> Sequent:
    named = tuple(Hypothesis(f"h{i}", _formula_of(shape)) for i, (_, shape) in enumerate(hypotheses, start=1))
    return Sequent(named, _formula_of(goal[1]))


def _formula_of(shape: _Shape) -> Formula:
    if isinstance(shape, str):
        return Var(shape)
    match shape:
        case ("true",):
            return TRUE
        case ("false",):
            return FALSE
        case (op, argument):
            return Formula(op, _formula_of(argument))
        case (op, left, right):
            return Formula(op, _formula_of(left), _formula_of(right))
    raise AssertionError(f"no such shape: {shape!r}")


def tidy(sequent: Sequent) -> Sequent:
    """The sequent with its propositions renamed to p, q, r, ... in order of appearance, and only those declared."""
    order: dict[str, str] = {}
    for formula in (*sequent.formulas, sequent.goal):
        for name in formula.variables():
            if name not in order:
                order[name] = VARIABLES[len(order)]
    hypotheses = tuple(Hypothesis(h.name, rename(h.formula, order)) for h in sequent.hypotheses)
    return Sequent(hypotheses, rename(sequent.goal, order), tuple(order.values()))

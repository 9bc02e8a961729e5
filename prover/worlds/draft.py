"""A theorem while it is made: what is declared, the hypotheses so far, and the script that proves it."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from prover.worlds.terms import ALL, Expr, free_names, quantify, rename

_BOUND = ("x", "y", "z", "w", "v")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known: the name of a hypothesis and what it says."""

    name: str
    formula: Expr


@dataclass(frozen=True, slots=True)
class Context:
    """What a goal of the proof may use besides the theorem's hypotheses: names made by tactics."""

    elements: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()

    def with_fact(self, *facts: Fact) -> "Context":
        """With more facts."""
        return Context(self.elements, self.facts + facts)

    def with_element(self, *names: str) -> "Context":
        """With more elements."""
        return Context(self.elements + names, self.facts)


@dataclass(frozen=True, slots=True)
class Made:
    """A theorem with the script that proves it by construction."""

    binders: str
    """Declarations of the statement before its hypotheses, e.g. `(a b : Nat)`; may be empty."""
    hypotheses: tuple[Expr, ...]
    goal: Expr
    script: tuple[str, ...]

    @property
    def statement(self) -> str:
        """The signature, with hypotheses h1, h2, ..."""
        shown = [f"(h{i} : {formula})" for i, formula in enumerate(self.hypotheses, start=1)]
        return " ".join([part for part in (self.binders, *shown) if part]) + f" : {self.goal}"


class Unmade(Exception):
    """This draw came to nothing."""


@dataclass
class Draft:
    """Hypotheses are added while the proof grows; all randomness comes from `rng`."""

    rng: random.Random
    constants: tuple[str, ...]
    """Elements that the statement declares."""
    hypotheses: list[Fact] = field(default_factory=list)
    sort: str = ""
    """Type of the elements, where binders have to show it."""
    _locals: int = 0
    _elements: int = 0

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return self.rng.random() < p

    def pick(self, options: Sequence[str]) -> str:
        """One of the options."""
        return options[int(self.rng.random() * len(options))]

    def fact_name(self) -> str:
        """A name for a hypothesis that a tactic makes."""
        self._locals += 1
        return f"k{self._locals}"

    def element_name(self) -> str:
        """A name for an element that a tactic makes."""
        self._elements += 1
        return f"u{self._elements}"

    def suppose(self, formula: Expr, known: Context, generalise: Sequence[str] = ()) -> tuple[str, list[str]]:
        """Make `formula` a hypothesis of the theorem; (its name, the arguments that give `formula` back).

        It is stated for all values of the elements that tactics made, and of those in `generalise`.
        """
        names = [name for name in free_names(formula) if name in known.elements or name in generalise]
        if len(names) > len(_BOUND):
            raise Unmade
        closed = rename(formula, dict(zip(names, _BOUND, strict=False)))
        for bound in reversed(_BOUND[: len(names)]):
            closed = quantify(ALL, bound, closed, self.sort)
        for fact in self.hypotheses:
            if fact.formula == closed:
                return fact.name, names
        name = f"h{len(self.hypotheses) + 1}"
        self.hypotheses.append(Fact(name, closed))
        return name, names

    def finish(self, binders: str, goal: Expr, script: Sequence[str]) -> Made:
        """The theorem, with its hypotheses in random order."""
        order = list(self.hypotheses)
        self.rng.shuffle(order)
        names = {fact.name: f"h{i}" for i, fact in enumerate(order, start=1)}
        renamed = [re.sub(r"\bh\d+\b", lambda found: names[found[0]], tactic) for tactic in script]
        return Made(binders, tuple(fact.formula for fact in order), goal, tuple(renamed))


def applied(name: str, arguments: Sequence[str]) -> str:
    """`name arg1 arg2`."""
    return " ".join([name, *arguments])

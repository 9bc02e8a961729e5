"""Tactics that nest deep, chain long or are long, as the nine that cost a search 129 time-outs: refused before Lean.

With numbers of their own, and not the limits of `prover.environments.isolation.nesting`: raising a limit is seen here.
"""

from collections.abc import Callable

import pytest

from prover.environments.isolation.nesting import too_deep
from prover.environments.isolation.refusal import refuse_tactic

DEPTH, LINKS, CHARACTERS = 100, 300, 12_000
TACTICS: dict[str, tuple[int, Callable[[int], str]]] = {
    "negations": (DEPTH, lambda n: "exact " + "¬" * n + "h"),
    "tries": (DEPTH, lambda n: "try " * n + "skip"),
    "projections": (DEPTH, lambda n: "exact h" + ".h" * n),
    "by": (DEPTH, lambda n: "exact " + "by exact " * n + "h"),
    "functions": (DEPTH, lambda n: "exact " + "fun x => " * n + "x"),
    "binders": (DEPTH, lambda n: "exact " + "∀ x, " * n + "p"),
    "several kinds": (DEPTH, lambda n: "exact " + "by exact fun x => ¬ " * (n // 3) + "h"),
    "conjunctions": (LINKS, lambda n: "exact " + "p ∧ " * n + "q"),
    "sequences": (LINKS, lambda n: "skip" + " <;> skip" * n),
    "characters": (CHARACTERS, lambda n: "skip; " * (n // 6)),
}


@pytest.mark.parametrize("kind", TACTICS)
def test_a_tactic_that_costs_lean_seconds_is_refused_and_a_tenth_of_it_is_not(kind: str) -> None:
    size, tactic = TACTICS[kind]
    assert "split it into several steps" in (refuse_tactic(tactic(size)) or "")
    assert too_deep(tactic(size // 10)) is None

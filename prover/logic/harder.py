"""New propositional theorems, a little harder than what was proved: for a loop whose training set is exhausted."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from prover.logic.canonical import canonical_statement
from prover.logic.formulas import NotPropositionalError, print_statement
from prover.logic.generate import DEMO, sequents
from prover.theorems import Theorem

STEPS_ABOVE = 6
"""New theorems have a shortest script of 1 to this many steps more than what was proved."""


def forms_of(theorems: Sequence[Theorem]) -> set[str] | None:
    """Canonical forms of propositional theorems; None where one is no propositional theorem."""
    try:
        return {canonical_statement(theorem.statement) for theorem in theorems}
    except NotPropositionalError:
        return None


def known_forms(theorems: Sequence[Theorem]) -> set[str]:
    """Canonical forms of those of the theorems that are propositional; the others cannot be equal to such a one."""
    return {form for theorem in theorems for form in forms_of([theorem]) or ()}


def harder_theorems(n: int, *, above: int, exclude: Collection[str], seed: int, prefix: str) -> list[Theorem]:
    """`n` theorems, each true by the decision procedure, with a known difficulty above `above` steps.

    exclude: canonical forms (`forms_of`) of theorems that must not come again, held-out ones among them. The same
    arguments give the same theorems. Names are PREFIX_001, ...
    """
    lowest = min(above + 1, DEMO.max_steps)  # longer shortest scripts take too long to find
    config = replace(
        DEMO,
        min_steps=lowest,
        max_steps=max(lowest, min(above + STEPS_ABOVE, DEMO.max_steps + 2)),
        max_leaves=DEMO.max_leaves + 2,
    )
    found: list[Theorem] = []
    for sequent, script, _ in sequents(config, seed, exclude):
        if len(found) == n:
            break
        name = f"{prefix}_{len(found) + 1:03d}"
        found.append(Theorem(name, print_statement(sequent), split="train", difficulty=len(script)))
    return found

"""New theorems of first-order logic and arithmetic, a little harder than what was proved."""

from collections.abc import Iterable
from dataclasses import replace

from prover.theorems import Theorem
from prover.worlds.canonical import known_forms
from prover.worlds.generate import WORLDS, generated

STEPS_ABOVE = 4
"""New theorems have a script of 1 to this many tactics more than what was proved."""


def harder_theorems(
    world: str, n: int, *, above: int, exclude: Iterable[Theorem], seed: int, prefix: str
) -> list[Theorem]:
    """`n` theorems of a world, each with a script that Lean replayed, of a difficulty above `above` tactics.

    exclude: theorems that must not come again, up to names; held-out ones among them. The same arguments give the same
    theorems. Names are PREFIX_001, ... Difficulties stay within those of the shipped set: longer proofs take too long
    to draw. Raises RuntimeError where the generator finds no new theorem.
    """
    longest = max(steps for steps, _ in WORLDS[world].weights)
    fewest = min(above + 1, longest)
    made = generated(
        world,
        seed,
        n,
        steps=(fewest, min(above + STEPS_ABOVE, longest)),
        exclude=known_forms(theorem.statement for theorem in exclude),
    )
    return [
        replace(theorem, name=f"{prefix}_{number:03d}", split="train")
        for number, (theorem, _) in enumerate(made, start=1)
    ]

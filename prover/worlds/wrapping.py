"""What is done to a theorem about numbers when its proof is known.

Hypotheses and variables move into the goal, `Nat.succ n` is written `n + 1`, and the numbers get their binders.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from prover.worlds.draft import Draft, Made
from prover.worlds.terms import (
    ADD,
    ALL,
    AND,
    EX,
    NUMBER,
    SUCC,
    Expr,
    binary,
    free_names,
    implies,
    quantify,
    rename,
    var,
)


def wrapped(draft: Draft, made: Made) -> Made:
    """The theorem with a hypothesis or variable moved into its goal, or with one that has to be taken apart."""
    kind = draft.pick(("imp", "all", "ex", "and"))
    last = len(made.hypotheses)
    if kind == "imp" and last:
        fact = draft.fact_name()
        goal = implies(made.hypotheses[-1], made.goal)
        return Made("", made.hypotheses[:-1], goal, (f"intro {fact}", *_renamed(made.script, f"h{last}", fact)))
    if kind == "all":
        used = {name for formula in made.hypotheses for name in free_names(formula)}
        free = [name for name in free_names(made.goal) if name not in used and name in draft.constants]
        if free and made.goal.head not in (ALL, EX):
            name, element = draft.pick(free), draft.element_name()
            goal = quantify(ALL, "y", rename(made.goal, {name: "y"}), NUMBER)
            return Made("", made.hypotheses, goal, (f"intro {element}", *_renamed(made.script, name, element)))
    if kind == "ex" and last and not made.hypotheses[-1].bound:
        others = {name for formula in (*made.hypotheses[:-1], made.goal) for name in free_names(formula)}
        own = [name for name in free_names(made.hypotheses[-1]) if name not in others and name in draft.constants]
        if own:
            element, fact = draft.element_name(), draft.fact_name()
            exists = quantify(EX, "z", rename(made.hypotheses[-1], {own[0]: "z"}), NUMBER)
            script = _renamed(_renamed(made.script, f"h{last}", fact), own[0], element)
            return Made(
                "", (*made.hypotheses[:-1], exists), made.goal, (f"obtain ⟨{element}, {fact}⟩ := h{last}", *script)
            )
    if kind == "and" and last >= 2:
        facts = draft.fact_name(), draft.fact_name()
        both = binary(AND, *made.hypotheses[-2:])
        script = _renamed(_renamed(made.script, f"h{last}", facts[1]), f"h{last - 1}", facts[0])
        opening = f"obtain ⟨{facts[0]}, {facts[1]}⟩ := h{last - 1}"
        return Made("", (*made.hypotheses[:-2], both), made.goal, (opening, *script))
    return made


def _renamed(script: Sequence[str], name: str, new: str) -> tuple[str, ...]:
    return tuple(re.sub(rf"(?<![\w.]){name}(?!\w)", new, tactic) for tactic in script)


def with_plus_one(made: Made) -> Made:
    """The theorem with `n + 1` for `Nat.succ n`."""

    def written_out(e: Expr) -> Expr:
        if e.head == SUCC:
            return Expr(ADD, (written_out(e.args[0]), var("1")))
        return replace(e, args=tuple(written_out(arg) for arg in e.args))

    return replace(made, hypotheses=tuple(map(written_out, made.hypotheses)), goal=written_out(made.goal))


def binders(made: Made, constants: Sequence[str]) -> str:
    """The binders of the numbers that the theorem or its script names."""
    used = {name for formula in (*made.hypotheses, made.goal) for name in free_names(formula)}
    words = {word for tactic in made.script for word in re.findall(r"[\w.]+", tactic)}
    names = [name for name in constants if name in used or name in words]
    return f"({' '.join(names)} : Nat)" if names else ""

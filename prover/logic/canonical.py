"""A canonical text per statement: equal for statements that differ only in names, so that sets share no theorem."""

from itertools import permutations, product

from prover.logic.formulas import Formula, Imp, Sequent, parse_statement, rename


def antecedents(sequent: Sequent) -> tuple[list[Formula], Formula]:
    """Hypotheses and the antecedents of the goal, and what is left to prove: `(h : A) : B → C` as [A, B] and C."""
    found = list(sequent.formulas)
    goal = sequent.goal
    while goal.op == "imp":
        antecedent, goal = goal.parts
        found.append(antecedent)
    return found, goal


def curried(sequent: Sequent) -> Formula:
    """The sequent as one formula: `A → B → C`."""
    found, formula = antecedents(sequent)
    for antecedent in reversed(found):
        formula = Imp(antecedent, formula)
    return formula


def canonical_form(sequent: Sequent) -> str:
    """A text that two sequents share exactly when they differ in nothing but

    the names of propositions and hypotheses, the order and repetition of hypotheses, unused propositions, and whether
    an antecedent is written as a hypothesis or in front of the goal.
    """
    found, goal = antecedents(sequent)
    names = sorted({name for formula in (*found, goal) for name in formula.variables()})
    # A proposition's role: the formulas with it marked and all others blanked. Only equal roles are permuted.
    roles: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        marked = {other: "x" if other == name else "_" for other in names}
        role = (str(rename(goal, marked)), *sorted(str(rename(formula, marked)) for formula in found))
        roles.setdefault(role, []).append(name)
    groups = [roles[role] for role in sorted(roles)]
    best: str | None = None
    for choice in product(*(permutations(group) for group in groups)):
        order = [name for group in choice for name in group]
        renaming = {name: f"v{i}" for i, name in enumerate(order)}
        texts = sorted({str(rename(formula, renaming)) for formula in found})
        text = ", ".join(texts) + " ⊢ " + str(rename(goal, renaming))
        if best is None or text < best:
            best = text
    return best if best is not None else ""


def canonical_statement(statement: str) -> str:
    """`canonical_form` of a theorem's signature. Raises NotPropositionalError."""
    return canonical_form(parse_statement(statement))

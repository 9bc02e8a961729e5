"""Theorems of first-order logic, made backwards together with their proofs.

A goal is drawn, and a proof of it grows from the goal: connectives are taken apart, and where an atom is left, a step
is drawn that a proof could take there, and the hypothesis that it needs is supposed, stated for all values of what the
proof had to introduce. So every theorem is true by construction, and its script is known. Lean checks it.
"""

import random
from collections.abc import Callable

from prover.worlds.draft import Context, Draft, Fact, Made, Unmade, applied
from prover.worlds.terms import (
    ALL,
    AND,
    EQ,
    EX,
    FALSE,
    FALSITY,
    IFF,
    IMP,
    NOT,
    OR,
    Expr,
    binary,
    eq,
    free_names,
    implies,
    match,
    negate,
    quantify,
    replace,
    substitute,
    var,
)

_UNARY, _BINARY = ("P", "Q", "T"), ("R", "S")
_ELEMENTS = ("a", "b", "c")
_MOST_HYPOTHESES = 6


class _Maker:
    def __init__(self, rng: random.Random) -> None:
        self.draft = Draft(rng, _ELEMENTS[: 1 + int(rng.random() * 3)])
        self.predicates = [*_UNARY[: 1 + int(rng.random() * 3)], *_BINARY[: int(rng.random() * 3)]]
        self.functions = ("f",) if rng.random() < 0.25 else ()

    # -- formulas -------------------------------------------------------------------------------------------------

    def term(self, names: tuple[str, ...]) -> Expr:
        """An element, or now and then a function of one."""
        element = var(self.draft.pick(names))
        return Expr("f", (element,)) if self.functions and self.draft.chance(0.3) else element

    def atom(self, names: tuple[str, ...]) -> Expr:
        """A predicate of elements."""
        predicate = self.draft.pick(self.predicates)
        return Expr(predicate, tuple(self.term(names) for _ in range(2 if predicate in _BINARY else 1)))

    def formula(self, names: tuple[str, ...], depth: int) -> Expr:
        """A formula over the elements called `names`, quantifiers and all."""
        draft = self.draft
        if depth <= 0 or draft.chance(0.1):
            return self.atom(names)
        kind = draft.pick(("and", "or", "imp", "imp", "not", "all", "all", "ex", "ex", "iff"))
        if kind in ("all", "ex"):
            bound = next((name for name in ("x", "y", "z", "w") if name not in names), None)
            if bound is None:
                return self.atom(names)
            body = self.formula((*names, bound, bound), depth - 1)
            if bound not in free_names(body):
                return body
            return quantify(ALL if kind == "all" else EX, bound, body)
        if kind == "not":
            return negate(self.formula(names, depth - 1))
        operator = {"and": AND, "or": OR, "imp": IMP, "iff": IFF}[kind]
        return binary(operator, self.formula(names, depth - 1), self.formula(names, depth - 1))

    # -- proofs ---------------------------------------------------------------------------------------------------

    def prove(self, goal: Expr, known: Context, fuel: int) -> list[str]:
        """A script for the goal, in about `fuel` tactics where it can be."""
        draft = self.draft
        match goal.head:
            case "∧":
                half = fuel // 2
                first, second = goal.args
                return ["constructor", *self.prove(first, known, half), *self.prove(second, known, fuel - half - 1)]
            case "∨":
                side = int(draft.chance(0.5))
                return [("left", "right")[side], *self.prove(goal.args[side], known, fuel - 1)]
            case "→":
                fact = Fact(draft.fact_name(), goal.args[0])
                return [f"intro {fact.name}", *self.opened(goal.args[1], known, fact, fuel - 1)]
            case "¬":
                fact = Fact(draft.fact_name(), goal.args[0])
                return [f"intro {fact.name}", *self.opened(FALSITY, known, fact, fuel - 1)]
            case "∀":
                element = draft.element_name()
                body = substitute(goal.args[0], {goal.bound: var(element)})
                return [f"intro {element}", *self.prove(body, known.with_element(element), fuel - 1)]
            case "∃":
                names = (*draft.constants, *known.elements, *known.elements)
                witness = draft.pick(names)
                body = substitute(goal.args[0], {goal.bound: var(witness)})
                return [f"refine ⟨{witness}, ?_⟩", *self.prove(body, known, fuel - 1)]
            case "↔":
                left, right = goal.args
                half = fuel // 2
                there, back = (
                    self.prove(implies(left, right), known, half),
                    self.prove(implies(right, left), known, half),
                )
                return ["constructor", *there, *back]
        return self.prove_atom(goal, known, fuel)

    def opened(self, goal: Expr, known: Context, fact: Fact, fuel: int) -> list[str]:
        """A script for the goal after a new fact, which is taken apart if it can be."""
        draft = self.draft
        formula = fact.formula
        if formula.head == AND:
            first, second = (Fact(draft.fact_name(), part) for part in formula.args)
            script = self.opened(goal, known.with_fact(first, second), first, fuel - 1)
            return [f"obtain ⟨{first.name}, {second.name}⟩ := {fact.name}", *script]
        if formula.head == EX:
            element, inner = draft.element_name(), draft.fact_name()
            body = Fact(inner, substitute(formula.args[0], {formula.bound: var(element)}))
            script = self.opened(goal, known.with_element(element).with_fact(body), body, fuel - 1)
            return [f"obtain ⟨{element}, {inner}⟩ := {fact.name}", *script]
        if formula.head == OR:
            first, second = (Fact(draft.fact_name(), part) for part in formula.args)
            scripts = [self.opened(goal, known.with_fact(side), side, fuel // 2) for side in (first, second)]
            return [f"rcases {fact.name} with {first.name} | {second.name}", *scripts[0], *scripts[1]]
        return self.prove(goal, known if fact in known.facts else known.with_fact(fact), fuel)

    def prove_atom(self, goal: Expr, known: Context, fuel: int) -> list[str]:
        """A script for an atom or for False."""
        draft = self.draft
        if len(draft.hypotheses) > _MOST_HYPOTHESES:
            raise Unmade
        used = self.use_known(goal, known, fuel)
        if used is not None:
            return used
        if goal.head == FALSE:
            return self.by_absurdity(known, fuel)
        if fuel <= 1:
            name, arguments = draft.suppose(goal, known, self.generalised(goal, 0.2))
            return [f"exact {applied(name, arguments)}"]
        moves: list[Callable[[Expr, Context, int], list[str]]] = [
            self.by_implication,
            self.by_implication,
            self.by_implication,
            self.by_witness,
            self.by_witness,
            self.by_cases,
            self.by_equivalence,
            self.by_part,
            self.by_equation,
        ]
        if draft.chance(0.06):
            return ["exfalso", *self.by_absurdity(known, fuel - 1)]
        return moves[int(draft.rng.random() * len(moves))](goal, known, fuel)

    def generalised(self, formula: Expr, p: float) -> list[str]:
        """Which constants of a formula its hypothesis is stated for all values of."""
        return [name for name in free_names(formula) if name in self.draft.constants and self.draft.chance(p)]

    def use_known(self, goal: Expr, known: Context, fuel: int) -> list[str] | None:
        """A script that ends in, or goes on by, what is known already; None where nothing fits."""
        facts = [*known.facts, *self.draft.hypotheses]
        for fact in facts:
            if fact.formula == goal:
                return [f"exact {fact.name}"]
        self.draft.rng.shuffle(facts)
        for fact in facts:
            holes, premises, conclusion = _opened_up(fact.formula)
            found: dict[str, Expr] = {}
            if not match(conclusion, goal, frozenset(holes), found) or len(premises) > max(0, fuel):
                continue
            if len(found) < len(holes) or any(premise.head in (ALL, EX) for premise in premises):
                continue
            values = [str(found[hole]) if not found[hole].args else f"({found[hole]})" for hole in holes]
            wanted = [substitute(premise, found) for premise in premises]
            if not wanted:
                return [f"exact {applied(fact.name, values)}"]
            if goal in wanted or not self.draft.chance(0.7):
                continue
            script = [f"apply {fact.name}"]
            for i, premise in enumerate(wanted):
                script += self.prove(premise, known, (fuel - 1) // len(wanted) - i)
            return script
        return None

    def by_implication(self, goal: Expr, known: Context, fuel: int) -> list[str]:
        """Suppose `A → goal`, or `A → B → goal`, and prove A, and B."""
        draft = self.draft
        names = (*draft.constants, *known.elements)
        premises = [self.atom(names) for _ in range(1 if draft.chance(0.65) else 2)]
        if goal in premises or (len(premises) == 2 and premises[0] == premises[1]):
            raise Unmade
        formula = goal
        for premise in reversed(premises):
            formula = implies(premise, formula)
        name, arguments = draft.suppose(formula, known, self.generalised(formula, 0.6))
        inferred = set(arguments) <= set(free_names(goal))
        script = [f"apply {name if inferred else applied(name, arguments)}"]
        for premise in premises:
            script += self.prove(premise, known, (fuel - 1) // len(premises))
        return script

    def by_witness(self, goal: Expr, known: Context, fuel: int) -> list[str]:
        """Suppose that some x has a property, and that the goal follows from that."""
        draft = self.draft
        element, fact_name = draft.element_name(), draft.fact_name()
        names = (*draft.constants, *known.elements, element, element)
        body = self.atom(names)
        if element not in free_names(body):
            raise Unmade
        inside = known.with_element(element)
        exists = quantify(EX, "x0", substitute(body, {element: var("x0")}))
        name, arguments = draft.suppose(_tidy_bound(exists), known)
        source = f"({applied(name, arguments)})" if arguments else name
        script = [f"obtain ⟨{element}, {fact_name}⟩ := {source}"]
        rule, values = draft.suppose(implies(body, goal), inside, self.generalised(goal, 0.6))
        if draft.chance(0.3):
            derived = draft.fact_name()
            return [*script, f"have {derived} := {applied(rule, [*values, fact_name])}", f"exact {derived}"]
        return [*script, f"exact {applied(rule, [*values, fact_name])}"]

    def by_cases(self, goal: Expr, known: Context, fuel: int) -> list[str]:
        """Suppose `A ∨ B`, and prove the goal from each."""
        draft = self.draft
        names = (*draft.constants, *known.elements)
        sides = [self.atom(names), self.atom(names)]
        if sides[0] == sides[1] or goal in sides:
            raise Unmade
        name, arguments = draft.suppose(binary(OR, *sides), known, self.generalised(binary(OR, *sides), 0.3))
        facts = [Fact(draft.fact_name(), side) for side in sides]
        source = f"({applied(name, arguments)})" if arguments else name
        script = [f"rcases {source} with {facts[0].name} | {facts[1].name}"]
        for fact in facts:
            inside = known.with_fact(fact)
            if draft.chance(0.75):
                rule, values = draft.suppose(implies(fact.formula, goal), inside, self.generalised(goal, 0.6))
                script += [f"exact {applied(rule, [*values, fact.name])}"]
            else:
                script += self.prove(goal, inside, fuel // 2)
        return script

    def by_equivalence(self, goal: Expr, known: Context, fuel: int) -> list[str]:
        """Suppose `A ↔ goal`, and prove A."""
        draft = self.draft
        other = self.atom((*draft.constants, *known.elements))
        forward = draft.chance(0.5)
        if other == goal:
            raise Unmade
        formula = binary(IFF, other, goal) if forward else binary(IFF, goal, other)
        name, arguments = draft.suppose(formula, known, self.generalised(formula, 0.6))
        source = f"({applied(name, arguments)})" if arguments else name
        return [f"apply {source}{'.mp' if forward else '.mpr'}", *self.prove(other, known, fuel - 1)]

    def by_part(self, goal: Expr, known: Context, fuel: int) -> list[str]:
        """Suppose a conjunction that the goal is a part of."""
        draft = self.draft
        other = self.atom((*draft.constants, *known.elements))
        first = draft.chance(0.5)
        formula = binary(AND, goal, other) if first else binary(AND, other, goal)
        premise = self.atom((*draft.constants, *known.elements)) if draft.chance(0.5) else None
        if premise is not None:
            if premise in (goal, other):
                raise Unmade
            formula = implies(premise, formula)
        name, arguments = draft.suppose(formula, known, self.generalised(formula, 0.5))
        part = ".left" if first else ".right"
        if premise is None:
            source = f"({applied(name, arguments)})" if arguments else name
            return [f"exact {source}{part}"]
        fact, whole = draft.fact_name(), draft.fact_name()
        proof = self.prove(premise, known, fuel - 2)
        if len(proof) == 1 and proof[0].startswith("exact "):
            proven = proof[0].removeprefix("exact ")
            proven = f"({proven})" if " " in proven else proven
            return [f"have {whole} := {applied(name, [*arguments, proven])}", f"exact {whole}{part}"]
        return [f"have {fact} : {premise} := ?_", *self._after(name, arguments, fact, whole, part), *proof]

    @staticmethod
    def _after(name: str, arguments: list[str], fact: str, whole: str, part: str) -> list[str]:
        return [f"have {whole} := {applied(name, [*arguments, fact])}", f"exact {whole}{part}"]

    def by_equation(self, goal: Expr, known: Context, fuel: int) -> list[str]:
        """Suppose an equation, and rewrite the goal with it."""
        draft = self.draft
        inside = [arg for arg in goal.args if free_names(arg)]
        if not inside:
            raise Unmade
        old = inside[int(draft.rng.random() * len(inside))]
        new = self.term((*draft.constants, *known.elements))
        if old == new or any(name in known.elements for name in (*free_names(old), *free_names(new))):
            raise Unmade
        forward = draft.chance(0.5)
        name, _ = draft.suppose(eq(old, new) if forward else eq(new, old), known)
        rewritten = replace(goal, old, new)
        return [f"rw [{name}]" if forward else f"rw [← {name}]", *self.prove(rewritten, known, fuel - 1)]

    def by_absurdity(self, known: Context, fuel: int) -> list[str]:
        """Prove False: suppose `¬A`, and prove A."""
        draft = self.draft
        facts = [fact for fact in known.facts if fact.formula.head not in (ALL, EX, IMP, NOT, AND, OR, IFF, EQ)]
        if facts and draft.chance(0.6):
            target = facts[int(draft.rng.random() * len(facts))].formula
        else:
            target = self.atom((*draft.constants, *known.elements))
        name, arguments = draft.suppose(negate(target), known, self.generalised(target, 0.4))
        return [f"apply {applied(name, arguments)}", *self.prove(target, known, fuel - 1)]

    # -- theorems -------------------------------------------------------------------------------------------------

    def theorem(self, fuel: int) -> Made:
        """One theorem with its script."""
        draft = self.draft
        goal = self.formula(draft.constants, 0 if draft.chance(0.25) else 1 + int(draft.rng.random() * 2))
        script = self.prove(goal, Context(), fuel)
        if draft.chance(0.35):  # something that the proof does not need
            draft.suppose(self.formula(draft.constants, 1), Context())
        made = draft.finish("", goal, script)
        return Made(self.binders(made), made.hypotheses, made.goal, made.script)

    def binders(self, made: Made) -> str:
        """Declarations of what the statement and the script speak of."""
        used = {name for formula in (*made.hypotheses, made.goal) for name in free_names(formula)}
        words = {word.strip("⟨⟩,()[]") for tactic in made.script for word in tactic.split()}
        elements = [name for name in self.draft.constants if name in used or name in words]
        shown = ["(α : Type)"]
        for names, kind in ((_UNARY, "α → Prop"), (_BINARY, "α → α → Prop"), (("f",), "α → α"), (elements, "α")):
            declared = [name for name in names if name in used or name in elements]
            if declared:
                shown.append(f"({' '.join(declared)} : {kind})")
        return " ".join(shown)


def _tidy_bound(exists: Expr) -> Expr:
    """∃ with the first bound name that `suppose` does not give to generalised elements."""
    return quantify(EX, "t", substitute(exists.args[0], {exists.bound: var("t")}))


def _opened_up(formula: Expr) -> tuple[list[str], list[Expr], Expr]:
    """(universal variables, premises, conclusion) of `∀ x y, A → B → C`."""
    holes, premises = [], []
    while formula.head in (ALL, IMP):
        if formula.head == ALL:
            holes.append(formula.bound)
            formula = formula.args[0]
        else:
            premises.append(formula.args[0])
            formula = formula.args[1]
    return holes, premises, formula


def first_order_theorem(rng: random.Random, fuel: int) -> Made | None:
    """The next theorem of a stream, with a proof of about `fuel` tactics; None where a draw came to nothing."""
    try:
        return _Maker(rng).theorem(fuel)
    except Unmade:
        return None

"""Theorems about natural numbers, made together with their proofs.

Most are made from the end: an atom that closes at once (by `rfl`, a hypothesis or a lemma) is taken back through
tactics whose effect is known, such as a rewriting with a lemma, an `apply`, an `intro`. Some are conjectures: equations
that hold for small numbers, proved by induction and rewriting in a search of our own. Lean checks every one.
"""

import random
from dataclasses import dataclass, replace

from prover.worlds.cases import by_looking
from prover.worlds.draft import Context, Draft, Made, Unmade, applied
from prover.worlds.induction import by_induction
from prover.worlds.rules import ALL_RULES, Rule, places, rewrite, turned, written
from prover.worlds.terms import (
    AND,
    EQ,
    EX,
    FALSITY,
    FORMULAS,
    LE,
    NE,
    NUMBER,
    OR,
    SUCC,
    ZERO,
    Expr,
    add,
    binary,
    eq,
    free_names,
    le,
    mul,
    quantify,
    substitute,
    succ,
    var,
    walk,
)
from prover.worlds.terms import replace as replaced
from prover.worlds.wrapping import binders, with_plus_one, wrapped

_NAMES = ("a", "b", "c", "d")


@dataclass(frozen=True, slots=True)
class _Part:
    """A goal with the script that proves it from the draft's hypotheses."""

    goal: Expr
    script: tuple[str, ...]

    def after(self, tactic: str, goal: Expr) -> "_Part":
        return _Part(goal, (tactic, *self.script))


class _Maker:
    def __init__(self, rng: random.Random) -> None:
        self.draft = Draft(rng, _NAMES[: 2 + int(rng.random() * 3)], sort=NUMBER)

    def index(self, n: int) -> int:
        """A random number below n."""
        return int(self.draft.rng.random() * n)

    def term(self, size: int = 2) -> Expr:
        """A random term of about so many leaves."""
        draft = self.draft
        if size <= 1:
            return ZERO if draft.chance(0.06) else var(draft.pick(draft.constants))
        if draft.chance(0.22):
            return succ(self.term(size - 1))
        left = 1 + self.index(size - 1)
        return (mul if draft.chance(0.35) else add)(self.term(left), self.term(size - left))

    # -- rewriting ------------------------------------------------------------------------------------------------

    def unrewritten(self, part: _Part, tries: int = 12) -> _Part:
        """The part with one rewriting step before it: `rw [lemma]` leads to the goal as it was."""
        for _ in range(tries):
            step = self._unrewrite(part.goal)
            if step is not None:
                return part.after(f"rw [{step[0]}]", step[1])
        raise Unmade

    def _unrewrite(self, goal: Expr) -> tuple[str, Expr] | None:
        rule = ALL_RULES[self.index(len(ALL_RULES))]
        if self.draft.chance(0.3):
            rule = turned(rule)
        found = list(places(goal, rule.right, rule.holes))
        found = [
            values for values in found if not (rule.right == ZERO or rule.right.head.startswith("?")) or len(found) < 9
        ]
        if not found:
            return None
        values = dict(found[self.index(len(found))])
        for hole in rule.holes:
            values.setdefault(hole, self.term(1))
        return self.undo(rule, values, goal)

    def undo(self, rule: Rule, values: dict[str, Expr], goal: Expr) -> tuple[str, Expr] | None:
        """(what `rw` is told, the goal before) for one instance of a rule; None where it would not lead there."""
        old, new = substitute(rule.left, values), substitute(rule.right, values)
        before = _replace_one(goal, new, old, self.index(4))
        if before == goal or before.size > 28 or rewrite(rule, before, values) != goal:
            return None
        if before.head == EQ and before.args[0] == before.args[1]:
            return None
        if rewrite(rule, before) == goal and self.draft.chance(0.7):
            return rule.name, before
        if any(value.size > 3 for value in values.values()):
            return None
        return written(rule, values), before

    def with_hypothesis(self, part: _Part) -> _Part:
        """The part with a step before it that rewrites with a supposed equation."""
        draft = self.draft
        inside = [e for side in part.goal.args for e in walk(side) if free_names(e) and e.head not in FORMULAS]
        if not inside or part.goal.head not in (EQ, LE, NE):
            raise Unmade
        new, old = inside[self.index(len(inside))], self.term(1 + self.index(3))
        if old in (new, ZERO):
            raise Unmade
        forward = draft.chance(0.65)
        shared = [name for name in free_names(old) if name in free_names(new)]
        general = shared[:1] if draft.chance(0.35) else []
        rule = Rule("h", old, new)
        before = _replace_one(part.goal, new, old, self.index(4))
        if rewrite(rule, before, {}) != part.goal or (before.head == EQ and before.args[0] == before.args[1]):
            raise Unmade
        name, arguments = draft.suppose(eq(old, new) if forward else eq(new, old), Context(), general)
        told = applied(name, arguments)
        return part.after(f"rw [{told}]" if forward else f"rw [← {told}]", before)

    # -- atoms ----------------------------------------------------------------------------------------------------

    def equation(self) -> _Part:
        """An equation that the last step before it closes by `rfl`."""
        side = self.term(2 + self.index(4))
        part = _Part(eq(side, side), ())
        part = self.unrewritten(part) if self.draft.chance(0.8) else self.with_hypothesis(part)
        return part if part.script else _Part(part.goal, ("rfl",))

    def closed(self) -> _Part:
        """An atom that a hypothesis or a lemma closes."""
        draft = self.draft
        kind = draft.pick(
            ("eq", "eq", "eq", "le", "le", "le", "le", "cancel", "antisymm", "ne", "ne", "absurd", *4 * ("looking",))
        )
        if kind == "eq":
            return self.equation()
        if kind == "le":
            return self.order()
        if kind == "cancel":
            return self.cancelled()
        if kind == "antisymm":
            first, second = self.term(2), self.term(1)
            names = [draft.suppose(formula, Context())[0] for formula in (le(first, second), le(second, first))]
            if draft.chance(0.5):
                return _Part(eq(first, second), (f"exact Nat.le_antisymm {names[0]} {names[1]}",))
            script = ("apply Nat.le_antisymm", f"exact {names[0]}", f"exact {names[1]}")
            return _Part(eq(first, second), script)
        if kind == "ne":
            return self.different()
        if kind == "looking":
            return _Part(*by_looking(draft, self.term))
        return self.absurd()

    def order(self) -> _Part:
        """`s ≤ t` in one tactic."""
        draft = self.draft
        s, t = self.term(1 + self.index(2)), self.term(1 + self.index(2))
        kind = draft.pick(("h", "h", "h", "right", "left", "zero", "refl", "succ", "trans"))
        plain = {str(e): f"({e})" if e.args else str(e) for e in (s, t)}
        if kind == "right":
            return _Part(le(s, add(s, t)), (f"exact Nat.le_add_right {plain[str(s)]} {plain[str(t)]}",))
        if kind == "left":
            return _Part(le(s, add(t, s)), (f"exact Nat.le_add_left {plain[str(s)]} {plain[str(t)]}",))
        if kind == "zero":
            return _Part(le(ZERO, s), (f"exact Nat.zero_le {plain[str(s)]}",))
        if kind == "refl":
            return _Part(le(s, s), (f"exact Nat.le_refl {plain[str(s)]}",))
        if kind == "succ":
            return _Part(le(s, succ(s)), (f"exact Nat.le_succ {plain[str(s)]}",))
        if s == t:
            raise Unmade
        if kind == "trans":
            middle = self.term(1 + self.index(2))
            names = [draft.suppose(formula, Context())[0] for formula in (le(s, middle), le(middle, t))]
            return _Part(le(s, t), (f"exact Nat.le_trans {names[0]} {names[1]}",))
        return _Part(le(s, t), (f"exact {draft.suppose(le(s, t), Context())[0]}",))

    def cancelled(self) -> _Part:
        """`s = t` from an equation in which both are under the same operation."""
        draft = self.draft
        s, t, other = self.term(1 + self.index(2)), self.term(1 + self.index(2)), self.term(1)
        kind = draft.pick(("succ", "right", "left"))
        formula, lemma = {
            "succ": (eq(succ(s), succ(t)), "Nat.succ.inj'"),
            "right": (eq(add(s, other), add(t, other)), "Nat.add_right_cancel"),
            "left": (eq(add(other, s), add(other, t)), "Nat.add_left_cancel"),
        }[kind]
        if s == t:
            raise Unmade
        steps: list[str] = []
        for _ in range(self.index(3)):  # the hypothesis has to be rewritten first
            step = self._unrewrite(formula)
            if step is not None:
                steps.insert(0, f"rw [{step[0]}] at H")
                formula = step[1]
        name = draft.suppose(formula, Context())[0]
        ending = f"exact {lemma} {name}"
        return _Part(eq(s, t), (*(step.replace("at H", f"at {name}") for step in steps), ending))

    def different(self) -> _Part:
        """`s ≠ t`."""
        draft = self.draft
        s, t = self.term(1 + self.index(2)), self.term(1 + self.index(2))
        kind = draft.pick(("zero", "zero", "succ", "right", "left"))
        if kind == "zero":
            shown = f"({s})" if s.args else str(s)
            if draft.chance(0.5):
                return _Part(binary(NE, succ(s), ZERO), (f"exact Nat.succ_ne_zero {shown}",))
            return _Part(binary(NE, ZERO, succ(s)), ("symm", f"exact Nat.succ_ne_zero {shown}"))
        if s == t:
            raise Unmade
        name, fact, other = draft.suppose(binary(NE, s, t), Context())[0], draft.fact_name(), self.term(1)
        goal, lemma = {
            "succ": (binary(NE, succ(s), succ(t)), "Nat.succ.inj'"),
            "right": (binary(NE, add(s, other), add(t, other)), "Nat.add_right_cancel"),
            "left": (binary(NE, add(other, s), add(other, t)), "Nat.add_left_cancel"),
        }[kind]
        return _Part(goal, (f"intro {fact}", f"apply {name}", f"exact {lemma} {fact}"))

    def absurd(self) -> _Part:
        """Anything, from a hypothesis that cannot be."""
        draft = self.draft
        s = self.term(1 + self.index(2))
        shown = f"({s})" if s.args else str(s)
        goal = draft.pick(("False", "eq", "le"))
        formula = FALSITY if goal == "False" else binary(EQ if goal == "eq" else LE, self.term(1), self.term(2))
        start = () if goal == "False" else ("exfalso",)
        if draft.chance(0.5):
            name = draft.suppose(eq(succ(s), ZERO), Context())[0]
            if draft.chance(0.4):
                return _Part(formula, (f"cases {name}",))
            return _Part(formula, (*start, f"exact Nat.succ_ne_zero {shown} {name}"))
        name = draft.suppose(le(succ(s), s if draft.chance(0.5) else ZERO), Context())[0]
        lemma = "Nat.not_succ_le_self" if draft.hypotheses[-1].formula.args[1] == s else "Nat.not_succ_le_zero"
        return _Part(formula, (*start, f"exact {lemma} {shown} {name}"))

    # -- steps ----------------------------------------------------------------------------------------------------

    def longer(self, part: _Part) -> _Part:
        """The part with one more tactic before it."""
        draft, goal = self.draft, part.goal
        roll = draft.rng.random()
        if goal.head == LE and roll < 0.5:
            return self.wider(part)
        if goal.head == EQ and roll < 0.08:
            return part.after("symm", eq(goal.args[1], goal.args[0]))
        if goal.head in (EQ, LE, NE):
            return self.with_hypothesis(part) if draft.chance(0.3) else self.unrewritten(part)
        raise Unmade

    def wider(self, part: _Part) -> _Part:
        """`s ≤ t` from a smaller one by a lemma on order."""
        draft = self.draft
        s, t = part.goal.args
        other = self.term(1)
        kind = draft.pick(("succ", "succ", "right", "left", "both", "trans", "down"))
        if kind == "succ":
            return part.after("apply Nat.succ_le_succ", le(succ(s), succ(t)))
        if kind == "right":
            return part.after("apply Nat.add_le_add_right", le(add(s, other), add(t, other)))
        if kind == "left":
            return part.after("apply Nat.add_le_add_left", le(add(other, s), add(other, t)))
        if kind == "both":
            more = self.order()
            script = ("apply Nat.add_le_add", *part.script, *more.script)
            return _Part(le(add(s, more.goal.args[0]), add(t, more.goal.args[1])), script)
        if kind == "trans":
            lower = self.term(1 + self.index(2))
            if lower in (s, t):
                raise Unmade
            return part.after(f"apply Nat.le_trans {draft.suppose(le(lower, s), Context())[0]}", le(lower, t))
        if s.head == SUCC and t.head == SUCC:
            return part.after("apply Nat.le_of_succ_le_succ", le(s.args[0], t.args[0]))
        raise Unmade

    # -- connectives ----------------------------------------------------------------------------------------------

    def part(self, fuel: int) -> _Part:
        """An atom with a script of about `fuel` tactics."""
        part = self.closed()
        while len(part.script) < fuel and part.goal.head in (EQ, LE, NE):
            part = self.longer(part)
        return part

    def formula(self, fuel: int) -> _Part:
        """An atom, or several joined, or one with a witness to be found."""
        draft = self.draft
        roll = draft.rng.random()
        if fuel >= 4 and roll < 0.16:
            first, second = self.part(fuel // 2), self.part(fuel - 1 - fuel // 2)
            return _Part(binary(AND, first.goal, second.goal), ("constructor", *first.script, *second.script))
        part = self.part(max(1, fuel - 1)) if roll < 0.5 else self.part(fuel)
        if roll < 0.36 and part.goal.head in (EQ, LE):
            inside = [e for side in part.goal.args for e in walk(side) if free_names(e)]
            witness = inside[self.index(len(inside))] if inside else ZERO
            body = replaced(part.goal, witness, var("x"))
            if "x" in free_names(body):
                return part.after(f"refine ⟨{witness}, ?_⟩", quantify(EX, "x", body, NUMBER))
        if roll < 0.5:
            other = binary(EQ if draft.chance(0.6) else LE, self.term(2), self.term(1))
            side = int(draft.chance(0.5))
            formula = binary(OR, part.goal, other) if side == 0 else binary(OR, other, part.goal)
            return part.after(("left", "right")[side], formula)
        return part

    def theorem(self, fuel: int) -> Made:
        """One theorem with its script."""
        draft = self.draft
        inductive = draft.chance(0.3)
        if inductive:
            goal, script = by_induction(draft)
            made = Made("", (), goal, tuple(script))
        else:
            part = self.formula(fuel)
            if draft.chance(0.15):
                draft.suppose(binary(EQ if draft.chance(0.5) else LE, self.term(2), self.term(1)), Context())
            made = draft.finish("", part.goal, part.script)
        for _ in range(self.index(3)):
            made = wrapped(draft, made)
        if not inductive and draft.chance(0.35):
            made = with_plus_one(made)
        return replace(made, binders=binders(made, draft.constants))


def _replace_one(e: Expr, old: Expr, new: Expr, which: int) -> Expr:
    """`e` with one occurrence of `old` replaced, the `which`-th counted round; all of them for 3."""
    if which == 3:
        return replaced(e, old, new)
    n = sum(node == old for node in walk(e))
    if not n:
        return e
    wanted, seen = which % n, -1

    def visit(node: Expr) -> Expr:
        nonlocal seen
        if node == old:
            seen += 1
            if seen == wanted:
                return new
        return replace(node, args=tuple(visit(arg) for arg in node.args)) if node.args and not node.bound else node

    return visit(e)


def arithmetic_theorem(rng: random.Random, fuel: int) -> Made | None:
    """The next theorem of a stream, with a proof of about `fuel` tactics; None where a draw came to nothing."""
    try:
        made = _Maker(rng).theorem(fuel)
    except Unmade:
        return None
    return made

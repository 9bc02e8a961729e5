"""Intuitionistic provability of propositional sequents, decided by the contraction-free calculus G4ip.

Source: R. Dyckhoff, "Contraction-free sequent calculi for intuitionistic logic", Journal of Symbolic Logic 57 (1992).
Every rule replaces a formula by formulas that are smaller in a well-founded order, so the search ends without loop
checks. Elementary tactics (intro, apply, constructor, rcases, left, right, exfalso, ...) are intuitionistic, so this is
provability for them; a classical theorem such as Peirce's law is *not* provable here, though Lean can prove it with
`Classical.em` or `by_cases`.
"""

from prover.logic.arena import CONJUNCTION, DISJUNCTION, FALSE_ID, IMPLICATION, TRUE_ID, Arena, bits
from prover.logic.formulas import NotPropositionalError, Sequent, parse_state

DEFAULT_STEP_LIMIT = 200_000
"""Rule applications that one question may take; ordinary ones take a few dozen."""


class StepLimitError(RuntimeError):
    """The decision procedure used up its steps. Whether the sequent is provable stays unknown."""


class Decider:
    """Decides sequents over one arena, remembering every answer. Answers do not depend on the order of questions."""

    def __init__(self, arena: Arena, step_limit: int = DEFAULT_STEP_LIMIT) -> None:
        self.arena = arena
        self.step_limit = step_limit
        self.steps = 0
        self._memo: dict[tuple[int, int], bool] = {}

    def provable(self, hypotheses: int, goal: int) -> bool:
        """Whether formula `goal` follows from the formulas in the mask `hypotheses`. Raises StepLimitError."""
        key = (hypotheses, goal)
        known = self._memo.get(key)
        if known is None:
            self.steps = 0
            try:
                known = self._memo[key] = self._prove(hypotheses, goal)
            except RecursionError as error:
                raise StepLimitError("the formulas are nested too deeply to decide") from error
        return known

    def _prove(self, mask: int, goal: int) -> bool:
        """Apply invertible rules until none is left, then try the others."""
        arena = self.arena
        kind, left, right = arena.kind, arena.left, arena.right
        false_bit = 1 << FALSE_ID
        while True:
            self.steps += 1
            if self.steps > self.step_limit:
                raise StepLimitError(f"no answer within {self.step_limit} steps of the decision procedure")
            if goal == TRUE_ID or mask & (false_bit | 1 << goal):
                return True
            if kind[goal] == IMPLICATION:
                mask |= 1 << left[goal]
                goal = right[goal]
                continue
            if conjunctions := mask & arena.conjunctions:
                for i in bits(conjunctions):
                    mask = mask & ~(1 << i) | 1 << left[i] | 1 << right[i]
                continue
            reduced = self._reduce_implications(mask)
            if reduced != mask:
                mask = reduced
                continue
            if kind[goal] == CONJUNCTION:
                return self._prove(mask, left[goal]) and self._prove(mask, right[goal])
            if disjunctions := mask & arena.disjunctions:
                lowest = disjunctions & -disjunctions
                i = lowest.bit_length() - 1
                rest = mask ^ lowest
                return self._prove(rest | 1 << left[i], goal) and self._prove(rest | 1 << right[i], goal)
            break
        key = (mask, goal)
        known = self._memo.get(key)
        if known is None:
            known = self._memo[key] = self._choose(mask, goal)
        return known

    def _reduce_implications(self, mask: int) -> int:
        """The mask after every left rule for implications that has one premise, each applied once where it applies."""
        arena = self.arena
        kind, left, right = arena.kind, arena.left, arena.right
        for i in bits(mask & arena.implications):
            antecedent, consequent = left[i], right[i]
            if mask >> antecedent & 1 or antecedent == TRUE_ID:
                mask = mask & ~(1 << i) | 1 << consequent
            elif antecedent == FALSE_ID:
                mask &= ~(1 << i)
            elif kind[antecedent] == CONJUNCTION:
                inner = arena.implication(right[antecedent], consequent)
                mask = mask & ~(1 << i) | 1 << arena.implication(left[antecedent], inner)
            elif kind[antecedent] == DISJUNCTION:
                mask &= ~(1 << i)
                mask |= 1 << arena.implication(left[antecedent], consequent)
                mask |= 1 << arena.implication(right[antecedent], consequent)
        return mask

    def _choose(self, mask: int, goal: int) -> bool:
        """The rules that are not invertible: a side of a disjunction, an implication whose antecedent is one."""
        arena = self.arena
        kind, left, right = arena.kind, arena.left, arena.right
        if kind[goal] == DISJUNCTION and (self._prove(mask, left[goal]) or self._prove(mask, right[goal])):
            return True
        for i in bits(mask & arena.implications):
            antecedent, consequent = left[i], right[i]
            if kind[antecedent] != IMPLICATION:
                continue
            rest = mask ^ 1 << i
            smaller = rest | 1 << arena.implication(right[antecedent], consequent) | 1 << left[antecedent]
            if self._prove(smaller, right[antecedent]) and self._prove(rest | 1 << consequent, goal):
                return True
        return False


def decide(sequent: Sequent, step_limit: int = DEFAULT_STEP_LIMIT) -> bool:
    """Whether a sequent is provable without classical axioms. Raises StepLimitError, never guesses."""
    arena = Arena()
    mask = 0
    for formula in sequent.formulas:
        mask |= 1 << arena.add(formula)
    return Decider(arena, step_limit).provable(mask, arena.add(sequent.goal))


def provable(state_text: str, step_limit: int = DEFAULT_STEP_LIMIT) -> bool | None:
    """Whether every goal of a printed proof state is provable with elementary tactics.

    True or False for a propositional state. None if the state is not propositional, or if the step limit was reached.
    """
    try:
        return all(decide(goal, step_limit) for goal in parse_state(state_text))
    except (NotPropositionalError, StepLimitError):
        return None

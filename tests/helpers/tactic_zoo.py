"""Statements, and tactics of every registered kind, for tests that ask whether anything unsound gets through."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from prover.environments import Complete, Progress, ProofClaim, ProofEnvironment, ProofState, StepRequest
from prover.theorems import Theorem

Formula = str | tuple  # a variable, ("¬", f), or (connective, f, g)

_TRUTH: dict[str, Callable[[bool, bool], bool]] = {
    "∧": lambda a, b: a and b,
    "∨": lambda a, b: a or b,
    "→": lambda a, b: not a or b,
    "↔": lambda a, b: a == b,
}


def random_formula(rng: random.Random, depth: int, variables: Sequence[str] = "pqr") -> Formula:
    if depth == 0 or rng.random() < 0.15:
        return rng.choice(variables)
    if rng.random() < 0.2:
        return ("¬", random_formula(rng, depth - 1, variables))
    connective = rng.choice("∧∨→→↔")
    return (connective, random_formula(rng, depth - 1, variables), random_formula(rng, depth - 1, variables))


def written(formula: Formula) -> str:
    if isinstance(formula, str):
        return formula
    if formula[0] == "¬":
        return f"¬({written(formula[1])})"
    return f"({written(formula[1])}) {formula[0]} ({written(formula[2])})"


def holds(formula: Formula, world: dict[str, bool]) -> bool:
    if isinstance(formula, str):
        return world[formula]
    if formula[0] == "¬":
        return not holds(formula[1], world)
    return _TRUTH[formula[0]](holds(formula[1], world), holds(formula[2], world))


def is_tautology(formula: Formula, variables: Sequence[str] = "pqr") -> bool:
    return all(holds(formula, dict(zip(variables, row, strict=True))) for row in product((False, True), repeat=3))


def propositional(rng: random.Random, n: int, *, true: bool, depth: int = 3) -> Iterator[Theorem]:
    """`n` distinct theorems over p, q, r that a truth table confirms (`true`) or refutes."""
    seen: set[str] = set()
    while len(seen) < n:
        formula = random_formula(rng, depth)
        text = written(formula)
        if text not in seen and not isinstance(formula, str) and is_tautology(formula) == true:
            seen.add(text)
            yield Theorem(f"prop_{'true' if true else 'false'}_{len(seen)}", f"(p q r : Prop) : {text}")


FALSE_ARITHMETIC = """
: 2 + 2 = 5
: 0 = 1
: 3 * 3 = 6
: 7 - 3 = 5
: 3 - 7 = 4
: 5 < 3
: 4 ≤ 3
: ¬ 3 ≤ 4
: 2 ≠ 2
: 1 + 1 = 1
: ∃ n : Nat, n < 0
: ∃ n : Nat, n + 1 = 0
: ∃ n : Nat, n = n + 1
: ∃ n : Nat, n * 0 = 1
: 123456789 * 987654321 = 121932631112635268
: 1000000 - 1 = 1000000
(n : Nat) : n = n + 1
(n : Nat) : n + 1 ≤ n
(n : Nat) : n < n
(n m : Nat) : n + m = n
(n m : Nat) : n * m = n + m
(n m : Nat) : n - m = m - n
(n m : Nat) (h : n ≤ m) : m ≤ n
(n m : Nat) (h : n * m = 0) : n = 0
(n m k : Nat) (h : n * k = m * k) : n = m
(n : Nat) : n - 1 + 1 = n
(n : Nat) (h : n ≠ 0) : n = 1
(f : Nat → Nat) (a b : Nat) (h : f a = f b) : a = b
""".strip().splitlines()

FALSE_FIRST_ORDER = """
(α : Type) (p : α → Prop) (h : ∃ x, p x) : ∀ x, p x
(α : Type) (p : α → Prop) (h : ∀ x, p x) : ∃ x, p x
(α : Type) (p : α → Prop) : (∃ x, p x) ∨ (∀ x, p x)
(α : Type) (p q : α → Prop) (h : ∃ x, p x) (k : ∃ x, q x) : ∃ x, p x ∧ q x
(α : Type) (p q : α → Prop) (h : ∀ x, p x ∨ q x) : (∀ x, p x) ∨ (∀ x, q x)
(α : Type) (r : α → α → Prop) (h : ∀ x, ∃ y, r x y) : ∃ y, ∀ x, r x y
(α : Type) (r : α → α → Prop) (h : ∀ x y, r x y → r y x) : ∀ x, r x x
(α : Type) (r : α → α → Prop) (h : ∀ x y z, r x y → r y z → r x z) (a b : α) (k : r a b) : r b a
(α : Type) (a b : α) : a = b
(α : Type) (a b c : α) (h : a ≠ b) (k : b ≠ c) : a ≠ c
(α : Type) (f : α → α) (h : ∀ x, f (f x) = x) : ∀ x, f x = x
(α : Type) (f : α → α) (a b : α) (h : f a = f b) : a = b
(α : Type) (p q : α → Prop) (h : ∀ x, p x → q x) (a : α) (k : q a) : p a
(α : Type) (p : α → Prop) (h : ¬ ∀ x, p x) : ∀ x, ¬ p x
(α : Type) (p : α → Prop) (h : ∃ x, ¬ p x) : ¬ ∃ x, p x
(α β : Type) (h : α = β) (p : α → Prop) (k : ∃ x, p x) : ∃ y : β, False
(α : Type) (p q : α → Prop) : (∀ x, p x ↔ q x) → ∃ x, p x
(α : Sort u) (p : α → Prop) (a b : α) (h : p a) : p b
(p q : Prop) (h : p ↔ q) : p
(p q : Prop) (h : p = q) : q
(p : Prop → Prop) (h : p True) : p False
(p : Prop → Prop) : p True → ∀ q, p q
""".strip().splitlines()


def canaries(rng: random.Random, n: int = 150) -> list[Theorem]:
    """`n` false statements: all the arithmetic and first-order ones above, the rest refuted by truth tables."""
    fixed = [
        *(Theorem(f"arith_{i}", statement) for i, statement in enumerate(FALSE_ARITHMETIC)),
        *(Theorem(f"order_{i}", statement) for i, statement in enumerate(FALSE_FIRST_ORDER)),
    ]
    return [*fixed, *propositional(rng, n - len(fixed), true=False)]


# H, K: a hypothesis; T: a term from the context; P: a formula from the goal; N: new names.
_TEMPLATES = """
intro N|intros|intro N M|rintro N|rintro ⟨N, M⟩|rintro (N | M)|exact H|exact H K|exact H.1|exact H.2|exact ⟨H, K⟩
exact Or.inl H|exact Or.inr H|exact fun N => H|exact H.symm|exact absurd H K|exact False.elim H|apply H
apply And.intro|apply Or.inl|apply Iff.intro|refine ⟨?_, ?_⟩|refine ⟨H, ?_⟩|refine' Or.inl ?_|constructor|and_intros
assumption|contradiction|exfalso|left|right|trivial|exists T|nofun|nomatch H|infer_instance|false_or_by_contra
cases H|rcases H with ⟨N, M⟩|rcases H with N \\| M|obtain ⟨N, M⟩ := H|cases H with \\| intro N M => ?_|induction T
cases T|induction T with \\| zero => ?_ \\| succ N M => ?_|injection H with N|injections|specialize H K
replace H := H K|generalize T = N|have N := H K|have N : P := ?_|have N : P := by assumption
have N := Classical.em P|haveI N := H|let N := T|suffices N : P from ?_|revert H|clear H|rename_i N|rename_i N M
expose_names|rfl|rfl'|eq_refl|apply_rfl|symm|rw [H]|rw [← H]|rw [H] at K|rwa [H]|rewrite [H]|subst H|subst_vars
congr|show P|change P|unfold Not|unfold Ne|delta Not|classical|decide|by_cases N : P|by_cases P|simp|simp [H]
simp only [H]|simp at H|simp_all|simp [*] at *|simp only [ne_eq]|dsimp|dsimp at H|simpa using H|simpa [H]|simpa|skip
try exact H|repeat constructor|repeat' constructor|repeat1' constructor|constructor <;> assumption
all_goals assumption|any_goals assumption|focus constructor|constructor <;> simp_all|rotate_left|rotate_right
first \\| assumption \\| constructor|next => assumption|case' _ => skip|case _ => assumption|· assumption|· simp_all
(intro N; exact N)|with_reducible rfl|with_reducible assumption|with_unfolding_all rfl
with_reducible_and_instances assumption|unhygienic cases H|exact Classical.byContradiction H
refine Classical.byContradiction fun N => ?_|rw [Nat.add_comm]|rw [Nat.mul_comm]|exact Nat.le_of_lt H
exact Nat.le_trans H K|exact Nat.succ_le_succ H|simp [Nat.add_comm]|exact Nat.le_antisymm H K
fail_if_success assumption|refine_lift ⟨?_, ?_⟩|exact Iff.rfl|exact propext H|exact H ▸ K|exact (by decide)|exact T
clear_value N|exact (H : _)|exact match H with \\| ⟨N, M⟩ => N|exact if N : P then H else K|have ⟨N, M⟩ := H
exact Eq.mp H K|exact H.elim|exact H.mp K
""".strip().replace("\n", "|")
TEMPLATES = [
    template.replace("\0", "|") for template in _TEMPLATES.replace("\\\\|", "\0").replace("\\|", "\0").split("|")
]

_HYPOTHESES = re.compile(r"^([^:⊢\n]+?) : (.*)$", re.MULTILINE)


def candidates(rng: random.Random, text: str, n: int) -> list[str]:
    """`n` distinct tactics for a state (fewer when there are no more), of all kinds, filled in from its main goal."""
    goal = text.split("\n\n")[0]
    hypotheses = [name for names, _ in _HYPOTHESES.findall(goal) for name in names.split() if "✝" not in name] or ["h"]
    target = goal.rsplit("⊢ ", 1)[-1].replace("\n", " ")
    parts = [target, *re.findall(r"\(([^()]*)\)", target), *re.split(r" [∧∨→↔=] ", target), "p", "False", "True"]
    formulas = [part.strip() for part in parts if part.count("(") == part.count(")") and "✝" not in part]
    fresh = [f"x{rng.randrange(100)}" for _ in range(2)]
    chosen: dict[str, None] = {}
    for template in rng.sample(TEMPLATES, len(TEMPLATES)):
        tactic = re.sub(r"\bH\b", lambda _: rng.choice(hypotheses), template)
        tactic = re.sub(r"\bK\b", lambda _: rng.choice(hypotheses), tactic)
        tactic = re.sub(r"\bT\b", lambda _: rng.choice([*hypotheses, "0", "1"]), tactic)
        tactic = re.sub(r"\bP\b", lambda _: f"({rng.choice(formulas)})", tactic)
        tactic = re.sub(r"\bN\b", fresh[0], re.sub(r"\bM\b", fresh[1], tactic))
        chosen[tactic] = None
        if len(chosen) == n:
            break
    return list(chosen)


def explore(
    environment: ProofEnvironment,
    theorems: Sequence[Theorem],
    rng: random.Random,
    *,
    rounds: int,
    width: int,
    keep: int = 1,
) -> list[ProofClaim]:
    """Everything that stepping calls complete when each theorem is walked at random for `rounds` waves.

    A wave tries `width` tactics in each of up to `keep` states of every theorem, all theorems together.
    """
    roots = environment.start(theorems)
    assert all(isinstance(root, ProofState) for root in roots), [r for r in roots if not isinstance(r, ProofState)]
    frontier: list[list[ProofState]] = [[root] for root in roots if isinstance(root, ProofState)]
    claims: list[ProofClaim] = []
    for _ in range(rounds):
        requests, owners = [], []
        for owner, states in enumerate(frontier):
            for state in states:
                requests.append(StepRequest(state, tuple(candidates(rng, state.text, width))))
                owners.append(owner)
        reached: list[dict[str, ProofState]] = [{} for _ in frontier]
        for owner, outcomes in zip(owners, environment.step(requests), strict=True):
            for outcome in outcomes:
                if isinstance(outcome, Complete):
                    claims.append(ProofClaim(theorems[owner], outcome.tactics))
                elif isinstance(outcome, Progress):
                    reached[owner].setdefault(outcome.state.key, outcome.state)
        frontier = [
            rng.sample(list(new.values()), min(keep, len(new))) if new else old
            for new, old in zip(reached, frontier, strict=True)
        ]
    return claims

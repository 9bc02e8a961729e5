"""Canaries and random proofs: nothing false is proved, and nothing that stepping calls complete fails certification.

Every registered tactic and all automation is tried (`tactic_zoo.TEMPLATES`). The small sizes run always; the sizes that
the project's claims rest on are marked slow.
"""

import random

import pytest
from tactic_zoo import FALSE_ARITHMETIC, TEMPLATES, canaries, explore, propositional

from prover.environments.script.environment import LeanScript
from prover.theorems import Theorem

TRUE_OTHERS = """
(n m : Nat) : n + m = m + n
(n : Nat) : 0 + n = n
(n m k : Nat) (h : n ≤ m) (k1 : m ≤ k) : n ≤ k
(n : Nat) (h : n + 1 = 0) : False
(a b : Nat) (h : a = b) : b = a
(a b c : Nat) (h : a = b) (k : b = c) : a = c
: 2 + 3 = 5 ∧ ¬ 3 = 4
(f : Nat → Nat) (a b : Nat) (h : a = b) : f a = f b
(α : Type) (p q : α → Prop) (h : ∀ x, p x ∧ q x) : ∀ x, q x ∧ p x
(α : Type) (p q : α → Prop) (h : ∃ x, p x ∧ q x) : (∃ x, p x) ∧ ∃ x, q x
(α : Type) (p : α → Prop) (h : ¬ ∃ x, p x) : ∀ x, ¬ p x
(α : Type) (r : α → α → Prop) (h : ∃ y, ∀ x, r x y) : ∀ x, ∃ y, r x y
(α : Type u) (a b : α) (h : a ≠ b) : b ≠ a
(p : Prop) [Decidable p] (a : Nat) (h : p) : (if p then a else 0) = a
""".strip().splitlines()


def true_statements(rng: random.Random, n: int) -> list[Theorem]:
    others = [Theorem(f"other_{i}", statement) for i, statement in enumerate(TRUE_OTHERS)]
    return [*others, *propositional(rng, n - len(others), true=True)]


def uncertified(lean: LeanScript, theorems: list[Theorem], rng: random.Random, **size: int) -> tuple[int, list[tuple]]:
    """(number of different scripts that stepping calls complete, those that do not certify)."""
    claims = list(dict.fromkeys(explore(lean, theorems, rng, **size)))
    failed = [certificate for certificate in lean.certify(claims) if not certificate.certified]
    return len(claims), [(c.claim.theorem.statement, c.claim.tactics, c.reason) for c in failed]


def test_the_zoo_holds_every_kind_of_tactic() -> None:
    assert len(TEMPLATES) > 140
    assert len(canaries(random.Random(0))) == 150
    assert len({theorem.statement for theorem in canaries(random.Random(0))}) == 150
    assert len(FALSE_ARITHMETIC) >= 25


def test_no_canary_is_proved(lean: LeanScript) -> None:
    rng = random.Random(20)
    claims = explore(lean, canaries(rng)[::3], rng, rounds=2, width=30)
    assert [(claim.theorem.statement, claim.tactics) for claim in claims] == []


@pytest.mark.long
def test_what_stepping_calls_complete_certifies(lean: LeanScript) -> None:
    rng = random.Random(21)
    n_claims, failed = uncertified(lean, true_statements(rng, 30), rng, rounds=2, width=30)
    assert failed == []
    assert n_claims > 20


@pytest.mark.slow  # 2 minutes on two cores
def test_no_canary_is_proved_with_a_generous_budget(lean: LeanScript) -> None:
    rng = random.Random(100)
    claims = explore(lean, canaries(rng), rng, rounds=8, width=len(TEMPLATES))
    assert [(claim.theorem.statement, claim.tactics) for claim in claims] == []


@pytest.mark.slow  # 6 minutes on two cores
def test_five_thousand_random_proofs_certify(lean: LeanScript) -> None:
    total, seed = 0, 200
    while total < 5000:
        rng = random.Random(seed)
        n_claims, failed = uncertified(lean, true_statements(rng, 300), rng, rounds=6, width=60)
        assert failed == []
        total, seed = total + n_claims, seed + 1

"""Steps that a proof does not need are left out, by a real Lean."""

from dataclasses import replace

import pytest

from prover.environments import open_environment
from prover.search.shorten import FoundProof, shorten_proofs
from prover.theorems import Theorem

AND = Theorem("and", "(p q : Prop) (h : p ∧ q) : q ∧ p")


@pytest.fixture(scope="module")
def lean():
    with open_environment("embedded", workers=1) as environment:
        yield environment


def test_needless_steps_are_removed_and_needed_ones_stay(lean):
    detour = FoundProof(AND, ("have h3 : p := h.1", "have h4 : q := h.2", "constructor", "exact h4", "exact h.1"))
    chain = Theorem("chain", "(p q : Prop) (f : p → q) (hp : p) : q ∨ p")
    needed = FoundProof(chain, ("left", "apply f", "exact hp"))
    broken = FoundProof(AND, ("intro h", "exact h"))
    short, same, none = shorten_proofs([detour, needed, broken], lean)
    assert short is not None
    assert short.tactics == ("have h4 : q := h.2", "constructor", "exact h4", "exact h.1")
    assert short.removed == 1
    assert short.steps[0] == ("p q : Prop\nh : p ∧ q\n⊢ q ∧ p", "have h4 : q := h.2")
    assert "h3" not in short.steps[1][0], "states are those of the shorter proof"
    assert same is not None
    assert (same.tactics, same.removed) == (needed.tactics, 0)
    assert none is None


def test_several_needless_steps_go_and_the_rest_is_a_proof(lean):
    theorem = Theorem("imp", "(p q r : Prop) (h : p) : q → p")
    proof = ("have a : p := h", "have b : p := a", "intro hq", "have c : q := hq", "exact h")
    (found,) = shorten_proofs([FoundProof(theorem, proof)], lean)
    assert found is not None
    assert found.tactics == ("intro hq", "exact h")
    assert found.removed == 3


def test_a_shorter_proof_that_is_not_certified_is_not_believed(lean, monkeypatch):
    def refuse(claims):
        return [replace(found, certified=False) for found in certify(claims)]

    certify = lean.certify
    monkeypatch.setattr(lean, "certify", refuse)
    proof = FoundProof(AND, ("have h3 : p := h.1", "exact ⟨h.2, h.1⟩"))
    (found,) = shorten_proofs([proof], lean)
    assert found is not None
    assert (found.tactics, found.removed) == (proof.tactics, 0)

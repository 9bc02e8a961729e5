"""Attacks on certification through names, headers and look-alikes: none may prove what is false."""

from collections.abc import Iterator

import pytest

from prover.environments import ProofClaim, ProofEnvironment, open_environment
from prover.theorems import Theorem


@pytest.fixture(scope="module")
def lean() -> Iterator[ProofEnvironment]:
    with open_environment("embedded", workers=1) as environment:
        yield environment


def claim(name: str, statement: str, *tactics: str, header: str = "") -> ProofClaim:
    return ProofClaim(Theorem(name, statement, header=header), tactics)


ATTACKS = {
    "an axiom in the header": claim("t", ": False", "exact bad", header="axiom bad : False"),
    "an axiom in an opaque wrapper": claim(
        "t", ": False", "exact wrap", header="axiom bad : False\nopaque wrap : False := bad"
    ),
    "an opaque constant by a tactic": claim("t", ": False", "exact (by\n  exact wrap)\nopaque wrap : False := wrap"),
    "a newline in a quoted name": claim("«a\naxiom bad : False\ntheorem b»", ": False", "exact bad"),
    "a newline in a quoted name of the statement": claim("t", "(«p\naxiom bad : False» : Prop) : False", "exact bad"),
    "a newline in a quoted name of a tactic": claim("t", ": False", "intro «a\naxiom bad : False»\nexact bad"),
    "the name of a prelude lemma": claim("And.left", "(p q : Prop) : p", "exact And.left"),
    "the name of a prelude lemma, quoted": claim("«And».«left»", "(p q : Prop) : p", "exact And.left"),
    "the name of a prelude lemma from the root": claim("_root_.False.elim", ": False", "exact False.elim"),
    "the goal renamed": claim("t", ": False", "trivial", header="open True renaming intro → False"),
    "the goal renamed from the root": claim("t", ": False", "trivial", header="open _root_ renaming True → False"),
    "the goal renamed by a tactic": claim("t", ": False", "open True renaming intro → False in exact False"),
    "a Greek capital tau for True's": claim("t", ": Τrue", "trivial"),
    "the same, bound automatically": claim("t", ": Τrue", "trivial", header="set_option autoImplicit true"),
    "Cyrillic letters": claim("t", ": Тruе", "trivial"),
    "full-width letters": claim("t", ": Ｔｒｕｅ", "trivial"),
    "a mathematical alphabet": claim("t", ": 𝐓𝐫𝐮𝐞", "trivial"),
    "an invisible character": claim("t", ": Fal\u200bse", "trivial"),
    "an instance for a notation": claim(
        "t", ": 1 + 1 = 0", "rfl", header="instance (priority := 100000) : HAdd Nat Nat Nat := ⟨fun _ _ => 0⟩"
    ),
    "a definition made an instance": claim(
        "t", ": 1 + 1 = 0", "rfl", header="def bad : HAdd Nat Nat Nat := ⟨fun _ _ => 0⟩\nattribute [instance] bad"
    ),
    "a notation for the goal": claim("t", ": False", "trivial", header='local notation "False" => True'),
    "an instance among the section's variables": claim(
        "t", ": 1 + 1 = 0", "rfl", header="variable [inst : HAdd Nat Nat Nat]"
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_proves_nothing_false(lean: ProofEnvironment, attack: str) -> None:
    (certificate,) = lean.certify([ATTACKS[attack]])
    assert not certificate.certified
    assert certificate.reason


FRIENDLY = {
    "a namespace and a lemma's last name": claim("Mine.left", "(p q : Prop) (h : p ∧ q) : p", "exact h.1"),
    "a quoted name with a blank": claim("«my lemma»", "(p : Prop) (h : p) : p", "exact h"),
    "a variable that looks like True": claim("t", "(Τrue : Prop) (h : Τrue) : Τrue", "exact h"),
    "an instance as a hypothesis": claim("t", "(α : Type) [i : Add α] (a : α) : a + a = a + a", "rfl"),
    "opened names": claim("t", "(n : Nat) : n = n", "rfl", header="open Nat"),
}


@pytest.mark.parametrize("friendly", FRIENDLY)
def test_what_only_looks_like_an_attack_is_certified(lean: ProofEnvironment, friendly: str) -> None:
    (certificate,) = lean.certify([FRIENDLY[friendly]])
    assert certificate.certified, certificate.reason

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.policy.naming import name_state


def test_canonical_names_by_class_and_order() -> None:
    state = "α : Type\nA B : Prop\nx : α\nf : α → Prop\nhab : A → B\nleft✝ : f x\n⊢ B ∨ A"
    canonical = name_state(state).canonical(state)
    assert canonical == "t1 : Type\np1 p2 : Prop\nx1 : t1\nx2 : t1 → Prop\nh1 : p1 → p2\nu1 : x2 x1\n⊢ p2 ∨ p1"


def test_propositions_are_numbered_by_first_use() -> None:
    state = "p q r : Prop\nh : r\n⊢ q ∧ r"
    assert name_state(state).canonical("⊢ q ∧ r") == "⊢ p2 ∧ p1"


def test_bound_variables_and_constants() -> None:
    naming = name_state("α : Type\nP : α → Prop\nh : ∀ z, P z\n⊢ ∃ (w : α), P w ∨ False")
    assert naming.canonical("∃ (w : α), P w ∨ False") == "∃ (y2 : t1), x1 y2 ∨ False"


def test_tactic_round_trip_with_new_names() -> None:
    naming = name_state("p q : Prop\nh2 : p ∧ q\n⊢ q")
    assert naming.canonical_tactic("rcases h2 with ⟨hp, hq⟩") == "rcases h1 with ⟨n1, n2⟩"
    assert naming.original_tactic("rcases h1 with ⟨n1, n2⟩") == "rcases h2 with ⟨h1, h3⟩"
    assert naming.original_tactic("exact Or.inl h1.left") == "exact Or.inl h2.left"
    assert naming.original_tactic("rcases h1 with n1 | n1") == "rcases h2 with h1 | h1"


def test_a_tactic_about_what_is_not_there_is_none() -> None:
    naming = name_state("p q : Prop\nh : p\nx✝ : q\n⊢ q")
    assert naming.original_tactic("exact h2") is None
    assert naming.original_tactic("exact u1") is None  # a name with a dagger cannot be said
    assert naming.original_tactic("exact h1") == "exact h"


NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_']{0,4}", fullmatch=True).filter(
    lambda name: (
        name not in {"fun", "at", "with", "exact", "intro", "True", "False", "Prop", "Type"}
        and not re.match(r"[ptxhuyn]\d", name)
    )
)


@given(st.lists(NAMES, min_size=4, max_size=4, unique=True))
@pytest.mark.filterwarnings("ignore")
def test_states_equal_up_to_renaming_have_one_canonical_text(names: list[str]) -> None:
    p, q, h, k = names
    state = f"{p} {q} : Prop\n{h} : {p} → {q}\n{k} : {p}\n⊢ {q}"
    naming = name_state(state)
    assert naming.canonical(state) == "p1 p2 : Prop\nh1 : p1 → p2\nh2 : p1\n⊢ p2"
    assert naming.original_tactic("exact h1 h2") == f"exact {h} {k}"
    fresh = naming.original_tactic("have n1 := h1 h2")
    assert fresh is not None
    assert fresh.split()[1] not in names

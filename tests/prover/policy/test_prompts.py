import pytest

from prover.policy.prompts import get_template, prompt_key, template_names

STATE = "case inl\np q : Prop\nh : p ∧ q\n⊢ q\n\ncase inr\np q : Prop\nk : q\n⊢ q"


def test_state_tactic_shows_the_main_goal_in_canonical_names() -> None:
    assert get_template("state-tactic/1").prompt(STATE) == "h1 : p1 ∧ p2\n⊢ p2\n[TAC]"


def test_state_tactic_encodes_all_goals() -> None:
    text = get_template("state-tactic/1").encoding_text(STATE)
    assert text == "h1 : p1 ∧ p2\n⊢ p2\n[GOAL]\nh2 : p2\n⊢ p2"


@pytest.mark.parametrize("name", template_names())
def test_completion_and_tactic_are_inverse(name: str) -> None:
    template = get_template(name)
    for tactic in ("exact h.right", "rcases h with ⟨h1, h2⟩", "constructor", "have h1 := h.left", "exact ⟨h.2, h.1⟩"):
        assert template.tactic(template.completion(tactic, STATE), STATE) == tactic


def test_words_with_blanks_between_them_are_read_as_lean() -> None:
    template = get_template("state-tactic/1")
    assert template.tactic("exact ⟨ h1 .right , h1 .left ⟩", STATE) == "exact ⟨h.right, h.left⟩"
    assert template.tactic("", STATE) is None


def test_prompt_key_is_of_the_main_goal_in_its_own_names() -> None:
    template = get_template("state-tactic/1")
    other_goal = STATE.replace("k : q", "k : p")
    renamed = STATE.replace("h :", "g :")
    assert prompt_key(template, STATE) == prompt_key(template, other_goal)
    assert template.prompt(STATE) == template.prompt(renamed)
    assert prompt_key(template, STATE) != prompt_key(template, renamed)


def test_deepseek_prompt_is_the_model_cards_format() -> None:
    assert get_template("deepseek-prover-v2/1").prompt(STATE) == (
        "<｜begin▁of▁sentence｜><｜User｜>Complete the following Lean 4 code:\n\n```lean4\n"
        "example (p q : Prop) (h : p ∧ q) : q := by\n  sorry\n```<｜Assistant｜>```lean4\n"
        "example (p q : Prop) (h : p ∧ q) : q := by\n"
    )


def test_comments_and_fences_are_no_tactics() -> None:
    template = get_template("deepseek-prover-v2/1")
    assert template.tactic("  -- a comment", STATE) is None
    assert template.tactic("```", STATE) is None
    assert template.tactic("  exact h.2\n  done", STATE) == "exact h.2"


def test_shorten_drops_the_oldest_hypothesis_with_its_continuation_lines() -> None:
    template = get_template("goal-proofstep/1")
    assert template.shorten("h : p ∧\n    q\nk : q\n⊢ q") == "k : q\n⊢ q"
    assert template.shorten("⊢ q") is None


def test_unknown_template_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="state-tactic/1"):
        get_template("state-tactic/9")

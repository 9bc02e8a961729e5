import json
from pathlib import Path

import pytest

from prover.policy.context import StateText
from prover.policy.prompts import (
    STATE_COMMENT,
    get_template,
    prompt_key,
    template_for,
    template_identity,
    template_names,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "prompts.json").read_text(encoding="utf-8"))

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


@pytest.mark.parametrize("name", template_names())
def test_golden_prompts(name: str) -> None:
    """A change of one character is a new version of the template."""
    context = GOLDEN["context"]
    state = StateText(
        GOLDEN["state"], name=context["name"], header=context["header"], history=tuple(context["history"])
    )
    assert get_template(name).prompt(state).split("\n") == GOLDEN["prompts"][name]


def test_every_golden_prompt_has_its_template() -> None:
    assert sorted(GOLDEN["prompts"]) == template_names()


@pytest.mark.parametrize(
    ("model", "template"),
    [
        ("deepseek-ai/DeepSeek-Prover-V2-7B", "deepseek-prover-v2/1"),
        ("/models/BFS-Prover-V2-32B", "bfs-prover/1"),
        ("internlm/internlm2_5-step-prover", "internlm2.5-step-prover/1"),
        ("AI-MO/Kimina-Prover-Preview-Distill-7B", "kimina-prover/1"),
        ("Goedel-LM/Goedel-Prover-V2-8B", "goedel-prover-v2/1"),
        ("SmolLM2-135M", None),
    ],
)
def test_the_template_follows_from_the_models_name(model: str, template: str | None) -> None:
    assert template_for("served-name", model) == template
    assert STATE_COMMENT in template_names()


def test_reprover_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="encoder-decoder"):
        template_for("kaiyuy/leandojo-lean4-tacgen-byt5-small")


def test_prompt_key_covers_what_the_prompt_shows() -> None:
    template = get_template("internlm2.5-step-prover/1")
    here = StateText(STATE, name="a", history=("intro h",))
    assert prompt_key(template, here) == prompt_key(template, StateText(STATE, name="a", history=("intro h",)))
    assert prompt_key(template, here) != prompt_key(template, StateText(STATE, name="b", history=("intro h",)))
    assert prompt_key(template, here) != prompt_key(template, StateText(STATE, name="a", history=("intro k",)))
    assert prompt_key(template, here) != prompt_key(template, here.with_text(STATE.replace("k : q", "k : p")))
    plain = get_template("state-tactic/1")
    assert prompt_key(plain, here) == prompt_key(plain, STATE)


def test_a_template_that_shows_all_goals_loses_the_later_ones_first() -> None:
    template = get_template("bfs-prover/1")
    shorter = template.shorten(StateText(STATE, name="a"))
    assert shorter == "p q : Prop\nh : p ∧ q\n⊢ q"
    assert isinstance(shorter, StateText)
    assert shorter.name == "a"
    assert template.shorten(shorter) == "h : p ∧ q\n⊢ q"


def test_a_file_of_ones_own_is_known_by_its_contents(tmp_path: Path) -> None:
    text = '{#\nname = "mine/1"\n#}\n{{ state }} =>'
    file = tmp_path / "mine.jinja"
    file.write_text(text, encoding="utf-8")
    first = get_template(str(file))
    assert first.prompt("⊢ p") == "⊢ p =>"
    file.write_text(text + ">", encoding="utf-8")
    assert template_identity(first) != template_identity(get_template(str(file)))
    assert template_identity(get_template("bfs-prover/1")) == "bfs-prover/1"

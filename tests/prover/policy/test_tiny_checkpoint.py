"""The checkpoints that the package ships."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from prover.environments import Complete, Progress, StepRequest, open_environment
from prover.environments.script.embedded import LeanUnavailable
from prover.policy import HuggingFacePolicy, load_policy
from prover.policy.tiny.architecture import make_tokenizer, model_config, vocabulary
from prover.policy.weights import TINY_CHECKPOINT, WORLDS_CHECKPOINT
from prover.theorems import TheoremSet

BOTH = pytest.mark.parametrize(
    ("checkpoint", "worlds"), [(TINY_CHECKPOINT, False), (WORLDS_CHECKPOINT, True)], ids=["default", "worlds"]
)


@pytest.fixture(scope="module")
def tiny() -> HuggingFacePolicy:
    return load_policy(device="cpu")


@BOTH
def test_format_and_size(checkpoint: Path, worlds: bool) -> None:
    names = {file.name for file in checkpoint.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert sum(file.stat().st_size for file in checkpoint.iterdir()) <= 3_000_000
    with safe_open(checkpoint / "model.safetensors", "pt") as weights:
        n_parameters = sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118
    assert 400_000 <= n_parameters <= 600_000


@BOTH
def test_it_is_what_the_training_script_would_write(checkpoint: Path, worlds: bool) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    wanted = model_config(worlds=worlds).to_dict()
    for key in ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "prover_template"):
        assert config[key] == wanted[key]
    shipped = json.loads((checkpoint / "tokenizer.json").read_text())
    assert list(shipped["model"]["vocab"]) == vocabulary(worlds=worlds)
    assert shipped == json.loads(make_tokenizer(worlds=worlds).backend_tokenizer.to_str())


@pytest.mark.parametrize(
    ("state", "tactic"),
    [
        ("p q : Prop\nh : p\nk : q\n⊢ p", "exact h"),
        ("A B : Prop\nhn : ¬B\nhb : B\n⊢ A", "contradiction"),
        ("p q : Prop\n⊢ p → q → p", "intro h1"),
        ("p q : Prop\nh₁ : p ∧ q\n⊢ q", "rcases h₁ with ⟨h1, h2⟩"),
    ],
)
def test_first_choice_on_plain_states(tiny: HuggingFacePolicy, state: str, tactic: str) -> None:
    assert tiny.generate([state], 8)[0][0].tactic == tactic


def test_what_has_to_be_searched_for_is_among_its_candidates(tiny: HuggingFacePolicy) -> None:
    said = [c.tactic for c in tiny.generate(["p q : Prop\nh : p ∨ q\n⊢ q ∨ p"], 8)[0]]
    assert {"rcases h with h1 | h1", "left", "right"} <= set(said)


def test_it_says_elementary_tactics_only(tiny: HuggingFacePolicy) -> None:
    theorems = TheoremSet.load("propositional", split="test", limit=60)
    states = [f"p q r s t : Prop\n⊢ {theorem.statement.split(') : ')[-1].lstrip(': ')}" for theorem in theorems]
    for candidates in tiny.generate(states, 8):
        assert candidates
        for candidate in candidates:
            assert not {"simp", "simp_all", "decide", "by_cases", "omega", "sorry"} & set(candidate.tactic.split())


@pytest.mark.long
def test_lean_accepts_a_quarter_of_its_candidates(tiny: HuggingFacePolicy) -> None:
    theorems = list(TheoremSet.load("propositional", split="test", limit=40))
    try:
        environment = open_environment("embedded", workers=1)
    except LeanUnavailable as error:
        pytest.skip(f"no embedded Lean here: {error}")
    accepted = tried = 0
    with environment:
        states = environment.start(theorems)
        for _ in range(3):  # the roots, then the best child of each, and its best child
            candidates = tiny.generate([state.text for state in states], 8)
            requests = [
                StepRequest(state, tuple(c.tactic for c in some))
                for state, some in zip(states, candidates, strict=True)
            ]
            following = []
            for outcomes in environment.step(requests):
                tried += len(outcomes)
                accepted += sum(isinstance(outcome, Progress | Complete) for outcome in outcomes)
                following += [outcome.state for outcome in outcomes if isinstance(outcome, Progress)][:1]
            states = following
    assert accepted / tried >= 0.25


@pytest.mark.parametrize(
    ("state", "tactic"),
    [
        ("a b : Nat\nh : a = b\n⊢ b = a", "symm"),
        ("a : Nat\n⊢ a + 0 = a", "rfl"),
        ("α : Type\nP : α → Prop\na : α\nh : P a\n⊢ ∃ x, P x", "refine ⟨a, ?_⟩"),
        ("α : Type\nP Q : α → Prop\nh : ∃ x, P x ∧ Q x\n⊢ False", "obtain ⟨h1, h2⟩ := h"),
    ],
)
def test_the_policy_for_all_worlds_knows_the_others(state: str, tactic: str) -> None:
    policy = load_policy("worlds", device="cpu")
    assert tactic in [candidate.tactic for candidate in policy.generate([state], 8)[0]]

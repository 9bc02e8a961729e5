"""Every family's log-probs and vectors, against teacher forcing by transformers alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from prover.policy import DecodingConfig, HuggingFacePolicy, load_policy
from prover.policy.faithful import shrunken_copy, tree_attention_is_faithful
from prover.policy.pooling import early_layer
from prover.policy.tiny.architecture import END, vocabulary
from tests.helpers.families import FAMILIES, save_family, tiny_model

HYPOTHESES = "".join(f"h{i} : p ∧ q → r\n" for i in range(1, 5))
STATES = [f"p q r : Prop\n{HYPOTHESES}⊢ r", f"p q r : Prop\n{HYPOTHESES}hp : p\n⊢ q ∨ r", "p : Prop\n⊢ p → p"]


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(request.param, tmp_path_factory.mktemp("families") / request.param)


def _teacher_forced(model: Any, prompt: list[int], said: list[int]) -> float:
    log_probs = torch.log_softmax(model(torch.tensor([prompt + said])).logits[0].float(), dim=-1)
    return sum(float(log_probs[len(prompt) - 1 + i, token]) for i, token in enumerate(said))


def _errors(policy: HuggingFacePolicy, model: Any) -> list[float]:
    """Log-prob of each completion minus that of one plain forward pass over the whole sequence, nats."""
    end = vocabulary().index(END)
    prompts = policy._prompt_tokens(STATES)
    assert max(map(len, prompts)) > 20  # beyond the windows
    with torch.inference_mode():
        made = policy._complete(prompts, STATES, 6)
        return [
            completion.log_prob - _teacher_forced(model, prompt, [*completion.tokens, end])
            for prompt, completions in zip(prompts, made, strict=True)
            for completion in completions
        ]


def test_log_probs_and_vectors_are_the_models_own(folder: Path) -> None:
    policy = load_policy(
        folder, device="cpu", pooling="mean+max+last+early", decoding=DecodingConfig(max_tactic_tokens=12)
    )
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert policy.decodes_fast
    errors = _errors(policy, reference)
    assert len(errors) >= 6
    np.testing.assert_allclose(errors, 0, atol=1e-3)
    vectors = policy.encode_only(STATES)
    for state, vector in zip(STATES, vectors, strict=True):
        ids = torch.tensor(policy._tokenize([policy.template.encoding_text(state)]))
        with torch.inference_mode():
            hidden = reference(ids, output_hidden_states=True).hidden_states
        last, early = hidden[-1][0], hidden[early_layer(3)][0]
        expected = torch.cat([last.mean(0), last.amax(0), last[-1], early.mean(0)]).numpy()
        np.testing.assert_allclose(vector, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)])
def test_half_precision_keeps_the_fast_decoder(family: str, dtype: torch.dtype) -> None:
    with torch.inference_mode():
        assert tree_attention_is_faithful(tiny_model(family, dtype), pad_id=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_class_that_ignores_the_mask_is_found_out_in_every_dtype(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    model = tiny_model("llama", dtype)
    honest = type(model).forward

    def forward(
        self: Any, input_ids: Any = None, attention_mask: Any = None, logits_to_keep: int = 0, **rest: Any
    ) -> Any:
        return honest(self, input_ids=input_ids, logits_to_keep=logits_to_keep, **rest)

    monkeypatch.setattr(type(model), "forward", forward)
    with torch.inference_mode():
        assert not tree_attention_is_faithful(model, pad_id=0)


@pytest.mark.parametrize("family", ["mistral-window", "gemma3", "gpt-oss"])
def test_a_window_longer_than_the_check_is_seen_all_the_same(monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """A tree whose mask knows no windows is right on every short prompt, and must still be refused."""
    from prover.policy import decoder
    from prover.policy.decoder import Reach

    model = tiny_model(family)
    model.config.sliding_window = 4096
    assert shrunken_copy(model).config.sliding_window < 10
    with torch.inference_mode():
        assert tree_attention_is_faithful(model, pad_id=0)
        monkeypatch.setattr(Reach, "limit", lambda self, visible, slots, position: visible)
        assert not tree_attention_is_faithful(model, pad_id=0)
    assert decoder.reaches(model.config)


def test_the_slow_decoder_is_right_too_and_makes_logits_of_one_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load_policy(
        save_family("gemma3", tmp_path / "gemma3"), device="cpu", decoding=DecodingConfig(max_tactic_tokens=6)
    )
    model = policy._loaded.model
    reference = AutoModelForCausalLM.from_pretrained(tmp_path / "gemma3", dtype=torch.float32).eval()
    monkeypatch.setattr(policy._loaded, "faithful", False)
    shapes = []
    handle = model.lm_head.register_forward_hook(lambda module, given, made: shapes.append(made.shape[1]))
    errors = _errors(policy, reference)
    handle.remove()
    np.testing.assert_allclose(errors, 0, atol=1e-3)
    assert set(shapes) == {1}


def test_a_long_prompt_of_a_shared_prefix_is_read_once(tmp_path: Path) -> None:
    """The same candidates and vectors as one by one, with fewer tokens through the model."""
    policy = load_policy(
        save_family("gemma3", tmp_path / "gemma3"), device="cpu", decoding=DecodingConfig(max_tactic_tokens=6)
    )
    shared = "p q r : Prop\n" + "".join(f"h{i} : p ∧ q → r ∨ p\n" for i in range(1, 13))
    states = [f"{shared}⊢ {goal}" for goal in ("p", "q ∧ r", "r", "p ∨ q", "q", "p ∧ p", "p → q")]
    read = []

    def count(module: Any, given: Any, named: Any) -> None:
        if named["input_ids"].shape[1] > 6:  # not a step of beams
            read.append(named["input_ids"].numel())

    alone_vectors = np.concatenate([policy.encode_only([state]) for state in states])
    alone = [policy.generate([state], 4)[0] for state in states]
    policy._loaded.model.model.register_forward_pre_hook(count, with_kwargs=True)
    together = policy.generate(states, 4)
    n_tokens = sum(len(ids) for ids in policy._prompt_tokens(states))
    assert sum(read) < 0.4 * n_tokens
    for one, many in zip(alone, together, strict=True):
        assert [c.tactic for c in one] == [c.tactic for c in many]
        np.testing.assert_allclose([c.log_prob for c in one], [c.log_prob for c in many], atol=1e-3)
    read.clear()
    np.testing.assert_allclose(policy.encode_only(states), alone_vectors, atol=1e-4, rtol=1e-4)
    assert sum(read) < 0.4 * n_tokens

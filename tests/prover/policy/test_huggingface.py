import copy
import json
import math
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from prover.policy import (
    DecodingConfig,
    FingerprintedPolicy,
    HuggingFacePolicy,
    PolicyError,
    TacticGenerator,
    load_policy,
)
from prover.policy.decoder import PlainDecoder, TreeDecoder
from prover.policy.faithful import fused_copy, tree_attention_is_faithful
from prover.policy.fused import FusedLlama, can_be_fused
from prover.policy.pooling import early_layer
from prover.policy.tiny.architecture import END, make_tokenizer, vocabulary
from prover.policy.weights import PolicyLoadError

# ---- generation


def test_is_a_fingerprinted_policy(policy: HuggingFacePolicy) -> None:
    assert isinstance(policy, TacticGenerator)
    typed: FingerprintedPolicy = policy
    assert typed.hidden_size == 32
    assert typed.encoding_width == 96
    assert typed.pooling == "mean+max+early/1"


def test_log_prob_is_the_models_own_over_tactic_and_end(policy: HuggingFacePolicy, states: list[str]) -> None:
    """Recompute each completion's log-probability by one plain forward pass over prompt, tactic and end."""
    model, end = policy._loaded.model, vocabulary().index(END)
    prompts = policy._prompt_tokens(states)
    with torch.inference_mode():
        made = policy._complete(prompts, states, 6)
        for prompt, completions in zip(prompts, made, strict=True):
            assert len({c.tokens for c in completions}) == len(completions) == 6
            for completion in completions:
                said = [*completion.tokens, end]
                log_probs = torch.log_softmax(model(torch.tensor([prompt + said])).logits[0], dim=-1)
                expected = sum(float(log_probs[len(prompt) - 1 + i, token]) for i, token in enumerate(said))
                assert completion.log_prob == pytest.approx(expected, abs=1e-3)


def test_candidates_are_distinct_and_best_first(policy: HuggingFacePolicy, states: list[str]) -> None:
    for candidates in policy.generate(states, 6):
        assert 1 <= len(candidates) <= 6
        assert len({c.tactic for c in candidates}) == len(candidates)
        assert [c.log_prob for c in candidates] == sorted((c.log_prob for c in candidates), reverse=True)
        assert all(c.n_tokens >= 1 and c.log_prob < 0 for c in candidates)


@pytest.mark.parametrize("decoding", [DecodingConfig(), DecodingConfig(method="sample", seed=3, temperature=1.3)])
def test_candidates_do_not_depend_on_the_batch(
    policy: HuggingFacePolicy, states: list[str], decoding: DecodingConfig
) -> None:
    policy = policy.with_decoding(decoding)
    together = policy.generate(states, 8)
    backwards = policy.generate(states[::-1], 8, batch_size=3)[::-1]
    alone = [policy.generate([state], 8)[0] for state in states]
    for a, b, c in zip(together, backwards, alone, strict=True):
        assert [x.tactic for x in a] == [x.tactic for x in b] == [x.tactic for x in c]
        np.testing.assert_allclose([x.log_prob for x in a], [x.log_prob for x in b], atol=1e-4)
        np.testing.assert_allclose([x.log_prob for x in a], [x.log_prob for x in c], atol=1e-4)


def test_equal_goals_get_equal_candidates_in_their_own_names(policy: HuggingFacePolicy) -> None:
    one, renamed = "p q : Prop\nh : p ∧ q\n⊢ q", "A B : Prop\nfoo : A ∧ B\n⊢ B"
    first, second = policy.generate([one, renamed], 8)
    assert [c.log_prob for c in first] == pytest.approx([c.log_prob for c in second], abs=1e-4)
    assert not any("foo" in c.tactic for c in first)


def test_sampling_is_seeded(policy: HuggingFacePolicy, states: list[str]) -> None:
    def sample(seed: int) -> list[list[str]]:
        view = policy.with_decoding(DecodingConfig(method="sample", seed=seed))
        return [[c.tactic for c in candidates] for candidates in view.generate(states, 4)]

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_a_finished_state_has_no_candidates_and_order_is_kept(policy: HuggingFacePolicy, states: list[str]) -> None:
    made = policy.generate(["", states[0]], 3)
    assert made[0] == []
    assert made[1] == policy.generate([states[0]], 3)[0]
    assert policy.generate([], 3) == []


def test_long_states_lose_old_hypotheses_and_are_counted(random_checkpoint: Path) -> None:
    policy = load_policy(random_checkpoint, device="cpu", decoding=DecodingConfig(max_prompt_tokens=12))
    long = "p : Prop\n" + "".join(f"h{i} : p ∧ p\n" for i in range(20)) + "⊢ p"
    policy.generate([long], 4)
    assert policy.counters.prompts_shortened == 1
    assert policy.generate(["p : Prop\n⊢ " + " ∧ ".join(["p"] * 40)], 4) == [[]]
    assert policy.counters.prompts_too_long == 1


# ---- encoding


def test_vectors_do_not_depend_on_the_batch(policy: HuggingFacePolicy, states: list[str]) -> None:
    together = policy.encode_only(states)
    assert together.shape == (len(states), 96)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    alone = np.concatenate([policy.encode_only([state]) for state in states])
    np.testing.assert_allclose(together, alone, atol=2e-5)
    np.testing.assert_allclose(policy.encode_only(states[::-1], batch_size=2)[::-1], together, atol=2e-5)


def test_poolings_are_what_they_say(policy: HuggingFacePolicy, states: list[str]) -> None:
    """Against transformers' own hidden states of the one state, unpadded."""
    model = AutoModelForCausalLM.from_pretrained(policy._loaded.tokenizer.name_or_path)
    ids = make_tokenizer()(policy.template.encoding_text(states[3]), return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        hidden = model(ids["input_ids"], output_hidden_states=True).hidden_states
    expected = {
        "mean": hidden[-1][0].mean(0),
        "max": hidden[-1][0].amax(0),
        "last": hidden[-1][0, -1],
        "early": hidden[early_layer(3)][0].mean(0),
    }
    for name in ("mean", "max", "last", "early", "mean+max", "mean+max+early", "last+mean+max+early"):
        view = policy.with_pooling(name)
        reference = np.concatenate([expected[part].numpy() for part in name.split("+")])
        np.testing.assert_allclose(view.encode_only(states)[3], reference, atol=2e-5)
        assert view.encoding_width == len(reference)


def test_early_layer_is_a_third_of_the_depth() -> None:
    assert [early_layer(n) for n in (1, 2, 3, 30)] == [1, 1, 1, 10]


def test_long_encodings_are_cut_and_counted(random_checkpoint: Path, states: list[str]) -> None:
    policy = load_policy(random_checkpoint, device="cpu", decoding=DecodingConfig(max_encoding_tokens=5))
    assert policy.encode_only(states).shape == (len(states), 96)
    whole = policy._tokenize([policy.template.encoding_text(state) for state in states])
    assert policy.counters.encodings_truncated == sum(len(tokens) > 5 for tokens in whole) > 0


def test_an_empty_state_has_no_vector(policy: HuggingFacePolicy) -> None:
    with pytest.raises(ValueError, match="empty state"):
        policy.encode_only(["p : Prop\n⊢ p", ""])
    assert policy.encode_only([]).shape == (0, 96)


# ---- fingerprints


def test_fingerprints_say_what_matters(policy: HuggingFacePolicy, random_checkpoint: Path, tmp_path: Path) -> None:
    again = load_policy(random_checkpoint, device="cpu")
    assert (again.fingerprint, again.encoder_fingerprint) == (policy.fingerprint, policy.encoder_fingerprint)
    pooled, sampled = policy.with_pooling("mean"), policy.with_decoding(DecodingConfig(method="sample"))
    assert pooled.fingerprint == policy.fingerprint
    assert pooled.encoder_fingerprint != policy.encoder_fingerprint
    assert sampled.fingerprint != policy.fingerprint
    assert sampled.encoder_fingerprint == policy.encoder_fingerprint

    copied = tmp_path / "elsewhere"
    shutil.copytree(random_checkpoint, copied)
    assert load_policy(copied, device="cpu").fingerprint == policy.fingerprint
    weights = bytearray((copied / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copied / "model.safetensors").write_bytes(weights)
    changed = load_policy(copied, device="cpu")
    assert changed.fingerprint != policy.fingerprint
    assert changed.encoder_fingerprint != policy.encoder_fingerprint
    assert load_policy(random_checkpoint, device="cpu", template="state-comment/1").fingerprint != policy.fingerprint


# ---- other architectures


def _neox() -> GPTNeoXForCausalLM:
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32)
    )


def _gpt2() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=128))


@pytest.mark.parametrize("make", [_neox, _gpt2])
def test_tree_decoding_is_faithful_to_other_models(make) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        assert tree_attention_is_faithful(make().eval(), pad_id=0)


def test_a_model_that_ignores_the_mask_is_found_out() -> None:
    model = _neox().eval()
    honest = model.forward
    model.forward = lambda *args, attention_mask=None, **kwargs: honest(*args, **kwargs)
    with torch.inference_mode():
        assert not tree_attention_is_faithful(model, pad_id=0)


def test_plain_decoder_gives_the_same_candidates(
    policy: HuggingFacePolicy, states: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = policy.generate(states, 5)
    monkeypatch.setattr(policy._loaded, "faithful", False)
    plain = policy.generate(states, 5)
    assert [[c.tactic for c in row] for row in plain] == [[c.tactic for c in row] for row in tree]


def test_cache_rows_can_be_dropped(policy: HuggingFacePolicy) -> None:
    model = policy._loaded.model
    prompts = [[5, 6, 7, 8], [9, 10], [11, 12, 13]]
    with torch.inference_mode():
        decoders = TreeDecoder(model, prompts, 0), PlainDecoder(model, prompts)
        first = torch.tensor([[p[-1]] for p in prompts])
        for decoder in decoders:
            decoder.step(first, torch.zeros_like(first))
            decoder.keep(torch.tensor([0, 2]))
        tokens = torch.tensor([[20, 21, 22], [23, 24, 25]])
        tree, plain = (decoder.step(tokens, torch.zeros_like(tokens)) for decoder in decoders)
    torch.testing.assert_close(tree, plain, atol=1e-4, rtol=0)


def test_the_fused_pass_gives_the_models_own_numbers(policy: HuggingFacePolicy, states: list[str]) -> None:
    """Beams of a batch with a prefix read once, of a shipped model and of one with random weights."""
    with torch.inference_mode():
        for model in (policy._loaded.model, load_policy(device="cpu")._loaded.model):
            fused = fused_copy(model, 0)
            assert fused is not None
            prompts = [[5, 6, 7, 8], [5, 6, 7], [11, 12, 13, 14, 15]]
            decoders = TreeDecoder(model, prompts, 0, fused=fused), TreeDecoder(model, prompts, 0)
            for tokens, parents in (
                (torch.tensor([[p[-1]] for p in prompts]), torch.zeros(3, 1, dtype=torch.int64)),
                (torch.tensor([[20, 21], [23, 24], [9, 9]]), torch.zeros(3, 2, dtype=torch.int64)),
                (torch.tensor([[4, 5], [6, 7], [8, 3]]), torch.tensor([[1, 0], [1, 1], [0, 1]])),
            ):
                first, second = (decoder.step(tokens, parents) for decoder in decoders)
                torch.testing.assert_close(first, second, atol=1e-4, rtol=0)
    policy.generate(states[:1], 1)
    assert policy._loaded.fused is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"num_key_value_heads": 1},
        {"attention_bias": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_llama_is_not_fused(changed: dict[str, Any]) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=30, **(shape | changed))
    assert not can_be_fused(LlamaForCausalLM(config))
    assert can_be_fused(LlamaForCausalLM(LlamaConfig(vocab_size=30, **shape)))
    assert not can_be_fused(LlamaForCausalLM(LlamaConfig(vocab_size=30, **shape)).to(torch.bfloat16))


def test_a_fused_pass_that_is_off_is_not_used(
    policy: HuggingFacePolicy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("prover.policy.faithful.FusedLlama", lambda model: FusedLlama(wrong(model)))

    def wrong(model: Any) -> Any:
        model.config.rms_norm_eps *= 1e4
        return model

    with torch.inference_mode():
        assert fused_copy(copy.deepcopy(policy._loaded.model), 0) is None
    assert "the fused forward pass is off by" in caplog.text


# ---- loading


def test_no_network_is_touched(random_checkpoint: Path, states: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a network connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_policy(random_checkpoint, device="cpu").generate(states[:1], 2)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(PolicyLoadError, match="no such model folder"):
        load_policy(tmp_path / "nowhere")


def test_hub_id_while_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PolicyLoadError, match="hf download no-such-organisation/no-such-model"):
        load_policy("no-such-organisation/no-such-model")


def test_pickled_weights_are_refused(random_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(random_checkpoint, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PolicyLoadError, match="Unpickling can run code"):
        load_policy(folder)


def _spoilt(source: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """A copy of a model with other tensors."""
    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_weights_that_are_cut_off_or_do_not_fit_are_refused(random_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(random_checkpoint, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(PolicyLoadError, match="cannot be loaded as a causal language model"):
        load_policy(tmp_path / "cut")

    def shorten(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"] = tensors["model.norm.weight"][:-1].clone()

    with pytest.raises(PolicyLoadError, match="cannot be loaded as a causal language model"):
        load_policy(_spoilt(random_checkpoint, tmp_path / "short", shorten))


def test_missing_weights_are_not_made_up(random_checkpoint: Path, tmp_path: Path) -> None:
    """The library fills them with random numbers: another policy at every start, under the same fingerprint."""
    folder = _spoilt(random_checkpoint, tmp_path / "part", lambda tensors: tensors.pop("model.norm.weight"))
    with pytest.raises(PolicyLoadError, match=r"lacks 1 of the model's weights, e\.g\. model\.norm\.weight"):
        load_policy(folder)


def test_a_model_that_gives_nan_is_an_error_and_not_out_of_tactics(random_checkpoint: Path, tmp_path: Path) -> None:
    folder = _spoilt(random_checkpoint, tmp_path / "nan", lambda tensors: tensors["model.norm.weight"].fill_(math.nan))
    with pytest.raises(PolicyError, match="NaN instead of probabilities"):
        load_policy(folder).generate(["p : Prop\nh : p\n⊢ p"], 4)


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_torch_does_not_have_is_named(random_checkpoint: Path, device: str) -> None:
    with pytest.raises(PolicyLoadError, match=f"device '{device}' cannot be used"):
        load_policy(random_checkpoint, device=device)


def test_no_tokenizer(random_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mute"
    shutil.copytree(random_checkpoint, folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(PolicyLoadError, match="has no tokenizer"):
        load_policy(folder)


def test_code_in_a_folder_is_not_run(random_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "remote"
    shutil.copytree(random_checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="mine", auto_map={"AutoConfig": "code.Mine", "AutoModelForCausalLM": "code.Mine"})
    (folder / "config.json").write_text(json.dumps(config))
    witness = tmp_path / "it-ran"
    (folder / "code.py").write_text(f"open({str(witness)!r}, 'w').close()\n")
    with pytest.raises(PolicyLoadError):
        load_policy(folder)
    assert not witness.exists()


def test_missing_shard_is_named(random_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    shutil.copytree(random_checkpoint, folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-00002.safetensors"}}))
    with pytest.raises(PolicyLoadError, match=r"model-00002\.safetensors"):
        load_policy(folder)


@pytest.mark.parametrize(("key", "value"), [("pooling", "median"), ("pooling", "mean/2"), ("template", "poem/1")])
def test_unknown_choices_are_value_errors(random_checkpoint: Path, key: str, value: str) -> None:
    with pytest.raises(ValueError, match=value.split("/")[0]):
        load_policy(random_checkpoint, **{key: value})


@pytest.mark.parametrize("wrong", [{"method": "greedy"}, {"temperature": 0.0}, {"max_tactic_tokens": 0}])
def test_wrong_decoding_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong)))):
        DecodingConfig(**wrong)


def test_vocabulary_covers_the_language_of_the_prompts() -> None:
    tokenizer = make_tokenizer()
    text = "h1 : p1 ∧ p2 ↔ ¬p3 ∨ (True → False)\nu1 : ∃ y1, x1 y1\n⊢ p1\n[GOAL]\n⊢ p2\n[TAC]"
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]
    tactic = "have n1 := h1 ?_ ; rcases h2 with ⟨n2, n3⟩ | n4 ; exact Or.inl (h40 .mp h12 .1)"
    assert tokenizer.unk_token_id not in tokenizer(tactic)["input_ids"]
    assert len(set(vocabulary())) == len(vocabulary())

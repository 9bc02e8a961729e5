"""Batches by tokens: little padding, halved where memory does not hold, digests read once."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prover.policy import DecodingConfig, HuggingFacePolicy, PolicyError, digests, load_policy
from prover.policy.batching import plan
from prover.policy.huggingface import context_tokens
from prover.policy.memory import estimate, table
from prover.policy.prefixes import shared_prefixes


def test_a_plan_covers_all_and_keeps_to_the_budget() -> None:
    lengths = sorted([3, 3, 4, 50, 51, 51, 52, 200, 200, 210, 900])
    parts = plan(lengths, budget=256, overhead=16)
    assert [i for part in parts for i in part] == list(range(len(lengths)))
    for part in parts:
        assert len(part) == 1 or len(part) * lengths[part[-1]] <= 256
    read = sum(len(part) * lengths[part[-1]] for part in parts)
    assert 1 - sum(lengths) / read <= 0.05
    assert [len(part) for part in plan([5] * 7, budget=1000, overhead=16, most=3)] in ([3, 3, 1], [1, 3, 3], [3, 1, 3])
    assert plan([], budget=10, overhead=1) == []


def _short_of_memory(monkeypatch: pytest.MonkeyPatch, policy: HuggingFacePolicy, most: int) -> list[int]:
    """The model's layers run out of memory for more than `most` rows. Returns the rows of each call that fits."""
    decoder = policy._loaded.model.model
    honest, rows = decoder.forward, []

    def forward(*args: Any, input_ids: torch.Tensor, **named: Any) -> Any:
        if len(input_ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 44.00 GiB.\nMore lines")
        rows.append(len(input_ids))
        return honest(*args, input_ids=input_ids, **named)

    monkeypatch.setattr(decoder, "forward", forward)
    if policy._loaded.fused is not None:
        honest_read = policy._loaded.fused.read

        def read(ids: torch.Tensor, *args: Any) -> torch.Tensor:
            if len(ids) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 44.00 GiB.\nMore lines")
            rows.append(len(ids))
            return honest_read(ids, *args)

        monkeypatch.setattr(policy._loaded.fused, "read", read)
    return rows


def test_a_batch_that_does_not_fit_is_halved_and_said(
    random_checkpoint: Path, states: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    policy = load_policy(random_checkpoint, device="cpu", batch_tokens=100_000)
    policy.budget.overhead = 10_000  # all states in one batch
    assert policy.decodes_fast
    vectors, candidates = policy.encode_only(states), policy.generate(states, 4)
    rows = _short_of_memory(monkeypatch, policy, 2)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(policy.encode_only(states), vectors, atol=2e-5)
        again = policy.generate(states, 4)
    assert [[c.tactic for c in row] for row in again] == [[c.tactic for c in row] for row in candidates]
    assert max(rows) == 2
    assert policy.counters.batches_halved >= 4
    assert policy.budget.encode_tokens < 100_000
    assert "out of memory: encoding of 7 states at once; going on with 4" in caplog.text


def test_one_state_that_does_not_fit_is_an_error_with_advice(
    random_checkpoint: Path, states: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load_policy(random_checkpoint, device="cpu")
    _short_of_memory(monkeypatch, policy, 0)
    with pytest.raises(PolicyError, match=r"one state alone does not fit into the memory.*smaller") as caught:
        policy.encode_only(states)
    assert "\n" not in str(caught.value)


def test_other_errors_are_not_taken_for_the_memorys(
    random_checkpoint: Path, states: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load_policy(random_checkpoint, device="cpu")

    def broken(**named: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(policy._loaded.model.model, "forward", broken)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        policy.encode_only(states)


def test_pooling_keeps_no_layer_but_the_one_at_work(random_checkpoint: Path, states: list[str]) -> None:
    policy = load_policy(random_checkpoint, device="cpu")
    asked = []
    policy._loaded.model.model.register_forward_pre_hook(
        lambda module, given, named: asked.append(named.get("output_hidden_states")), with_kwargs=True
    )
    policy.encode_only(states)
    assert asked
    assert not any(asked)
    assert not any(layer._forward_hooks for layer in policy._loaded.model.model.layers)


def test_prompts_may_fill_the_context_unless_a_limit_is_set(random_checkpoint: Path) -> None:
    free = load_policy(random_checkpoint, device="cpu")
    assert free.prompt_limit == 1024 - free.decoding.max_tactic_tokens
    assert load_policy(random_checkpoint, device="cpu", max_prompt_tokens=100).prompt_limit == 100
    assert load_policy(random_checkpoint, device="cpu", max_prompt_tokens=5000).prompt_limit == free.prompt_limit
    assert load_policy(random_checkpoint, device="cpu", max_encoding_tokens=9).decoding.max_encoding_tokens == 9
    with pytest.raises(ValueError, match="max_prompt_tokens = 0"):
        DecodingConfig(max_prompt_tokens=0)


def test_a_long_state_loses_as_few_hypotheses_as_it_must(random_checkpoint: Path) -> None:
    policy = load_policy(random_checkpoint, device="cpu", max_prompt_tokens=60)
    state = "p : Prop\n" + "".join(f"h{i} : p ∧ p\n" for i in range(40)) + "⊢ p"
    (ids,) = policy._prompt_tokens([state])
    per_hypothesis = 5
    assert 60 - per_hypothesis < len(ids) <= 60
    assert policy.counters.prompts_shortened == 1
    assert policy.counters.hypotheses_dropped == 1 + 40 - (len(ids) - 3) // per_hypothesis


def test_longrope_ends_where_its_numbers_change() -> None:
    from transformers import Phi3Config

    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    config = Phi3Config(
        hidden_size=32,
        num_attention_heads=4,
        pad_token_id=0,
        max_position_embeddings=4096,
        original_max_position_embeddings=512,
        rope_parameters={**rope, "original_max_position_embeddings": 512},
    )
    assert context_tokens(config) == 512


def test_prefixes_are_found_where_they_pay() -> None:
    long = list(range(300))
    rows = [[*long, 1], [*long, 2, 3], [*long, 2, 4], [7, 8]]
    plan_ = shared_prefixes(rows)
    assert plan_ is not None
    assert plan_.saved == 600
    assert [plan_.prefixes[group] + rest for group, rest in zip(plan_.group, plan_.rests(rows), strict=True)] == rows
    assert shared_prefixes([[1, 2, 3], [1, 2, 4]]) is None  # too little to gain
    assert shared_prefixes([long]) is None


# ---- digests


def test_a_large_file_is_read_once_and_again_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "REMEMBERED_BYTES", 10)
    file, reads = tmp_path / "weights", []
    honest = digests._read
    monkeypatch.setattr(digests, "_read", lambda path: reads.append(path) or honest(path))
    monkeypatch.setattr(digests, "_SETTLED_S", -1.0)

    def digest() -> str:
        digests.forget()  # as a new process
        return digests.file_digest(file)

    file.write_bytes(b"a" * 100)
    first = digest()
    assert digest() == first
    assert len(reads) == 1
    status = file.stat()
    file.write_bytes(b"b" * 100)  # the same size
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert digest() != first
    assert len(reads) == 2
    monkeypatch.setenv(digests.VERIFY_VARIABLE, "1")
    digest()
    assert len(reads) == 3
    monkeypatch.delenv(digests.VERIFY_VARIABLE)
    for note in (tmp_path / "cache").rglob("*.json"):
        note.write_text("{}")
    digest()
    assert len(reads) == 4


def test_a_young_file_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "REMEMBERED_BYTES", 10)
    (tmp_path / "weights").write_bytes(b"a" * 100)
    digests.forget()
    digests.file_digest(tmp_path / "weights")
    assert not list((tmp_path / "cache").rglob("*.json"))


# ---- estimates


def test_the_estimate_counts_the_files_tensors(random_checkpoint: Path) -> None:
    made = estimate(random_checkpoint, "bfloat16", free=2**30)
    policy = load_policy(random_checkpoint, device="cpu")
    stored = {id(p): p.numel() for p in policy._loaded.model.parameters()}
    assert made.parameters == sum(stored.values())
    assert made.weights == 2 * made.parameters
    assert made.fits
    assert not estimate(random_checkpoint, "bfloat16", free=made.total - 1).fits


def test_the_table_has_a_7b_in_bfloat16_at_13_gib() -> None:
    (row,) = [line for line in table().splitlines() if "7B" in line and "bfloat16" in line]
    assert "| 12.9 |" in row


def test_with_one_token_at_once_no_digit_depends_on_what_is_asked_together() -> None:
    policy = load_policy(device="cpu", batch_tokens=1)
    hypotheses = [f"p ∧ (q ∨ r{' ∧ q' * i})" for i in range(8)]
    states = [f"p q r : Prop\nh : {hypothesis}\n⊢ q ∨ r" for hypothesis in hypotheses]
    together = [[(c.tactic, c.log_prob) for c in found] for found in policy.generate(states, 6)]
    alone = [[(c.tactic, c.log_prob) for c in policy.generate([state], 6)[0]] for state in states]
    assert together == alone

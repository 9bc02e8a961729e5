"""A tiny, randomly initialised policy in Hugging Face format."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from prover.policy import HuggingFacePolicy, load_policy
from prover.policy.tiny.architecture import model_config, save_checkpoint


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights, scaled up so that its distributions are not flat."""
    torch.manual_seed(7)
    model = LlamaForCausalLM(model_config(hidden_size=32, layers=3, intermediate=48))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6.0)
    folder = tmp_path_factory.mktemp("policy") / "random"
    save_checkpoint(model, folder)
    return folder


@pytest.fixture(scope="session")
def policy(random_checkpoint: Path) -> HuggingFacePolicy:
    return load_policy(random_checkpoint, device="cpu")


STATES = [
    "p q : Prop\nh : p ∧ q\n⊢ q ∧ p",
    "p q r : Prop\nh1 : p → q\nh2 : q → r\nh3 : p\n⊢ r",
    "p : Prop\n⊢ p → p",
    "p q r : Prop\nh : p ∨ q ∨ r\nh1 : ¬p\nh2 : ¬q\nh3 : q ↔ p\nh4 : p → q → r ∧ (p ∨ ¬r)\n⊢ r",
    "case left\np q : Prop\nhp : p\nhq : q\n⊢ q\n\ncase right\np q : Prop\nhp : p\nhq : q\n⊢ p",
    "p q : Prop\nh : False\n⊢ q ∧ p",
    "A B : Prop\nhab : A → B\nh✝ : ¬B\n⊢ ¬A",
]


@pytest.fixture(scope="session")
def states() -> list[str]:
    return list(STATES)

"""Tiny random models of many families, in the tiny policy's language: made in the test run, a few KB each."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from prover.policy.tiny.architecture import END, make_tokenizer, vocabulary

WINDOW = 8
_MIXED = ["sliding_attention", "sliding_attention", "full_attention"]
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "qwen2": ("qwen2", {}),
    "qwen2-window": ("qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}),
    "qwen3": ("qwen3", {}),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral-window": ("mistral", {"sliding_window": WINDOW}),
    "gemma2": ("gemma2", {"sliding_window": WINDOW}),
    "gemma3": ("gemma3_text", {"sliding_window": WINDOW, "layer_types": _MIXED}),
    "gpt-oss": ("gpt_oss", {"sliding_window": WINDOW, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "phi3": ("phi3", {"sliding_window": WINDOW}),
    "phi": ("phi", {}),
    "mixtral": ("mixtral", {"num_local_experts": 4}),
}
"""Name -> model type and settings. `-window`: with a sliding window that is shorter than the tests' prompts."""


def tiny_model(family: str, dtype: torch.dtype = torch.float32, **other: Any) -> Any:
    """A model of three layers, with weights so large that its distributions are not flat. other: further settings."""
    kind, settings = FAMILIES[family]
    words = vocabulary()
    sizes = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": words.index(END),
    }
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**{**sizes, **settings, **other}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8.0)
    model.config.update({"prover_template": "state-tactic/1"})
    return model.to(dtype).eval()


def save_family(family: str, folder: Path, **other: Any) -> Path:
    """The same as a folder with a tokenizer."""
    tiny_model(family, **other).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder

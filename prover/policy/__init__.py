"""Policies: frozen language models that propose tactics and lend their hidden vectors.

Importing this package loads neither torch nor transformers; `load_policy` does.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prover.policy.base import FingerprintedPolicy, TacticCandidate, TacticGenerator

if TYPE_CHECKING:
    from prover.policy.huggingface import DecodingConfig, HuggingFacePolicy

__all__ = ["FingerprintedPolicy", "TacticCandidate", "TacticGenerator", "load_policy"]

DEFAULT_POOLING = "mean+max+early"


def load_policy(
    path: str | Path | None = None,
    *,
    pooling: str = DEFAULT_POOLING,
    device: str | None = None,
    dtype: str | None = None,
    template: str | None = None,
    threads: int | None = None,
    decoding: "DecodingConfig | None" = None,
) -> "HuggingFacePolicy":
    """Load a policy, ready to generate and to encode.

    path: a folder in Hugging Face format, a hub id (downloaded, since you wrote it), or None for the shipped model.
    pooling: what `encode_only` gives, see `prover.policy.pooling`. device: "cpu", "cuda", "cuda:1"; None: a GPU if
    there is one. dtype: None means bfloat16 on a GPU and float32 on a CPU. template: a name of
    `prover.policy.prompts`; None: what the model's config.json says (`prover_template`), or a guess by its tokenizer.
    threads: torch's threads for the whole process; None leaves them as they are.

    Only safetensors are read, and code in a model's folder is never run. PolicyLoadError (prover.policy.weights) says
    what is wrong and what to do; ValueError is for unknown poolings and templates.
    """
    from prover.policy.huggingface import load_huggingface_policy

    return load_huggingface_policy(
        path, pooling=pooling, device=device, dtype=dtype, template=template, threads=threads, decoding=decoding
    )


def __getattr__(name: str) -> Any:
    if name in ("HuggingFacePolicy", "DecodingConfig"):
        from prover.policy import huggingface

        return getattr(huggingface, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

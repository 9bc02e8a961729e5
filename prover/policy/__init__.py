"""Policies: frozen language models that propose tactics and lend their hidden vectors.

Importing this package loads neither torch nor transformers; `load_policy` does.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prover.policy.base import FingerprintedPolicy, PolicyCounters, PolicyError, TacticCandidate, TacticGenerator

if TYPE_CHECKING:
    from prover.policy.huggingface import DecodingConfig, HuggingFacePolicy
    from prover.policy.server import ServerPolicy

__all__ = [
    "FingerprintedPolicy",
    "PolicyCounters",
    "PolicyError",
    "TacticCandidate",
    "TacticGenerator",
    "load_policy",
    "open_policy",
]

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
    batch_tokens: int | None = None,
) -> "HuggingFacePolicy":
    """Load a policy, ready to generate and to encode.

    path: a folder in Hugging Face format, a hub id (downloaded, since you wrote it), or None for the shipped model.
    pooling: what `encode_only` gives, see `prover.policy.pooling`. device: "cpu", "cuda", "cuda:1"; "auto": spread over
    all GPUs; None: a GPU if there is one. dtype: float32, bfloat16, float16, int8, int4 (the last two through
    bitsandbytes); None means bfloat16 on a GPU and float32 on a CPU. template: a name of
    `prover.policy.prompts`; None: what the model's config.json says (`prover_template`), or a guess by its tokenizer.
    threads: torch's threads for the whole process; None leaves them as they are. batch_tokens: tokens that go through
    the model at once; None: measured by the free memory, and halved where it does not hold.

    Only safetensors are read, and code in a model's folder is never run. PolicyLoadError (prover.policy.weights) says
    what is wrong and what to do; ValueError is for unknown poolings and templates.
    """
    from prover.policy.huggingface import load_huggingface_policy

    return load_huggingface_policy(
        path,
        pooling=pooling,
        device=device,
        dtype=dtype,
        template=template,
        threads=threads,
        decoding=decoding,
        batch_tokens=batch_tokens,
    )


def open_policy(
    where: str | Path | None = None, *, encoder: str | Path | None = None, template: str | None = None, **options: Any
) -> "HuggingFacePolicy | ServerPolicy":
    """`load_policy`, or a `ServerPolicy` where `where` is an address: `http://127.0.0.1:8000/v1#MODEL-NAME`.

    encoder: for an address, the folder of the model whose hidden vectors are used; without one the policy has none.
    options: those of `load_policy`; for an address they are the encoder's.
    """
    if not str(where or "").startswith(("http://", "https://")):
        return load_policy(where, template=template, **options)
    from prover.policy.server import ServerConfig, ServerPolicy

    url, _, model = str(where).partition("#")
    if not model:
        raise ValueError(f"{where} names no model: write {url}#MODEL-NAME, with a name that {url}/models lists")
    config = ServerConfig(model=model, url=url)
    if template:
        config = replace(config, template=template)
    return ServerPolicy(config, encoder=load_policy(encoder, **options) if encoder else None)


def __getattr__(name: str) -> Any:
    if name in ("HuggingFacePolicy", "DecodingConfig"):
        from prover.policy import huggingface

        return getattr(huggingface, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

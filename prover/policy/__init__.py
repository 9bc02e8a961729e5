"""Policies: frozen language models that propose tactics and lend their hidden vectors.

Importing this package loads neither torch nor transformers; `load_policy` does.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from prover.policy.base import (
    FingerprintedPolicy,
    PolicyCounters,
    PolicyError,
    PolicyInterrupted,
    StateEncoder,
    TacticCandidate,
    TacticGenerator,
)
from prover.policy.settings import DEFAULT_POOLING, LoadOptions
from prover.storage import data_root

if TYPE_CHECKING:
    from prover.policy.huggingface import DecodingConfig, HuggingFacePolicy
    from prover.policy.server import ServerConfig, ServerPolicy

__all__ = [
    "DEFAULT_POOLING",
    "FingerprintedPolicy",
    "PolicyCounters",
    "PolicyError",
    "PolicyInterrupted",
    "StateEncoder",
    "TacticCandidate",
    "TacticGenerator",
    "is_address",
    "load_policy",
    "open_policy",
    "start_policy",
]

PROBE_FILE = "server_probes.json"
"""In the data folder: what servers answered to fixed prompts."""


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
    max_prompt_tokens: int | None = None,
    max_encoding_tokens: int | None = None,
) -> "HuggingFacePolicy":
    """Load a policy, ready to generate and to encode.

    path: a folder in Hugging Face format, a hub id (downloaded, since you wrote it), or None for the shipped model.
    pooling: what `encode_only` gives, see `prover.policy.pooling`. device: "cpu", "cuda", "cuda:1"; "auto": spread over
    all GPUs; None: a GPU if there is one. dtype: float32, bfloat16, float16, int8, int4 (the last two through
    bitsandbytes); None means bfloat16 on a GPU and float32 on a CPU. template: a name of
    `prover.policy.prompts`; None: what the model's config.json says (`prover_template`), or a guess by its tokenizer.
    threads: torch's threads for the whole process; None leaves them as they are. batch_tokens: tokens that go through
    the model at once; None: measured by the free memory, and halved where it does not hold. max_prompt_tokens,
    max_encoding_tokens: instead of those of `decoding`.

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
        max_prompt_tokens=max_prompt_tokens,
        max_encoding_tokens=max_encoding_tokens,
    )


def is_address(where: str | Path | None) -> bool:
    """Whether a model is behind a server (`http://HOST:PORT/v1#MODEL`), and not in a folder."""
    return str(where or "").startswith(("http://", "https://"))


def open_policy(
    where: str | Path | None = None,
    *,
    encoder: str | Path | None = None,
    template: str | None = None,
    api_key_env: str | None = None,
    probe_file: Path | None = None,
    start: bool = True,
    **options: Unpack[LoadOptions],
) -> "HuggingFacePolicy | ServerPolicy":
    """`load_policy`, or a `ServerPolicy` where `where` is an address: `http://127.0.0.1:8000/v1#MODEL-NAME`.

    where: None: what the environment variable PROVER_POLICY says, else the shipped model.
    encoder: for an address, the folder of the model whose hidden vectors are used, or the address of a vLLM pooling
    server; without one the policy has none. template: a name, or a file FILE.jinja; None: by the model's name.
    api_key_env: environment variable with the server's key; None: PROVER_API_KEY, if it is set.
    probe_file: remembers which weights a server had, see `prover.policy.server.start.ProbeBook`; None: in the data
    folder.
    start: ask the server what it is. False for work that needs the encoder alone.
    options: those of `load_policy`; for an address they are the encoder's.

    Raises ValueError, PolicyLoadError, and for an address ServerPolicyError.
    """
    where = where or os.environ.get("PROVER_POLICY") or None
    if is_address(where):
        if options.pop("max_prompt_tokens", None) is not None:
            raise ValueError(
                "max_prompt_tokens is for a local model: a server's own context is the limit of its prompts"
            )
        return _open_server(str(where), encoder, template, api_key_env, probe_file, start, options)
    if encoder:
        raise ValueError(
            f"an encoder ({encoder}) is for a policy behind an address; {where or 'the shipped model'} has hidden "
            "vectors of its own"
        )
    return load_policy(where, template=template, **options)


def _open_server(
    where: str,
    encoder: str | Path | None,
    template: str | None,
    api_key_env: str | None,
    probe_file: Path | None,
    start: bool,
    options: LoadOptions,
) -> "ServerPolicy":
    from prover.policy.server import ServerPolicy

    config = _server_config(where, template, api_key_env)

    def open_encoder(source: str, pooling: str | None) -> "StateEncoder":
        chosen = options if pooling is None else options | {"pooling": pooling}
        return _open_encoder(source, config.template, api_key_env, chosen)

    policy = ServerPolicy(config, open_encoder=open_encoder)
    if encoder:
        policy.use_encoder(str(encoder))
    if start:
        start_policy(policy, probe_file, choose_template=template is None)
    return policy


def start_policy(
    policy: "HuggingFacePolicy | ServerPolicy", probe_file: Path | None = None, *, choose_template: bool
) -> None:
    """Ask the server of a policy that was opened with `start=False` what it is; nothing for a local model.

    The arguments are those of `ServerPolicy.start`; without a file the data folder's is used. Raises
    ServerPolicyError.
    """
    from prover.policy.server import ServerPolicy

    if isinstance(policy, ServerPolicy):
        where_probes = probe_file or data_root() / PROBE_FILE
        policy.start(where_probes, choose_template=choose_template)


def _server_config(where: str, template: str | None, api_key_env: str | None) -> "ServerConfig":
    from prover.policy.prompts import STATE_COMMENT, template_for
    from prover.policy.server import API_KEY_VARIABLE, ServerConfig

    url, _, model = where.partition("#")
    if not model:
        raise ValueError(f"{where} names no model: write {url}#MODEL-NAME, with a name that {url}/models lists")
    variable = api_key_env or API_KEY_VARIABLE
    key = os.environ.get(variable, "").strip() or None
    if api_key_env and key is None:
        raise ValueError(f"the environment variable {api_key_env}, which should hold the server's key, is not set")
    return ServerConfig(
        model=model,
        url=url,
        template=template or template_for(model) or STATE_COMMENT,
        api_key=key,
        api_key_env=variable,
    )


def _open_encoder(encoder: str, template: str, api_key_env: str | None, options: LoadOptions) -> "StateEncoder":
    """A local model, or a pooling server, whose states are written as the policy's are."""
    if not is_address(encoder):
        return load_policy(encoder, **options)
    if options.get("max_encoding_tokens") is not None:
        raise ValueError(
            "max_encoding_tokens is for a local encoder: a pooling server's own context is the limit of its texts"
        )
    from prover.policy.server import PoolingEncoder

    pooling = options.get("pooling") or DEFAULT_POOLING
    if pooling == DEFAULT_POOLING:  # nobody chose it
        pooling = "mean"
    return PoolingEncoder.open(_server_config(encoder, template, api_key_env), pooling)


def __getattr__(name: str) -> object:
    if name in ("HuggingFacePolicy", "DecodingConfig"):
        from prover.policy import huggingface

        return getattr(huggingface, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

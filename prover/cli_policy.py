"""The options that say which policy a command uses, the same for all commands."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from prover.policy.huggingface import HuggingFacePolicy
    from prover.policy.server import ServerPolicy

LlmPath = Annotated[
    str | None,
    typer.Option(
        help="Policy: a folder in Hugging Face format, a hub id, or a server as http://HOST:PORT/v1#MODEL. "
        "Default: with --ebm-path, the tuned one that it was trained with; else $PROVER_POLICY, else the shipped one."
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="With a server: the folder of the model whose hidden vectors are used, or a vLLM pooling server as "
        "http://HOST:PORT/v1#MODEL."
    ),
]
Template = Annotated[
    str | None,
    typer.Option(help="Prompt template: a name, or a file of your own (FILE.jinja). [default: by the model]"),
]
Dtype = Annotated[
    str | None,
    typer.Option(help="float32 | bfloat16 | float16, of a local model. [default: float32 on a CPU, bfloat16 on a GPU]"),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, of a local model. [default: a GPU if there is one]")
]
ApiKeyEnv = Annotated[
    str | None, typer.Option(help="Environment variable with the server's key. [default: PROVER_API_KEY]")
]
MaxPromptTokens = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Longest prompt of a local model, in tokens; a longer one loses its oldest hypotheses, and is counted. "
        "[default: what the model's context leaves]",
    ),
]
MaxEncodingTokens = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Longest state whose hidden vectors are read whole, in tokens; a longer one is encoded by its first "
        "tokens, and is counted. Part of the encoder's fingerprint: give the same to each command. [default: 2048]",
    ),
]


@dataclass(frozen=True, slots=True)
class PolicyOptions:
    """What the options said; None where nothing was said."""

    llm_path: str | None = None
    encoder: str | None = None
    template: str | None = None
    dtype: str | None = None
    device: str | None = None
    api_key_env: str | None = None
    threads: int | None = None
    pooling: str | None = None
    max_prompt_tokens: int | None = None
    max_encoding_tokens: int | None = None

    @property
    def where(self) -> str | None:
        """Folder, hub id or address; None for the shipped model."""
        return self.llm_path or os.environ.get("PROVER_POLICY") or None

    def check_encoder(self, what_for: str) -> None:
        """Raise ValueError for a server without an encoder, where hidden vectors are needed."""
        from prover.policy import is_address
        from prover.policy.base import ENCODER_ADVICE

        if is_address(self.where) and not self.encoder:
            raise ValueError(f"{self.where} is a server, which has no hidden vectors for {what_for}: {ENCODER_ADVICE}")

    def open(self, *, start: bool = True) -> "HuggingFacePolicy | ServerPolicy":
        """The policy. start: ask a server what it is; False where only hidden vectors are needed.

        Raises what `prover.policy.open_policy` raises.
        """
        from prover.policy import open_policy

        given = self.keywords()
        if not start:
            given["start"] = False
        return open_policy(self.where, threads=self.threads, **given)

    def keywords(self) -> dict[str, Any]:
        """What was said of the policy beside where it is and its threads, as `prover.policy.open_policy` takes it."""
        options: dict[str, Any] = {
            "encoder": self.encoder,
            "template": self.template,
            "dtype": self.dtype,
            "device": self.device,
            "api_key_env": self.api_key_env,
            "pooling": self.pooling,
            "max_prompt_tokens": self.max_prompt_tokens,
            "max_encoding_tokens": self.max_encoding_tokens,
        }
        return {name: value for name, value in options.items() if value is not None}

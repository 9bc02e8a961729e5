"""The options that say which policy a command uses, the same for all commands."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from prover.cli_options import option
from prover.policy.settings import OpenOptions, PolicySettings, given_options

if TYPE_CHECKING:
    from prover.policy.huggingface import HuggingFacePolicy
    from prover.policy.server import ServerPolicy

LlmPath = Annotated[
    str | None,
    option(
        PolicySettings,
        "path",
        "--llm-path",
        default="with --ebm-path, the policy that it was trained with",
    ),
]
Encoder = Annotated[str | None, option(PolicySettings, "encoder")]
Template = Annotated[str | None, option(PolicySettings, "template")]
Dtype = Annotated[str | None, option(PolicySettings, "dtype")]
Device = Annotated[str | None, option(PolicySettings, "device")]
ApiKeyEnv = Annotated[str | None, option(PolicySettings, "api_key_env")]
Threads = Annotated[int | None, option(PolicySettings, "threads")]
MaxPromptTokens = Annotated[int | None, option(PolicySettings, "max_prompt_tokens")]
MaxEncodingTokens = Annotated[int | None, option(PolicySettings, "max_encoding_tokens")]
BatchTokens = Annotated[int | None, option(PolicySettings, "batch_tokens")]


@dataclass(frozen=True, slots=True)
class PolicyOptions:
    """What the options said; None (or 0, or "") where nothing was said."""

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
    batch_tokens: int | None = None

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
        given["threads"] = self.threads or None
        if not start:
            given["start"] = False
        return open_policy(self.where, **given)

    def keywords(self) -> OpenOptions:
        """What was said of the policy beside where it is and its threads, as `prover.policy.open_policy` takes it."""
        return given_options(
            encoder=self.encoder,
            template=self.template,
            dtype=self.dtype,
            device=self.device,
            api_key_env=self.api_key_env,
            pooling=self.pooling or "",
            max_prompt_tokens=self.max_prompt_tokens,
            max_encoding_tokens=self.max_encoding_tokens,
            batch_tokens=self.batch_tokens,
        )

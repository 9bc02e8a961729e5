"""Which policy is opened, and how: the settings of `prover.policy.open_policy`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack, cast

from prover.settings import checked, setting

if TYPE_CHECKING:
    from prover.policy.huggingface import DecodingConfig

DEFAULT_POOLING = "mean+max+early"


class LoadOptions(TypedDict, total=False):
    """What `prover.policy.load_policy` takes beside the path and the template, and explains."""

    pooling: str
    device: str | None
    dtype: str | None
    threads: int | None
    decoding: "DecodingConfig | None"
    batch_tokens: int | None
    max_prompt_tokens: int | None
    max_encoding_tokens: int | None


class OpenOptions(LoadOptions, total=False):
    """What `prover.policy.open_policy` takes beside the place of the policy, and explains."""

    encoder: str | Path | None
    template: str | None
    api_key_env: str | None
    probe_file: Path | None
    start: bool


def given_options(**options: Unpack[OpenOptions]) -> OpenOptions:
    """The options without those that are empty, 0 or None: `open_policy` has its own defaults for these."""
    return cast(OpenOptions, {name: value for name, value in options.items() if value})


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """The frozen language model that proposes tactics, and whose hidden vectors the energy model reads."""

    path: str = setting("")
    """A model folder in Hugging Face format, a hub id, or the address of an OpenAI-compatible server as
    http://HOST:PORT/v1#MODEL. Empty: $PROVER_POLICY, else the shipped model."""
    encoder: str = setting("")
    """With a server: the folder of the model whose hidden vectors are used, or a vLLM pooling server as
    http://HOST:PORT/v1#MODEL. A completions server has no hidden vectors of its own."""
    api_key_env: str = setting("")
    """Name of the environment variable that holds the server's key. Empty: PROVER_API_KEY, if it is set."""
    pooling: str = setting(DEFAULT_POOLING)
    """How the hidden vectors of a state's tokens become one vector."""
    device: str = setting("")
    """Where a local model runs: cpu, cuda, cuda:1, mps. Empty: a GPU if there is one."""
    dtype: str = setting("")
    """Number format of a local model: float32, bfloat16, float16. Empty: float32 on a CPU, bfloat16 on a GPU."""
    template: str = setting("")
    """Prompt template: a name, or a file of your own (FILE.jinja). Empty: the model's own."""
    threads: int = setting(0, unit="count", ge=0, le=1024)
    """CPU threads of a local model. 0: half the cores."""
    max_prompt_tokens: int = setting(0, unit="tokens", ge=0, le=1 << 20)
    """Longest prompt of a local model. A longer one loses its oldest hypotheses, and is counted. 0: what the model's
    context leaves."""
    max_encoding_tokens: int = setting(0, unit="tokens", ge=0, le=1 << 20)
    """Longest state whose hidden vectors a local model reads whole. A longer one is encoded by its first tokens, and is
    counted. It is part of the encoder's fingerprint: give the same to each command; a change makes new vectors of all
    states. 0: 2048."""
    batch_tokens: int = setting(0, unit="tokens", ge=0, le=1 << 24)
    """Tokens that go through a local model at once. 1: each state goes alone, so that no digit of its log-probabilities
    depends on which states are asked together; the shipped model then takes some 5 times as long. 0: as many as the
    memory holds."""

    def __post_init__(self) -> None:
        checked(self)

    def keywords(self) -> OpenOptions:
        """What is set beside the path and the threads, as `prover.policy.open_policy` takes it by keyword."""
        return given_options(
            encoder=self.encoder,
            template=self.template,
            api_key_env=self.api_key_env,
            pooling=self.pooling,
            device=self.device,
            dtype=self.dtype,
            max_prompt_tokens=self.max_prompt_tokens,
            max_encoding_tokens=self.max_encoding_tokens,
            batch_tokens=self.batch_tokens,
        )

"""Which policy is opened, and how: the settings of `prover.policy.open_policy`."""

from dataclasses import dataclass
from typing import Any

from prover.settings import checked, setting

DEFAULT_POOLING = "mean+max+early"


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

    def keywords(self) -> dict[str, Any]:
        """What is set beside the path and the threads, as `prover.policy.open_policy` takes it by keyword."""
        names = (
            "encoder",
            "template",
            "api_key_env",
            "pooling",
            "device",
            "dtype",
            "max_prompt_tokens",
            "max_encoding_tokens",
            "batch_tokens",
        )
        return {name: value for name in names if (value := getattr(self, name))}

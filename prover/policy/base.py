"""What a policy is: a frozen language model that proposes tactics and lends its hidden vectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    import numpy as np


ENCODER_ADVICE = (
    "add --encoder FOLDER (the same model's folder, or a smaller one's) or --encoder http://HOST:PORT/v1#MODEL (a vLLM "
    "pooling server)"
)
"""What to do about a server, which has no hidden vectors."""


class PolicyError(RuntimeError):
    """A policy that fails at its work. The message says what it was asked, what came back and what to do."""


class PolicyInterrupted(PolicyError):
    """The search was asked to stop while the policy was at work: no fault, and no result."""


@dataclass(slots=True)
class PolicyCounters:
    """What happened to a policy's inputs and outputs, so that nothing is dropped in silence.

    Counted since the policy was loaded, over all its views."""

    states_generated: int = 0
    states_encoded: int = 0
    prompts_shortened: int = 0
    """Prompts from which hypotheses were left out, since they were longer than the model's context or the limit."""
    hypotheses_dropped: int = 0
    """Hypotheses that were left out, over all these prompts."""
    prompts_too_long: int = 0
    """States without candidates, since not even the bare conclusion fits."""
    encodings_truncated: int = 0
    """States that were encoded by their first tokens alone."""
    candidates_read: int = 0
    """Completions of the model."""
    candidates_unreadable: int = 0
    """Completions that were no tactic, or named what the state does not have."""
    batches_halved: int = 0
    """Batches that the memory did not hold, so that they were done in halves."""

    def copy(self) -> Self:
        """The present counts."""
        return type(self)(**asdict(self))

    def since(self, before: "PolicyCounters") -> "PolicyCounters":
        """What was counted after `before` was copied."""
        earlier = asdict(before)
        return PolicyCounters(**{name: value - earlier[name] for name, value in asdict(self).items()})

    def to_dict(self) -> dict[str, int]:
        """Name -> count."""
        return asdict(self)

    @classmethod
    def from_dict(cls, counts: Mapping[str, int]) -> Self:
        """The opposite of `to_dict`; names that this version does not know are left out."""
        return cls(**{each.name: counts[each.name] for each in fields(cls) if each.name in counts})

    def warnings(self, share: float = 0.01) -> list[str]:
        """One sentence per kind of loss that is above `share` of what was asked for."""
        doubtful = self.candidates_unreadable > 0.1 * self.candidates_read
        kinds = [
            (
                self.prompts_shortened,
                self.states_generated,
                f"of the prompts lost hypotheses ({self.hypotheses_dropped} in all) to fit: raise max_prompt_tokens, "
                "or use a model with a longer context",
            ),
            (
                self.prompts_too_long,
                self.states_generated,
                "of the states got no tactics, since not even their conclusion fits into the prompt: raise "
                "max_prompt_tokens, or use a model with a longer context",
            ),
            (
                self.encodings_truncated,
                self.states_encoded,
                "of the states were encoded by their first tokens alone: raise max_encoding_tokens",
            ),
            (
                self.candidates_unreadable,
                self.candidates_read,
                "of the completions were left out: no tactic, or one that names what the state does not have"
                + ("; does the prompt template suit the model?" if doubtful else ""),
            ),
        ]
        return [
            f"{count} of {total} ({count / total:.1%}) {text}"
            for count, total, text in kinds
            if total and count > share * total
        ]


@dataclass(frozen=True, slots=True)
class TacticCandidate:
    """A proposed tactic. `log_prob`: sum of token log-probabilities over the tactic alone, nats, higher is better."""

    tactic: str
    log_prob: float
    n_tokens: int


@runtime_checkable
class TacticGenerator(Protocol):
    """A frozen policy. Deterministic: the same states give the same candidates and vectors, whatever their batch, up to
    the last digits: a matrix product rounds by the size of its batch."""

    hidden_size: int
    """Width of one hidden layer of the model."""

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        """Up to `n_candidates` distinct tactics per state, best log-prob first. `states`: texts as Lean prints them."""
        ...

    def encode_only(self, states: Sequence[str]) -> "np.ndarray":
        """Pooled hidden vectors, (n, encoding width) float32, without the language-model head."""
        ...


class FingerprintedPolicy(TacticGenerator, Protocol):
    """What the product's own policies add, so that memos and caches can be content-addressed."""

    policy_id: str
    """Human-readable: model name and the first digits of the fingerprint."""
    fingerprint: str
    """Hex digest over weights, tokenizer, prompt template, dtype and decoding settings."""
    pooling: str
    """Named, versioned pooling of `encode_only`, e.g. `mean+max+early/1`."""
    encoding_width: int
    """Width of an `encode_only` vector: hidden_size times the parts of the pooling."""
    encoder_fingerprint: str
    """Hex digest over weights, tokenizer, prompt template, dtype and pooling: the embedding cache's address."""


class StateEncoder(Protocol):
    """What lends hidden vectors, whether or not it proposes tactics."""

    policy_id: str
    """Human-readable: model name and the first digits of a fingerprint."""
    hidden_size: int
    """Width of one hidden layer."""
    pooling: str
    """Named, versioned pooling of `encode_only`."""
    encoding_width: int
    """Width of an `encode_only` vector."""
    encoder_fingerprint: str
    """The embedding cache's address."""

    def encode_only(self, states: Sequence[str]) -> "np.ndarray":
        """Pooled hidden vectors, (n, encoding_width) float32."""
        ...


@runtime_checkable
class Repooling(Protocol):
    """A source of hidden vectors that can pool them in another way."""

    pooling: str

    def with_pooling(self, pooling: str) -> Self:
        """The same model with another pooling of `encode_only`. ValueError for one that it cannot give."""
        ...


@runtime_checkable
class TakesEncoder(Protocol):
    """A policy without hidden vectors of its own, which another model can lend."""

    hidden_size: int
    """0 while there is no such model."""
    encoder_source: str
    """Folder, hub id or address of the model that lends them; "" if there is none yet."""

    def use_encoder(self, where: str, pooling: str | None = None) -> None:
        """Open the model at `where`, and give its vectors from now on. pooling: None for the usual one.

        Raises what `prover.policy.open_policy` raises for an encoder.
        """
        ...


@runtime_checkable
class Tokenizing(Protocol):
    """A model with a tokenizer at hand, by which a server's tokens can be checked."""

    policy_id: str

    def token_ids(self, text: str, add_special_tokens: bool) -> list[int]:
        """Token ids of a text."""
        ...

    def token_text(self, ids: Sequence[int]) -> str:
        """What token ids spell."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """A policy whose `generate` may wait for something, and ends early when the search is to stop."""

    def stop_when(self, stop: Callable[[], bool]) -> None:
        """`generate` raises PolicyInterrupted soon after `stop` becomes true. `stop` is polled."""
        ...

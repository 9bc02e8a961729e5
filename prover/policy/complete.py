"""The border between users' policies and the product: every policy gets all members that the product reads.

A `TacticGenerator` needs `generate`, `encode_only` and `hidden_size` alone. What else the product asks of a policy has
a default here, so that no other module has to probe for it.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prover.policy.base import PolicyCounters, TacticCandidate, TacticGenerator

if TYPE_CHECKING:
    import numpy as np

    from prover.policy.prompts import PromptTemplate


class CompletePolicy:
    """A policy or an encoder, with a default for each member that it lacks. Made by `as_policy`.

    It is a view: calls go to the policy behind it. The optional members are read once, when the view is made.
    """

    policy_id: str
    """Human-readable; default: the name of the policy's class."""
    fingerprint: str | None
    """Address of candidates in the memo; default None: they are not remembered."""
    encoder_fingerprint: str | None
    """Address of vectors in the embedding cache; default None: they are not kept."""
    encoder_source: str | None
    """Where the encoder of a server's policy was loaded from; default None: the policy encodes by itself."""
    pooling: str | None
    """Named, versioned pooling of `encode_only`; default None: not known."""
    counters: PolicyCounters | None
    """What happened to inputs and outputs; default None: not counted."""
    template: "PromptTemplate | None"
    """What a prompt is made by; default None: the policy reads the state's text alone."""
    prompt_key: Callable[[str], str]
    """States with the same key have the same candidates; default: the state's text itself."""

    def __init__(self, generator: TacticGenerator) -> None:
        self.generator = generator
        self.policy_id = getattr(generator, "policy_id", None) or type(generator).__name__
        self.fingerprint = getattr(generator, "fingerprint", None)
        self.encoder_fingerprint = getattr(generator, "encoder_fingerprint", None)
        self.encoder_source = getattr(generator, "encoder_source", None) or None
        self.pooling = getattr(generator, "pooling", None)
        self.counters = getattr(generator, "counters", None)
        self.template = getattr(generator, "template", None)
        self.prompt_key = getattr(generator, "prompt_key", str)

    @property
    def hidden_size(self) -> int:
        """Width of one hidden layer of the model."""
        return self.generator.hidden_size

    @property
    def encoding_width(self) -> int:
        """Width of an `encode_only` vector; default: `hidden_size`."""
        width = getattr(self.generator, "encoding_width", None)
        return int(self.hidden_size if width is None else width)

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        """See `TacticGenerator.generate`."""
        return self.generator.generate(states, n_candidates)

    def encode_only(self, states: Sequence[str]) -> "np.ndarray":
        """See `TacticGenerator.encode_only`."""
        return self.generator.encode_only(states)


def as_policy(generator: TacticGenerator) -> CompletePolicy:
    """The policy with all optional members; what is complete already comes back as it is."""
    return generator if isinstance(generator, CompletePolicy) else CompletePolicy(generator)

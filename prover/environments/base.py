"""What a proof environment is: it steps tactics in batches, gives typed outcomes, and certifies proofs.

An outcome is a type, never None or an empty string standing for "failed": a crash or a timeout is not a rejection, and
must never become a negative label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from prover.states import count_goals, state_key
from prover.theorems import Theorem


@dataclass(frozen=True, slots=True)
class ProofState:
    """A state as a theorem and the tactic prefix that leads to it, with the text Lean printed.

    States are stepped by replaying `tactics`, never by writing `text` as a new statement: Lean prints inaccessible
    names with a dagger, and such names cannot be written.
    """

    theorem: Theorem
    tactics: tuple[str, ...]
    text: str

    def __hash__(self) -> int:
        """Of text and tactics: equal states have equal ones, and a theorem's fields are many to hash."""
        return hash((self.text, self.tactics))

    @property
    def key(self) -> str:
        """Hash of the normalised text: equal for states that count as one. See `prover.states.state_key`."""
        return state_key(self.text)

    @property
    def n_goals(self) -> int:
        """Open goals in the text."""
        return count_goals(self.text)


@dataclass(frozen=True, slots=True)
class Progress:
    """The tactic was accepted and goals remain."""

    state: ProofState
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Complete:
    """No goals remain after `tactics` (the whole script). A claim: it counts as a proof only when certified."""

    tactics: tuple[str, ...]
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """Lean (or the refusal list, before Lean saw it) rejected the tactic. `message` is for people."""

    message: str
    elapsed_ms: float
    refused: bool = False  # True: the text never reached Lean


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The tactic reached its own limit (heartbeats, recursion), or the call reached the wall-clock limit."""

    message: str
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Crashed:
    """The Lean process died, was killed for its memory, or its answer made no sense. The tactic may be fine."""

    message: str
    elapsed_ms: float


Outcome = Progress | Complete | Rejected | TimedOut | Crashed
Failure = Rejected | TimedOut | Crashed


@dataclass(frozen=True, slots=True)
class StepRequest:
    """Try each of `tactics`, independently, in `state`."""

    state: ProofState
    tactics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProofClaim:
    """A whole tactic script that is said to prove `theorem`."""

    theorem: Theorem
    tactics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """Verdict of a fresh Lean process on a claim. `reason` is "" when certified, else why not, for people."""

    claim: ProofClaim
    certified: bool
    reason: str
    axioms: tuple[str, ...]
    elapsed_ms: float


@runtime_checkable
class ProofEnvironment(Protocol):
    """A Lean that can be asked many things at once. Methods may be called from several threads at a time."""

    name: str
    """Short name for files and logs, e.g. `lean-script:4.35.0:minilib`."""
    fingerprint: str
    """Hex digest of all that can change an outcome: Lean version, prelude, limits, refusal list."""

    def start(self, theorems: Sequence[Theorem]) -> list[ProofState | Failure]:
        """Root states, in order. A theorem that does not elaborate is a `Rejected` with Lean's message."""
        ...

    def step(self, requests: Sequence[StepRequest]) -> list[list[Outcome]]:
        """Outcomes, one per tactic, in the order asked. One bad tactic never costs another its outcome."""
        ...

    def certify(self, claims: Sequence[ProofClaim]) -> list[Certificate]:
        """Elaborate each claim whole against its original statement, in a fresh process."""
        ...

    def proof_file(self, claim: ProofClaim) -> str:
        """A Lean file that proves the claim's theorem and is accepted as it stands."""
        ...

    def close(self) -> None:
        """Stop all processes. Using the environment afterwards is an error."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


@runtime_checkable
class Explaining(Protocol):
    """An environment that can ask Lean once more for its own words on a rejected tactic."""

    explain: bool
    """Whether it does. Lean's words are then in `Rejected.message`; the outcomes are the same."""


def explains(environment: ProofEnvironment) -> bool:
    """Whether rejections come with Lean's own words."""
    return isinstance(environment, Explaining) and environment.explain

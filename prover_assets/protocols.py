"""What a step is lent: a Lean, a policy, and a way to say how it is going. Dagster's resources fit these protocols."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from prover.environments.base import ProofEnvironment
    from prover.policy.base import FingerprintedPolicy
    from prover.scale.specs import PolicySpec
    from prover.search.place import SearchPlace

Update = Callable[[int, int, str], None]
"""(done, total, note): `note` says in a few words how it is going; total 0 = not known."""


class LeanSource(Protocol):
    """Lends the Lean that checks tactics and proofs."""

    def environment(self) -> "AbstractContextManager[ProofEnvironment]":
        """An open environment, closed on the way out."""
        ...

    def identity(self) -> tuple[str, str]:
        """(name, fingerprint) of the Lean that there is now."""
        ...

    def searching(self, policy: "PolicySource", data: Path) -> "AbstractContextManager[SearchPlace]":
        """Lean, policy, memo and what searches with them: in this process, or on a cluster. data: the data folder."""
        ...


class PolicySource(Protocol):
    """Lends the language model, and says which one it is without loading it."""

    @property
    def where(self) -> str:
        """Folder, hub id or address of the model; "" for the shipped one."""
        ...

    @property
    def is_server(self) -> bool:
        """Whether the model is behind an address: it proposes tactics, and cannot be tuned from here."""
        ...

    @property
    def device(self) -> str:
        """cpu, cuda, cuda:1, mps; "" for the best there is."""
        ...

    @property
    def dtype(self) -> str:
        """float32, bfloat16, float16; "" to choose by device."""
        ...

    @property
    def template(self) -> str:
        """Prompt template (name); "" for the model's own."""
        ...

    def load(self) -> "FingerprintedPolicy":
        """The policy, loaded once per process for the same settings."""
        ...

    def recipe(self) -> "PolicySpec":
        """How another process opens the same model."""
        ...

    def identity(self) -> str:
        """What the model is, whatever its folder is called: a digest of its weights, or a server's address."""
        ...

    def at(self, folder: Path) -> Self:
        """The same settings with the model in another folder."""
        ...

    def forget(self) -> None:
        """Let go of the model that was loaded last, before another one is loaded beside it."""
        ...

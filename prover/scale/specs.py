"""Recipes that travel to other machines: how to open a Lean, a policy, an energy model there."""

import os
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from prover.policy.settings import OpenOptions

if TYPE_CHECKING:
    from prover.environments.base import ProofEnvironment
    from prover.policy.base import FingerprintedPolicy
    from prover.search.guidance import ValueScorer


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """Arguments of `prover.environments.open_environment`."""

    kind: str = "embedded"
    lean_project: str | None = None
    workers: int | None = None

    def open(self) -> "ProofEnvironment":
        """Open the environment in this process."""
        from prover.environments import open_environment

        return open_environment(self.kind, lean_project=self.lean_project, workers=self.workers)


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """Arguments of `prover.policy.open_policy`.

    where: folder, hub id or address; None is the shipped model. options: the further keyword arguments.
    """

    where: str | None = None
    options: OpenOptions = field(default_factory=OpenOptions)

    @property
    def folder(self) -> Path | None:
        """The folder that every machine must have, where the policy is one."""
        return Path(self.where) if self.where and os.path.isabs(self.where) else None

    def open(self) -> "FingerprintedPolicy":
        """Load the policy in this process."""
        from prover.policy import open_policy

        return open_policy(self.where, **self.options)


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """A checkpoint folder, and the data folder whose embedding cache its scorer uses."""

    checkpoint: str
    data: str

    def open(self, policy: "FingerprintedPolicy") -> "ValueScorer":
        """Raises whatever the installed energy model raises for a checkpoint that does not fit."""
        loader = next(iter(entry_points(group="prover.scorers")))
        return loader.load()(self.checkpoint, policy, self.data)

"""A warm embedded Lean, shared by the tests of this folder (a session starts it once)."""

from collections.abc import Iterator

import pytest

from prover.environments import ProofState, open_environment
from prover.environments.script.environment import LeanScript
from prover.theorems import Theorem


@pytest.fixture(scope="session")
def lean() -> Iterator[LeanScript]:
    with open_environment(workers=2) as environment:
        assert isinstance(environment, LeanScript)
        yield environment


@pytest.fixture(scope="session")
def state(lean: LeanScript):
    """Makes the root state of a statement."""

    def make(statement: str, name: str = "goal") -> ProofState:
        (root,) = lean.start([Theorem(name, statement)])
        assert isinstance(root, ProofState), root
        return root

    return make

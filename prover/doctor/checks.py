"""What `prover doctor` looks at, and what a line of it says."""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warn", "fail"]
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `detail`: what was found. `remedy`: what to do about it, "" when there is nothing to do."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What to look at: the same choices as of `prover search`."""

    lean: str | None = None
    lean_project: Path | None = None
    llm_path: str | None = None
    theorems: Path | None = None
    data: Path = Path("data")

    @property
    def kind(self) -> str:
        """Kind of environment to check, one of `prover.environments.KINDS`."""
        return self.lean or ("embedded" if self.lean_project is None else "project")


def version_of(distribution: str) -> str | None:
    """Version of an installed package; None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None

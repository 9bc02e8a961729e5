"""Which Lean is opened: the settings of `prover.environments.open_environment`."""

from dataclasses import dataclass

from prover.settings import checked, setting

KINDS = ("embedded", "lean", "project", "repl")


@dataclass(frozen=True, slots=True)
class LeanSettings:
    """The Lean that checks tactics and proofs."""

    kind: str = setting("embedded")
    """Kind of Lean. embedded: the Lean that is installed with this package; lean: `lean` on PATH; project: a Lake
    project, through scripts; repl: a Lake project, through a pool of REPLs (for Mathlib)."""
    lean_project: str = setting("", unit="path")
    """Folder of the Lake project, for the kinds project and repl."""
    workers: int = setting(0, unit="count", ge=0, le=256)
    """Lean processes at a time. 0: one per core, 2 for the kind repl."""

    def __post_init__(self) -> None:
        checked(self)

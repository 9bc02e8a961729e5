"""Proof environments: a Lean that can be asked many things at once, and outcomes as types.

`open_environment` gives the embedded Lean (default), an installed one, a Lake project, or a pool of REPL servers.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from prover.environments.base import (
    Certificate,
    Complete,
    Crashed,
    Failure,
    Outcome,
    Progress,
    ProofClaim,
    ProofEnvironment,
    ProofState,
    Rejected,
    StepRequest,
    TimedOut,
)
from prover.environments.settings import KINDS

if TYPE_CHECKING:
    from prover.environments.repl.worker import ReplLimits
    from prover.environments.script.environment import LeanLimits

__all__ = [
    "KINDS",
    "Certificate",
    "Complete",
    "Crashed",
    "Failure",
    "Outcome",
    "Progress",
    "ProofClaim",
    "ProofEnvironment",
    "ProofState",
    "Rejected",
    "StepRequest",
    "TimedOut",
    "open_environment",
]


def open_environment(
    kind: str = "embedded",
    *,
    lean_project: str | Path | None = None,
    workers: int | None = None,
    limits: "LeanLimits | ReplLimits | None" = None,
) -> ProofEnvironment:
    """Open a Lean.

    kind: "embedded" (the wheel's Lean with our prelude), "lean" (a `lean` on the PATH), "project" (`lake env lean` in
    `lean_project`) or "repl" (lean-interact servers in `lean_project`). workers: Lean processes at a time; None or 0:
    one per core (2 for "repl"). limits: `ReplLimits` for "repl", else `LeanLimits`.

    Raises ValueError for an unknown kind, a missing project or the wrong limits, and LeanUnavailable when there is no
    such Lean.
    """
    from prover.environments.script.environment import LeanLimits, LeanScript, default_workers

    workers = workers or None

    if kind not in KINDS:
        raise ValueError(f"unknown environment {kind!r}: expected one of {', '.join(KINDS)}")
    if kind in ("project", "repl") and lean_project is None:
        raise ValueError(f"environment {kind!r} needs lean_project: the folder of a Lake project")
    if kind == "repl":
        from prover.environments.repl.environment import LeanReplEnvironment
        from prover.environments.repl.worker import ReplLimits

        if limits is not None and not isinstance(limits, ReplLimits):
            raise ValueError(f"environment 'repl' takes ReplLimits, not {type(limits).__name__}")
        return LeanReplEnvironment(lean_project, workers=workers, limits=limits)
    if limits is not None and not isinstance(limits, LeanLimits):
        raise ValueError(f"environment {kind!r} takes LeanLimits, not {type(limits).__name__}")
    if kind == "embedded":
        from prover.environments.script.process import EmbeddedRunner

        limits = limits or LeanLimits()
        return LeanScript(EmbeddedRunner(workers or default_workers(), limits.process), limits)
    from prover.environments.script.environment import MATHLIB_LIMITS
    from prover.environments.script.installed import InstalledRunner, default_project_workers

    limits = limits or MATHLIB_LIMITS
    project = lean_project if kind == "project" else None
    return LeanScript(InstalledRunner(workers or default_project_workers(), limits.process, project), limits)

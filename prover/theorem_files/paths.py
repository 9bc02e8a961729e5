"""Paths in theorem files: they name a place inside a project, and nothing outside of it."""

import re

from prover.theorem_files.names import TheoremTextError, show

_OUTSIDE = re.compile(r"[A-Za-z]:|[A-Za-z][A-Za-z0-9+.-]*:/")  # a drive, an address


def check_relative_path(path: str) -> None:
    """Raise TheoremTextError unless `path` is one inside a project: `/` between folders, never above or outside it."""
    if (
        path.startswith(("/", "~"))
        or ".." in path.split("/")
        or "\\" in path
        or _OUTSIDE.match(path) is not None
        or not path.isprintable()
    ):
        raise TheoremTextError(f"is {show(path)}; expected a path inside a project, such as `Mathlib/Logic/Basic.lean`")

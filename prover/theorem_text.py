"""The text of theorems: the public names of `prover.theorem_files` that read one theorem."""

import re

from prover.theorem_files.commands import open_namespace
from prover.theorem_files.lexer import check_visible
from prover.theorem_files.names import MAX_NAME_BYTES, TheoremTextError, check_name, is_name, show, unquoted
from prover.theorem_files.text import (
    Declaration,
    holds_theorem,
    join_headers,
    read_header,
    read_source,
    read_statement,
)

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


__all__ = [
    "MAX_NAME_BYTES",
    "Declaration",
    "TheoremTextError",
    "check_name",
    "check_relative_path",
    "check_visible",
    "holds_theorem",
    "is_name",
    "join_headers",
    "open_namespace",
    "read_header",
    "read_source",
    "read_statement",
    "unquoted",
]

"""The text of theorems: the public names of `prover.theorem_files` that read one theorem."""

from prover.theorem_files.commands import open_namespace
from prover.theorem_files.lexer import check_visible
from prover.theorem_files.names import MAX_NAME_BYTES, TheoremTextError, check_name, is_name, unquoted
from prover.theorem_files.paths import check_relative_path
from prover.theorem_files.text import (
    Declaration,
    holds_theorem,
    join_headers,
    read_header,
    read_source,
    read_statement,
)

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

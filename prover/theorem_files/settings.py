"""How theorem files are read, as settings."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadingSettings:
    """How theorem files are read."""

    format: str = ""
    """Layout of the theorem files, by a name of docs/formats.md; empty: guessed from the first entry, and printed."""
    skip_invalid: bool = False
    """Whether to leave out the theorems that cannot be used, counted and listed, instead of refusing the file."""

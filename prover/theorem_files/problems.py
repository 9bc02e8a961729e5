"""What is wrong with a theorem file, for people: the file, the line or row, the field, and what was expected."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_PROBLEMS_SHOWN = 10


def row_word(file: str) -> str:
    """What a file counts: the rows of a table, the lines of a text."""
    return "row" if file.endswith(".parquet") else "line"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a theorem file: where, and what to do. `line` is the row in a Parquet file, from 1."""

    file: str
    line: int | None
    field: str | None
    message: str

    def __str__(self) -> str:
        row = row_word(self.file)
        where = [self.file]
        where += [f"{row} {self.line}"] if self.line is not None else []
        where += [f"field `{self.field}`"] if self.field is not None else []
        return f"{', '.join(where)}: {self.message}"


class TheoremFileError(ValueError):
    """A theorem file that cannot be used; `problems` has every fault found, the message the first ones."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(describe(problems))


def describe(problems: Sequence[Problem]) -> str:
    """The first problems, one per line, and how many more there are."""
    shown = [str(problem) for problem in problems[:MAX_PROBLEMS_SHOWN]]
    if len(problems) > MAX_PROBLEMS_SHOWN:
        shown.append(f"... and {len(problems) - MAX_PROBLEMS_SHOWN} more")
    return "\n".join(shown)


class FieldError(Exception):
    """A field of one entry cannot be used. `field` is None where the entry itself is wrong."""

    def __init__(self, field: str | None, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(message)

"""Lean files with theorems in them: each theorem with what stands above it as its header.

Namespaces, sections, variables, opens and options are followed as Lean does. Earlier theorems are left out of a header:
nothing that follows needs them to mean what it means. Definitions, notations and instances stay, for the statement may
be about them. `#`-commands and `example`s are passed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from prover.theorem_files.commands import DEFINITIONS, THEOREMS, Command, commands, scope_names
from prover.theorem_files.lexer import cleaned
from prover.theorem_files.names import TheoremTextError, words
from prover.theorem_files.text import Declaration, declaration_at

_MEANS_SOMETHING = DEFINITIONS | words(
    "notation notation3 infix infixl infixr prefix postfix macro macro_rules syntax elab elab_rules attribute"
)


@dataclass(frozen=True, slots=True)
class FoundTheorem:
    """A theorem of a Lean file. `line`: of its keyword, from 1; `fault`: why it cannot be used, else None."""

    line: int
    declaration: Declaration | None
    fault: str | None = None


@dataclass(slots=True)
class _Scope:
    """A namespace or section (or the file): the command that opens it, and what was declared in it."""

    opening: str = ""
    texts: list[str] = field(default_factory=list)
    matters: bool = False  # something in it is still there when it is closed

    def lines(self) -> list[str]:
        return [self.opening, *self.texts] if self.opening else self.texts


def theorems_in(text: str) -> Iterator[FoundTheorem]:
    """The named theorems of a Lean file, in order. Raises TheoremTextError for a text that is no Lean file."""
    text = cleaned(text, keep_lines=True)
    scopes = [_Scope()]
    waiting: list[str] = []  # `open X in`, for the next command alone
    counted, line = 0, 1
    for command in commands(text):
        line, counted = line + text.count("\n", counted, command.word), command.word
        piece = text[command.start : command.end].strip()
        if command.keyword in THEOREMS:
            if command.keyword != "example":
                above = [line_ for scope in scopes for line_ in scope.lines()] + waiting
                yield _found(text, command, "\n".join(above), line)
            waiting = []
        elif command.keyword == "#":
            waiting = []
        elif piece.endswith((" in", "\nin")):
            waiting.append(piece)
        elif command.keyword in ("namespace", "section"):
            scopes.append(_Scope(piece))
        elif command.keyword == "end":
            _close(scopes, piece)
        else:
            scopes[-1].texts += [*waiting, piece]
            scopes[-1].matters |= command.keyword in _MEANS_SOMETHING
            waiting = []


def _found(text: str, command: Command, above: str, line: int) -> FoundTheorem:
    try:
        return FoundTheorem(line, declaration_at(text[: command.end], command.word, above))
    except TheoremTextError as error:
        return FoundTheorem(line, None, str(error))


def _close(scopes: list[_Scope], end: str) -> None:
    """Close what an `end` closes; only what defines something is kept of it."""
    left = len(end.removeprefix("end").strip().split(".")) if end != "end" else 1
    while left > 0 and len(scopes) > 1:
        scope = scopes.pop()
        opened = scope_names(scope.opening, commands(scope.opening))
        left -= max(1, sum(len(parts) for _, parts in opened))
        if scope.matters:
            name = " ".join(scope.opening.split()[-1:]) if opened and opened[0][1] else ""
            scopes[-1].texts += [*scope.lines(), f"end {name}".strip()]
            scopes[-1].matters = True

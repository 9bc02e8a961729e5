"""Which modules of this project a module imports, read from the sources without running them.

The sources are scanned by lines, not parsed: parsing all of them would take most of a second at each start of Dagster.
A test compares the scan with Python's own parser for every file of the tree.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("prover", "ebm", "prover_assets")

_STATEMENT = re.compile(
    r"^(?P<indent>[ \t]*)(?:from[ \t]+(?P<module>[\w.]+)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[^\n]+)"
    r"|import[ \t]+(?P<plain>[\w., \t]+)|if[ \t]+(?P<typing>TYPE_CHECKING):)",
    re.MULTILINE,
)


@cache
def path_of(module: str) -> Path | None:
    """The file of a module or package of this project, None where there is none."""
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _statements(module: str, *, for_typing: bool) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(module, names) of each import of this project in a module, also those inside functions.

    for_typing: those below `if TYPE_CHECKING:`, instead of those that are run.
    """
    path = path_of(module)
    found: list[tuple[str, tuple[str, ...]]] = []
    if path is None:
        return ()
    text = path.read_text(encoding="utf-8")
    typing_ends = 0  # where the last block below `if TYPE_CHECKING:` ends
    for match in _STATEMENT.finditer(text):
        if match["typing"]:
            after = re.compile(rf"^[ \t]{{0,{len(match['indent'])}}}\S", re.MULTILINE).search(text, match.end())
            typing_ends = len(text) if after is None else after.start()
        elif (match.start() < typing_ends) is for_typing:
            if match["module"]:
                names = re.sub(r"#[^\n]*", "", match["names"]).strip("()").split(",")
                found.append((match["module"], tuple(name.split(" as ")[0].strip() for name in names if name.strip())))
            else:
                found += [(name.split(" as ")[0].strip(), ()) for name in match["plain"].split(",")]
    return tuple((name, names) for name, names in found if name.split(".")[0] in PACKAGES)


@cache
def imported_by(module: str) -> frozenset[str]:
    """The modules that a module imports when it is run. A name that a package hands on counts as its own module's."""
    found: set[str] = set()
    for name, members in _statements(module, for_typing=False):
        found |= {_home(name, member) for member in members} if members else {name}
    return frozenset(found - {module})


def _home(module: str, member: str) -> str:
    """The module that defines a member of `module`: a module below it, one that it imports the member from, or it."""
    if path_of(f"{module}.{member}") is not None:
        return f"{module}.{member}"
    path = path_of(module)
    if path is not None and path.name == "__init__.py":
        for source, names in (*_statements(module, for_typing=False), *_statements(module, for_typing=True)):
            if member in names:
                return _home(source, member)
    return module


def reached_from(roots: Iterator[str] | tuple[str, ...], stop: Callable[[str], bool]) -> frozenset[str]:
    """The modules that are run where `roots` are, without those for which `stop` holds, nor what only they import."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module not in found and not stop(module):
            found.add(module)
            waiting += imported_by(module)
    return frozenset(found)

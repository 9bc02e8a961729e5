"""docs/ui-tour.md, sentence by sentence: a browser test says with `tour` which sentence it is about to see."""

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "ui-tour.md"
TESTS = ROOT / "tests"


@cache
def sentences() -> tuple[str, ...]:
    """The sentences of the tour, in order; headings, pictures and addresses on lines of their own are none."""
    found: list[str] = []
    for paragraph in DOCUMENT.read_text(encoding="utf-8").split("\n\n"):
        if not paragraph.startswith(("#", "!", "    ")):
            text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
            found += re.split(r"(?<=[.:]) (?=[A-Z*`])", text)
    return tuple(found)


@cache
def pictures() -> frozenset[str]:
    """Names of the pictures that the tour shows, without folder and ending."""
    return frozenset(re.findall(r"!\[[^]]*\]\(images/([^)]*)\.png\)", DOCUMENT.read_text(encoding="utf-8")))


@contextmanager
def tour(*claims: str) -> Iterator[None]:
    """Around what a test does to see these sentences come true. They must stand in the tour, word by word."""
    for claim in claims:
        assert claim in sentences(), f"docs/ui-tour.md does not say {claim!r}"
    try:
        yield
    except AssertionError as error:
        error.add_note(f"docs/ui-tour.md says: {' '.join(claims)}")
        raise


def called_with(function: str) -> set[str]:
    """Every text that a test under tests/ gives to `function(...)` or to a method of that name."""
    found = set()
    for file in TESTS.rglob("test_*.py"):
        text = file.read_text(encoding="utf-8")
        if f"{function}(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == function:
                found |= {
                    arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                }
    return found

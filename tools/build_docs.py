"""Build the API reference, and fail if a public name has no docstring or a link leads nowhere.

    make docs          (python tools/build_docs.py [--check] [--output FOLDER])

pdoc makes the pages from the docstrings. What is checked besides:

- every public module, class, function, method and property of the three packages has a docstring, its own or that of
  the method it overrides, or it is a method that one of `PROTOCOLS` documents, in a class that has all of them. A name
  is public unless it, or something it lies in, begins with an underscore;
- a name of ours in backticks, such as `prover.search.engine`, exists, and so does a file, such as `docs/lean.md`, in
  docstrings and in Markdown files;
- every link of the Markdown files leads to a file that exists and, with `#`, to a heading in it;
- every link between the generated pages leads to a page that exists.
"""

import argparse
import importlib
import pkgutil
import re
import sys
import tomllib
import warnings
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

import pdoc
import pdoc.doc
import pdoc.render

from prover.environments.base import ProofEnvironment
from prover.policy.base import TacticGenerator

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("prover", "ebm", "prover_assets")
FOLDERS = (*PACKAGES, "docs", "tests", "benchmarks", "examples", "tools")

PROTOCOLS = (ProofEnvironment, TacticGenerator)
"""Protocols that classes implement without inheriting from them."""

_NAME = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)(?:\([^`]*\))?`")
_FILE = re.compile(rf"`((?:{'|'.join(FOLDERS)})(?:/[\w.-]+)+\.(?:py|md|lean|yaml))`")
_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_HREF = re.compile(r'<a [^>]*href="([^"#$]+)(?:#[^"]*)?"')
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_ELSEWHERE = ("http://", "https://", "mailto:")


def modules() -> list[pdoc.doc.Module]:
    """Every public module of the packages, imported: those too that a package's `__all__` does not name."""
    names = list(PACKAGES)
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        names += (module.name for module in pkgutil.walk_packages(path, f"{package}."))
    return [pdoc.doc.Module(importlib.import_module(name)) for name in sorted(names) if not _private(name)]


def _private(name: str) -> bool:
    return any(part.startswith("_") for part in name.split("."))


def public_members(owner: pdoc.doc.Namespace) -> Iterator[tuple[pdoc.doc.Namespace, pdoc.doc.Doc]]:
    """Public names that `owner` defines itself, with those of its classes; each with the place of its definition."""
    for member in owner.own_members:
        if member.name.startswith("_") or member.taken_from[0] != owner.modulename:
            continue
        yield owner, member
        if isinstance(member, pdoc.doc.Class):
            yield from public_members(member)


def needs_docstring(owner: pdoc.doc.Namespace, member: pdoc.doc.Doc) -> bool:
    """Whether a member can be called. Such members need a docstring; constants and fields may do with a comment."""
    if isinstance(member, pdoc.doc.Variable):
        return isinstance(vars(owner.obj).get(member.name), property | cached_property)
    return isinstance(member, pdoc.doc.Class | pdoc.doc.Function)


def documented_by_protocol(owner: pdoc.doc.Namespace, member: pdoc.doc.Doc) -> bool:
    """Whether the member's class has all public methods of a protocol, and the member is one of them."""
    for protocol in PROTOCOLS:
        methods = [name for name, value in vars(protocol).items() if callable(value) and not name.startswith("_")]
        if member.name in methods and all(hasattr(owner.obj, name) for name in methods):
            return True
    return False


def undocumented(module: pdoc.doc.Module) -> Iterator[str]:
    """Complaints about names of `module` without a docstring."""
    if not module.docstring.strip():
        yield f"{module.fullname}: no docstring"
    for owner, member in public_members(module):
        if not needs_docstring(owner, member) or documented_by_protocol(owner, member):
            continue
        if not member.docstring.strip():
            yield f"{member.fullname}: no docstring"


@cache
def entry_point_groups() -> frozenset[str]:
    """Names that look like modules and are groups of entry points: `prover.commands`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return frozenset(project.get("entry-points", {}))


def exists(name: str) -> bool:
    """Whether a dotted name of ours can be reached."""
    if name in entry_point_groups():
        return True
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            if not hasattr(found, part):
                return part in getattr(found, "__annotations__", {})
            found = getattr(found, part)
        return True
    return False


def broken_references(where: str, text: str) -> Iterator[str]:
    """Complaints about names and files in backticks that do not exist."""
    for name in _NAME.findall(text):
        if not exists(name):
            yield f"{where}: `{name}` does not exist"
    for path in _FILE.findall(text):
        if not (ROOT / path).exists():
            yield f"{where}: the file `{path}` does not exist"


def anchor(heading: str) -> str:
    """The anchor that code hosts generate for a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    """The anchors of all headings of a Markdown file."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    return {anchor(heading) for heading in _HEADING.findall(text)}


def broken_links(path: Path) -> Iterator[str]:
    """Complaints about a Markdown file."""
    where = str(path.relative_to(ROOT))
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    yield from broken_references(where, text)
    for link in _LINK.findall(text):
        if link.startswith(_ELSEWHERE):
            continue
        target, _, fragment = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        if not file.exists():
            yield f"{where}: the link {link} leads to no file"
        elif fragment and file.suffix == ".md" and fragment not in anchors(file):
            yield f"{where}: the link {link} leads to no heading"


def markdown_files() -> list[Path]:
    """The Markdown files that people read."""
    found = [*ROOT.glob("*.md"), *ROOT.glob(".github/**/*.md")]
    for folder in FOLDERS:
        found += ROOT.glob(f"{folder}/**/*.md")
    return sorted(found)


def broken_pages(folder: Path) -> Iterator[str]:
    """Complaints about links of generated pages to pages that were not generated."""
    for page in sorted(folder.rglob("*.html")):
        for link in set(_HREF.findall(page.read_text(encoding="utf-8"))):
            if not link.startswith((*_ELSEWHERE, "data:")) and not (page.parent / link).exists():
                yield f"{page.relative_to(folder)}: the link {link} leads to no page"


def main() -> int:
    """Build, check, print the complaints; 1 if there are any."""
    parser = argparse.ArgumentParser(description="API reference from docstrings; checks docstrings and links.")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "docs", help="folder of the pages")
    parser.add_argument("--check", action="store_true", help="check only, write no pages")
    arguments = parser.parse_args()

    complaints: list[str] = []
    with warnings.catch_warnings():
        # Names that a package loads on first use are documented where they are defined; pdoc cannot follow them.
        warnings.filterwarnings("ignore", message=".*does not resolve", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*has already been added", category=UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        found = modules()
        for module in found:
            complaints += undocumented(module)
            for member in (module, *(member for _, member in public_members(module))):
                complaints += broken_references(member.fullname, member.docstring)
        for path in markdown_files():
            complaints += broken_links(path)
        if not arguments.check:
            pdoc.render.configure(docformat="markdown", footer_text="lean-expert-iteration")
            pdoc.pdoc(*(module.fullname for module in found), output_directory=arguments.output)
            complaints += broken_pages(arguments.output)
            print(f"{len(found)} modules: {arguments.output / 'index.html'}")
    for complaint in dict.fromkeys(complaints):
        print(complaint, file=sys.stderr)
    if complaints:
        print(f"error: {len(set(complaints))} names without a docstring or broken links", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())

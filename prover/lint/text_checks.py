"""Checks that read the statement's text alone: more than 10,000 statements a minute (benchmarks/lint.py)."""

import re
from collections.abc import Iterator, Sequence

from prover.lint.findings import Finding, LintReport
from prover.lint.signature import Signature, canonical, is_data, local_names, read_signature, words
from prover.theorems import Theorem, TheoremSet

_BY_ZERO = re.compile(r"/\s*\(?\s*0(?:\s*:\s*[ℕℤℚℝℂ\w]+\s*\))?(?![\w.])|/\s*\(0\)")
_MINUS = re.compile(
    r"(?P<left>[^\W\d][\w'₀-₉]*|\d+|[)\]}])(?P<power>\s*\^\s*\w+)?\s*[-]\s*(?P<right>[^\W\d][\w'₀-₉]*|\d+|\()"
)
_NATURAL = re.compile(r"^(?:ℕ|Nat)$")
_FUNCTION_TO_NATURAL = re.compile(r"(?:→|->)\s*(?:ℕ|Nat)$")
_OTHER_NUMBERS = re.compile(r"[ℤℚℝℂ]|\b(?:Int|Rat|Real|Complex)\b")
_SORRY = re.compile(r"(?<![\w.'])sorry(?![\w'])")


def count_sorries(text: str) -> int:
    """How often `sorry` stands in a text, comments aside."""
    return len(_SORRY.findall(re.sub(r"/-.*?-/|--[^\n]*", " ", text, flags=re.DOTALL)))


def duplicates(theorems: Sequence[Theorem], lines: Sequence[int | None]) -> Iterator[Finding]:
    """Statements that are the same as an earlier one up to the names of what they bind, under the same header."""
    first: dict[tuple[str, str], str] = {}
    for theorem, line in zip(theorems, lines, strict=True):
        key = (theorem.header, canonical(theorem.statement))
        if key in first:
            yield Finding(theorem.name, "duplicate", f"of {first[key]}", line)
        else:
            first[key] = theorem.name


def lint_text(source: str, theorems: Sequence[Theorem], lines: Sequence[int | None] | None = None) -> LintReport:
    """All checks of the text, and duplicates, over a set. lines: of the file, None where they are not known."""
    places = [None] * len(theorems) if lines is None else lines
    report = LintReport(source, len(theorems), TheoremSet(source, tuple(theorems)).digest)
    for theorem, line in zip(theorems, places, strict=True):
        report.findings += check_text(theorem, line)
    report.findings += duplicates(theorems, places)
    report.sort([theorem.name for theorem in theorems])
    return report


def check_text(theorem: Theorem, line: int | None) -> list[Finding]:
    """What the text of one statement shows."""
    signature = read_signature(theorem.statement)
    found: list[tuple[str, str]] = []
    found += [("unused-variable", name) for name in _unused_variables(signature)]
    found += [("unused-hypothesis", name) for name in _unused_hypotheses(signature)]
    if (zero := _BY_ZERO.search(theorem.statement)) is not None:
        found.append(("division-by-zero", f"`{zero.group().strip()}`"))
    found += [("natural-subtraction", f"`{text}`") for text in _natural_subtractions(theorem.statement, signature)]
    found += [("shadowed", name) for name in _shadowed(theorem.statement, signature)]
    return [Finding(theorem.name, check, detail, line) for check, detail in found]


def _props(signature: Signature) -> frozenset[str]:
    return frozenset(name for binder in signature.binders if binder.type == "Prop" for name in binder.names)


def _unused_variables(signature: Signature) -> list[str]:
    props = _props(signature)
    unused = []
    for place, binder in enumerate(signature.binders):
        if not is_data(binder, props) or binder.open == "[":
            continue
        others = signature.binders[place + 1 :]
        used = set(words(signature.goal)).union(*(words(other.type) for other in others))
        unused += [name for name in binder.names if name not in used and not name.startswith("_")]
    return unused


def _unused_hypotheses(signature: Signature) -> list[str]:
    """Hypotheses that no chain of shared variables joins to the goal. One that names no variable is left alone."""
    props = _props(signature)
    variables = {name for binder in signature.binders if is_data(binder, props) for name in binder.names}
    hypotheses = [
        (binder.names, variables.intersection(words(binder.type)))
        for binder in signature.binders
        if binder.names and binder.open == "(" and not is_data(binder, props)
    ]
    reached = variables.intersection(words(signature.goal))
    if not reached:
        return []  # a goal such as `False`: every hypothesis may matter
    grown = True
    while grown:
        grown = False
        for names, used in hypotheses:
            if used & reached and not used <= reached:
                reached |= used
                grown = True
            if set(names) & set(words(signature.goal)):
                reached |= used
    return [name for names, used in hypotheses if used and not used & reached for name in names]


def _natural_subtractions(statement: str, signature: Signature) -> list[str]:
    natural: set[str] = set()
    functions: set[str] = set()
    for binder in signature.binders:
        if _NATURAL.match(binder.type):
            natural.update(binder.names)
        elif _FUNCTION_TO_NATURAL.search(binder.type):
            functions.update(binder.names)
    for names, kind in re.findall(r"[∀∃λ]\s*\(?((?:[^\W\d][\w']*\s+)*[^\W\d][\w']*)\s*:\s*(ℕ|Nat)\b", statement):
        natural.update(names.split() if kind else [])
    if not natural and not functions and not re.search(r"ℕ|\bNat\b", statement):
        return []
    found = []
    for match in _MINUS.finditer(statement):
        around = statement[match.start() : match.end() + 24]
        if _OTHER_NUMBERS.search(around):
            continue
        left, right = match["left"], match["right"]
        if left in natural or (right in natural and left.isdigit()) or left in functions:
            found.append(" ".join(match.group().split()))
    return list(dict.fromkeys(found))


def _shadowed(statement: str, signature: Signature) -> list[str]:
    names = [name for binder in signature.binders for name in binder.names if name != "_"]
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    inner = [name for name in local_names(statement) if name in names]
    return list(dict.fromkeys([*twice, *inner]))

"""A statement's signature in parts: binders, goal, names. Read from the text, without Lean."""

import re
from dataclasses import dataclass
from functools import lru_cache

_OPEN = {"(": ")", "[": "]", "{": "}", "⦃": "⦄", "⟨": "⟩"}
_CLOSE = frozenset(_OPEN.values())
TOKEN = re.compile(r"«[^»\n]*»|[^\W\d]['!?\w₀-₉]*(?:\.[^\W\d]['!?\w₀-₉]*)*|\d+(?:\.\d+)?|:=|→|↔|[^\s\w]", re.UNICODE)
"""Words (dotted names whole), numbers, and other characters one by one."""
_LOCAL = re.compile(
    r"(?:∀|∃!?|∑|∏|⋃|⋂|⨆|⨅|λ|\bfun)\s*(?P<names>(?:[(⦃{]?\s*[^\W\d][\w'₀-₉]*\s*)+)(?=[:,∈≤<>≥=↦∉⊆]|in\b)"
)
_DATA = frozenset(["Prop", "Type", "Sort", "Nat", "Int", "Real", "Rat", "Bool", "String", "Char", "Fin", "Set", "List"])
_DATA_CHARACTERS = "ℕℤℚℝℂ"
_RELATIONS = re.compile(r"[=≠<>≤≥∈∉⊆⊂∣¬∧∨↔∀∃≡]|\b(?:Even|Odd|Prime|Nat\.Prime|IsLeast|IsGreatest|Function\.\w+)\b")


@dataclass(frozen=True, slots=True)
class Binder:
    """`(names : type)` before the colon. `open` is its first character."""

    names: tuple[str, ...]
    type: str
    open: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A theorem's signature, taken apart."""

    binders: tuple[Binder, ...]
    binders_text: str
    goal: str


@lru_cache(maxsize=4096)
def read_signature(statement: str) -> Signature:
    """The parts of `(p q : Prop) (h : p) : q`. What is no binder before the colon (`h : p` bare) is passed over."""
    binders: list[Binder] = []
    stack: list[str] = []
    start = 0
    for position, character in enumerate(statement):
        if character in _OPEN:
            if not stack:
                start = position
            stack.append(_OPEN[character])
        elif character in _CLOSE:
            if stack and stack[-1] == character:
                stack.pop()
            if not stack:
                binders.append(_binder(statement[start : position + 1]))
        elif character == ":" and not stack and statement[position : position + 2] != ":=":
            return Signature(tuple(binders), statement[:position].strip(), statement[position + 1 :].strip())
    return Signature((), "", statement.strip())


def _binder(text: str) -> Binder:
    inside = text[1:-1]
    names, colon, kind = inside.partition(":")
    words = names.split()
    if not colon or not all(re.fullmatch(r"«[^»]*»|[^\W\d][\w'!?₀-₉]*", word) for word in words):
        return Binder((), inside.strip(), text[0])
    return Binder(tuple(words), kind.partition(":=")[0].strip(), text[0])


def words(text: str) -> list[str]:
    """The names in a text, dotted ones by their first part."""
    return [token.partition(".")[0] for token in TOKEN.findall(text) if token[0].isalpha() or token[0] in "_«"]


def local_names(text: str) -> list[str]:
    """The names that `∀`, `∃`, `fun`, `∑`, ... bind in a text, in order."""
    found: list[str] = []
    for match in _LOCAL.finditer(text):
        found += [name.strip("({⦃ ") for name in match["names"].split() if name.strip("({⦃ ") not in ("", "_")]
    return found


def is_data(binder: Binder, props: frozenset[str] = frozenset()) -> bool:
    """Whether a binder brings in a thing rather than a hypothesis: judged by its type's words, without Lean.

    props: names of the propositions among the variables: `(h : p)` is a hypothesis.
    """
    kind = binder.type
    if _RELATIONS.search(kind) or not binder.names:
        return False
    used = words(kind)
    if used and used[0] in props and kind.strip()[0] not in "([{":
        return False
    if any(character in kind for character in _DATA_CHARACTERS):
        return True
    return bool(used) and (used[-1] in _DATA or used[0] in _DATA or len(kind.split()) == 1)


def canonical(statement: str) -> str:
    """The statement with its bound names numbered in order of first occurrence, and blanks made equal.

    Two statements with one canonical text are the same up to renaming. Names that are not bound stay.
    """
    signature = read_signature(statement)
    bound: dict[str, str] = {}
    for binder in signature.binders:
        for name in binder.names:
            bound.setdefault(name, f"x{len(bound)}'")
    for name in local_names(statement):
        bound.setdefault(name, f"x{len(bound)}'")
    pieces = []
    for token in TOKEN.findall(statement):
        head, dot, rest = token.partition(".")
        pieces.append(bound.get(head, head) + dot + rest if head in bound else token)
    return " ".join(pieces)

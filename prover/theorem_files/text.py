"""The text of a theorem, in whatever form people write it: one reader for headers, statements and whole sources.

A text is cleaned (comments, code fence), cut into commands, and its last theorem taken; what stands above that becomes
the header. This reads just enough Lean to tell where a statement begins and ends: brackets, strings, `:=`. Whether a
statement means anything is for Lean to say.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from prover.theorem_files.commands import MODIFIERS_AT_END, THEOREMS, commands, open_namespace
from prover.theorem_files.lexer import cleaned
from prover.theorem_files.names import COMMANDS, KEYWORDS, NAME, TheoremTextError, is_name, show

_NAME = re.compile(NAME)
_LINE_WITH_COMMAND = re.compile(
    rf"^(?:#[A-Za-z]\w+|(?:{'|'.join(sorted(COMMANDS & KEYWORDS))})(?![\w'.]))", re.MULTILINE
)
_PAIRS = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "⦃": "⦄"}
_CLOSING = frozenset(_PAIRS.values())
_FLAT = r"""[^()\[\]{}⟨⟩⦃⦄"'«]*"""
# Brackets that hold no others are taken in one piece: most binders are such.
# What a statement's shape depends on; all other text is passed over. Every alternative starts with a plain character
# (what may not stand before it is looked at after it): only then does `re` skip other text fast.
_LANDMARK = re.compile(
    rf"""\({_FLAT}\)|\[{_FLAT}\]|\{{{_FLAT}\}}|\(|\)|\[|\]|\{{|\}}|⟨|⟩|⦃|⦄|:=|:
      | "(?:\\.|[^"\\])*" | '(?<![\w']')(?:\\.|[^'\\])' | «[^»\n]*»
      | l(?<![\w.]l)(?:etI|et_fun|et)(?![\w'.]) | h(?<![\w.]h)(?:aveI|ave)(?![\w'.])""",
    re.VERBOSE | re.DOTALL,
)
_UNIVERSES = re.compile(r"\.\{([^{}]*)\}\s*")
_UNIVERSE_LINE = re.compile(r"^universe\s+((?:(?!--)[^\n])*)(?:--[^\n]*)?$", re.MULTILINE)
_IN = re.compile(r"(?:^|(?<=\s))in\Z")
_FIRST_THEOREM = re.compile(r"^(?:theorem|lemma)(?=\s)", re.MULTILINE)
_THEOREM_WORD = re.compile(r"(?:theorem|lemma|example)(?![A-Za-z0-9_.'!?])")
_KEYWORD = re.compile(r"(theorem|lemma|example)(?![\w.'!?])")
# Where a proof begins that has no `:=`: equations, and the fields of a structure.
_WHERE = re.compile(r"(?<![\w.'])where(?![\w.'])")
_EQUATIONS = re.compile(r"(?:\s|^)\|[^|\n]*=>")
_HAS_ALTERNATIVES = re.compile(r"(?<![\w.'])(?:match|fun|nomatch)(?![\w.'])|λ")


@dataclass(frozen=True, slots=True)
class Declaration:
    """A theorem as read from Lean text. `name` is None for an `example`, or where the text is a bare statement.

    `header` stands above it, and may leave a namespace open: `name` is then as written, inside of it. `.{u, v}` after a
    name becomes `universe u v` in the header: an `example` cannot have it.
    """

    name: str | None
    statement: str
    header: str = ""

    @property
    def full_name(self) -> str | None:
        """The name with the namespaces that the header leaves open; None where there is none."""
        namespace = open_namespace(self.header)
        return f"{namespace}.{self.name}" if namespace and self.name is not None else self.name


def read_statement(text: str) -> Declaration:
    """A statement in any of the forms people write: its signature, and what stands above it as the header.

    `theorem NAME (p : Prop) : p → p := by` (also `lemma`, `example`; whatever follows the statement is dropped),
    `(p : Prop) : p → p`, or a bare proposition `∀ p : Prop, p → p`, which gets its leading colon. Imports, opens,
    comments, attributes, modifiers and a code fence may stand around it. Raises TheoremTextError.
    """
    return _read(cleaned(text), bare=True)


def read_source(text: str) -> Declaration:
    """The last theorem of a whole Lean source, and what stands above it as the header. Raises TheoremTextError."""
    return _read(cleaned(text), bare=False)


@lru_cache(maxsize=256)  # the theorems of a set share few headers
def read_header(text: str) -> str:
    """What stands above a theorem, without comments, the theorem's own modifiers and the `in` of `open X in`.

    Raises TheoremTextError for unseen characters.
    """
    return _header(cleaned(text))


def join_headers(first: str, second: str) -> str:
    """Both headers, one below the other, without a `universe` line of the second that names what the first declares."""
    if not second or not first:
        return (first or second).strip()
    if "universe" not in second:
        return f"{first.strip()}\n{second.strip()}".strip()
    declared = {name for line in _UNIVERSE_LINE.findall(first) for name in line.split()}
    lines = [first.strip()]
    for line in second.strip().split("\n"):
        match = _UNIVERSE_LINE.fullmatch(line)
        if match is None:
            lines.append(line)
        elif new := [name for name in match[1].split() if name not in declared]:
            lines.append(f"universe {' '.join(new)}")
    return "\n".join(lines).strip()


def holds_theorem(text: str) -> bool:
    """Whether a text is Lean with a theorem in it, rather than a label or plain prose."""
    return re.search(r"(?<![\w.'])(?:theorem|lemma|example)(?![\w.'])", text) is not None and ":" in text


# ----------------------------------------------------------------------------------------------------------- the reader
def _read(text: str, *, bare: bool) -> Declaration:
    start = _FIRST_THEOREM.search(text)
    if start is None or _holds_theorem_word(text[start.end() :]) or not _plain_prefix(text[: start.start()]):
        return _read_by_commands(text, bare=bare)
    return declaration_at(text, start.start(), text[: start.start()])


def _holds_theorem_word(text: str) -> bool:
    if "theorem" in text or "lemma" in text or "example" in text:
        return _THEOREM_WORD.search(text) is not None  # rather than part of a name
    return False


@lru_cache(maxsize=1024)
def _plain_prefix(prefix: str) -> bool:
    """Whether what stands above the first theorem at a line's start is whole commands, none of them a theorem."""
    return not prefix or not any(command.keyword in THEOREMS for command in commands(prefix))


def _read_by_commands(text: str, *, bare: bool) -> Declaration:
    found = commands(text) if _holds_theorem_word(text) else []
    mains = [command for command in found if command.keyword in THEOREMS]
    if mains:
        return declaration_at(text, mains[-1].word, text[: mains[-1].start])
    if not bare:
        raise TheoremTextError(f"has no `theorem` in it: {show(text)}")
    return _signature(text, None, "")


def declaration_at(text: str, word: int, above: str) -> Declaration:
    """The theorem whose keyword stands at `word`, below the text `above`."""
    keyword = _KEYWORD.match(text, word)
    assert keyword is not None
    text = text[keyword.end() :].lstrip()
    name = None
    if keyword[1] != "example":
        found = _NAME.match(text)
        if found is None:
            raise TheoremTextError(f"has no Lean name after `{keyword[1]}`: {show(text)}")
        name, text = found.group().removeprefix("_root_."), text[found.end() :].lstrip()
    header = _header(above) if above else ""
    if "sorry" in header and re.search(r"(?<![\w.'])sorry(?![\w'])", header):
        raise TheoremTextError(
            f"has a `sorry` above the theorem{f' `{name}`' if name else ''}: an answer that is still to be filled in. "
            "Such a statement can be met by any answer; give it with the answer written out"
        )
    return _signature(text, name, header)


def _signature(text: str, name: str | None, header: str) -> Declaration:
    universes: list[str] = []
    if (levels := _UNIVERSES.match(text)) is not None:
        universes = levels[1].replace(",", " ").split()
        text = text[levels.end() :]
    is_signature, end = _landmarks(text)
    text = _before_proof(text[:end]) if name is not None else text[:end].rstrip()
    if not text or text == ":":
        raise TheoremTextError("is empty; expected a Lean signature such as `(p q : Prop) (h : p ∧ q) : q ∧ p`")
    command = _LINE_WITH_COMMAND.search(text)
    if command is not None:
        raise TheoremTextError(f"has the command `{command.group()}` in it; expected one proposition: {show(text)}")
    if universes:
        header = join_headers(header, f"universe {' '.join(universes)}")
    return Declaration(name, text if is_signature else f": {text}", header)


def _before_proof(text: str) -> str:
    """The statement without the equations or the `where` that prove it."""
    if "where" in text and (found := _WHERE.search(text)) is not None:
        text = text[: found.start()]
    found = _EQUATIONS.search(text) if "=>" in text else None
    if found is not None and not _HAS_ALTERNATIVES.search(text, 0, found.start()):
        text = text[: found.start()]
    return text.rstrip()


@lru_cache(maxsize=1024)
def _header(text: str) -> str:
    """Comment-free text that stands above a theorem, without what belongs to the theorem itself."""
    before = None
    while text != before:
        before = text
        text = _without_in(MODIFIERS_AT_END.sub("", text).strip())
    return text


def _without_in(header: str) -> str:
    """`open X in`, above the one theorem that it is for, as `open X`: lines of ours come between the two."""
    kept: list[str] = []
    while (found := _IN.search(header)) is not None:
        header, _, last = header[: found.start()].rstrip().rpartition("\n")
        kept = [*re.split(r"\s+in\s+", last), *kept]  # several on a line
        header = header.rstrip()
    return "\n".join([header, *kept] if header else kept)


def _landmarks(text: str) -> tuple[bool, int]:
    """(whether it starts with binders and a colon, where the proof's `:=` is or the end), in comment-free text.

    Binders are brackets and names: `∀ p` and `(p → q) → r` are none. A `:=` that belongs to a `let` or `have` of the
    statement is not the proof's. A text whose brackets do not pair is taken whole: a search says so by the theorem's
    name, and the file's other theorems can be searched.
    """
    expected: list[str] = []
    outside: list[str] = []  # of brackets, before the first colon there
    outside_from = 0
    is_signature: bool | None = None
    waiting = 0
    for match in _LANDMARK.finditer(text):
        piece = match.group()
        if piece[-1] in _CLOSING and len(piece) > 1:
            if not expected:
                outside.append(text[outside_from : match.start()])
                outside_from = match.end()
        elif piece in _PAIRS:
            if not expected:
                outside.append(text[outside_from : match.start()])
            expected.append(_PAIRS[piece])
        elif piece in _CLOSING:
            if not expected or piece != expected.pop():
                break
            outside_from = match.end()
        elif expected:
            continue
        elif piece == ":":
            if is_signature is None:
                outside.append(text[outside_from : match.start()])
                is_signature = _are_names(" ".join(outside).split())
        elif piece == ":=":
            if not waiting:
                return bool(is_signature), match.start()
            waiting -= 1
        elif piece[0] in "lh":
            waiting += 1
    return bool(is_signature), len(text)


def _are_names(words: list[str]) -> bool:
    return all(is_name(word) and word not in KEYWORDS and word != "exists" for word in words)

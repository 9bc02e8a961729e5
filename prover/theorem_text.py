"""The text of theorems: Lean names, statements in the forms people write them, whole Lean sources.

This reads just enough Lean to tell where a statement begins and ends: brackets, comments, strings, `:=`. Whether a
statement means anything is for Lean to say.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

MAX_NAME_BYTES = 200
"""Longest name, in UTF-8 bytes: names become parts of file names."""

# Lean's identifier characters (Lean.isIdFirst, Lean.isIdRest): ASCII, accented Latin, Greek without λ Π Σ, letterlike.
_LETTERLIKE = "À-ÖØ-öø-ſα-κμ-ωΑ-ΟΡΤ-Ωϊ-ϻἀ-῾℀-⅏\U0001d49c-\U0001d59f"
_SUBSCRIPTS = "₀-₉ₐ-ₜᵢ-ᵪ"
_PLAIN = rf"[A-Za-z_{_LETTERLIKE}][A-Za-z0-9_'!?{_LETTERLIKE}{_SUBSCRIPTS}]*"
_QUOTED = r"«[A-Za-z0-9](?:[A-Za-z0-9_+' -]|\.(?!\.))*»"
_NAME = re.compile(rf"(?:{_PLAIN}|{_QUOTED})(?:\.(?:{_PLAIN}|{_QUOTED}))*")

_COMMAND_WORDS = """
    theorem lemma example def abbrev axiom opaque instance inductive structure class mutual end namespace section
    variable universe export import prelude public private protected noncomputable unsafe partial attribute macro
    macro_rules syntax elab elab_rules notation infix infixl infixr prefix postfix initialize builtin_initialize run_cmd
    run_elab run_meta set_option local scoped declare_syntax_cat register_option omit include
    """
_OTHER_KEYWORDS = """
    where deriving extends open fun forall exists let have show from suffices if then else match with do by in at using
    return for while unless try catch finally mut calc Prop Type Sort sorry _ nomatch nofun decreasing_by termination_by
    _root_
    """
_COMMANDS = frozenset(_COMMAND_WORDS.split())
_KEYWORDS = _COMMANDS.union(_OTHER_KEYWORDS.split())
_LINE_WITH_COMMAND = re.compile(rf"^(?:#\w+|(?:{'|'.join(sorted(_COMMANDS))})(?![\w'.]))", re.MULTILINE)

# Characters that nobody sees: controls other than tab and line end, soft hyphen, zero-width and bidirectional marks,
# line separators, lone surrogates, tags.
_INVISIBLE = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f"
    "\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f]"
)

_OUTSIDE = re.compile(r"[A-Za-z]:|[A-Za-z][A-Za-z0-9+.-]*:/")  # a drive, an address
_PAIRS = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "⦃": "⦄"}
_CLOSING = frozenset(_PAIRS.values())
# What a statement's shape depends on; all other text is passed over. Every alternative starts with a plain character
# (what may not stand before it is looked at after it): only then does `re` skip other text fast.
_LANDMARK = re.compile(
    r"""\(|\)|\[|\]|\{|\}|⟨|⟩|⦃|⦄|:=|:
      | "(?:\\.|[^"\\])*" | '(?<![\w']')(?:\\.|[^'\\])' | «[^»\n]*»
      | l(?<![\w.]l)(?:etI|et_fun|et)(?![\w'.]) | h(?<![\w.]h)(?:aveI|ave)(?![\w'.])""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_OR_LITERAL = re.compile(r"""--[^\n]*|/-|"(?:\\.|[^"\\])*"|(?<![\w'])'(?:\\.|[^'\\])'|«[^»\n]*»""", re.DOTALL)
_COMMENT_EDGE = re.compile(r"/-|-/")
_THEOREM = re.compile(r"(?<![\w.'])(theorem|lemma|example)(?![\w.'])")
_UNIVERSES = re.compile(r"\.\{([^{}]*)\}\s*")
_UNIVERSE_LINE = re.compile(r"^universe\s+((?:(?!--)[^\n])*)(?:--[^\n]*)?$", re.MULTILINE)
_IN = re.compile(r"(?:^|(?<=\s))in\Z")
_MODIFIERS = re.compile(r"(?:(?:@\[[^\]]*\]|private|protected|nonrec|noncomputable|public)\s*)+\Z")


class TheoremTextError(ValueError):
    """The text is not a theorem's name, statement or source; says what was given and what was expected."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A theorem as read from Lean text. `name` is None for an `example`.

    `header` stands above it. `.{u, v}` after a name becomes `universe u v` in the header: an `example` cannot have it.
    """

    name: str | None
    statement: str
    header: str = ""


def is_name(text: str) -> bool:
    """Whether the text is an identifier of Lean's, dotted or not; keywords are."""
    return _NAME.fullmatch(text) is not None


def check_name(name: str) -> None:
    """Raise TheoremTextError unless `name` can be declared in Lean and be part of a file name."""
    if not name:
        raise TheoremTextError("is empty; expected a Lean name such as `and_comm`")
    if not is_name(name):
        raise TheoremTextError(
            f"{_show(name)} is not a Lean name; expected something like `and_comm` or `Nat.add_comm'`"
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        raise TheoremTextError(f"{_show(name)} is {len(name.encode())} bytes long; expected at most {MAX_NAME_BYTES}")
    for part in name.split("."):
        if part in _KEYWORDS:
            raise TheoremTextError(f"{_show(name)} has the Lean keyword `{part}` in it; choose another name")


def read_statement(text: str) -> Declaration:
    """A statement in any of the forms people write, as a signature.

    `theorem NAME (p : Prop) : p → p := by` (also `lemma`, `example`, and whatever follows `:=` is dropped),
    `(p : Prop) : p → p`, or a bare proposition `∀ p : Prop, p → p`, which gets its leading colon. Comments are dropped.
    Raises TheoremTextError.
    """
    return _read_cleaned(_cleaned(text))


@lru_cache(maxsize=64)  # the theorems of a set share few headers, and so they share the text, too
def read_header(text: str) -> str:
    """What stands above a theorem, as it is but for its line ends and an `in` at its end (see `_without_in`).

    Raises TheoremTextError for unseen characters.
    """
    check_visible(text)
    return _without_in(text.replace("\r\n", "\n").replace("\r", "\n").strip())


def _without_in(header: str) -> str:
    """`open X in`, above the one theorem that it is for, as `open X`: lines of ours come between the two."""
    kept: list[str] = []
    while (found := _IN.search(header)) is not None:
        header, _, last = header[: found.start()].rstrip().rpartition("\n")
        kept = [*re.split(r"\s+in\s+", last), *kept]  # several on a line
        header = header.rstrip()
    return "\n".join([header, *kept] if header else kept)


def check_visible(text: str) -> None:
    """Raise TheoremTextError when the text has a character that nobody sees."""
    hidden = _INVISIBLE.search(text)
    if hidden is not None:
        raise TheoremTextError(f"has the invisible character U+{ord(hidden.group()):04X}; expected printable text")


def check_relative_path(path: str) -> None:
    """Raise TheoremTextError unless `path` is one inside a project: `/` between folders, never above or outside it."""
    if (
        path.startswith(("/", "~"))
        or ".." in path.split("/")
        or "\\" in path
        or _OUTSIDE.match(path) is not None
        or not path.isprintable()
    ):
        raise TheoremTextError(
            f"is {_show(path)}; expected a path inside a project, such as `Mathlib/Logic/Basic.lean`"
        )


def _read_cleaned(text: str) -> Declaration:
    name: str | None = None
    keyword = _THEOREM.match(text)
    if keyword is not None:
        text = text[keyword.end() :].lstrip()
        if keyword[1] != "example":
            found = _NAME.match(text)
            if found is None:
                raise TheoremTextError(f"has no Lean name after `{keyword[1]}`: {_show(text)}")
            name, text = found.group(), text[found.end() :].lstrip()
    universes: list[str] = []
    if (levels := _UNIVERSES.match(text)) is not None:
        universes = levels[1].replace(",", " ").split()
        text = text[levels.end() :]
    is_signature, end = _landmarks(text)
    text = text[:end].rstrip()
    if not text or text == ":":
        raise TheoremTextError("is empty; expected a Lean signature such as `(p q : Prop) (h : p ∧ q) : q ∧ p`")
    command = _LINE_WITH_COMMAND.search(text)
    if command is not None:
        raise TheoremTextError(f"has the command `{command.group()}` in it; expected one proposition: {_show(text)}")
    header = f"universe {' '.join(universes)}" if universes else ""
    return Declaration(name, text if is_signature else f": {text}", header)


def read_source(text: str) -> Declaration:
    """The last theorem of a whole Lean source, and what stands above it as the header. Raises TheoremTextError."""
    text = _cleaned(text)
    starts = [match.start() for match in _THEOREM.finditer(text) if _begins_command(text, match.start())]
    if not starts:
        raise TheoremTextError(f"has no `theorem` in it: {_show(text)}")
    declaration = _read_cleaned(text[starts[-1] :])
    header = _without_in(_MODIFIERS.sub("", text[: starts[-1]]).strip())
    return Declaration(declaration.name, declaration.statement, join_headers(header, declaration.header))


def join_headers(first: str, second: str) -> str:
    """Both headers, one below the other, without a `universe` line of the second that names what the first declares."""
    if not second.strip():
        return first.strip()
    declared = {name for line in _UNIVERSE_LINE.findall(first) for name in line.split()}
    lines = [first.strip()]
    for line in second.strip().split("\n"):
        match = _UNIVERSE_LINE.fullmatch(line)
        if match is None:
            lines.append(line)
        elif new := [name for name in match[1].split() if name not in declared]:
            lines.append(f"universe {' '.join(new)}")
    return "\n".join(lines).strip()


def _begins_command(text: str, position: int) -> bool:
    """Whether only modifiers, attributes or an `open ... in` stand before `position` on its line."""
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return not _MODIFIERS.sub("", line).strip() or line.rstrip().endswith(" in")


def _cleaned(text: str) -> str:
    """The text without comments and carriage returns. Raises TheoremTextError for characters that nobody sees."""
    check_visible(text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "--" in text or "/-" in text:
        text = _without_comments(text)
    if "\n" not in text:
        return text.strip()
    return "\n".join([line.rstrip() for line in text.split("\n")]).strip()


def _without_comments(text: str) -> str:
    pieces: list[str] = []
    position = 0
    while (match := _COMMENT_OR_LITERAL.search(text, position)) is not None:
        pieces.append(text[position : match.start()])
        position = match.end()
        if match.group() == "/-":
            position = _comment_end(text, match.start())
            pieces.append(" ")
        elif not match.group().startswith("--"):
            pieces.append(match.group())
    return "".join(pieces) + text[position:]


def _comment_end(text: str, start: int) -> int:
    """Where the block comment that opens at `start` ends; comments nest."""
    depth = 0
    for match in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if match.group() == "/-" else -1
        if depth == 0:
            return match.end()
    raise TheoremTextError(f"has a comment that does not end: {_show(text[start:])}")


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
        if piece in _PAIRS:
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
    return all(is_name(word) and word not in _KEYWORDS for word in words)


def _show(text: str, limit: int = 80) -> str:
    """The text for an error message: one line, shortened, unprintable characters escaped."""
    shown = ascii(text)[1:-1] if any(not c.isprintable() and c != "\n" for c in text) else text.replace("\n", " ")
    return f"`{shown if len(shown) <= limit else shown[: limit - 3] + '...'}`"

"""The text of a whole proof, split into tactics that can be stepped one by one.

A proof as people write it has structure: `·` bullets, `have h : T := by` blocks, `case`, `next`. The steps of a search
have none. So a block is read as its head and its inner tactics, to be stepped without the block around them; where Lean
does not take them so (`prover.traces.replay` asks), the block is one step. Other multi-line text (`calc`, `cases ...
with`, `simp [` over several lines) is one tactic.
"""

import re
from dataclasses import dataclass

MAX_DEPTH = 40
"""Deepest nesting of blocks that is read."""

_BULLET = re.compile(r"(?:·|\.)[ \t]*(?=\S)")
_HAVE_BY = re.compile(
    r"(?P<head>have\s+(?:[^\s:()\[\]{}⟨⟩|]+\s*)?(?:[({\[][^\n]*?[)}\]]\s*)*:(?!=).*?)\s*:=\s*by(?=\s|\Z)", re.DOTALL
)
_NEXT = re.compile(r"next(?P<names>(?:[ \t]+[^\s=]+)*)[ \t]*=>")
_CASE = re.compile(r"case'?[ \t]+(?P<tag>[^\s=|]+)(?P<names>(?:[ \t]+[^\s=|]+)*)[ \t]*=>")
_ALTERNATIVES = re.compile(r"(?P<head>(?:cases|induction)\s[^\n]*?)[ \t]+with[ \t]*\n(?P<body>[ \t]*\|.*)", re.DOTALL)
_ALTERNATIVE = re.compile(r"\|[ \t]*(?P<tag>[^\s=|@_]+)(?P<names>(?:[ \t]+[^\s=|]+)*)[ \t]*=>")
_BY = re.compile(r"(?::=\s*)?by(?=\s|\Z)")
_DECLARATION = re.compile(
    r"^[ \t]*(?:@\[[^\]]*\]\s*)?(?:private\s+|protected\s+)*(?:theorem|lemma|example)\b", re.MULTILINE
)
_OPENERS, _CLOSERS = "([{⟨", ")]}⟩"


class SplitError(ValueError):
    """The text is no tactic proof that can be split; says why."""


@dataclass(frozen=True, slots=True)
class Item:
    """A tactic, or a block with its tactics.

    `text` is the whole of it, as one tactic. `inner`: the tactics of a block, None for a plain tactic. `opening`: what
    takes the place of the block's head when the inner tactics are stepped one by one; None where nothing does (`·`).
    `adds_goal`: the opening adds the block's goal in front (`have`), instead of taking the first one (`·`).
    `splits`: the opening turns the first goal into several, and the inner items close them all (`cases h with`).
    """

    text: str
    inner: "tuple[Item, ...] | None" = None
    opening: str | None = None
    adds_goal: bool = False
    splits: bool = False


def script_of(text: str) -> str:
    """The tactics of a proof given as `by TACTICS`, `:= by TACTICS`, a whole declaration, or the tactics themselves.

    A proof term (`:= fun h => h`) becomes `exact TERM`. Raises SplitError for an empty one.
    """
    text = _dedented(_without_comments(text.replace("\r\n", "\n").replace("\t", "  ")))
    declarations = list(_DECLARATION.finditer(text))
    if declarations:
        body = text[declarations[-1].start() :]
        at = _assignment(body)
        if at is None:
            raise SplitError("has a declaration without `:=`, and so without a proof")
        text = body[at:]
    stripped = text.strip()
    found = _BY.match(stripped)
    if found is not None:
        rest = stripped[found.end() :]
        first, newline, others = rest.partition("\n")
        script = _dedented(rest.strip("\n")) if not first.strip() else _inline(first, newline + others)
    elif stripped.startswith(":="):
        term = stripped[2:].strip()
        script = f"exact {term}" if term else ""
    else:
        script = text
    if not script.strip():
        raise SplitError("is empty; expected tactics")
    return _dedented(script)


def _inline(first: str, others: str) -> str:
    """`by tac` with more lines below: the first tactic is moved to their column."""
    lines = [line for line in others.split("\n") if line.strip()]
    if not lines:
        return first.strip()
    column = min(len(line) - len(line.lstrip()) for line in lines)
    return " " * column + first.strip() + others


def split(script: str, depth: int = 0) -> tuple[Item, ...]:
    """The items of a script, in order. A line at the column of the first begins one; deeper lines go on with it.

    Raises SplitError for nesting beyond `MAX_DEPTH` and for lines left of the first.
    """
    if depth > MAX_DEPTH:
        raise SplitError(f"has blocks nested deeper than {MAX_DEPTH}")
    items: list[list[str]] = []
    column: int | None = None
    open_brackets = 0
    for line in script.split("\n"):
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip(" "))
        column = indent if column is None else column
        if indent < column and not open_brackets:
            raise SplitError(f"has a line left of the first one: `{line.strip()[:60]}`")
        goes_on = open_brackets > 0 or indent > column or line.lstrip().startswith(("<;>", "| ", "|>.", "at "))
        if items and goes_on:
            items[-1].append(line[column:] if line[:column].isspace() else line)
        else:
            items.append([line[column:]])
        open_brackets = max(0, open_brackets + _balance(line))
    found: list[Item] = []
    for lines in items:
        for text in _sequence("\n".join(lines)):
            found.append(_item(text, depth))
    return tuple(found)


def _item(text: str, depth: int) -> Item:
    bullet = _BULLET.match(text)
    if bullet is not None:
        body = " " * bullet.end() + text[bullet.end() :]
        return Item(text, split(_dedented(body), depth + 1))
    have = _HAVE_BY.match(text)
    if have is not None and "<;>" not in text:
        inner = _block_body(text, have.end())
        if inner is not None:
            return Item(text, split(inner, depth + 1), f"refine {have['head']} := ?_; ?_", adds_goal=True)
    named = _NEXT.match(text)
    if named is not None:
        inner = _block_body(text, named.end())
        if inner is not None:
            names = named["names"].strip()
            return Item(text, split(inner, depth + 1), f"rename_i {names}" if names else None)
    case = _CASE.match(text)
    if case is not None:
        inner = _block_body(text, case.end())
        if inner is not None:
            return Item(text, split(inner, depth + 1), f"case' {case['tag']}{case['names']} => skip")
    alternatives = _ALTERNATIVES.fullmatch(text)
    if alternatives is not None:
        inner_items = _cases(alternatives["body"], depth + 1)
        if inner_items:
            return Item(text, inner_items, alternatives["head"].strip(), splits=True)
    return Item(text)


def _cases(body: str, depth: int) -> tuple[Item, ...]:
    """The alternatives `| inl h => ...` of `cases ... with` as `case'` blocks; () where one has another form."""
    body = _dedented(body)
    starts = [found.start() for found in re.finditer(r"^\|", body, re.MULTILINE)]
    if not starts or starts[0] != 0:
        return ()
    items: list[Item] = []
    for start, end in zip(starts, [*starts[1:], len(body)], strict=True):
        text = body[start:end].rstrip("\n")
        head = _ALTERNATIVE.match(text)
        inner = None if head is None else _block_body(text, head.end())
        if head is None or inner is None:
            return ()
        items.append(Item(text, split(inner, depth), f"case' {head['tag']}{head['names'].rstrip()} => skip"))
    return tuple(items)


def _block_body(text: str, start: int) -> str | None:
    """The tactics behind a block's head: on its line, or on the lines below; None where there are none."""
    first, newline, others = text[start:].partition("\n")
    if not text[start:].strip():
        return None
    if not first.strip():
        return _dedented(others)
    return _dedented(_inline(first, newline + others))


def _sequence(text: str) -> list[str]:
    """`a; b` on one line as two tactics, where nothing in it could own the semicolon."""
    if (
        "\n" in text
        or ";" not in text
        or re.search(r"<;>|[()\[\]{}⟨⟩«»\"|·]|\b(?:by|fun|first|try|repeat|with|=>)\b|=>", text)
    ):
        return [text]
    return [part.strip() for part in text.split(";") if part.strip()]


def _balance(line: str) -> int:
    return sum((character in _OPENERS) - (character in _CLOSERS) for character in line)


def _dedented(text: str) -> str:
    lines = text.strip("\n").split("\n")
    filled = [line for line in lines if line.strip()]
    margin = min((len(line) - len(line.lstrip(" ")) for line in filled), default=0)
    return "\n".join(line[margin:].rstrip() for line in lines)


_COMMENT = re.compile(r"--[^\n]*|/-|\"(?:\\.|[^\"\\])*\"|«[^»\n]*»", re.DOTALL)
_EDGE = re.compile(r"/-|-/")


def _without_comments(text: str) -> str:
    """Without comments; block comments nest. Raises SplitError for one that does not end."""
    pieces: list[str] = []
    position = 0
    while (found := _COMMENT.search(text, position)) is not None:
        pieces.append(text[position : found.start()])
        position = found.end()
        if found.group() == "/-":
            position = _comment_end(text, found.start())
            pieces.append(" ")
        elif not found.group().startswith("--"):
            pieces.append(found.group())
    return "".join(pieces) + text[position:]


def _comment_end(text: str, start: int) -> int:
    depth = 0
    for edge in _EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/-" else -1
        if depth == 0:
            return edge.end()
    raise SplitError("has a comment that does not end")


def _assignment(text: str) -> int | None:
    """Where the `:=` of a declaration is: the first outside brackets; None without one."""
    depth = 0
    for position, character in enumerate(text):
        if character in _OPENERS:
            depth += 1
        elif character in _CLOSERS:
            depth -= 1
        elif depth == 0 and text.startswith(":=", position):
            return position
    return None

"""As much of Lean's lexer as it takes to tell comments, strings and quoted names from the rest of a text."""

import re

from prover.theorem_files.names import PLAIN, TheoremTextError, show

# Characters that nobody sees: controls other than tab and line end, soft hyphen, zero-width and bidirectional marks,
# line separators, lone surrogates, tags.
_INVISIBLE = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f"
    "\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f]"
)
CHARACTER = r"'(?:\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)|[^'\\])'"
STRING = r'"(?:\\.|[^"\\])*"'
RAW_STRING = r'(?<![A-Za-z0-9_])r(?:"[^"]*"|(?P<hashes>#+)".*?"(?P=hashes))'
# Identifiers are tokens of their own, so that the prime of `h'` does not begin a character.
_COMMENT_OR_TOKEN = re.compile(
    rf"(?P<line>--[^\n]*)|(?P<block>/-)|{RAW_STRING}|{PLAIN}|{STRING}|{CHARACTER}|«[^»\n]*»", re.DOTALL
)
_COMMENT = re.compile(r"(?P<line>--[^\n]*)|(?P<block>/-)")
_COMMENT_EDGE = re.compile(r"/-|-/")
_FENCED = re.compile(r"```[A-Za-z0-9]*[ \t]*\n(?P<text>.*?)\n?[ \t]*```", re.DOTALL)


def check_visible(text: str) -> None:
    """Raise TheoremTextError when the text has a character that nobody sees."""
    if text.replace("\n", " ").replace("\t", " ").isprintable():
        return
    hidden = _INVISIBLE.search(text)
    if hidden is not None:
        raise TheoremTextError(f"has the invisible character U+{ord(hidden.group()):04X}; expected printable text")


def cleaned(text: str, *, keep_lines: bool = False) -> str:
    """The text without comments, carriage returns, trailing blanks and the code fence around it.

    keep_lines: what is left stays on its line, counted from the start of the text.

    Raises TheoremTextError for characters that nobody sees, and for a code fence within the text.
    """
    check_visible(text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "```" in text:
        text = _unfenced(text)
    if "--" in text or "/-" in text:
        text = without_comments(text, keep_lines=keep_lines)
    if "«" in text and re.search(r"«[^»\n]*(?:\n|\Z)", text):
        raise TheoremTextError(f"has a name in «» that does not end on its line: {show(text)}")
    if " \n" not in text and "\t\n" not in text:
        return text.rstrip() if keep_lines else text.strip()
    lines = "\n".join([line.rstrip() for line in text.split("\n")])
    return lines.rstrip() if keep_lines else lines.strip()


def _unfenced(text: str) -> str:
    fenced = _FENCED.fullmatch(text.strip())
    if fenced is None or "```" in fenced["text"]:
        raise TheoremTextError("has a code fence (```) in it; expected the Lean text alone")
    return fenced["text"]


def without_comments(text: str, *, keep_lines: bool = False) -> str:
    """The text with each line comment dropped and each block comment (they nest) replaced by a blank.

    keep_lines: replaced by a blank and as many line ends as it had.
    """
    pieces: list[str] = []
    position = kept = 0
    # What looks like a comment can be something else only in a string or a quoted name.
    search = _COMMENT_OR_TOKEN.search if '"' in text or "«" in text else _COMMENT.search
    while (match := search(text, position)) is not None:
        position = match.end()
        if match["line"] is not None or match["block"] is not None:
            _check_separate(text, match.start())
        if match["line"] is not None:
            pieces.append(text[kept : match.start()])
            kept = position
        elif match["block"] is not None:
            end = _comment_end(text, match.start())
            lines = text.count("\n", match.start(), end) if keep_lines else 0
            pieces += [text[kept : match.start()], " ", "\n" * lines]
            kept = position = end
    return "".join(pieces) + text[kept:]


def _check_separate(text: str, start: int) -> None:
    """Raise TheoremTextError for a comment that touches a symbol which Lean may read on: `<--1`, `{x : Int //-1}`."""
    before = text[start - 1 : start]
    if before and before in _READS_ON:
        shown = text[start - 1 : start + 2]
        raise TheoremTextError(f"has {show(shown)} in it, which Lean may not take for a comment: put a blank into it")


_READS_ON = frozenset("<>/|=+*-^~!?@#$%&.←→↔\\")


def _comment_end(text: str, start: int) -> int:
    """Where the block comment that opens at `start` ends; comments nest."""
    depth = 0
    for match in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if match.group() == "/-" else -1
        if depth == 0:
            return match.end()
    raise TheoremTextError(f"has a comment that does not end: {show(text[start:])}")

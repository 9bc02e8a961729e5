"""How deep a tactic nests, before Lean sees it.

Lean elaborates a nested term by recursion, and some shapes cost it time that grows with the square of the depth, or
worse: `fun x => fun x => ...` takes 0.3 s at a depth of 50 and more than 5 s at 100, `h.h.h...` 1.3 s at 200. A few
such candidates time out a whole wave. No proof that people write comes near the limits here.

This is a count over tokens, not a parse. What ends a nested part (`;`, `,`, a closing bracket, a line that is indented
less) takes it off again, so that many steps one after another count as one each. Where the count is in doubt it is too
low rather than too high: it saves time, and nothing rests on it. Brackets have a limit of their own (`refusal`).
"""

import re

MAX_DEPTH = 64
"""Nested parts within each other: words and signs that open one (`fun`, `by`, `try`, `¬`, `∀`), and projections."""
MAX_CHAIN = 150
"""Operators in one chain (`a ∧ b ∧ c`, `skip <;> skip`)."""
MAX_TACTIC_LENGTH = 10_000
"""Characters of one tactic."""

_BINDERS = frozenset(["∀", "∃", "∃!", "Σ", "Π", "∑", "∏", "⋃", "⋂"])  # their comma belongs to them
_PREFIXES = _BINDERS | frozenset(["¬", "λ", "↑", "⇑", "↥", "@", "!", "·", "√", "‖", "-", "~"])
_PREFIXES |= {"fun", "by", "try", "repeat", "repeat'", "repeat1", "first", "any_goals", "all_goals", "focus", "on_goal"}
_PREFIXES |= {"iterate", "have", "haveI", "let", "letI", "show", "suffices", "if", "match", "do"}
_PREFIXES |= {"case", "case'", "next", "conv", "calc", "solve"}
_OPEN, _CLOSE = frozenset("([{⟨⦃⟦⌊⌈"), frozenset(")]}⟩⦄⟧⌋⌉")
_ENDS = frozenset([";", "|"])
_TOKENS = re.compile(
    r"""(?P<skip>--[^\n]*|/-.*?-/|"(?:\\.|[^"\\])*")"""
    r"""|(?P<line>\n[ \t]*)|(?P<space>[ \t]+)"""
    r"""|(?P<word>(?:«[^»\n]*»|[^\W\d][\w'!?₀-₉]*))"""
    r"""|(?P<number>\d[\w]*)"""
    r"""|(?P<infix><;>|=>|:=|<\||\|>|∃!|[<>=≤≥≠+*/^→←↔∧∨×∘∣∈∉⊆∪∩:$&%▸]+)"""
    r"""|(?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)


def too_deep(tactic: str) -> str | None:
    """Why a tactic is too deep or too long, for people; None if it is neither. Time is linear in its length."""
    if len(tactic) > MAX_TACTIC_LENGTH:
        return (
            f"the tactic has {len(tactic)} characters; at most {MAX_TACTIC_LENGTH} are tried at once: split it into "
            "several steps"
        )
    count = _Count()
    for token in _TOKENS.finditer(tactic):
        count.take(token.lastgroup or "", token.group())
        if count.depth > MAX_DEPTH:
            return f"the tactic nests more than {MAX_DEPTH} deep at {_shown(token)}: split it into several steps"
        if count.chain > MAX_CHAIN:
            return f"the tactic chains more than {MAX_CHAIN} operators at {_shown(token)}: split it into several steps"
    return None


def _shown(token: re.Match[str]) -> str:
    return repr(token.group().strip() or token.group()) + f", character {token.start()}"


class _Count:
    """What is open at a place in the text: brackets, and in each the parts that nest."""

    def __init__(self) -> None:
        self._frames: list[list[tuple[int, bool]]] = [
            []
        ]  # per bracket: (indentation, whether a comma is still to come)
        self._chains: list[int] = [0]
        self._nested = 0  # parts in all frames
        self._dots = 0  # of the chain of projections at hand
        self._indent = 0
        self._operand = False  # whether the last token was one that an operator may follow
        self._awaits = False  # whether the last token needs something after it, so that a new line goes on

    @property
    def depth(self) -> int:
        return self._nested + self._dots

    @property
    def chain(self) -> int:
        return self._chains[-1]

    def take(self, kind: str, text: str) -> None:
        if kind in ("space", "skip"):
            self._dots = 0
        elif kind == "line":
            self._dots = 0
            self._new_line(len(text) - 1)
        elif text in _PREFIXES and not (text in ("-", "!", "‖") and self._operand):
            self._frames[-1].append((self._indent, text in _BINDERS))
            self._nested += 1
            self._operand, self._awaits = False, True
        elif kind in ("word", "number"):
            self._operand, self._awaits = True, False
        elif text == "." and self._operand:
            self._dots += 1
            self._awaits = False
        elif text in _OPEN:
            self._frames.append([])
            self._chains.append(0)
            self._operand, self._awaits = False, True
        elif text in _CLOSE:
            self._close()
        elif text in _ENDS or text == ",":
            self._end_part(is_comma=text == ",")
        elif kind == "infix" or text == "-":
            self._chains[-1] += 1
            self._operand, self._awaits = False, True

    def _close(self) -> None:
        self._nested -= len(self._frames[-1])
        if len(self._frames) > 1:
            self._frames.pop()
            self._chains.pop()
        else:  # more closed than opened: `refusal` says so
            self._frames[-1].clear()
        self._operand, self._awaits = True, False

    def _end_part(self, *, is_comma: bool) -> None:
        frame = self._frames[-1]
        waiting = next((i for i in reversed(range(len(frame))) if frame[i][1]), None)
        if is_comma and waiting is not None:
            frame[waiting] = (frame[waiting][0], False)
        else:
            self._nested -= len(frame)
            frame.clear()
        self._chains[-1] = 0
        self._operand, self._awaits = False, True

    def _new_line(self, indent: int) -> None:
        """A line that is indented no more than the one where a part was opened ends that part, if it may end there."""
        before, self._indent = self._indent, indent
        frame = self._frames[-1]
        while not self._awaits and frame and frame[-1][0] >= indent:
            frame.pop()
            self._nested -= 1
        if not self._awaits and indent <= before:
            self._chains[-1] = 0
        self._operand = False

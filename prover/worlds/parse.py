"""Reading statements back: signatures of first-order logic, arithmetic and lists, as generated ones, the Natural Number
Game's and the prelude's lemmas are written. Only as much of Lean as that takes."""

import re
from dataclasses import dataclass

from prover.worlds.terms import (
    ALL,
    APPEND,
    CONS,
    EX,
    FALSE,
    FUN,
    IMP,
    NE,
    NIL,
    NOT,
    NUMBER,
    SUCC,
    Expr,
    binary,
    negate,
    quantify,
    succ,
)

_TOKEN = re.compile(r"\s*(?:(::|\+\+|=>|\[\])|([(){}\[\],:])|([∀∃¬]|[∧∨→↔=≠≤<≥>+*\-])|(\d+)|([^\W\d][\w'.]*))")
_INFIX = {"↔": (20, 21, 21), "→": (25, 26, 25), "∨": (30, 31, 30), "∧": (35, 36, 35)}
_INFIX |= {op: (50, 51, 51) for op in "=≠≤<≥>"} | {"+": (65, 65, 66), "-": (65, 65, 66), "*": (70, 70, 71)}
_INFIX |= {APPEND: (65, 65, 66), CONS: (67, 68, 67)}
_KNOWN_SUCC = ("succ", SUCC)


class NotReadError(ValueError):
    """A statement that is not of these worlds."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a statement declares, supposes and claims. `declared`: (name, type as text)."""

    declared: tuple[tuple[str, str], ...]
    hypotheses: tuple[Expr, ...]
    goal: Expr


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        place = 0
        text = text.strip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            if not found:
                raise NotReadError(f"unexpected text at {text[place : place + 12]!r}")
            self.tokens.append(found[0].strip())
            place = found.end()
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.next() != token:
            raise NotReadError(f"expected {token!r} before {' '.join(self.tokens[self.at - 1 : self.at + 3])!r}")

    def expression(self, level: int = 0) -> Expr:
        left = self.prefix()
        while self.peek() in _INFIX and _INFIX[self.peek()][0] >= level:
            op = self.next()
            right = self.expression(_INFIX[op][2])
            left = _joined(op, left, right)
        return left

    def prefix(self) -> Expr:
        token = self.peek()
        if token in (ALL, EX):
            self.next()
            return self.quantifier(token)
        if token == NOT:
            self.next()
            return negate(self.expression(41))
        if token == FUN:
            self.next()
            name = self.next()
            self.expect("=>")
            return quantify(FUN, name, self.expression())
        head = self.atom()
        arguments = []
        while self.peek() in ("(", "[", NIL) or re.fullmatch(r"\d+|[^\W\d][\w'.]*", self.peek()):
            arguments.append(self.atom())
        if not arguments:
            return head
        if head.args:
            raise NotReadError("something applied that is not a name")
        if head.head in _KNOWN_SUCC and len(arguments) == 1:
            return succ(arguments[0])
        return Expr(head.head, tuple(arguments))

    def quantifier(self, kind: str) -> Expr:
        bracketed = self.peek() == "("
        if bracketed:
            self.next()
        names = []
        while self.peek() not in (",", ":", ""):
            names.append(self.next())
        if self.peek() == ":":
            self.next()
            self.expression()
        if bracketed:
            self.expect(")")
        self.expect(",")
        body = self.expression()
        for name in reversed(names):
            body = quantify(kind, name, body)
        return body

    def atom(self) -> Expr:
        token = self.next()
        if token == "(":
            inner = self.expression()
            if self.peek() == ":":  # `(2 : Nat)`
                self.next()
                self.expression()
            self.expect(")")
            return inner
        if token == "[":
            return self.list_of_items()
        if token == NIL:
            return Expr(NIL)
        if re.fullmatch(r"\d+", token):
            return Expr(token)
        if re.fullmatch(r"[^\W\d][\w'.]*", token):
            return _dotted(token)
        raise NotReadError(f"unexpected {token!r}")

    def list_of_items(self) -> Expr:
        """What follows `[`, up to its `]`, as Lean writes it out: `[a, b]` is `a :: b :: []`."""
        items = [self.expression()]
        while self.peek() == ",":
            self.next()
            items.append(self.expression())
        self.expect("]")
        whole = Expr(NIL)
        for item in reversed(items):
            whole = binary(CONS, item, whole)
        return whole


def _dotted(token: str) -> Expr:
    if token == "Nat.zero":
        return Expr("0")
    if token.endswith(".succ") and token != SUCC:
        return succ(_dotted(token.removesuffix(".succ")))
    return Expr(token)


def _joined(op: str, left: Expr, right: Expr) -> Expr:
    if op == ">":
        return binary("<", right, left)
    if op == "≥":
        return binary("≤", right, left)
    return Expr(op, (left, right))


def read_formula(text: str) -> Expr:
    """A formula or term. Raises NotReadError."""
    reader = _Reader(text)
    formula = reader.expression()
    if reader.peek():
        raise NotReadError(f"unexpected {reader.peek()!r} after the formula")
    return formula


def read_signature(statement: str) -> Signature:
    """`(a b : Nat) (h : a = b) : b = a`. Raises NotReadError."""
    reader = _Reader(statement)
    declared: list[tuple[str, str]] = []
    hypotheses: list[Expr] = []
    while reader.peek() in ("(", "{"):
        closing = {"(": ")", "{": "}"}[reader.next()]
        names = []
        while reader.peek() not in (":", ""):
            names.append(reader.next())
        reader.expect(":")
        kind = reader.expression()
        reader.expect(closing)
        if _is_type(kind):
            declared += [(name, str(kind)) for name in names]
        else:
            hypotheses += [kind] * len(names)
    reader.expect(":")
    goal = reader.expression()
    if reader.peek():
        raise NotReadError(f"unexpected {reader.peek()!r} after the statement")
    return Signature(tuple(declared), tuple(hypotheses), goal)


def _is_type(kind: Expr) -> bool:
    """Whether a binder declares something rather than supposing it."""
    if kind.head == IMP:
        return _is_type(kind.args[1])
    if kind.head == "List":
        return True
    return (not kind.args and kind.head not in (FALSE, "True", NE)) and (
        kind.head in ("Prop", "Type", "Sort", "Bool", NUMBER) or kind.head in ("α", "β", "γ")
    )

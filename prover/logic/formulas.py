"""Propositional formulas and sequents in Lean's notation: parsing, printing, reading printed proof states.

Precedences are Lean's: `¬` binds tightest (its argument is parsed at level 40), then `∧` (35), `∨` (30), `→` (25), all
three associating to the right, and `↔` (20), which does not associate. `print(parse(text))` is what Lean prints.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from prover.states import normalise

Operator = Literal["var", "true", "false", "not", "and", "or", "imp", "iff"]

MAX_NESTING = 200
"""Deepest nesting of operators and brackets that the parser follows; keeps recursion far from Python's limit."""


class NotPropositionalError(ValueError):
    """The text is not a propositional formula, statement or proof state."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula: an operator and its arguments. Build it with `Var`, `Not`, `And`, `Or`, `Imp`, `Iff`, `TRUE`, `FALSE`.

    `¬p` and `p → False` are different formulas here, because Lean prints them differently.
    """

    op: Operator
    left: "Formula | None" = None
    right: "Formula | None" = None
    name: str = ""

    @property
    def parts(self) -> "tuple[Formula, Formula]":
        """Both arguments of a binary formula."""
        if self.left is None or self.right is None:
            raise ValueError(f"`{self.op}` has no two arguments")
        return self.left, self.right

    @property
    def negated(self) -> "Formula":
        """The argument of a negation."""
        if self.op != "not" or self.left is None:
            raise ValueError(f"`{self.op}` is not a negation")
        return self.left

    def variables(self) -> list[str]:
        """Variable names from left to right, with repetitions."""
        found: list[str] = []
        pending = [self]
        while pending:
            part = pending.pop()
            if part.op == "var":
                found.append(part.name)
            if part.right is not None:
                pending.append(part.right)
            if part.left is not None:
                pending.append(part.left)
        return found

    def size(self) -> int:
        """Number of operators, variables and constants."""
        return 1 + (self.left.size() if self.left else 0) + (self.right.size() if self.right else 0)

    def __str__(self) -> str:
        return _print(self, 0)


TRUE = Formula("true")
FALSE = Formula("false")


def Var(name: str) -> Formula:
    """The propositional variable `name`."""
    return Formula("var", name=name)


def Not(a: Formula) -> Formula:
    """¬a"""
    return Formula("not", a)


def And(a: Formula, b: Formula) -> Formula:
    """a ∧ b"""
    return Formula("and", a, b)


def Or(a: Formula, b: Formula) -> Formula:
    """a ∨ b"""
    return Formula("or", a, b)


def Imp(a: Formula, b: Formula) -> Formula:
    """a → b"""
    return Formula("imp", a, b)


def Iff(a: Formula, b: Formula) -> Formula:
    """a ↔ b"""
    return Formula("iff", a, b)


def rename(formula: Formula, names: dict[str, str]) -> Formula:
    """The formula with its variables renamed. A variable that is not in `names` keeps its name."""
    if formula.op == "var":
        return Var(names.get(formula.name, formula.name))
    left = rename(formula.left, names) if formula.left is not None else None
    right = rename(formula.right, names) if formula.right is not None else None
    return Formula(formula.op, left, right)


# ------------------------------------------------------------------------------------------------------------ printing
# operator -> (symbol, level of the whole, level of the left argument, level of the right argument)
_BINARY: dict[str, tuple[str, int, int, int]] = {
    "and": ("∧", 35, 36, 35),
    "or": ("∨", 30, 31, 30),
    "imp": ("→", 25, 26, 25),
    "iff": ("↔", 20, 21, 21),
}
_LEVEL_NOT_ARGUMENT = 40


def _print(formula: Formula, level: int) -> str:
    match formula.op:
        case "var":
            return formula.name
        case "true":
            return "True"
        case "false":
            return "False"
        case "not":
            return "¬" + _print(formula.negated, _LEVEL_NOT_ARGUMENT)
    symbol, own, left_level, right_level = _BINARY[formula.op]
    left, right = formula.parts
    text = f"{_print(left, left_level)} {symbol} {_print(right, right_level)}"
    return f"({text})" if own < level else text


# ------------------------------------------------------------------------------------------------------------- parsing
_TOKEN = re.compile(
    r"\s*(?:(?P<symbol>↔|<->|→|->|∧|/\\|∨|\\/|¬|\(|\)|[{}:,∀])|(?P<name>[^\W\d][\w'!?✝¹²³⁴⁵⁶⁷⁸⁹⁰₀-₉]*(?:\.[\w']+)*))"
)
_SYNONYMS = {"<->": "↔", "->": "→", "/\\": "∧", "\\/": "∨", "Not": "¬"}
_OPERATORS: dict[str, tuple[Operator, int, int, int]] = {
    symbol: (op, own, left, right)  # type: ignore[misc]
    for op, (symbol, own, left, right) in _BINARY.items()
}
_NOT_VARIABLES = {"Prop", "Type", "Sort", "fun", "λ", "let", "have", "show", "from", "if", "then", "else", "by", "at"}


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotPropositionalError(f"unexpected {text[position:].lstrip()[:1]!r} in {_shorten(text)}")
        token = match.group("symbol") or match.group("name")
        tokens.append(_SYNONYMS.get(token, token))
        position = match.end()
    return tokens


def _shorten(text: str, limit: int = 120) -> str:
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")


class _Parser:
    """Precedence climbing over a token list. `variables`: the declared ones, or None when any name is one."""

    def __init__(self, tokens: list[str], text: str, variables: frozenset[str] | None) -> None:
        self.tokens = tokens
        self.text = text
        self.variables = variables
        self.position = 0
        self.nesting = 0

    def peek(self) -> str | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if token is None:
            raise self.error(f"it ends where {expected or 'more'} is expected")
        if expected is not None and token != expected:
            raise self.error(f"{token!r} stands where {expected!r} is expected")
        self.position += 1
        return token

    def error(self, what: str) -> NotPropositionalError:
        return NotPropositionalError(f"not a propositional formula, {what}: {_shorten(self.text)}")

    def formula(self, level: int = 0) -> Formula:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise self.error(f"nested deeper than {MAX_NESTING}")
        left = self.atom()
        while (token := self.peek()) in _OPERATORS:
            op, own, left_level, right_level = _OPERATORS[token]
            if own < level:
                break
            if left_level > _level(left) and not self.closed_by_bracket:
                raise self.error("two `↔` in a row need brackets")
            self.take()
            left = Formula(op, left, self.formula(right_level))
            self.closed_by_bracket = False
        self.nesting -= 1
        return left

    closed_by_bracket = False

    def atom(self) -> Formula:
        token = self.take()
        self.closed_by_bracket = True
        match token:
            case "(":
                inner = self.formula()
                self.take(")")
                self.closed_by_bracket = True
                return inner
            case "¬":
                argument = self.formula(_LEVEL_NOT_ARGUMENT)
                self.closed_by_bracket = True
                return Not(argument)
            case "True":
                return TRUE
            case "False":
                return FALSE
        if not (token[0].isalpha() or token[0] == "_") or token in _NOT_VARIABLES:
            raise self.error(f"{token!r} is not a formula")
        if self.variables is not None and token not in self.variables:
            raise self.error(f"{token!r} is not declared as a proposition")
        following = self.peek()
        if following is not None and (following == "(" or following[0].isalpha() or following[0] == "_"):
            raise self.error(f"{token!r} is applied to an argument")
        return Var(token)


def _level(formula: Formula) -> int:
    return _BINARY[formula.op][1] if formula.op in _BINARY else 1024


def parse(text: str, variables: frozenset[str] | None = None) -> Formula:
    """The formula that `text` spells, in Lean's notation (or its ASCII spellings `->`, `/\\`, `\\/`, `<->`, `Not`).

    With `variables`, only those names may occur. Raises NotPropositionalError.
    """
    parser = _Parser(_tokens(text), text, variables)
    formula = parser.formula()
    if parser.peek() is not None:
        raise parser.error(f"{parser.peek()!r} follows a complete formula")
    return formula


# ------------------------------------------------------------------------------------------------------------ sequents
@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A named hypothesis of a goal."""

    name: str
    formula: Formula


@dataclass(frozen=True, slots=True)
class Sequent:
    """A goal: hypotheses, in Lean's order, and what has to be proved from them.

    `variables` are the declared propositions, in order; all that occur are among them.
    """

    hypotheses: tuple[Hypothesis, ...]
    goal: Formula
    variables: tuple[str, ...] = field(default=())

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """The hypotheses without their names."""
        return tuple(h.formula for h in self.hypotheses)

    def __str__(self) -> str:
        """The goal as Lean prints it, without a `case` line: equal neighbours share a line."""
        lines = [f"{' '.join(self.variables)} : Prop"] if self.variables else []
        group: list[str] = []
        for i, hypothesis in enumerate(self.hypotheses):
            group.append(hypothesis.name)
            following = self.hypotheses[i + 1] if i + 1 < len(self.hypotheses) else None
            if following is None or following.formula != hypothesis.formula:
                lines.append(f"{' '.join(group)} : {hypothesis.formula}")
                group = []
        return "\n".join([*lines, f"⊢ {self.goal}"])


def print_state(goals: tuple[Sequent, ...]) -> str:
    """A proof state as Lean prints it, without `case` lines; the empty text is a finished proof."""
    return "\n\n".join(str(goal) for goal in goals)


def parse_state(text: str) -> tuple[Sequent, ...]:
    """The goals of a printed proof state. Raises NotPropositionalError unless all of them are propositional."""
    normalised = normalise(text)
    if not normalised:
        return ()
    return tuple(_parse_goal(goal) for goal in normalised.split("\n\n"))


_HYPOTHESIS_LINE = re.compile(r"(?P<names>[^\s:()]+(?: [^\s:()]+)*) :\s+(?P<type>.+)", re.DOTALL)


def _parse_goal(text: str) -> Sequent:
    entries: list[str] = []
    for line in text.split("\n"):
        if line.startswith(" ") and entries:  # a long line goes on, indented
            entries[-1] += "\n" + line
        else:
            entries.append(line)
    if not entries or not entries[-1].startswith("⊢"):
        raise NotPropositionalError(f"a goal ends with a line that starts with ⊢; given {_shorten(text)}")
    variables: list[str] = []
    typed: list[tuple[str, str]] = []
    for entry in entries[:-1]:
        match = _HYPOTHESIS_LINE.fullmatch(entry)
        if match is None:
            raise NotPropositionalError(f"expected `names : type` in a goal; given {_shorten(entry)}")
        names = match["names"].split(" ")
        if match["type"] == "Prop":
            variables += names
        else:
            typed += [(name, match["type"]) for name in names]
    if len(set(variables)) < len(variables):
        raise NotPropositionalError(f"two propositions print with the same name in {_shorten(text)}")
    known = frozenset(variables)
    hypotheses = tuple(Hypothesis(name, parse(type_, known)) for name, type_ in typed)
    return Sequent(hypotheses, parse(entries[-1][1:], known), tuple(variables))


# ---------------------------------------------------------------------------------------------------------- statements
def parse_statement(statement: str) -> Sequent:
    """The sequent of a theorem's signature, e.g. `(p q : Prop) (h : p ∧ q) : q ∧ p`.

    Leading `∀ p q : Prop,` (bracketed or not) declare variables as binders do. Raises NotPropositionalError when
    anything else than propositions and formulas over them occurs.
    """
    tokens = _tokens(statement)
    parser = _Parser(tokens, statement, None)
    variables: list[str] = []
    hypotheses: list[Hypothesis] = []
    while parser.peek() in ("(", "{"):
        close = ")" if parser.take() == "(" else "}"
        _read_binder(parser, close, variables, hypotheses)
    parser.take(":")
    while parser.peek() == "∀":
        parser.take()
        if parser.peek() in ("(", "{"):
            while parser.peek() in ("(", "{"):
                close = ")" if parser.take() == "(" else "}"
                _read_binder(parser, close, variables, [])
            parser.take(",")
        else:
            _read_binder(parser, ",", variables, [])
    parser.variables = frozenset(variables)
    goal = parser.formula()
    if parser.peek() is not None:
        raise parser.error(f"{parser.peek()!r} follows a complete formula")
    return Sequent(tuple(hypotheses), goal, tuple(variables))


def _read_binder(parser: _Parser, close: str, variables: list[str], hypotheses: list[Hypothesis]) -> None:
    """Read `names : type CLOSE` into `variables` (type Prop) or `hypotheses`."""
    names: list[str] = []
    while parser.peek() != ":":
        names.append(parser.take())
    parser.take(":")
    for name in names:
        if not (name[0].isalpha() or name[0] == "_") or name in variables or any(h.name == name for h in hypotheses):
            raise parser.error(f"{name!r} cannot be declared here")
    if parser.peek() == "Prop":
        parser.take()
        variables += names
    elif close == ",":
        raise parser.error("a quantifier over something else than Prop")
    else:
        parser.variables = frozenset(variables)
        formula = parser.formula()
        hypotheses += [Hypothesis(name, formula) for name in names]
    parser.take(close)


def print_statement(sequent: Sequent) -> str:
    """The theorem signature of a sequent: `(p q : Prop) (h : p ∧ q) : q ∧ p`."""
    binders = [f"({' '.join(sequent.variables)} : Prop)"] if sequent.variables else []
    binders += [f"({h.name} : {h.formula})" for h in sequent.hypotheses]
    return " ".join([*binders, f": {sequent.goal}"])

"""Terms and formulas of the generated worlds, printed as Lean reads them.

One class for both. `head` is a name (variable, function, predicate), a numeral, or one of the operators below; `bound`
is the variable of a quantifier or of `fun`, whose body is its only argument.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

AND, OR, IMP, IFF, NOT, FALSE, ALL, EX = "∧", "∨", "→", "↔", "¬", "False", "∀", "∃"
EQ, NE, LE, LT, ADD, MUL, SUCC = "=", "≠", "≤", "<", "+", "*", "Nat.succ"
FUN, CONS, APPEND, NIL = "fun", "::", "++", "[]"

_LEVELS = {IFF: 20, IMP: 25, OR: 30, AND: 35, NOT: 40, EQ: 50, NE: 50, LE: 50, LT: 50, ADD: 65, MUL: 70}
_LEVELS |= {APPEND: 65, CONS: 67}
_ATOM = 100
_LEFT_FIRST = (ADD, MUL, APPEND)
_RIGHT_FIRST = (IMP, OR, AND, CONS)
_CONSTANTS = ("List.", "Bool.")
NUMBER = "Nat"
FORMULAS = frozenset({AND, OR, IMP, IFF, NOT, FALSE, ALL, EX, EQ, NE, LE, LT})
"""Heads of formulas; everything else is a term (or an atom of predicates)."""


@dataclass(frozen=True, slots=True)
class Expr:
    """A term or a formula."""

    head: str
    args: tuple["Expr", ...] = ()
    bound: str = ""
    """The variable that a quantifier or `fun` binds."""
    sort: str = ""
    """Its type, where it has to be written."""

    def __str__(self) -> str:
        return _print(self)[0]

    @property
    def size(self) -> int:
        """Number of nodes."""
        return 1 + sum(arg.size for arg in self.args)


def var(name: str) -> Expr:
    """A variable, constant or numeral."""
    return Expr(name)


def binary(op: str, left: Expr, right: Expr) -> Expr:
    """`left op right`."""
    return Expr(op, (left, right))


def eq(left: Expr, right: Expr) -> Expr:
    """`left = right`."""
    return Expr(EQ, (left, right))


def le(left: Expr, right: Expr) -> Expr:
    """`left ≤ right`."""
    return Expr(LE, (left, right))


def add(left: Expr, right: Expr) -> Expr:
    """`left + right`."""
    return Expr(ADD, (left, right))


def mul(left: Expr, right: Expr) -> Expr:
    """`left * right`."""
    return Expr(MUL, (left, right))


def succ(term: Expr) -> Expr:
    """`Nat.succ term`."""
    return Expr(SUCC, (term,))


def implies(left: Expr, right: Expr) -> Expr:
    """`left → right`."""
    return Expr(IMP, (left, right))


def negate(formula: Expr) -> Expr:
    """`¬formula`."""
    return Expr(NOT, (formula,))


def quantify(head: str, name: str, body: Expr, sort: str = "") -> Expr:
    """`∀ name, body` or `∃ name, body`."""
    return Expr(head, (body,), name, sort)


FALSITY = Expr(FALSE)
ZERO = Expr("0")


def _print(e: Expr) -> tuple[str, int]:
    """(text, how tightly it binds)."""

    def at(arg: Expr, level: int) -> str:
        text, binds = _print(arg)
        return text if binds >= level else f"({text})"

    if e.head in (ALL, EX):
        typed = f"{e.bound} : {e.sort}" if e.sort else e.bound
        return f"{e.head} {typed}, {_print(e.args[0])[0]}", 10
    if e.head == FUN:
        return f"{FUN} {e.bound} => {_print(e.args[0])[0]}", 10
    if e.head == NOT:
        return f"¬{at(e.args[0], 41)}", 40
    if e.head in _LEVELS:
        level = _LEVELS[e.head]
        left = level if e.head in _LEFT_FIRST else level + 1
        right = level if e.head in _RIGHT_FIRST else level + 1
        return f"{at(e.args[0], left)} {e.head} {at(e.args[1], right)}", level
    if e.args:
        return " ".join([e.head, *(at(arg, _ATOM) for arg in e.args)]), 90
    return e.head, _ATOM


def walk(e: Expr) -> Iterator[Expr]:
    """All subexpressions in the order in which Lean's `rw` looks at them: a node, then its arguments from the left."""
    yield e
    for arg in e.args:
        yield from walk(arg)


def free_names(e: Expr) -> list[str]:
    """Names that are neither bound nor operators nor numerals, in order of occurrence."""
    found: dict[str, None] = {}

    def visit(node: Expr, bound: frozenset[str]) -> None:
        if node.bound:
            bound = bound | {node.bound}
        elif node.head not in bound and is_name(node.head):
            found.setdefault(node.head)
        for arg in node.args:
            visit(arg, bound)

    visit(e, frozenset())
    return list(found)


def is_name(head: str) -> bool:
    """Whether a head is a declared or bound name."""
    if head in _LEVELS or head.startswith(_CONSTANTS):
        return False
    return head not in (ALL, EX, FALSE, SUCC, NIL, "True") and not head.isdigit()


def replace(e: Expr, old: Expr, new: Expr) -> Expr:
    """`e` with every occurrence of `old` replaced; not below a quantifier, where `rw` does not look either."""
    if e == old:
        return new
    if e.bound or not e.args:
        return e
    return Expr(e.head, tuple(replace(arg, old, new) for arg in e.args))


def rename(e: Expr, names: Mapping[str, str]) -> Expr:
    """Free names replaced. The new names must not be bound in `e`."""
    if e.bound:
        inner = {name: new for name, new in names.items() if name != e.bound}
        return Expr(e.head, (rename(e.args[0], inner),), e.bound, e.sort)
    return Expr(names.get(e.head, e.head), tuple(rename(arg, names) for arg in e.args))


def substitute(e: Expr, values: Mapping[str, Expr]) -> Expr:
    """Free variables replaced by terms. No name of a value may be bound in `e`."""
    if e.bound:
        inner = {name: value for name, value in values.items() if name != e.bound}
        return Expr(e.head, (substitute(e.args[0], inner),), e.bound, e.sort)
    if not e.args and e.head in values:
        return values[e.head]
    return Expr(e.head, tuple(substitute(arg, values) for arg in e.args))


def match(pattern: Expr, e: Expr, holes: frozenset[str], found: dict[str, Expr]) -> bool:
    """Whether `e` is an instance of `pattern`, whose `holes` may stand for any term; fills `found`.

    Neither may hold quantifiers below the pattern's top.
    """
    if not pattern.args and pattern.head in holes:
        known = found.setdefault(pattern.head, e)
        return known == e
    if pattern.head != e.head or len(pattern.args) != len(e.args) or pattern.bound or e.bound:
        return pattern == e
    return all(match(p, x, holes, found) for p, x in zip(pattern.args, e.args, strict=True))


def evaluate(e: Expr, values: Mapping[str, int]) -> int:
    """The value of a term of arithmetic."""
    operations: dict[str, Callable[[int, int], int]] = {ADD: lambda a, b: a + b, MUL: lambda a, b: a * b}
    if e.head in operations:
        return operations[e.head](evaluate(e.args[0], values), evaluate(e.args[1], values))
    if e.head == SUCC:
        return evaluate(e.args[0], values) + 1
    return int(e.head) if e.head.isdigit() else values[e.head]

"""Reads `.olean` files of Lean 4 (version 2 of the format): names, levels, expressions and declarations as tuples.

A file is a memory image: a header of 88 bytes (the last 8 are the address it was made for), the address of the root,
and objects as Lean lays them out on a 64-bit machine. Nothing in a file is run, and every place is checked to be inside
it, so that a damaged or hostile file is an `OleanError`.

Names are tuples of their parts, text or numbers. Levels and expressions are tuples that begin with their kind:

    ("zero",)  ("succ", l)  ("max" | "imax", l, l)  ("param", name)
    ("bvar", i)  ("sort", l)  ("const", name, levels)  ("app", f, a)  ("lam" | "forallE", name, type, body, binder)
    ("letE", name, type, value, body)  ("natVal", n)  ("strVal", s)  ("proj", type name, i, e)

Metadata (`mdata`) is left out: it means nothing to a checker.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

_HEADER = 88
_CTOR_LIMIT, _ARRAY, _STRING, _MPZ = 244, 246, 249, 250
_LIMIT = 50_000_000  # objects read from one file
KINDS = ("axiom", "def", "thm", "opaque", "quot", "inductive", "ctor", "rec")
_BINDERS = ("default", "implicit", "strictImplicit", "instImplicit")

Name = tuple[str | int, ...]
Level: TypeAlias = tuple[Any, ...]
Expr: TypeAlias = tuple[Any, ...]
"""What stands behind the kind depends on the kind, as listed above."""
Declaration: TypeAlias = dict[str, Any]
"""A declaration, as `Olean.constant` makes it; the keys depend on its `kind`."""

T = TypeVar("T")


class OleanError(ValueError):
    """The file is no `.olean` that can be read; says why."""


class Olean:
    """One compiled module. `constants`: name -> declaration, decoded when it is asked for."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _HEADER + 16 or data[:5] != b"olean":
            raise OleanError("it does not begin as an .olean file")
        if data[5] != 2:
            raise OleanError(f"its format is version {data[5]}, and this reader knows version 2")
        self._data = data
        (self._base,) = struct.unpack_from("<Q", data, _HEADER - 8)
        self._names: dict[int, Name] = {}
        self._levels: dict[int, Level] = {}
        self._exprs: dict[int, Expr] = {}
        self.lean_version = data[7:40].split(b"\0")[0].decode("ascii", "replace")
        self.lean_hash = data[40:80].decode("ascii", "replace")
        root = self._pointer(_HEADER)
        names = self._array(self._field(root, 1))
        constants = self._array(self._field(root, 2))
        if len(names) != len(constants):
            raise OleanError("it names other declarations than it has")
        self._places = {self.name(name): place for name, place in zip(names, constants, strict=True)}

    def __contains__(self, name: Name) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[Name]:
        return iter(self._places)

    # -- objects: a value is an offset, or (odd values) a small number n as 2 n + 1 --------------------------------

    def _pointer(self, place: int) -> int:
        if not 0 <= place <= len(self._data) - 8:
            raise OleanError("it points outside itself")
        (value,) = struct.unpack_from("<Q", self._data, place)
        if value & 1:
            return int(value)
        place = value - self._base
        if not _HEADER <= place <= len(self._data) - 8:
            raise OleanError("it points outside itself")
        return int(place)

    def _tag(self, place: int) -> int:
        if place & 1:
            return place >> 1  # a constructor without fields
        return self._data[place + 7]

    def _field(self, place: int, number: int) -> int:
        if place & 1 or self._data[place + 7] > _CTOR_LIMIT or number >= self._data[place + 6]:
            raise OleanError("an object has other fields than expected")
        return self._pointer(place + 8 + 8 * number)

    def _scalar(self, place: int, skipped: int = 0) -> int:
        """A byte behind an object's fields; skipped: bytes of wider scalars before it."""
        at = place + 8 + 8 * self._data[place + 6] + skipped
        if at >= len(self._data):
            raise OleanError("it points outside itself")
        return self._data[at]

    def _array(self, place: int) -> list[int]:
        if place & 1 or self._data[place + 7] != _ARRAY:
            raise OleanError("expected an array")
        (size,) = struct.unpack_from("<Q", self._data, place + 8)
        if size > (len(self._data) - place) // 8:
            raise OleanError("an array is longer than the file")
        return [self._pointer(place + 24 + 8 * number) for number in range(size)]

    def _list(self, place: int) -> list[int]:
        found = []
        while not place & 1:
            found.append(self._field(place, 0))
            place = self._field(place, 1)
            if len(found) > _LIMIT:
                raise OleanError("a list does not end")
        return found

    def _string(self, place: int) -> str:
        if place & 1 or self._data[place + 7] != _STRING:
            raise OleanError("expected a string")
        (size,) = struct.unpack_from("<Q", self._data, place + 8)
        if size < 1 or place + 32 + size > len(self._data) + 8:
            raise OleanError("a string is longer than the file")
        try:
            return self._data[place + 32 : place + 31 + size].decode("utf-8")
        except UnicodeDecodeError:
            raise OleanError("a string is not UTF-8") from None

    def _nat(self, place: int) -> int:
        if place & 1:
            return place >> 1
        if self._data[place + 7] != _MPZ:
            raise OleanError("expected a number")
        _, size, limbs = struct.unpack_from("<iiQ", self._data, place + 8)
        start = limbs - self._base
        if size < 0 or start < _HEADER or start + 8 * size > len(self._data):
            raise OleanError("a number is longer than the file")
        return int.from_bytes(self._data[start : start + 8 * size], "little")

    # -- terms ----------------------------------------------------------------------------------------------------

    def name(self, place: int) -> Name:
        """The name at a place. Raises OleanError."""
        parts: list[str | int] = []
        at = place
        while not at & 1:
            if at in self._names:
                break
            value = self._field(at, 1)
            parts.append(self._string(value) if self._tag(at) == 1 else self._nat(value))
            at = self._field(at, 0)
            if len(parts) > 10_000:
                raise OleanError("a name does not end")
        found = (*self._names.get(at, ()), *reversed(parts))
        if not place & 1:
            self._names[place] = found
        return found

    def level(self, place: int) -> Level:
        """The universe level at a place. Raises OleanError."""
        return self._build(place, self._levels, self._level_children, self._level_of)

    def _level_children(self, place: int) -> list[int]:
        return [self._field(place, number) for number in range({1: 1, 2: 2, 3: 2}.get(self._tag(place), 0))]

    def _level_of(self, place: int) -> Level:
        tag = self._tag(place)
        if tag == 0:
            return ("zero",)
        if tag == 4:
            return ("param", self.name(self._field(place, 0)))
        kind = {1: "succ", 2: "max", 3: "imax"}.get(tag)
        if kind is None:
            raise OleanError("a declaration holds a universe that is not solved")
        return (kind, *(self._levels[child] for child in self._level_children(place)))

    def expr(self, place: int) -> Expr:
        """The expression at a place. Raises OleanError."""
        return self._build(place, self._exprs, self._expr_children, self._expr_of)

    def _expr_children(self, place: int) -> list[int]:
        numbers = {5: (0, 1), 6: (1, 2), 7: (1, 2), 8: (1, 2, 3), 10: (1,), 11: (2,)}.get(self._tag(place), ())
        return [self._field(place, number) for number in numbers]

    def _expr_of(self, place: int) -> Expr:
        tag = self._tag(place)
        below = [self._exprs[child] for child in self._expr_children(place)]
        match tag:
            case 0:
                return ("bvar", self._nat(self._field(place, 0)))
            case 3:
                return ("sort", self.level(self._field(place, 0)))
            case 4:
                levels = tuple(self.level(level) for level in self._list(self._field(place, 1)))
                return ("const", self.name(self._field(place, 0)), levels)
            case 5:
                return ("app", *below)
            case 6 | 7:
                binder = self._scalar(place, 8)  # behind the 8 bytes of cached data
                if binder >= len(_BINDERS):
                    raise OleanError("a binder is of no known kind")
                return ("lam" if tag == 6 else "forallE", self.name(self._field(place, 0)), *below, _BINDERS[binder])
            case 8:
                return ("letE", self.name(self._field(place, 0)), *below)
            case 9:
                literal = self._field(place, 0)
                value = self._field(literal, 0)
                return ("natVal", self._nat(value)) if self._tag(literal) == 0 else ("strVal", self._string(value))
            case 10:
                return below[0]
            case 11:
                return ("proj", self.name(self._field(place, 0)), self._nat(self._field(place, 1)), *below)
        raise OleanError("a declaration holds a free variable or a hole")

    def _build(
        self,
        place: int,
        known: dict[int, T],
        children: Callable[[int], list[int]],
        make: Callable[[int], T],
    ) -> T:
        """A term from its parts up, without recursion: terms of proofs are deep."""
        stack = [place]
        opened: set[int] = set()
        while stack:
            at = stack[-1]
            if at in known:
                stack.pop()
                continue
            missing = [] if at & 1 else [child for child in children(at) if child not in known]
            if not missing:
                known[at] = make(at)
                stack.pop()
            elif at in opened:
                raise OleanError("a term holds itself")
            else:
                opened.add(at)
                stack += missing
            if len(known) > _LIMIT:
                raise OleanError("it holds too many terms")
        return known[place]

    # -- declarations ---------------------------------------------------------------------------------------------

    def constant(self, name: Name) -> Declaration:
        """A declaration: `kind` (of `KINDS`), `name`, `levelParams`, `type`, and what its kind has besides."""
        info = self._places[name]
        kind = self._tag(info)
        if kind >= len(KINDS):
            raise OleanError("a declaration is of no known kind")
        value = self._field(info, 0)
        common = self._field(value, 0)
        found: Declaration = {
            "kind": KINDS[kind],
            "name": self.name(self._field(common, 0)),
            "levelParams": [self.name(each) for each in self._list(self._field(common, 1))],
            "type": self.expr(self._field(common, 2)),
        }
        names = {
            "def": 3, "thm": 2, "opaque": 2, "inductive": 3, "rec": 1
        }.get(found["kind"])  # fmt: skip
        if names is not None:
            found["all"] = [self.name(each) for each in self._list(self._field(value, names))]
        match found["kind"]:
            case "axiom":
                found["isUnsafe"] = bool(self._scalar(value))
            case "def":
                hints = self._field(value, 2)
                regular = None if hints & 1 else struct.unpack_from("<I", self._data, hints + 8)[0]
                found["value"] = self.expr(self._field(value, 1))
                found["hints"] = {"regular": regular} if regular is not None else ("opaque", "abbrev")[hints >> 1]
                found["safety"] = ("unsafe", "safe", "partial")[min(2, self._scalar(value))]
            case "thm":
                found["value"] = self.expr(self._field(value, 1))
            case "opaque":
                found["value"] = self.expr(self._field(value, 1))
                found["isUnsafe"] = bool(self._scalar(value))
            case "quot":
                found["quot"] = ("type", "ctor", "lift", "ind")[min(3, self._scalar(value))]
            case "inductive":
                found |= {
                    "numParams": self._nat(self._field(value, 1)),
                    "numIndices": self._nat(self._field(value, 2)),
                    "ctors": [self.name(each) for each in self._list(self._field(value, 4))],
                    "numNested": self._nat(self._field(value, 5)),
                }
                flags = [bool(self._scalar(value, at)) for at in range(3)]
                found |= dict(zip(("isRec", "isUnsafe", "isReflexive"), flags, strict=True))
            case "ctor":
                numbers = [self._nat(self._field(value, at)) for at in (2, 3, 4)]
                found |= dict(zip(("cidx", "numParams", "numFields"), numbers, strict=True))
                found |= {"induct": self.name(self._field(value, 1)), "isUnsafe": bool(self._scalar(value))}
            case "rec":
                numbers = [self._nat(self._field(value, at)) for at in (2, 3, 4, 5)]
                found |= dict(zip(("numParams", "numIndices", "numMotives", "numMinors"), numbers, strict=True))
                found["rules"] = [
                    {
                        "ctor": self.name(self._field(rule, 0)),
                        "nfields": self._nat(self._field(rule, 1)),
                        "rhs": self.expr(self._field(rule, 2)),
                    }
                    for rule in self._list(self._field(value, 6))
                ]
                found |= {"k": bool(self._scalar(value)), "isUnsafe": bool(self._scalar(value, 1))}
        return found

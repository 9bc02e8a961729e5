"""Settings declared once: a field of the dataclass that obeys it, with its unit, its bounds and its help.

The name, the type and the default are those of the field. Unit and bounds are given to `setting`. The help is the text
below the field. The command line, Dagster's Launchpad, the checks of run configurations and the tables of the docs are
made from `settings_of`.
"""

import ast
import difflib
import json
import re
import sys
import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from prover.json_types import JsonObject

_KEY = "setting"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a setting is counted in, and what it may be. None: no bound."""

    unit: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[str, ...] = ()

    def words(self) -> str:
        """The bounds for people: `at least 1, at most 256`; "" where there are none."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        parts = [
            f"{name} {int(bound) if bound == int(bound) else bound}"
            for name, bound in (("at least", self.ge), ("above", self.gt), ("at most", self.le), ("below", self.lt))
            if bound is not None
        ]
        return ", ".join(parts).replace("above 0", "positive")

    def allow(self, value: object) -> bool:
        """Whether a value is within the bounds. None always is: whether it may be None is a matter of the type."""
        if value is None:
            return True
        if self.choices:
            return value in self.choices
        if not isinstance(value, int | float):
            return True  # texts and lists have no bounds
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )  # NaN is within no bounds


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as its dataclass declares it."""

    name: str
    type: object
    """As the annotation says: a class, a union, a `Literal` or a tuple of them."""
    default: object
    limits: Limits
    help: str
    """Whole sentences, on one line."""

    def described(self) -> str:
        """The help, with the unit at the end of its first sentence."""
        if not self.limits.unit:
            return self.help
        first, dot, rest = self.help.partition(". ")
        return f"{first.rstrip('.')} ({self.limits.unit}).{' ' if dot else ''}{rest}"

    def shown_default(self) -> str:
        """The default as a person would write it."""
        if self.default is None:
            return "none"
        if isinstance(self.default, bool):
            return "true" if self.default else "false"
        if isinstance(self.default, list | tuple):
            return "[" + ", ".join(str(item) for item in self.default) + "]"
        return '""' if self.default == "" else str(self.default)

    def shown_type(self) -> str:
        """The type in plain words: `int`, `list of text`, `float or none`."""
        return _type_words(self.type)


def setting(
    default: T,
    *,
    unit: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: Collection[str] = (),
) -> T:
    """A field of a settings dataclass. Write its help as a text below it.

    The type is that of the default, as with `dataclasses.field`; the dataclass makes an attribute of it.
    """
    return field(default=default, metadata={_KEY: Limits(unit, ge, gt, le, lt, tuple(choices))})


def settings_of(owner: type) -> dict[str, Setting]:
    """The settings that a dataclass declares or inherits, by name. Fields without a default are no settings."""
    if owner not in _FOUND:
        _FOUND[owner] = _read_settings(owner)
    return _FOUND[owner]


_FOUND: dict[type, dict[str, Setting]] = {}


def _read_settings(owner: type) -> dict[str, Setting]:
    helps: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        helps |= _helps(base)
    hints = get_type_hints(owner)
    return {
        item.name: Setting(item.name, hints[item.name], _default(item), _limits(item), helps.get(item.name, ""))
        for item in fields(owner)
        if _default(item) is not MISSING
    }


def _default(item: "Field[object]") -> object:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _limits(item: "Field[object]") -> Limits:
    found: Limits = item.metadata.get(_KEY, Limits())
    return found


def _helps(owner: type[Any]) -> dict[str, str]:
    """The text below each field of a class, as its source has it."""
    file = getattr(sys.modules[owner.__module__], "__file__", None)
    if file is None or not is_dataclass(owner):
        return {}
    block = re.search(rf"^class {owner.__name__}\b.*?(?=^\S|\Z)", _source(file), re.MULTILINE | re.DOTALL)
    if block is None:
        return {}
    (found,) = ast.parse(block[0]).body  # the class alone: parsing whole files would slow down every start
    assert isinstance(found, ast.ClassDef)
    return {
        above.target.id: " ".join(below.value.value.split())
        for above, below in zip(found.body, found.body[1:], strict=False)
        if isinstance(above, ast.AnnAssign)
        and isinstance(above.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


@cache
def _source(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")


def faults_of(config: object) -> list[str]:
    """What is out of bounds in a settings dataclass: for each, the setting, its value and the bounds, in a sentence."""
    faults = []
    for name, found in settings_of(type(config)).items():
        value, limits = getattr(config, name), found.limits
        if limits.allow(value):
            continue
        if limits.choices:
            faults.append(f"{name} is {value!r}, which is none of its values; {nearest(str(value), limits.choices)}")
        else:
            unit = f" ({limits.unit})" if limits.unit else ""
            faults.append(f"{name} is {value!r}; {name} must be {limits.words()}{unit}")
    return faults


def checked(config: object) -> None:
    """Raises ValueError that names every setting of a settings dataclass that is out of bounds."""
    faults = faults_of(config)
    if faults:
        raise ValueError("; ".join(f"{type(config).__name__}.{fault}" for fault in faults))


def settings_of_file(file: Path) -> dict[str, object]:
    """Settings by name, from a JSON file. Raises ValueError, which names the file, for one that holds none."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not a JSON file that can be read: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file}: expected an object of settings, got {type(values).__name__}")
    return values


def nearest(name: str, valid: Collection[str], *, cutoff: float = 0.5) -> str:
    """`did you mean 'X'?` for the valid name nearest to `name`, or the list of all of them if none is near."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=cutoff)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(sorted(valid))}"


def coerced(owner: type, values: Mapping[str, object]) -> JsonObject:
    """Values from JSON or YAML as the settings of `owner` declare them, to make it from. Lists become tuples, whole
    numbers floats.

    Raises ValueError for a name that is no setting, with the nearest one, and for a value of another type. The message
    begins with the setting's name.
    """
    known = settings_of(owner)
    found = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{name} is no setting; {nearest(str(name), known)}")
        found[name] = _as_declared(known[name], value)
    return found


def _as_declared(declared: Setting, value: object) -> object:
    """The value, checked against the type. Whole floats are no ints, ints are floats, booleans are neither."""
    for option in _options(declared.type):
        if option is type(None) or option is bool:
            if type(value) is option:
                return value
        elif get_origin(option) is Literal:
            if isinstance(value, str):
                return value
        elif isinstance(value, bool) or value is None:
            continue
        elif option is float and isinstance(value, int | float):
            return float(value)
        elif option in (int, str) and isinstance(value, option):
            return value
        elif get_origin(option) is tuple and isinstance(value, list | tuple):
            item = get_args(option)[0]
            if all(isinstance(part, int | float if item is float else item) for part in value):
                return tuple(item(part) for part in value)
    raise ValueError(f"{declared.name} is {value!r}; expected {declared.shown_type()}")


def _options(declared: object) -> tuple[Any, ...]:
    return get_args(declared) if get_origin(declared) in (Union, types.UnionType) else (declared,)


def _type_words(declared: object) -> str:
    words = {int: "a whole number (int)", float: "a number", str: "text", bool: "true or false", type(None): "none"}
    parts = []
    for option in _options(declared):
        if get_origin(option) is tuple:
            item = {int: "whole numbers", float: "numbers", str: "texts"}[get_args(option)[0]]
            parts.append(f"a list of {item}")
        elif get_origin(option) is Literal:
            parts.append("text")
        else:
            parts.append(words.get(option, str(option)))
    return " or ".join(parts)

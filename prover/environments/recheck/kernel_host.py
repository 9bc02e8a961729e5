"""The checker of our own: adds the declarations of an export to Lean's kernel, one by one, from an empty environment.

Run as a script in a bare interpreter: `python -I -S kernel_host.py LIBRARY EXPORT [AXIOM...]`, with `EXPORT` in the
format of `lean4export` (see `export_text`). Nothing is elaborated, no `.olean` is loaded, no tactic runs, and there is
no extension and no attribute: just the kernel's own type checker, which is never told to skip anything. It makes
constructors and recursors of inductive types itself, and ignores those in the file. Axioms other than the given ones
are refused.

Prints one line of JSON: {"accepted", "declarations", "axioms", "detail"}. Exit status: 0 accepted, 1 refused, 2 not a
file that can be read.
"""

import ctypes
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # this file runs where nothing else of the project can be imported
    from prover.json_types import JsonObject

_HEADER_BYTES = 8
_MAX_DEPTH = 100_000  # recursion in the kernel; the limits of the process come first
_EXCEPTIONS = (
    "unknown constant", "already declared", "the value does not have the declared type", "holds metavariables",
    "holds free variables", "expected a function", "expected a type", "a `let` has another type",
    "an expression has another type", "an argument has another type", "a projection that cannot be",
    "a theorem that is no proposition", "refused", "time limit", "memory limit", "nested too deeply", "interrupted",
)  # fmt: skip
_BINDERS = {"default": 0, "implicit": 1, "strictImplicit": 2, "instImplicit": 3}


class Refused(Exception):
    """The export is not accepted; says why."""


class Kernel:
    """Lean's kernel through the shared library. Objects are made once, marked as shared for good and never freed."""

    def __init__(self, path: str) -> None:
        self._lib = lib = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        lib.lean_initialize()
        lib.lean_io_mark_end_initialization()
        pointer = ctypes.c_void_p
        for name, arguments in {
            "lean_alloc_object": [ctypes.c_size_t],
            "lean_mk_string_from_bytes": [ctypes.c_char_p, ctypes.c_size_t],
            "lean_cstr_to_nat": [ctypes.c_char_p],
            "lean_name_mk_string": [pointer, pointer],
            "lean_name_mk_numeral": [pointer, pointer],
            "lean_level_mk_zero": [pointer],
            "lean_level_mk_succ": [pointer],
            "lean_level_mk_max": [pointer, pointer],
            "lean_level_mk_imax": [pointer, pointer],
            "lean_level_mk_param": [pointer],
            "lean_expr_mk_bvar": [pointer],
            "lean_expr_mk_sort": [pointer],
            "lean_expr_mk_const": [pointer, pointer],
            "lean_expr_mk_app": [pointer, pointer],
            "lean_expr_mk_lambda": [pointer, pointer, pointer, ctypes.c_uint8],
            "lean_expr_mk_forall": [pointer, pointer, pointer, ctypes.c_uint8],
            "lean_expr_mk_let": [pointer, pointer, pointer, pointer],
            "lean_expr_mk_lit": [pointer],
            "lean_expr_mk_proj": [pointer, pointer, pointer],
            # environment, heartbeats (0: no limit), recursion depth, declaration, no cancel token
            "lean_add_decl": [pointer, ctypes.c_size_t, ctypes.c_size_t, pointer, pointer],
            "lean_elab_environment_to_kernel_env": [pointer],
            "l_Lean_mkEmptyEnvironment": [ctypes.c_uint32],
        }.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = pointer, arguments
        made = lib.l_Lean_mkEmptyEnvironment(0)  # trust level 0: everything is checked
        if self.tag(made) != 0:
            raise Refused("Lean's kernel does not start")
        self._env = lib.lean_elab_environment_to_kernel_env(self.field(made, 0))

    def keep(self, value: int) -> int:
        """Mark an object as never to be freed, so that it can be used any number of times."""
        if not value & 1:
            ctypes.c_int32.from_address(value).value = 0
        return value

    def tag(self, value: int) -> int:
        """Which constructor made an object."""
        return value >> 1 if value & 1 else ctypes.c_uint8.from_address(value + 7).value

    def field(self, value: int, number: int) -> int:
        """A field of a constructor's object, from 0."""
        return ctypes.c_uint64.from_address(value + _HEADER_BYTES + 8 * number).value

    def object(self, tag: int, fields: "list[int]", scalars: bytes = b"") -> int:
        """A constructor's object with these fields, and bytes behind them."""
        if not fields and not scalars:
            return 2 * tag + 1
        size = _HEADER_BYTES + 8 * len(fields) + (len(scalars) + 7) // 8 * 8
        value = self._lib.lean_alloc_object(size)
        ctypes.c_int32.from_address(value).value = 0
        ctypes.c_uint16.from_address(value + 4).value = size
        ctypes.c_uint8.from_address(value + 6).value = len(fields)
        ctypes.c_uint8.from_address(value + 7).value = tag
        for number, each in enumerate(fields):
            ctypes.c_uint64.from_address(value + _HEADER_BYTES + 8 * number).value = each
        ctypes.memmove(value + _HEADER_BYTES + 8 * len(fields), scalars.ljust(size, b"\0"), size - 8 - 8 * len(fields))
        return value

    def list_of(self, values: "list[int]") -> int:
        """Lean's list of these objects."""
        found = 1
        for value in reversed(values):
            found = self.object(1, [value, found])
        return found

    def nat(self, value: int) -> int:
        """Lean's natural number. Raises Refused below zero."""
        if not value >= 0:
            raise Refused("a number below zero")
        return 2 * value + 1 if value < 1 << 62 else self.keep(self._lib.lean_cstr_to_nat(str(value).encode()))

    def string(self, text: str) -> int:
        """Lean's string."""
        data = text.encode("utf-8")
        return self.keep(self._lib.lean_mk_string_from_bytes(data, len(data)))

    def call(self, name: str, *arguments: int) -> int:
        """Call a function of the library that makes an object, and keep the object."""
        return self.keep(getattr(self._lib, name)(*arguments))

    def add(self, declaration: int) -> None:
        """Check a declaration and add it. Raises Refused."""
        result = self._lib.lean_add_decl(self._env, 0, _MAX_DEPTH, declaration, 1)
        if self.tag(result) != 1:
            tag = self.tag(self.field(result, 0))
            raise Refused(_EXCEPTIONS[tag] if tag < len(_EXCEPTIONS) else f"refused by the kernel ({tag})")
        self._env = self.field(result, 0)


class Reader:
    """Builds the lines of an export in the kernel, in order."""

    def __init__(self, kernel: Kernel, allowed: "frozenset[str]") -> None:
        self._kernel = kernel
        self._allowed = allowed
        self._names, self._texts = {0: 1}, {0: ""}
        self._levels = {0: kernel.call("lean_level_mk_zero", 1)}
        self._exprs: dict[int, int] = {}
        self.declarations = 0
        self.axioms: list[str] = []
        self._has_quot = False

    def line(self, entry: "JsonObject") -> None:
        """Take in one line of an export. Raises Refused, and KeyError and the like for what is not in the format."""
        if "in" in entry:
            self._name(entry)
        elif "il" in entry:
            self._level(entry)
        elif "ie" in entry:
            self._exprs[entry["ie"]] = self._expr(entry)
        elif "meta" not in entry:
            ((kind, value),) = entry.items()
            where = self._texts[value["types"][0]["name"]] if kind == "inductive" else self._texts[value["name"]]
            try:
                self._declaration(kind, value)
            except Refused as refused:
                raise Refused(f"{where}: {refused}") from None

    def _name(self, entry: "JsonObject") -> None:
        kernel, number = self._kernel, entry["in"]
        if "str" in entry:
            above, last = entry["str"]["pre"], entry["str"]["str"]
            self._names[number] = kernel.call("lean_name_mk_string", self._names[above], kernel.string(last))
        else:
            above, last = entry["num"]["pre"], entry["num"]["i"]
            self._names[number] = kernel.call("lean_name_mk_numeral", self._names[above], kernel.nat(last))
        self._texts[number] = f"{self._texts[above]}.{last}".removeprefix(".")

    def _level(self, entry: "JsonObject") -> None:
        kernel, levels = self._kernel, self._levels
        if "succ" in entry:
            made = kernel.call("lean_level_mk_succ", levels[entry["succ"]])
        elif "param" in entry:
            made = kernel.call("lean_level_mk_param", self._names[entry["param"]])
        else:
            kind = "max" if "max" in entry else "imax"
            left, right = entry[kind]
            made = kernel.call(f"lean_level_mk_{kind}", levels[left], levels[right])
        levels[entry["il"]] = made

    def _expr(self, entry: "JsonObject") -> int:
        kernel, exprs, names = self._kernel, self._exprs, self._names
        if "app" in entry:
            return kernel.call("lean_expr_mk_app", exprs[entry["app"]["fn"]], exprs[entry["app"]["arg"]])
        if "bvar" in entry:
            return kernel.call("lean_expr_mk_bvar", kernel.nat(entry["bvar"]))
        if "const" in entry:
            levels = kernel.list_of([self._levels[level] for level in entry["const"]["us"]])
            return kernel.call("lean_expr_mk_const", names[entry["const"]["name"]], levels)
        for kind, function in (("lam", "lean_expr_mk_lambda"), ("forallE", "lean_expr_mk_forall")):
            if kind in entry:
                part = entry[kind]
                binder = _BINDERS[part["binderInfo"]]
                return kernel.call(function, names[part["name"]], exprs[part["type"]], exprs[part["body"]], binder)
        if "sort" in entry:
            return kernel.call("lean_expr_mk_sort", self._levels[entry["sort"]])
        if "letE" in entry:
            part = entry["letE"]
            return kernel.call(
                "lean_expr_mk_let", names[part["name"]], exprs[part["type"]], exprs[part["value"]], exprs[part["body"]]
            )
        if "proj" in entry:
            part = entry["proj"]
            return kernel.call(
                "lean_expr_mk_proj", names[part["typeName"]], kernel.nat(part["idx"]), exprs[part["struct"]]
            )
        if "natVal" in entry:
            return kernel.call("lean_expr_mk_lit", kernel.object(0, [kernel.nat(int(entry["natVal"]))]))
        return kernel.call("lean_expr_mk_lit", kernel.object(1, [kernel.string(entry["strVal"])]))

    def _common(self, value: "JsonObject") -> int:
        parameters = self._kernel.list_of([self._names[each] for each in value["levelParams"]])
        return self._kernel.object(0, [self._names[value["name"]], parameters, self._exprs[value["type"]]])

    def _declaration(self, kind: str, value: "JsonObject") -> None:
        kernel, names, exprs = self._kernel, self._names, self._exprs
        if kind == "quot":
            if not self._has_quot:
                kernel.add(kernel.object(4, []))
            self._has_quot = True
            self.declarations += 1
            return
        if kind == "inductive":
            kernel.add(self._inductive(value))
            self.declarations += 1
            return
        if value.get("isUnsafe") or value.get("safety", "safe") != "safe":
            raise Refused("is unsafe or partial, which a proof cannot rest on")
        everyone = kernel.list_of([names[each] for each in value.get("all", [value["name"]])])
        common = self._common(value)
        if kind == "axiom":
            name = self._texts[value["name"]]
            if name not in self._allowed:
                raise Refused("is an axiom that is not allowed")
            self.axioms.append(name)
            made = kernel.object(0, [kernel.object(0, [common], b"\0")])
        elif kind == "def":
            hints = value["hints"]
            if isinstance(hints, dict):
                hint = kernel.object(2, [], int(hints["regular"]).to_bytes(4, "little"))
            else:
                hint = {"opaque": 1, "abbrev": 3}[hints]
            made = kernel.object(1, [kernel.object(0, [common, exprs[value["value"]], hint, everyone], b"\1")])
        elif kind == "thm":
            made = kernel.object(2, [kernel.object(0, [common, exprs[value["value"]], everyone])])
        elif kind == "opaque":
            made = kernel.object(3, [kernel.object(0, [common, exprs[value["value"]], everyone], b"\0")])
        else:
            raise Refused(f"a declaration of the unknown kind {kind!r}")
        kernel.add(made)
        self.declarations += 1

    def _inductive(self, value: "JsonObject") -> int:
        kernel, names, exprs = self._kernel, self._names, self._exprs
        by_name = {each["name"]: each for each in value["ctors"]}
        types = []
        for each in value["types"]:
            if each["isUnsafe"]:
                raise Refused("is unsafe, which a proof cannot rest on")
            ctors = [kernel.object(0, [names[name], exprs[by_name[name]["type"]]]) for name in each["ctors"]]
            types.append(kernel.object(0, [names[each["name"]], exprs[each["type"]], kernel.list_of(ctors)]))
        first = value["types"][0]
        parameters = kernel.list_of([names[each] for each in first["levelParams"]])
        return kernel.object(6, [parameters, kernel.nat(first["numParams"]), kernel.list_of(types)], b"\0")


def main() -> int:
    """Check the export that the command line names; the exit status."""
    library, export, *allowed = sys.argv[1:]
    try:
        with open(export, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        print(json.dumps({"accepted": False, "declarations": 0, "axioms": [], "detail": f"cannot be read: {error}"}))
        return 2
    reader: Reader | None = None
    detail = ""
    try:
        reader = Reader(Kernel(library), frozenset(allowed))
        for number, entry in enumerate(lines, start=1):
            try:
                reader.line(entry)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise Refused(f"line {number} is not in the format: {error!r}") from None
    except Refused as refused:
        detail = str(refused)
    if not detail and (reader is None or not reader.declarations):
        detail = "it holds no declaration"
    found = {"declarations": reader.declarations if reader else 0, "axioms": reader.axioms if reader else []}
    print(json.dumps({"accepted": not detail, **found, "detail": detail}))
    return 0 if not detail else 1


if __name__ == "__main__":
    sys.exit(main())

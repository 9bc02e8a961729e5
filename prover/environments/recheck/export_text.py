"""Declarations as the text of `lean4export`, format 3.1.0 (NDJSON): what a theorem rests on, each thing once.

A line is a name, a level, an expression or a declaration; what a line mentions stands above it. Checkers such as
nanoda read it, and so does our own (`kernel_host`). Metadata is left out, and `nondep` of a `let` is false, as
`lean4export` does.
"""

import json
from collections.abc import Iterator, Sequence

from prover.environments.recheck.olean import Declaration, Expr, Level, Name, Olean, OleanError

FORMAT = "3.1.0"
EXPORTER = "lean-expert-iteration"


class ExportWriter:
    """Writes declarations from compiled modules. `lines`: the text so far. `axioms`: those that came with it."""

    def __init__(self, modules: Sequence[Olean]) -> None:
        self._where = {name: module for module in modules for name in module}
        first = modules[0]
        meta = {
            "exporter": {"name": EXPORTER, "version": "1"},
            "lean": {"githash": first.lean_hash, "version": first.lean_version},
            "format": {"version": FORMAT},
        }
        self.lines: list[str] = [json.dumps({"meta": meta}, separators=(",", ":"), sort_keys=True)]
        self.axioms: list[str] = []
        self.declarations = 0
        """Lines of declarations; an inductive type with its constructors and recursors is one."""
        self._names: dict[Name, int] = {(): 0}
        self._levels: dict[Level, int] = {("zero",): 0}
        self._exprs: dict[Expr, int] = {}
        self._of: dict[int, int] = {}  # id of an expression -> its number; the expressions are kept by their modules
        self._done: set[Name] = set()
        self._recursors: dict[Name, list[Name]] = {}
        for name in self._where:
            if (name and name[-1] in ("rec",)) or (name and isinstance(name[-1], str) and name[-1].startswith("rec_")):
                owner = name[:-1]
                if owner in self._where:
                    self._recursors.setdefault(owner, []).append(name)

    def add(self, name: Name) -> None:
        """A declaration with all that it rests on. Raises OleanError for a name that no module has."""
        stack: list[tuple[Name, Iterator[Name]]] = []

        def open_group(wanted: Name) -> None:
            group = self._group(wanted)
            if group[0]["name"] not in self._done:
                self._done.update(member["name"] for member in group)
                stack.append((wanted, iter(_mentioned(group))))

        open_group(name)
        while stack:
            wanted, mentioned = stack[-1]
            below = next((each for each in mentioned if each not in self._done and each in self._where), None)
            if below is not None:
                open_group(below)
                continue
            stack.pop()
            self._write(self._group(wanted))

    def _info(self, name: Name) -> Declaration:
        if name not in self._where:
            raise OleanError(f"no declaration {'.'.join(map(str, name))} in the compiled modules")
        return self._where[name].constant(name)

    def _group(self, name: Name) -> list[Declaration]:
        """The declarations that go into one line with `name`: an inductive type with its constructors and recursors."""
        info = self._info(name)
        if info["kind"] == "quot":
            return [self._info(("Quot", *rest)) for rest in ((), ("mk",), ("lift",), ("ind",))]
        if info["kind"] == "ctor":
            info = self._info(info["induct"])
        elif info["kind"] == "rec":
            info = self._info(info["all"][0])
        if info["kind"] != "inductive":
            return [info]
        types = [self._info(each) for each in info["all"]]
        ctors = [self._info(each) for each_type in types for each in each_type["ctors"]]
        recs = [self._info(each) for each_type in types for each in sorted(self._recursors.get(each_type["name"], []))]
        return [*types, *ctors, *(rec for rec in recs if rec["kind"] == "rec")]

    def _write(self, group: list[Declaration]) -> None:
        first = group[0]
        self.declarations += 1
        if first["kind"] == "inductive":
            by_kind = {kind: [self._plain(each) for each in group if each["kind"] == kind] for kind in _GROUPED}
            self._line({"inductive": {field: by_kind[kind] for kind, field in _GROUPED.items()}})
        elif first["kind"] == "quot":
            for each in group:
                self._line({"quot": {**self._plain(each), "kind": each["quot"]}})
        else:
            if first["kind"] == "axiom":
                self.axioms.append(".".join(map(str, first["name"])))
            self._line({first["kind"]: self._plain(first)})

    def _plain(self, info: Declaration) -> dict[str, object]:
        """A declaration with numbers in place of names and expressions."""
        found: dict[str, object] = {}
        for field, value in info.items():
            if field in ("kind", "quot"):
                continue
            if field in ("name", "induct"):
                found[field] = self.name(value)
            elif field in ("levelParams", "all", "ctors"):
                found[field] = [self.name(each) for each in value]
                if field == "levelParams":
                    for each in value:
                        self.level(("param", each))
            elif field in ("type", "value"):
                found[field] = self.expr(value)
            elif field == "rules":
                found[field] = [
                    {"ctor": self.name(r["ctor"]), "nfields": r["nfields"], "rhs": self.expr(r["rhs"])} for r in value
                ]
            else:
                found[field] = value
        return found

    def _line(self, value: dict[str, object]) -> None:
        self.lines.append(json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True))

    def name(self, name: Name) -> int:
        """The number of a name, written with its prefixes if it is new."""
        for length in range(1, len(name) + 1):
            part = name[:length]
            if part not in self._names:
                above, last = self._names[part[:-1]], part[-1]
                number = self._names[part] = len(self._names)
                if isinstance(last, str):
                    self._line({"str": {"pre": above, "str": last}, "in": number})
                else:
                    self._line({"num": {"pre": above, "i": last}, "in": number})
        return self._names[name]

    def level(self, level: Level) -> int:
        """The number of a level, written if it is new."""
        if level not in self._levels:
            match level:
                case ("succ", below):
                    line: dict[str, object] = {"succ": self.level(below)}
                case ("param", name):
                    line = {"param": self.name(name)}
                case (kind, left, right):
                    line = {kind: [self.level(left), self.level(right)]}
                case _:
                    raise OleanError("a universe of no known kind")
            number = self._levels[level] = len(self._levels)
            self._line({**line, "il": number})
        return self._levels[level]

    def expr(self, expr: Expr) -> int:
        """The number of an expression, written with its parts if it is new."""
        stack = [expr]
        while stack:
            at = stack[-1]
            if id(at) in self._of:
                stack.pop()
                continue
            missing = [child for child in _children(at) if id(child) not in self._of]
            if missing:
                stack += missing
                continue
            self._of[id(at)] = self._one(at)
            stack.pop()
        return self._of[id(expr)]

    def _one(self, expr: Expr) -> int:
        below = [self._of[id(child)] for child in _children(expr)]
        match expr[0]:
            case "bvar":
                line: dict[str, object] = {"bvar": expr[1]}
            case "sort":
                line = {"sort": self.level(expr[1])}
            case "const":
                line = {"const": {"name": self.name(expr[1]), "us": [self.level(each) for each in expr[2]]}}
            case "app":
                line = {"app": {"fn": below[0], "arg": below[1]}}
            case "lam" | "forallE":
                parts = {"name": self.name(expr[1]), "type": below[0], "body": below[1], "binderInfo": expr[4]}
                line = {expr[0]: parts}
            case "letE":
                parts = {"name": self.name(expr[1]), "type": below[0], "value": below[1], "body": below[2]}
                line = {"letE": {**parts, "nondep": False}}
            case "natVal":
                line = {"natVal": str(expr[1])}
            case "strVal":
                line = {"strVal": expr[1]}
            case _:
                line = {"proj": {"typeName": self.name(expr[1]), "idx": expr[2], "struct": below[0]}}
        key = (json.dumps(line, ensure_ascii=False, sort_keys=True),)
        if key not in self._exprs:
            number = self._exprs[key] = len(self._exprs)
            self._line({**line, "ie": number})
        return self._exprs[key]


_GROUPED = {"inductive": "types", "ctor": "ctors", "rec": "recs"}


def _children(expr: Expr) -> list[Expr]:
    match expr[0]:
        case "app":
            return [expr[1], expr[2]]
        case "lam" | "forallE":
            return [expr[2], expr[3]]
        case "letE":
            return [expr[2], expr[3], expr[4]]
        case "proj":
            return [expr[3]]
    return []


def _mentioned(group: Sequence[Declaration]) -> list[Name]:
    """The declarations that a group's types and values name, without the group's own."""
    found: dict[Name, None] = {}
    seen: set[int] = set()
    stack: list[Expr] = []
    for info in group:
        stack += [info["type"], *([info["value"]] if "value" in info else [])]
        stack += [rule["rhs"] for rule in info.get("rules", ())]
        if info["kind"] == "quot":
            found["Eq",] = None
    while stack:
        expr = stack.pop()
        if id(expr) in seen:
            continue
        seen.add(id(expr))
        match expr[0]:
            case "const":
                found[expr[1]] = None
            case "natVal":
                found["Nat",] = None
            case "strVal":
                found |= {("String", "ofList"): None, ("Char", "ofNat"): None}
            case "proj":
                found[expr[1]] = None
        stack += _children(expr)
    own = {info["name"] for info in group}
    return [name for name in found if name not in own]

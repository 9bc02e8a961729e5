"""The layouts of theorem sets that people have on disk: which fields hold name, header and statement.

docs/formats.md has the table. A file's layout is guessed from the fields of its first entry; `--format NAME` overrules
the guess. Names differ from set to set, so all layouts share one list of fields; a layout says which of them win.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from prover.json_types import JsonObject
from prover.settings import nearest
from prover.theorem_files.commands import open_namespace
from prover.theorem_files.lexer import check_visible
from prover.theorem_files.names import TheoremTextError, check_name, is_name, unquoted
from prover.theorem_files.paths import check_relative_path
from prover.theorem_files.problems import FieldError
from prover.theorem_files.states import signature_of_state
from prover.theorem_files.text import (
    Declaration,
    holds_theorem,
    join_headers,
    read_header,
    read_source,
    read_statement,
)
from prover.theorem_files.theorem import Theorem

T = TypeVar("T")
MAX_NUMBER = 2**31 - 1
"""Largest `difficulty` and `line_number`: what the columns of every table hold."""

NAME_FIELDS = ("name", "theorem_name", "theorem_names", "full_name")
"""Must be the declared name, where the statement declares one."""
ID_FIELDS = ("problem_id", "problem_name", "uuid", "id")
"""Number a set's entries; used as the name where the statement declares none."""
STATEMENT_FIELDS = (
    *("statement", "formal_statement", "lean4_statement", "lean4_formalization", "autoformalization"),
    *("refined_statement", "full_proof", "theorem", "source"),
)
HEADER_FIELDS = ("header", "lean4_src_header")
_STATE_FIELDS = ("traced_tactics", "state_before", "theorems")
FIELDS = frozenset(("split", "difficulty", "file_path", "path", "line_number", *_STATE_FIELDS)).union(
    NAME_FIELDS, ID_FIELDS, STATEMENT_FIELDS, HEADER_FIELDS
)
"""All fields that are read; other columns of a table are left on disk."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to write theorems down. `marks`: the fields that tell it; `statement`: the fields that may hold one, the
    first that does wins; `repeats`: an entry per step of a proof, so a name may come again; `from_state`: the statement
    is made from the first proof state.
    """

    name: str
    title: str
    marks: tuple[str, ...]
    statement: tuple[str, ...] = STATEMENT_FIELDS
    repeats: bool = False
    from_state: bool = False


FROM_STATES = (
    "the statements are made from printed proof states, which Lean may not read back; a theorem that Lean does not "
    "accept is named, and is not searched"
)


class FormatError(ValueError):
    """No layout has this name."""


OWN = Layout("own", "name, statement (or formal_statement, or source), header", ())
LEAN = Layout("lean", "Lean files", ())
LAYOUTS = (
    Layout("leandojo", "LeanDojo benchmark", ("full_name", "traced_tactics"), from_state=True),
    Layout("lean-github", "LEAN-GitHub", ("full_name", "state_before", "tactic"), repeats=True, from_state=True),
    Layout("dojo-list", "BFS-Prover's list of LeanDojo theorems", ("full_name", "file_path", "commit"), statement=()),
    Layout("leantree", "leantree", ("path", "theorems"), from_state=True),
    Layout("nanoproof", "nanoproof runs", ("theorem", "num_simulations"), ("theorem",), repeats=True),
    Layout("proofnet-sharp", "ProofNet#", ("lean4_formalization",), ("lean4_formalization",)),
    Layout("putnam-hub", "PutnamBench, hub form", ("lean4_statement",), ("lean4_statement",)),
    Layout("formalmath", "FormalMATH", ("autoformalization",), ("refined_statement", "autoformalization")),
    Layout("combibench", "CombiBench", ("theorem_name", "formal_statement"), ("formal_statement",)),
    Layout("numina", "NuminaMath-LEAN", ("uuid", "formal_statement"), ("formal_statement",)),
    Layout("goedel", "Goedel workbook proofs", ("problem_id", "full_proof"), ("full_proof",)),
    Layout("lean-workbook", "Lean-Workbook", ("formal_statement", "natural_language_statement"),
           ("formal_statement",), repeats=True),
    Layout("deepseek-prover-v1", "DeepSeek-Prover-V1", ("name", "formal_statement", "formal_proof"),
           ("formal_statement",)),
    Layout("minif2f-udaca", "miniF2F, UDACA", ("id", "formal_statement", "nl_statement"), ("formal_statement",)),
    Layout("minif2f", "miniF2F or ProofNet, DeepSeek and Tonic", ("name", "formal_statement", "goal"),
           ("formal_statement",)),
    Layout("minif2f-v2", "miniF2F-v2 (v2s and v2c)", ("name", "formal_statement", "informal_statement", "header"),
           ("formal_statement",)),
    Layout("minif2f-aimo", "miniF2F, AI-MO", ("name", "formal_statement", "informal_prefix"), ("formal_statement",)),
    LEAN,
    OWN,
)  # fmt: skip
_BY_NAME = {layout.name: layout for layout in LAYOUTS}


def layout_named(name: str) -> Layout:
    """The layout that `--format` names. Raises FormatError with the nearest names."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    raise FormatError(f"format {name!r} is not known; {nearest(name, _BY_NAME, cutoff=0.4)}")


def guess_layout(entry: object) -> Layout:
    """The layout of a file, from the fields of its first entry."""
    if not isinstance(entry, dict):
        return OWN
    return next((layout for layout in LAYOUTS if layout.marks and all(m in entry for m in layout.marks)), OWN)


def theorems_of(entry: object, layout: Layout) -> list[Theorem]:
    """The theorems of one entry of a file: one, but for leantree. Raises FieldError."""
    if not isinstance(entry, dict):
        raise FieldError(None, f"is a JSON {type(entry).__name__}; expected an object with `name` and `statement`")
    if layout.name == "leantree":
        return [_theorem(each, layout) for each in _leantree_entries(entry)]
    return [_theorem(entry, layout)]


def _theorem(entry: dict[str, object], layout: Layout) -> Theorem:
    declaration = _from_state(entry) if layout.from_state else _declaration(entry, layout)
    given_header = next((f for f in HEADER_FIELDS if entry.get(f) is not None), "header")
    header = checked(given_header, read_header, optional(entry, given_header, str) or "")
    header = join_headers(header, declaration.header)
    split, file_path = optional(entry, "split", str), optional(entry, "file_path", str)
    if split is not None:
        checked("split", check_visible, split)
    if file_path is not None:
        checked("file_path", check_relative_path, file_path)
    return Theorem(
        name=_name(entry, declaration.name, open_namespace(header)),
        statement=declaration.statement,
        header=header,
        split=split,
        difficulty=optional(entry, "difficulty", int),
        file_path=file_path or None,
        line_number=optional(entry, "line_number", int),
    )


def _declaration(entry: dict[str, object], layout: Layout) -> Declaration:
    field = _statement_field(entry, layout)
    text = _text(entry, field)
    return checked(field, read_source if field in ("source", "full_proof") else read_statement, text)


def _statement_field(entry: dict[str, object], layout: Layout) -> str:
    """The field that has the statement. `source` often is a label ("olympiads"): then it is passed over."""
    if not layout.statement:
        raise FieldError(
            "full_name",
            "names a theorem of a repository, and the entry holds no statement; trace the repository with LeanDojo, or "
            "give its Lean files",
        )
    given = [field for field in layout.statement if entry.get(field) is not None]
    if len(given) > 1:
        lean = [field for field in given if isinstance(text := entry[field], str) and holds_theorem(text)]
        if layout is not OWN or "statement" not in given:
            given = lean[:1] or given
        else:
            given = [field for field in given if field == "statement" or field in lean]
    if len(given) != 1:
        found = " and ".join(f"`{field}`" for field in given) or "neither"
        raise FieldError("statement", f"expected one of `statement` and `source`; found {found}")
    return given[0]


def _name(entry: dict[str, object], declared: str | None, namespace: str) -> str:
    """The theorem's name: as given, or as declared in its namespace; the two must not differ. Raises FieldError."""
    full = f"{namespace}.{declared}" if namespace and declared is not None else declared
    field = next((field for field in NAME_FIELDS if entry.get(field) is not None), None)
    if field is None:
        name = full if full is not None else _name_from_id(entry)
        checked("name", check_name, name)
        return name
    value = entry[field]
    if isinstance(value, list) and len(value) == 1:  # `theorem_names`
        entry = {field: value[0]}
    name = _text(entry, field)
    checked(field, check_name, name)
    if declared is not None and unquoted(name) not in (unquoted(declared), unquoted(full or "")):
        raise FieldError(
            field, f"is `{name}`, and the statement declares `{full}`; expected one name. Correct one of them"
        )
    return name


def _name_from_id(entry: dict[str, object]) -> str:
    field = next((field for field in ID_FIELDS if entry.get(field) is not None), None)
    if field is None:
        raise FieldError("name", "is missing; expected a Lean name such as `and_comm`")
    text = str(entry[field]) if isinstance(entry[field], int) else _text(entry, field)
    if text and not is_name(text) and "»" not in text and "«" not in text:
        return f"«{text}»"
    return text


# --------------------------------------------------------------------------------------------- statements from states
def _from_state(entry: dict[str, object]) -> Declaration:
    """The statement of a traced theorem: what its first proof state assumes and asks for."""
    traced = entry.get("traced_tactics")
    if traced is not None:
        if not (isinstance(traced, list) and traced and isinstance(traced[0], dict)):
            raise FieldError("traced_tactics", "is empty: the theorem was not proved by tactics, so no state is known")
        state = optional(traced[0], "state_before", str)
    else:
        state = optional(entry, "state_before", str)
    if state is None:
        raise FieldError("state_before", "is missing; expected the proof state before the first tactic")
    return Declaration(None, checked("state_before", signature_of_state, state))


def _leantree_entries(entry: dict[str, object]) -> list[dict[str, object]]:
    """An entry like LeanDojo's for each theorem of a file of leantree."""
    theorems = entry["theorems"]
    if not isinstance(theorems, list):
        raise FieldError("theorems", f"is {theorems!r:.60}; expected a list")
    made = []
    for theorem in theorems:
        if not isinstance(theorem, dict) or not theorem.get("by_blocks"):
            raise FieldError("theorems", "holds a theorem without `by_blocks`, so no state of it is known")
        made.append({"name": theorem.get("name"), "file_path": entry.get("path"), "state_before": _root(theorem)})
    return made


def _root(theorem: JsonObject) -> str:
    """The root state of a leantree theorem, as Lean prints states."""
    try:
        tree = theorem["by_blocks"][0]["tree"]
        root = next(node for node in tree["nodes"] if node["id"] == tree["root_id"])
        (goal,) = root["state"]["goals"]
        lines = [f"{each['user_name']} : {each['type']}" for each in goal["hypotheses"]]
        return "\n".join([*lines, f"⊢ {goal['type']}"])
    except (KeyError, IndexError, TypeError, ValueError, StopIteration) as error:
        raise FieldError("theorems", f"holds a tree without a root state of one goal ({error!r:.60})") from None


# ------------------------------------------------------------------------------------------------------------- fields
def checked(field: str, read: Callable[[str], T], text: str) -> T:
    """What `read` makes of the text of a field. Raises FieldError."""
    try:
        return read(text)
    except TheoremTextError as error:
        raise FieldError(field, str(error)) from None


def _text(entry: JsonObject, field: str) -> str:
    """The text of a field that is there. Raises FieldError for another type."""
    text = optional(entry, field, str)
    if text is None:
        raise FieldError(field, "is missing; expected text")
    return text


def optional(entry: JsonObject, field: str, kind: type[T]) -> T | None:
    """The value of a field, None where it is missing or null. Raises FieldError for another type, or below zero."""
    value = entry.get(field)
    if value is None:
        return None
    if not isinstance(value, kind) or isinstance(value, bool):
        expected = "text" if kind is str else "a whole number"
        raise FieldError(field, f"is {value!r:.60}; expected {expected}")
    if isinstance(value, int) and not 0 <= value <= MAX_NUMBER:
        raise FieldError(field, f"is {value!r:.60}; expected a number from 0 to {MAX_NUMBER}")
    return value

"""Theorems and theorem sets: loading, validation, digests, splits."""

import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from prover.theorem_text import (
    TheoremTextError,
    check_name,
    check_relative_path,
    check_visible,
    holds_theorem,
    join_headers,
    open_namespace,
    read_header,
    read_source,
    read_statement,
    unquoted,
)

BUILTIN_FOLDER = Path(__file__).resolve().parent / "theorem_sets"
BUILTIN_NAMES = ("propositional", "textbook", "first_order", "nng")
"""Theorem sets that come with the package; `TheoremSet.load` takes these names."""

T = TypeVar("T")

MAX_PROBLEMS_SHOWN = 10
MAX_NUMBER = 2**31 - 1
"""Largest `difficulty` and `line_number`: what the columns of every table hold."""


@dataclass(frozen=True, slots=True)
class Theorem:
    """A statement to prove.

    `statement` is the Lean signature after the name, e.g. `(p q : Prop) (h : p ∧ q) : q ∧ p`; a bare proposition gets
    its leading colon when loaded. `header` is what has to stand above the theorem (imports, opens, options).
    `difficulty`: known number of elementary tactic steps of a proof, where the set's maker knows it.
    """

    name: str
    statement: str
    header: str = ""
    split: str | None = None
    difficulty: int | None = None
    file_path: str | None = None
    line_number: int | None = None

    @property
    def declaration(self) -> str:
        """`theorem NAME SIGNATURE`, without `:=`, as it stands below the header."""
        return f"theorem {self.written_name} {self.statement}"

    @property
    def written_name(self) -> str:
        """The name as it is written below the header: without a namespace that the header leaves open."""
        namespace = open_namespace(self.header)
        return self.name.removeprefix(f"{namespace}.") if namespace else self.name

    @property
    def full_name(self) -> str:
        """The name that the theorem has in the end, whether or not `name` has the header's open namespace in it."""
        namespace = open_namespace(self.header)
        return f"{namespace}.{self.written_name}" if namespace else self.name


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a theorem file: where, and what to do. `line` is the row in a Parquet file, from 1."""

    file: str
    line: int | None
    field: str | None
    message: str

    def __str__(self) -> str:
        row = "row" if self.file.endswith(".parquet") else "line"
        where = [self.file]
        where += [f"{row} {self.line}"] if self.line is not None else []
        where += [f"field `{self.field}`"] if self.field is not None else []
        return f"{', '.join(where)}: {self.message}"


class TheoremFileError(ValueError):
    """A theorem file that cannot be used; `problems` has every fault found, the message the first ones."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(describe(problems))


def describe(problems: Sequence[Problem]) -> str:
    """The first problems, one a line, and how many more there are."""
    shown = [str(problem) for problem in problems[:MAX_PROBLEMS_SHOWN]]
    if len(problems) > MAX_PROBLEMS_SHOWN:
        shown.append(f"... and {len(problems) - MAX_PROBLEMS_SHOWN} more")
    return "\n".join(shown)


@dataclass(frozen=True)
class TheoremSet:
    """Theorems in a fixed order, with distinct names."""

    name: str
    theorems: tuple[Theorem, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for theorem in self.theorems:
            if theorem.name in seen:
                raise ValueError(f"theorem set `{self.name}` has two theorems named `{theorem.name}`")
            seen.add(theorem.name)

    @classmethod
    def load(cls, source: str | Path, *, split: str | None = None, limit: int | None = None) -> "TheoremSet":
        """A built-in set by name, or a file: `.json`, `.jsonl` or `.parquet`.

        `SOURCE:SPLIT` as a string means `split=SPLIT`. Files have, for each theorem, `name` and `statement` (or
        `formal_statement`), or `source` with a whole Lean file that ends in the theorem; `header`, `split`,
        `difficulty`, `file_path` (where it was taken from: a path inside a project), `line_number` are optional and
        other fields are ignored. A JSON file is `{"theorems": [...]}` or a list.

        Raises FileNotFoundError, TheoremFileError (the file, the line and the field of every fault), ValueError (no
        such split).
        """
        path, in_name = _resolve(source)
        if split is not None and in_name is not None and split != in_name:
            raise ValueError(f"{source} asks for split `{in_name}`, the split argument for `{split}`; give one of them")
        theorem_set = cls(path.stem, tuple(theorem for _, _, theorem in read_entries(path)))
        wanted = split if split is not None else in_name
        if wanted is not None:
            theorem_set = theorem_set.split(wanted)
        return theorem_set if limit is None else theorem_set.limit(limit)

    def __len__(self) -> int:
        return len(self.theorems)

    def __iter__(self) -> Iterator[Theorem]:
        return iter(self.theorems)

    def __getitem__(self, name: str) -> Theorem:
        """The theorem of that name; KeyError names the nearest ones."""
        theorem = self._by_name.get(name)
        if theorem is None:
            near = difflib.get_close_matches(name, self._by_name, n=3)
            hint = f"; the nearest are {', '.join(near)}" if near else ""
            raise KeyError(f"theorem set `{self.name}` has no `{name}`{hint}")
        return theorem

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, Theorem]:
        return {theorem.name: theorem for theorem in self.theorems}

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(theorem.name for theorem in self.theorems)

    @cached_property
    def digest(self) -> str:
        """Content address: 32 hex digits over names, headers, statements and their order."""
        digest = hashlib.blake2b(b"theorem-set/1", digest_size=16)
        for theorem in self.theorems:
            for part in (theorem.name, theorem.header, theorem.statement):
                data = part.encode()
                digest.update(len(data).to_bytes(8, "little") + data)
        return digest.hexdigest()

    @property
    def splits(self) -> dict[str, int]:
        """Number of theorems in each named split, in order of appearance."""
        counts: dict[str, int] = {}
        for theorem in self.theorems:
            if theorem.split is not None:
                counts[theorem.split] = counts.get(theorem.split, 0) + 1
        return counts

    def split(self, name: str) -> "TheoremSet":
        """The theorems of one split, as `SET:SPLIT`. Raises ValueError when there are none."""
        chosen = tuple(theorem for theorem in self.theorems if theorem.split == name)
        if not chosen:
            known = ", ".join(self.splits) or "no splits at all"
            raise ValueError(f"theorem set `{self.name}` has no split `{name}`; it has {known}")
        return TheoremSet(f"{self.name}:{name}", chosen)

    def limit(self, n: int) -> "TheoremSet":
        """The first `n` theorems (all, if there are fewer)."""
        if n < 1:
            raise ValueError(f"limit = {n}: expected at least 1")
        return TheoremSet(self.name, self.theorems[:n])

    def divide(self, fraction: float, *, salt: str = "") -> "tuple[TheoremSet, TheoremSet]":
        """(most of the theorems, about `fraction` of them), decided by each theorem's name alone.

        A theorem stays on its side when others join or leave the set. `salt` gives another division.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction = {fraction}: expected a number from 0 to 1")
        apart = {t.name for t in self.theorems if _unit_hash(f"{salt}\n{t.name}") < fraction}
        kept = tuple(t for t in self.theorems if t.name not in apart)
        return TheoremSet(self.name, kept), TheoremSet(self.name, tuple(t for t in self.theorems if t.name in apart))


def _unit_hash(text: str) -> float:
    """A number in [0, 1) that depends on nothing but the text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48


# ------------------------------------------------------------------------------------------------------------- reading
_READERS = (".json", ".jsonl", ".parquet")


def _resolve(source: str | Path) -> tuple[Path, str | None]:
    """(file, split or None) that a source names."""
    text = str(source)
    base, _, split = text.rpartition(":")
    for candidate, in_name in ((text, None), (base, split or None)):
        if not candidate:
            continue
        if candidate in BUILTIN_NAMES:
            return BUILTIN_FOLDER / f"{candidate}.jsonl", in_name
        if Path(candidate).is_file():
            return Path(candidate), in_name
    near = difflib.get_close_matches(base or text, BUILTIN_NAMES, n=1, cutoff=0.5)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    raise FileNotFoundError(
        f"no theorem file {text!r}, and no built-in set of that name; built in are {', '.join(BUILTIN_NAMES)}{hint}"
    )


def read_entries(path: Path) -> Iterator[tuple[int, dict[str, Any], Theorem]]:
    """(line, all fields of the entry, its theorem) for each theorem of a file, in order; rows of a table, from 1.

    Raises OSError, and, where the file ends, TheoremFileError with every fault found.
    """
    problems: list[Problem] = []
    first_line: dict[str, int] = {}
    try:
        for line, entry in _entries(path):
            try:
                theorem = _theorem(entry)
                if theorem.name in first_line:
                    where = f"{'row' if path.suffix == '.parquet' else 'line'} {first_line[theorem.name]}"
                    raise _FieldError("name", f"`{theorem.name}` occurs before, at {where}; names must differ")
            except _FieldError as error:
                problems.append(Problem(str(path), line, error.field, error.message))
                continue
            first_line[theorem.name] = line
            yield line, entry, theorem
    except TheoremFileError as error:  # the file cannot be read any further
        problems += error.problems
    if problems:
        raise TheoremFileError(problems)
    if not first_line:
        raise TheoremFileError([Problem(str(path), None, None, "has no theorems in it")])


def _entries(path: Path) -> Iterable[tuple[int, Any]]:
    """(line or row, entry) of each theorem in a file."""
    match path.suffix:
        case ".jsonl":
            return _jsonl_entries(path, _text(path))
        case ".json":
            return _json_entries(path, _text(path))
        case ".parquet":
            return _parquet_entries(path)
    raise TheoremFileError(
        [
            Problem(
                str(path), None, None, f"the file name ends in {path.suffix!r}; expected one of {', '.join(_READERS)}"
            )
        ]
    )


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TheoremFileError([Problem(str(path), line, None, "is not UTF-8 text; save the file as UTF-8")]) from None


def _jsonl_entries(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for line, row in enumerate(text.split("\n"), start=1):
        if row.strip():
            try:
                yield line, json.loads(row)
            except (ValueError, RecursionError) as error:
                message = f"is not a JSON object: {_fault(error)}; expected one object a line"
                raise TheoremFileError([Problem(str(path), line, None, message)]) from None


def _fault(error: ValueError | RecursionError) -> str:
    """What the JSON parser found wrong with a text."""
    match error:
        case json.JSONDecodeError():
            return f"{error.msg} at column {error.colno}"
        case RecursionError():
            return "it is nested too deeply"
    return "a number in it has too many digits"


def _json_entries(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise TheoremFileError([Problem(str(path), line, None, f"is not JSON: {_fault(error)}")]) from None
    entries = document.get("theorems") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        message = 'expected {"theorems": [...]} or a list of theorems'
        raise TheoremFileError([Problem(str(path), None, "theorems", message)])
    return zip(_entry_lines(text), entries, strict=True)


def _entry_lines(text: str) -> Iterator[int]:
    """The line on which each element of the list of theorems starts, in valid JSON text."""
    decoder = json.JSONDecoder()

    def skip(position: int, characters: str = "") -> int:
        while text[position] in " \t\r\n" + characters:
            position += 1
        return position

    position = skip(0)
    if text[position] == "{":
        start = None
        position = skip(position + 1)
        while text[position] != "}":
            key, position = decoder.raw_decode(text, position)
            position = skip(position, ":")
            if key == "theorems":
                start = position  # the last of equal keys counts, as it does in json.loads
            _, position = decoder.raw_decode(text, position)
            position = skip(position, ",")
        assert start is not None
        position = start
    position = skip(position + 1)
    line, counted = 1, 0
    while text[position] != "]":
        line += text.count("\n", counted, position)
        counted = position
        yield line
        _, position = decoder.raw_decode(text, position)
        position = skip(position, ",")


def _parquet_entries(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        wanted = [name for name in file.schema_arrow.names if name in _FIELDS]
        row = 0
        for batch in file.iter_batches(columns=wanted):
            for entry in batch.to_pylist():
                row += 1
                yield row, entry
    except pyarrow.ArrowException as error:
        raise TheoremFileError([Problem(str(path), None, None, f"is not a readable Parquet file: {error}")]) from None


# ---------------------------------------------------------------------------------------------------------- validation
_STATEMENT_FIELDS = ("statement", "formal_statement", "source")
_FIELDS = frozenset(("name", "header", "split", "difficulty", "file_path", "line_number", *_STATEMENT_FIELDS))


class _FieldError(Exception):
    def __init__(self, field: str | None, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(message)


def _theorem(entry: Any) -> Theorem:
    """The theorem of one entry of a file. Raises _FieldError."""
    if not isinstance(entry, dict):
        raise _FieldError(None, f"is a JSON {type(entry).__name__}; expected an object with `name` and `statement`")
    field = _statement_field(entry)
    text = _optional(entry, field, str)
    declaration = _checked(field, read_source if field == "source" else read_statement, text)
    header = _checked("header", read_header, _optional(entry, "header", str) or "")
    header = join_headers(header, declaration.header)
    name = _name(_optional(entry, "name", str), declaration.name, open_namespace(header))
    split, file_path = _optional(entry, "split", str), _optional(entry, "file_path", str)
    if split is not None:
        _checked("split", check_visible, split)
    if file_path is not None:
        _checked("file_path", check_relative_path, file_path)
    return Theorem(
        name=name,
        statement=declaration.statement,
        header=header,
        split=split,
        difficulty=_optional(entry, "difficulty", int),
        file_path=file_path or None,
        line_number=_optional(entry, "line_number", int),
    )


def _statement_field(entry: dict[str, Any]) -> str:
    """The field that has the statement. `source` often is a label ("olympiads"): then it is passed over."""
    given = [field for field in _STATEMENT_FIELDS if entry.get(field) is not None]
    if len(given) > 1 and isinstance(source := entry.get("source"), str) and not holds_theorem(source):
        given.remove("source")
    if len(given) != 1:
        found = " and ".join(f"`{field}`" for field in given) or "neither"
        raise _FieldError("statement", f"expected one of `statement` and `source`; found {found}")
    return given[0]


def _name(given: str | None, declared: str | None, namespace: str) -> str:
    """The theorem's name: as given, or as declared in its namespace; the two must not differ. Raises _FieldError."""
    full = f"{namespace}.{declared}" if namespace and declared is not None else declared
    name = given if given is not None else full
    if name is None:
        raise _FieldError("name", "is missing; expected a Lean name such as `and_comm`")
    _checked("name", check_name, name)
    if given is not None and declared is not None and unquoted(given) not in (unquoted(declared), unquoted(full or "")):
        raise _FieldError(
            "name", f"is `{given}`, and the statement declares `{full}`; expected one name. Correct one of them"
        )
    return name


def _checked(field: str, read: Callable[[str], T], text: str) -> T:
    """What `read` makes of the text of a field. Raises _FieldError."""
    try:
        return read(text)
    except TheoremTextError as error:
        raise _FieldError(field, str(error)) from None


def _optional(entry: dict[str, Any], field: str, kind: type) -> Any:
    """The value of a field, None where it is missing or null. Raises _FieldError for another type, or below zero."""
    value = entry.get(field)
    if value is None:
        return None
    if not isinstance(value, kind) or isinstance(value, bool):
        expected = "text" if kind is str else "a whole number"
        raise _FieldError(field, f"is {value!r:.60}; expected {expected}")
    if isinstance(value, int) and not 0 <= value <= MAX_NUMBER:
        raise _FieldError(field, f"is {value!r:.60}; expected a number from 0 to {MAX_NUMBER}")
    return value

"""Theorem sets: loading, validation, digests, splits."""

import difflib
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from prover.json_types import JsonObject
from prover.settings import nearest
from prover.storage import on_disk
from prover.theorem_files.layouts import FIELDS, LEAN, MAX_NUMBER, Layout, guess_layout, layout_named, theorems_of
from prover.theorem_files.lean_files import theorems_in
from prover.theorem_files.names import TheoremTextError, check_name
from prover.theorem_files.problems import FieldError, Problem, TheoremFileError, describe, row_word
from prover.theorem_files.remote import is_remote, local_copy
from prover.theorem_files.rows import Entry, columns_of, entries_of, files_in, kind_of, read_text
from prover.theorem_files.theorem import Theorem

logger = logging.getLogger(__name__)

BUILTIN_FOLDER = Path(__file__).resolve().parent / "theorem_sets"
BUILTIN_NAMES = ("propositional", "textbook", "first_order", "first_order_classic", "arithmetic", "lists", "nng")
"""Theorem sets that come with the package; `TheoremSet.load` takes these names."""
_GAME = BUILTIN_FOLDER / "nng.jsonl"
OPEN = "open"
"""`nng:open`: the Natural Number Game with the whole prelude at hand, not only what comes before each level."""
MIX = " + "
"""Between the sources of a mix: `propositional:train + first_order:train`."""


@dataclass(frozen=True)
class TheoremSet:
    """Theorems in a fixed order, with distinct names."""

    name: str
    theorems: tuple[Theorem, ...]
    layout: str = field(default="own", compare=False)
    """How the file was read: a name of `prover.theorem_files.layouts`."""
    skipped: tuple[Problem, ...] = field(default=(), compare=False)
    """What was wrong with the entries that `skip_invalid` left out."""
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Of a set that comes with the package, and of a mix: name of each theorem -> the set it is from, without its
    split."""

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for theorem in self.theorems:
            if theorem.name in seen:
                raise ValueError(f"theorem set `{self.name}` has two theorems named `{theorem.name}`")
            seen.add(theorem.name)

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        split: str | None = None,
        limit: int | None = None,
        layout: str | None = None,
        skip_invalid: bool = False,
    ) -> "TheoremSet":
        """A built-in set by name, a file, or a folder of files: JSON, JSON Lines, Parquet or Lean (docs/formats.md).

        `SOURCE:SPLIT` as a string means `split=SPLIT`; `nng:open` is the game without its limits on premises. An entry
        has `name` and `statement` (or `formal_statement`), or
        `source` with a whole Lean file that ends in the theorem; `header`, `split`, `difficulty`, `file_path` (where it
        was taken from: a path inside a project), `line_number` are optional and other fields are ignored. A JSON file
        is `{"theorems": [...]}`, a list, or JSON Lines. The layouts of published sets are told by their fields; layout
        overrules that. skip_invalid: leave out the entries that cannot be used, and keep what is wrong with them in
        `skipped`; otherwise any of them is an error. `hf://OWNER/NAME` is downloaded. `A + B` is a mix (`mixed`).

        Raises FileNotFoundError, TheoremFileError (the file, the line and the field of every fault), ValueError (no
        such split, no such layout).
        """
        if MIX in str(source) and not Path(source).exists():
            parts = [
                cls.load(part.strip(), split=split, layout=layout, skip_invalid=skip_invalid)
                for part in str(source).split(MIX)
            ]
            return mixed(parts) if limit is None else mixed(parts).limit(limit)
        path, in_name = _resolve(source)
        if split is not None and in_name is not None and split != in_name:
            raise ValueError(f"{source} asks for split `{in_name}`, the split argument for `{split}`; give one of them")
        reading = Reading(path, layout_named(layout) if layout else None, skip_invalid)
        theorems = tuple(theorem for _, _, theorem in reading)
        name = path.name.split(".")[0] or path.stem
        origins = {theorem.name: name for theorem in theorems} if path.parent == BUILTIN_FOLDER else {}
        theorem_set = cls(name, theorems, reading.layout_name, tuple(reading.problems), origins)
        wanted = split if split is not None else in_name
        if wanted == OPEN and path == _GAME:
            everything = tuple(replace(theorem, header="") for theorem in theorems)
            theorem_set = replace(theorem_set, name=f"{theorem_set.name}:{OPEN}", theorems=everything)
        elif wanted is not None:
            theorem_set = theorem_set.split(wanted)
        return theorem_set if limit is None else theorem_set.limit(limit)

    @property
    def from_states(self) -> bool:
        """Whether the statements are made from printed proof states, which Lean may not read back."""
        return layout_named(self.layout).from_state

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
        return TheoremSet(f"{self.name}:{name}", chosen, self.layout, self.skipped, self.origins)

    def limit(self, n: int) -> "TheoremSet":
        """The first `n` theorems (all, if there are fewer)."""
        if n < 1:
            raise ValueError(f"limit = {n}: expected at least 1")
        return TheoremSet(self.name, self.theorems[:n], self.layout, self.skipped, self.origins)

    def divide(self, fraction: float, *, salt: str = "") -> "tuple[TheoremSet, TheoremSet]":
        """(most of the theorems, about `fraction` of them), decided by each theorem's name alone.

        A theorem stays on its side when others join or leave the set. `salt` gives another division.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction = {fraction}: expected a number from 0 to 1")
        apart = {t.name for t in self.theorems if _unit_hash(f"{salt}\n{t.name}") < fraction}
        kept = tuple(t for t in self.theorems if t.name not in apart)
        return TheoremSet(self.name, kept), TheoremSet(self.name, tuple(t for t in self.theorems if t.name in apart))


def mixed(sets: Sequence[TheoremSet]) -> TheoremSet:
    """The theorems of all sets, each set spread evenly, so that any first part has about the same share of each.

    Their names must differ: raises ValueError. `origins` keeps which theorem is from which set.
    """
    places = [
        ((number + 0.5) / len(theorems), turn, theorem)
        for turn, theorems in enumerate(sets)
        for number, theorem in enumerate(theorems)
    ]
    in_order = tuple(theorem for _, _, theorem in sorted(places, key=lambda place: place[:2]))
    origins = {theorem.name: theorems.name.partition(":")[0] for theorems in sets for theorem in theorems}
    name = MIX.join(theorems.name for theorems in sets)
    return TheoremSet(name, in_order, "own", tuple(p for theorems in sets for p in theorems.skipped), origins)


def _unit_hash(text: str) -> float:
    """A number in [0, 1) that depends on nothing but the text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48


# ------------------------------------------------------------------------------------------------------------- reading
def _resolve(source: str | Path) -> tuple[Path, str | None]:
    """(file or folder, split or None) that a source names."""
    text = str(source)
    if is_remote(text):
        return local_copy(text)
    if "://" in text:
        return on_disk(text), None
    base, _, split = text.rpartition(":")
    for candidate, in_name in ((text, None), (base, split or None)):
        if not candidate:
            continue
        if candidate in BUILTIN_NAMES:
            return BUILTIN_FOLDER / f"{candidate}.jsonl", in_name
        if Path(candidate).exists():
            return Path(candidate), in_name
    raise FileNotFoundError(
        f"no theorem file {text!r}, and no built-in set of that name; {nearest(base or text, BUILTIN_NAMES)}"
    )


def read_entries(path: Path, layout: str | None = None) -> Iterator[tuple[int, JsonObject, Theorem]]:
    """(line, all fields of the entry, its theorem) for each theorem of a file, in order; rows of a table, from 1.

    layout: see `TheoremSet.load`. Raises OSError, FormatError, and, where the file ends, TheoremFileError with every
    fault found.
    """
    return iter(Reading(path, layout_named(layout) if layout else None, skip_invalid=False))


class Reading:
    """Goes through the theorems of a file or folder once; afterwards `layout_name` and `problems` say how it went."""

    def __init__(self, source: Path, layout: Layout | None, skip_invalid: bool) -> None:
        self.problems: list[Problem] = []
        self.layout_name = "own"
        self._source = source
        self._layout = layout
        self._skip_invalid = skip_invalid
        self._seen: dict[str, tuple[str, int | None]] = {}  # name -> file and line

    def __iter__(self) -> Iterator[tuple[int, JsonObject, Theorem]]:
        files = files_in(self._source)
        for path in files:
            in_folder = path.relative_to(self._source) if path != self._source else None
            try:
                if kind_of(path) == ".lean":
                    yield from self._lean_file(path, in_folder)
                else:
                    yield from self._entries(path, _split_of(in_folder) if in_folder is not None else None)
            except TheoremFileError as error:  # the file cannot be read any further
                self.problems += error.problems
        if self.problems and not (self._skip_invalid and self._seen):
            raise TheoremFileError(self.problems)
        if not self._seen:
            raise TheoremFileError([Problem(str(self._source), None, None, "has no theorems in it")])

    def _entries(self, path: Path, split: str | None) -> Iterator[tuple[int, JsonObject, Theorem]]:
        layout, columns = self._layout, columns_of(path)
        for entry in entries_of(path, FIELDS):
            if layout is None:
                layout = guess_layout(entry.value if columns is None else dict.fromkeys(columns))
            self.layout_name = layout.name
            try:
                if entry.fault is not None:
                    raise FieldError(None, entry.fault)
                if split is not None and isinstance(entry.value, dict):
                    entry.value.setdefault("split", split)
                for theorem in theorems_of(entry.value, layout):
                    assert isinstance(entry.value, dict)  # else it has no theorems
                    if self._is_new(theorem.name, path, entry, layout):
                        yield entry.line or 0, entry.value, theorem
            except FieldError as error:
                self.problems.append(Problem(str(path), entry.line, error.field, error.message))

    def _is_new(self, name: str, path: Path, entry: Entry, layout: Layout) -> bool:
        """Whether a name was not there before; raises FieldError where it must not be."""
        if name not in self._seen:
            self._seen[name] = (str(path), entry.line)
            return True
        if layout.repeats:
            return False
        file, line = self._seen[name]
        where = f"{row_word(file)} {line}" + (f" of {file}" if file != str(path) else "")
        raise FieldError("name", f"`{name}` occurs before, at {where}; names must differ")

    def _lean_file(self, path: Path, in_folder: Path | None) -> Iterator[tuple[int, JsonObject, Theorem]]:
        self.layout_name = LEAN.name
        if self._layout not in (None, LEAN):
            message = f"is a Lean file, and the format asked for is `{self._layout.name if self._layout else ''}`"
            raise TheoremFileError([Problem(str(path), None, None, message)])
        split = _split_of(in_folder if in_folder is not None else Path(path.name))
        try:
            for found in theorems_in(read_text(path)):
                entry = Entry(found.line, None)
                try:
                    if found.declaration is None:
                        raise FieldError(None, found.fault or "cannot be read")
                    name = found.declaration.full_name
                    assert name is not None
                    check_name(name)
                    self._is_new(name, path, entry, LEAN)
                    declaration = found.declaration
                    theorem = Theorem(name, declaration.statement, declaration.header, split, line_number=found.line)
                    yield found.line, {}, theorem
                except (FieldError, TheoremTextError) as error:
                    self.problems.append(Problem(str(path), found.line, None, str(error)))
        except TheoremTextError as error:
            raise TheoremFileError([Problem(str(path), None, None, str(error))]) from None


_SPLITS = {"valid": "valid", "val": "valid", "validation": "valid", "test": "test", "train": "train"}


def _split_of(path: Path) -> str | None:
    """The split that a file's or folder's name tells: `Valid.lean`, `train-00000-of-00002.parquet`, `test/x.lean`."""
    for part in reversed(path.parts):
        word = part.split(".")[0].split("-")[0].lower()
        if word in _SPLITS:
            return _SPLITS[word]
    return None


__all__ = [
    "BUILTIN_FOLDER",
    "BUILTIN_NAMES",
    "MAX_NUMBER",
    "Problem",
    "Reading",
    "Theorem",
    "TheoremFileError",
    "TheoremSet",
    "describe",
    "read_entries",
]

"""Theorem sets: from a shipped name or a file into the data folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prover.files import write_atomic
from prover.settings import setting
from prover.theorem_files.settings import ReadingSettings
from prover_assets.store.layout import DataFolder

if TYPE_CHECKING:
    from prover.theorems import Theorem, TheoremSet

SPLITS = ("train", "valid", "test")
WORLD = "world"
"""Field of a written theorem: the set that it is from."""


@dataclass(frozen=True)
class TheoremSettings(ReadingSettings):
    """Which theorems are searched to learn from, which choose the settings, and which are held out for the report."""

    train: str = "propositional:train"
    """Theorems to learn from: a shipped set, or a JSON, JSONL or Parquet file; SET:SPLIT for one split; A + B for
    a mix."""
    valid: str = "propositional:valid"
    """Theorems that choose the weight of the energy. Named as for train."""
    test: str = "propositional:test"
    """Held-out theorems, for the report alone. Named as for train."""
    valid_limit: int = setting(40, unit="theorems", ge=1)
    """Most validation theorems."""
    test_limit: int = setting(60, unit="theorems", ge=1)
    """Most held-out theorems."""


@dataclass(frozen=True, slots=True)
class WrittenSets:
    """The three sets as written, with their digests."""

    sets: Mapping[str, "TheoremSet"]
    digests: Mapping[str, str]


def write_theorem_sets(config: TheoremSettings, data: DataFolder) -> WrittenSets:
    """Load the three sets, refuse theorems that are in two of them, and write them as JSONL. Raises ValueError."""
    limits = {"train": None, "valid": config.valid_limit, "test": config.test_limit}
    sets = {}
    for split in SPLITS:
        loaded, most = load_set(getattr(config, split), config), limits[split]
        sets[split] = loaded if most is None else loaded.limit(most)
    seen: dict[str, str] = {}
    for split, theorems in sets.items():
        for theorem in theorems:
            other = seen.setdefault(theorem.name, split)
            if other != split:
                raise ValueError(f"theorem {theorem.name} is in {other} and in {split}; the sets must not overlap")
    for split, theorems in sets.items():
        write_set(theorems, data.theorems(split))
    return WrittenSets(sets, {split: theorems.digest for split, theorems in sets.items()})


def write_set(theorems: "TheoremSet", path: Path) -> None:
    """As JSONL, whole or not at all. The theorems of shipped sets and of mixes keep the name of their set (`world`)."""
    fields = ("name", "statement", "header", "split", "difficulty")
    lines = []
    for theorem in theorems:
        entry = {f: getattr(theorem, f) for f in fields if getattr(theorem, f) not in (None, "")}
        if theorem.name in theorems.origins:
            entry[WORLD] = theorems.origins[theorem.name]
        lines.append(json.dumps(entry, ensure_ascii=False))
    text = "\n".join(lines) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def load_written(data: DataFolder, split: str) -> "TheoremSet":
    """A set as the theorems asset wrote it. Raises FileNotFoundError that says so where there is none."""
    path = data.theorems(split)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; materialize theorems first")
    return load_set(str(path))


def worlds_of(path: Path) -> dict[str, str]:
    """Theorem -> the set it is from, as far as a written file says; empty where there is no file."""
    from prover.theorems import read_entries

    if not path.exists():
        return {}
    return {theorem.name: str(entry[WORLD]) for _, entry, theorem in read_entries(path) if entry.get(WORLD)}


def lint_of(theorems: "TheoremSet") -> dict[str, object]:
    """{"digest", "counts"} of the lint of a set's text (`prover lint-theorems --text-only`): check -> findings."""
    from prover.lint.text_checks import lint_text

    report = lint_text(theorems.name, list(theorems))
    return {"digest": report.digest, "counts": report.counts}


def load_set(name: str, reading: ReadingSettings | None = None) -> "TheoremSet":
    """A shipped set by its name, or a theorem file or folder by its path; `SET:SPLIT` is one split of it.

    reading: how files are read; the shipped sets are in a layout of their own.
    """
    from prover.theorems import BUILTIN_NAMES, MIX, TheoremSet

    reading = reading or ReadingSettings()
    shipped = all(part.partition(":")[0].strip() in BUILTIN_NAMES for part in name.split(MIX))
    layout = None if shipped else reading.format or None
    return TheoremSet.load(name, layout=layout, skip_invalid=reading.skip_invalid)


def training_window(theorems: "TheoremSet", n: int, iteration: int, *, rotate: bool) -> list["Theorem"]:
    """The theorems an iteration searches: the first `n`, or the next `n` each iteration, round and round."""
    everything = list(theorems)
    if n >= len(everything):
        return everything
    start = iteration * n % len(everything) if rotate else 0
    return (everything + everything)[start : start + n]

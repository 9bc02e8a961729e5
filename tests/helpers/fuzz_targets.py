"""What is fuzzed: readers of text that others write, each with the texts to try and what has to hold for any of them.

`tests/faults/test_fuzz.py` draws the texts at random, `guided_fuzz.py` by what they reach in the code.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from prover.environments.isolation.nesting import too_deep
from prover.environments.isolation.refusal import refuse_header, refuse_name, refuse_statement, refuse_tactic
from prover.environments.script.process import parse_messages
from prover.json_digest import json_text, parse_json
from prover.policy.prompts import get_template, template_names
from prover.states import count_goals, goals_of, normalise, state_key
from prover.theorem_files.lean_files import theorems_in
from prover.theorem_files.names import TheoremTextError
from prover.theorem_files.problems import TheoremFileError
from prover.theorem_files.text import read_header, read_source, read_statement
from prover.theorems import TheoremSet
from prover.trajectory.labels import merge_labels

_WORDS = (
    *("exact", "by", "fun x =>", "¬", "∀ x,", "(", ")", "⟨", "⟩", "«", "»", ":=", "--", "/-", "-/", "\n", "\n  ", ";"),
    *("<;>", "|", "h.1", '"', "\\", "`", "#eval", "theorem", "open", "in", "import", "sorry", "x₁", "ℕ", "case inl"),
    *("⊢", "h : p", "\r\n", "\t", "\u200b", "\ud7ff", "'a'", "✝", "@[simp]", "namespace N", "end N", "section", "end"),
    *(
        "variable (p q : Prop)",
        "lemma t : p → p := by",
        "example : True",
        "```lean",
        "```",
        "</s>",
        "attribute",
        "\n\n",
    ),
)
LEAN = st.lists(st.one_of(st.sampled_from(_WORDS), st.text(max_size=8)), max_size=60).map(" ".join)
_STATES = (
    "p q : Prop\nh : p ∧ q\n⊢ q",
    "case inl\np : Prop\nx✝ : p\n⊢ p ∨ p\n\ncase inr\np : Prop\n⊢ p",
)
_TEMPLATES = tuple(map(get_template, template_names()))


@dataclass(frozen=True, slots=True)
class Target:
    """A reader: what it is tried on, and a check that fails where it does wrong."""

    texts: st.SearchStrategy[Any]
    check: Callable[[Any], None]


def refusal(text: str) -> None:
    """A reason or none; never an error."""
    for refuse in (refuse_tactic, refuse_statement, refuse_header, refuse_name, too_deep):
        answer = refuse(text)
        assert answer is None or (isinstance(answer, str) and answer)


_MESSAGE = st.fixed_dictionaries(
    {
        "pos": st.one_of(st.none(), st.fixed_dictionaries({"line": st.integers()})),
        "data": st.one_of(st.text(), st.none()),
    }
).map(lambda value: json_text(value).replace("\n", "").encode())


def messages(parts: list[bytes]) -> None:
    """What is no message is skipped."""
    assert all(isinstance(found["pos"], dict) and "data" in found for found in parse_messages(b"\n".join(parts)))


def states(text: str) -> None:
    """No blanks are left where Lean prints none, and a state read with other line ends keeps its key."""
    plain = normalise(text)
    assert all(line == line.rstrip() for line in plain.split("\n"))
    assert not plain.startswith("\n")
    assert not plain.endswith("\n")
    assert "\n\n\n" not in plain
    assert count_goals(text) == len(goals_of(text))
    if "\r" not in text:
        assert state_key(text.replace("\n", " \r\n")) == state_key(f"\n{text}\n") == state_key(text)


def tactics(drawn: tuple[str, str]) -> None:
    """What a policy says becomes a tactic with something in it, or none, by each prompt template."""
    completion, state = drawn
    for template in _TEMPLATES:
        found = template.tactic(completion, state)
        assert found is None or found.strip()
        if found is not None:
            refuse_tactic(found)


def theorem_texts(text: str) -> None:
    """A theorem, or a sentence about the text."""
    for read in (read_statement, read_source, read_header, lambda whole: list(theorems_in(whole))):
        try:
            read(text)
        except TheoremTextError as error:
            assert str(error)  # noqa: PT017 - an error is one of two right answers


def theorem_files(entries: list[Any]) -> None:
    """A set of theorems, or an error that names the file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "theorems.jsonl"
        file.write_text("\n".join(json_text(entry).replace("\n", " ") for entry in entries), encoding="utf-8")
        try:
            names = [theorem.name for theorem in TheoremSet.load(file)]
        except TheoremFileError as error:
            assert file.name in str(error)  # noqa: PT017 - as above
        else:
            assert len(names) == len(set(names)) == len(entries)


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
    max_leaves=12,
)


def json_files(value: dict[str, object]) -> None:
    """What is written comes back."""
    assert parse_json(json_text(value)) == value


_LABELLED = st.tuples(
    st.sampled_from("ab"), st.sampled_from("kl"), st.sampled_from(("positive", "negative", "unknown")),
    st.integers(-1, 5),
)  # fmt: skip


def labels(rows: list[tuple[str, str, str, int]]) -> None:
    """Merged in any order, a state is positive where it was so anywhere."""

    def merged(some: list[tuple[str, str, str, int]]) -> dict[str, str]:
        frame = pl.DataFrame(
            some, schema=["theorem_name", "state_key", "label", "remaining_depth"], orient="row"
        ).with_columns(pl.lit("s").alias("search_id"), pl.lit(None, dtype=pl.UInt64).alias("parent_state_id"))
        out = merge_labels(frame.with_row_index("state_id").with_columns(pl.col("state_id").cast(pl.UInt64)))
        return {row["state_key"]: row["label"] for row in out.iter_rows(named=True)}

    assert merged(rows) == merged(rows[::-1])
    ever = {key for _, key, label, _ in rows if label == "positive"}
    assert {key for key, label in merged(rows).items() if label == "positive"} == ever


_FIELDS = ("name", "statement", "formal_statement", "header", "source", "split", "difficulty", "file_path", "id")
_LEAN_BYTES = LEAN.map(lambda text: text.encode("utf-8", "surrogatepass"))
TARGETS = {
    "refusal": Target(LEAN, refusal),
    "messages": Target(st.lists(st.one_of(_MESSAGE, st.binary(max_size=40), _LEAN_BYTES), max_size=8), messages),
    "states": Target(LEAN, states),
    "tactics": Target(st.tuples(LEAN, st.one_of(st.sampled_from(_STATES), LEAN)), tactics),
    "theorem_texts": Target(LEAN, theorem_texts),
    "theorem_files": Target(
        st.lists(st.dictionaries(st.sampled_from(_FIELDS), st.one_of(LEAN, _JSON), max_size=6), max_size=4),
        theorem_files,
    ),
    "json_files": Target(st.dictionaries(st.text("xyz", min_size=1), _JSON, max_size=5), json_files),
    "labels": Target(st.lists(_LABELLED, min_size=1, max_size=12), labels),
}

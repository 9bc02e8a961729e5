"""Trajectories in the layouts of others, and back."""

import json
import string
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from prover.states import normalise
from prover.traces.export import export_trajectories
from prover.traces.imports import import_traces
from prover.traces.model import Step, Trace
from prover.traces.rows import trace_rows
from prover.trajectory import TrajectoryWriter, read_attempts, read_trajectories

names = st.text(string.ascii_lowercase, min_size=1, max_size=4)
lines = st.builds(lambda some, kind: f"{some} : {kind}", names, st.sampled_from(["Nat", "Prop", "p ∧\n  q", "a = b"]))
goal = st.builds(
    lambda tag, above, target: "\n".join([*([f"case {tag}"] if tag else []), *above, f"⊢ {target}"]),
    st.sampled_from(["", "inl", "a.b"]),
    st.lists(lines, max_size=3),
    st.sampled_from(["p", "a = b", "∀ (x : Nat),\n  x = x", "p ∨ q"]),
)
state = st.lists(goal, min_size=1, max_size=3).map("\n\n".join)
tactic = st.sampled_from(["intro x", "exact h", "cases h with\n| inl a => exact a\n| inr b => exact b", "simp [a, b]"])


def write(folder: Path, texts: list[str], tactics: list[str]) -> Path:
    steps = tuple(
        Step(before, said, after) for before, said, after in zip(texts, tactics, [*texts[1:], ""], strict=True)
    )
    trace = Trace("t", steps, statement=": p", header="open Nat")
    output = folder / "first.parquet"
    with TrajectoryWriter(output, search_id="s") as writer:
        writer.add(trace_rows(trace, search_id="s", environment="", source="x", timestamp_ms=0))
        writer.finish()
    return output


def steps_of(path: Path) -> list[tuple[str, str, str]]:
    nodes = {row[0]: row[1] for row in read_trajectories(path).select("state_id", "state_pp").rows()}
    return [
        (nodes[parent], said, nodes[child])
        for parent, said, child in read_attempts(path).select("parent_state_id", "tactic", "child_state_id").rows()
    ]


ANY_SEARCH = {
    "texts": st.lists(state, min_size=1, max_size=5, unique_by=normalise),
    "data": st.data(),
    "suffix": st.sampled_from(["json", "jsonl"]),
}


@hypothesis.settings(max_examples=15)
@hypothesis.given(**ANY_SEARCH)
def test_leandojo_and_back_gives_the_same_states_and_tactics(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject, suffix: str
) -> None:
    to_leandojo_and_back(tmp_path_factory.mktemp("trip"), texts, data, suffix)


@pytest.mark.slow
@hypothesis.given(**ANY_SEARCH)
def test_leandojo_and_back_a_hundred_times(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject, suffix: str
) -> None:
    to_leandojo_and_back(tmp_path_factory.mktemp("trip"), texts, data, suffix)


def to_leandojo_and_back(folder: Path, texts: list[str], data: st.DataObject, suffix: str) -> None:
    first = write(folder, texts, [data.draw(tactic) for _ in texts])
    export_trajectories(first, folder / f"dojo.{suffix}", "leandojo")
    import_traces(folder / f"dojo.{suffix}", folder / "second.parquet")
    assert steps_of(folder / "second.parquet") == steps_of(first)
    columns = ["state_pp", "tactic_applied", "label", "depth_from_root", "remaining_depth", "state_key"]
    assert (
        read_trajectories(folder / "second.parquet").select(columns).rows()
        == read_trajectories(first).select(columns).rows()
    )


def test_leantree_and_back_gives_the_same_states_and_tactics(tmp_path: Path) -> None:
    texts = ["p q : Prop\nn : Nat := 3\nh : p ∧\n  q\n⊢ q ∧ p", "case l\np q : Prop\n⊢ q\n\ncase r\n⊢ p"]
    first = write(tmp_path, texts, ["constructor", "simp"])
    export_trajectories(first, tmp_path / "tree.jsonl", "leantree")
    import_traces(tmp_path / "tree.jsonl", tmp_path / "second.parquet")
    assert steps_of(tmp_path / "second.parquet") == steps_of(first)


def test_sft_has_a_line_per_step(tmp_path: Path) -> None:
    first = write(tmp_path, ["⊢ p ∧ q", "⊢ q"], ["constructor", "simp"])
    report = export_trajectories(first, tmp_path / "sft.jsonl", "sft")
    assert (report.lines, report.theorems) == (2, 1)
    assert [json.loads(line) for line in (tmp_path / "sft.jsonl").read_text("utf-8").splitlines()] == [
        {"theorem": "t", "prompt": "⊢ p ∧ q", "completion": "constructor", "remaining_depth": 2},
        {"theorem": "t", "prompt": "⊢ q", "completion": "simp", "remaining_depth": 1},
    ]

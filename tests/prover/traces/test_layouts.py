"""The published layouts of traces: what becomes of their states, and which faults are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from prover.states import state_key
from prover.traces.entries import TraceFileError
from prover.traces.imports import import_traces
from prover.traces.model import Step, goal_text, linear, regroup, state_text
from prover.trajectory import read_attempts, read_summaries, read_trajectories

ROOT = "p q : Prop\nhp : p\nhq : q\n⊢ q ∧ p"
LEFT, RIGHT = "case left\np q : Prop\nhp : p\nhq : q\n⊢ q", "case right\np q : Prop\nhp : p\nhq : q\n⊢ p"


def write(folder: Path, entries: list[Any], name: str = "traces.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries), encoding="utf-8")
    return path


def tactic(before: str, text: str, after: str) -> dict[str, Any]:
    return {"tactic": text, "annotated_tactic": [text, []], "state_before": before, "state_after": after}


def dojo(*steps: dict[str, Any], name: str = "and_swap") -> dict[str, Any]:
    at = {"url": "u", "commit": "c", "file_path": "A.lean", "start": [1, 1], "end": [3, 1]}
    return at | {"full_name": name, "traced_tactics": list(steps)}


def rows(path: Path) -> list[tuple[str, str, int, int, str]]:
    frame = read_trajectories(path)
    return frame.select("state_pp", "tactic_applied", "depth_from_root", "remaining_depth", "label").rows()


def test_goals_out_of_focus_are_put_back_so_that_states_are_those_of_a_search(tmp_path: Path) -> None:
    source = write(
        tmp_path,
        [
            dojo(
                tactic(ROOT, "constructor", f"{LEFT}\n\n{RIGHT}"),
                tactic(LEFT, "exact hq", "no goals"),  # inside `·`, Lean shows the goal in focus alone
                tactic(RIGHT, "exact hp", "no goals"),
            )
        ],
    )
    report = import_traces(source, tmp_path / "out.parquet")
    assert (report.format, report.traces, report.complete, report.certified) == ("leandojo", 1, 1, 0)
    assert rows(tmp_path / "out.parquet") == [
        (ROOT, "", 0, 3, "positive"),
        (f"{LEFT}\n\n{RIGHT}", "constructor", 1, 2, "positive"),
        (RIGHT, "exact hq", 2, 1, "positive"),
        ("", "exact hp", 3, 0, "positive"),
    ]
    summary = read_summaries(tmp_path / "out.parquet").row(0, named=True)
    assert not summary["certified"]
    assert summary["claimed"]
    assert "not checked by Lean" in summary["reason"]


def test_a_goal_taken_out_of_turn_is_rotated_to_the_front_and_a_body_of_its_own_is_a_trace_of_its_own() -> None:
    inner = "p : Prop\n⊢ p → p"
    first, second = linear(
        "t",
        [
            Step(ROOT, "constructor", f"{LEFT}\n\n{RIGHT}"),
            Step(RIGHT, "all_goals assumption", ""),
            Step(inner, "intro h", "p : Prop\nh : p\n⊢ p"),
        ],
    )
    assert [step.tactic for step in first.steps] == ["constructor", "rotate_left 1", "focus (all_goals assumption)"]
    assert first.steps[1].after == f"{RIGHT}\n\n{LEFT}"
    assert first.steps[-1].after == LEFT
    assert (second.name, [step.tactic for step in second.steps]) == ("t#2", ["intro h"])


def test_a_trace_that_stops_is_unknown_and_one_that_returns_makes_no_cycle(tmp_path: Path) -> None:
    open_end = dojo(tactic("⊢ True", "skip", "⊢ True"), tactic("⊢ True", "show 0 = 0", "⊢ 0 = 0"), name="a")
    back = dojo(tactic("⊢ A", "x", "⊢ B"), tactic("⊢ B", "y", "⊢ A"), tactic("⊢ A", "z", "no goals"), name="b")
    import_traces(write(tmp_path, [open_end, back]), tmp_path / "out.parquet")
    assert rows(tmp_path / "out.parquet") == [
        ("⊢ True", "", 0, -1, "unknown"),
        ("⊢ 0 = 0", "show 0 = 0", 1, -1, "unknown"),
        ("⊢ A", "", 0, 1, "positive"),
        ("⊢ B", "x", 1, 2, "positive"),
        ("", "z", 1, 0, "positive"),
    ]
    assert len(read_attempts(tmp_path / "out.parquet")) == 4


def test_lean_github_rows_of_one_declaration_are_one_trace(tmp_path: Path) -> None:
    def row(name: str, start: str, *step: str) -> dict[str, Any]:
        before, text, after = step
        at = {"url": "u", "commit": "c", "file_path": "A.lean", "full_name": name, "start": start}
        return at | {"tactic": text, "state_before": before, "state_after": after}

    source = write(
        tmp_path,
        [row("a", "(1, 1)", "⊢ A", "x", "⊢ B"), row("a", "(1, 1)", "⊢ B", "y", ""), row("a", "(9, 1)", "⊢ C", "z", "")],
    )
    report = import_traces(source, tmp_path / "out.parquet")
    assert (report.format, report.traces, report.steps, report.renamed) == ("lean-github", 2, 3, 1)
    assert read_trajectories(tmp_path / "out.parquet")["theorem_name"].unique().sort().to_list() == ["a", "a~2"]


def leantree_node(name: str, target: str, text: str | None, *children: str) -> dict[str, Any]:
    hypotheses = [{"type": "Prop", "user_name": "p"}, {"type": "Prop", "user_name": "q"}]
    hypotheses += [{"type": "Nat", "user_name": "n", "value": "3"}]
    node: dict[str, Any] = {"id": name, "state": {"goals": [{"type": target, "hypotheses": hypotheses}]}}
    if text is not None:
        node["tactic"] = {"tactic_string": text, "parent": name, "children": list(children), "tactic_depends_on": []}
    return node


def test_a_factorised_tree_is_walked_with_the_goals_that_wait(tmp_path: Path) -> None:
    nodes = [
        leantree_node("r", "p ∧ q", "constructor", "a", "b"),
        leantree_node("a", "p", "tauto"),
        leantree_node("b", "q", "assumption"),
    ]
    block = {"tree": {"root_id": "r", "nodes": nodes}}
    entry = {"path": "A.lean", "imports": [], "theorems": [{"name": "t", "span": None, "by_blocks": [block]}]}
    report = import_traces(write(tmp_path, [entry]), tmp_path / "out.parquet")
    assert report.format == "leantree"
    goal = "p q : Prop\nn : Nat := 3\n⊢ {}".format  # neighbours of one type on one line, as Lean prints them
    assert [row[:2] for row in rows(tmp_path / "out.parquet")] == [
        (goal("p ∧ q"), ""),
        (f"{goal('p')}\n\n{goal('q')}", "constructor"),
        (goal("q"), "tauto"),
        ("", "assumption"),
    ]
    nodes[1]["tactic"]["children"] = ["r"]
    with pytest.raises(
        TraceFileError, match=r"line 1, field `theorems\[0\].by_blocks\[0\].tree.nodes`: comes to node 'r' tw"
    ):
        import_traces(write(tmp_path, [entry]), tmp_path / "out.parquet")


def test_nanoproof_transitions_carry_the_tactics_that_are_left(tmp_path: Path) -> None:
    state = "p : Prop\nq : Prop\n⊢ {}".format  # nanoproof writes a hypothesis per line
    transitions = [[state("p ∧ q"), "constructor", -3], [state("p"), "left", -2], [state("A"), "x", -1]]
    transitions.append([state("q"), "assumption", -1])
    entry = {"dataset": "d", "id": "t", "theorem": "", "outcome": "proven", "transitions": transitions}
    failed = {"dataset": "d", "id": "u", "theorem": "", "outcome": "unproven", "transitions": None}
    report = import_traces(write(tmp_path, [entry, failed]), tmp_path / "out.parquet")
    assert (report.format, report.traces, report.without_trace) == ("nanoproof", 2, 1)
    found = read_trajectories(tmp_path / "out.parquet")
    assert found.filter(found["theorem_name"] == "d/t")["remaining_depth"].to_list() == [3, 2, 1, 0]
    assert found.filter(found["theorem_name"] == "d/t#2")["remaining_depth"].to_list() == [1, 0]
    assert found["state_key"][0] == state_key("p q : Prop\n⊢ p ∧ q")


def test_a_nanoproof_tree_is_walked_through_its_solved_branches(tmp_path: Path) -> None:
    def node(states: list[str], children: dict[str, Any] | None, solved: bool = True) -> dict[str, Any]:
        return {"state": states, "children": children, "is_solved": solved}

    done = node([], None)
    both = node(["⊢ p", "⊢ q"], {"0": node(["⊢ p"], {"tauto": done}), "1": node(["⊢ q"], {"x": done})})
    tree = node(["⊢ p ∧ q"], {"constructor": both, "no": node(["⊢ False"], None, solved=False)})
    entry = {"id": "t", "transitions": [], "simplified_tree": tree}
    import_traces(write(tmp_path, [entry]), tmp_path / "out.parquet")
    assert [row[:2] for row in rows(tmp_path / "out.parquet")] == [
        ("⊢ p ∧ q", ""),
        ("⊢ p\n\n⊢ q", "constructor"),
        ("⊢ q", "tauto"),
        ("", "x"),
    ]


BAD = [
    ({"full_name": "a", "traced_tactics": "none"}, "line 2, field `traced_tactics`: is 'none'; expected a list"),
    (dojo({"tactic": 3}), r"field `traced_tactics\[0\].state_before`: is missing; expected text"),
    (dojo(tactic("⊢ A", " ", "⊢ B")), r"field `traced_tactics\[0\].tactic`: is empty; expected a tactic"),
    (dojo(tactic("no goals", "x", "")), r"field `traced_tactics\[0\].state_before`: has no goals"),
    (dojo(tactic("p : Prop", "x", "")), r"state_before`: has a goal without a line that begins with `⊢`: `p : Prop`"),
    (dojo(tactic("⊢ A\x00", "x", "")), r"state_before`: holds the control character U\+0000"),
    (dojo(tactic("⊢ \ud800", "x", "")), r"state_before`: holds half of a character"),
    ([1], "line 2: is a JSON list; expected an object"),
]


@pytest.mark.parametrize(("entry", "message"), BAD)
def test_a_bad_entry_is_named_and_the_others_load_without_it(tmp_path: Path, entry: Any, message: str) -> None:
    path = tmp_path / "traces.jsonl"
    good = dojo(tactic("⊢ A", "x", "no goals"), name="good")
    path.write_text(f"{json.dumps(good)}\n{json.dumps(entry)}", encoding="utf-8")
    with pytest.raises(TraceFileError, match=message):
        import_traces(path, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    report = import_traces(path, tmp_path / "out.parquet", skip_invalid=True)
    assert (report.traces, len(report.invalid), report.invalid[0].line) == (1, 1, 2)
    assert read_trajectories(tmp_path / "out.parquet")["theorem_name"].unique().to_list() == ["good"]


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, content, message in [
        ("a.jsonl", b'{"a": 1', "line 1: is not a JSON object"),
        ("b.jsonl", b"\xff\xfe", "line 1: is not UTF-8"),
        ("c.jsonl.gz", b"not gzip", "cannot be read"),
        ("d.parquet", b"PAR1", "not a Parquet file"),
        ("e.json", b"[" * 100_000, "nested too deeply"),
        ("f.txt", b"", "expected a file named"),
        ("g.jsonl", b'{"x": 1}', "cannot tell its layout"),
        ("h.jsonl", b"", "has no entries"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TraceFileError, match=message):
            import_traces(tmp_path / name, tmp_path / "out.parquet")


def test_goal_text_is_as_lean_prints_it_and_foreign_states_are_cleaned() -> None:
    hypotheses = [(["a", "b"], "Nat", None), (["c"], "Nat", None), (["x"], "Nat", "a"), (["h"], "a = b", None)]
    assert goal_text(hypotheses, "a = b", "inl") == "case inl\na b c : Nat\nx : Nat := a\nh : a = b\n⊢ a = b"
    assert regroup("a : Nat\nb : Nat\nh :\n  a =\n    b\n⊢ b = a") == "a b : Nat\nh :\n  a =\n    b\n⊢ b = a"
    assert regroup("something odd\n⊢ b = a") == "something odd\n⊢ b = a"
    assert state_text("\r\nh : p  \r\n⊢ p\r\n\r\n \r\n⊢ q\n") == "h : p\n⊢ p\n\n⊢ q"
    assert state_text("Goals accomplished!") == ""

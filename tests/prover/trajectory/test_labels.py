import random

import polars as pl
import pytest
from search_fakes import HashPolicy, HashWorld, ScriptedPolicy, ScriptedWorld, theorems

from prover.environments.base import TimedOut
from prover.search import SearchConfig, search
from prover.search.best_first import TheoremResult
from prover.states import state_key
from prover.theorems import Theorem
from prover.trajectory import count_rules, label_noise, label_search, merge_labels


def run(table: dict, proposals: dict, **settings) -> TheoremResult:
    config = SearchConfig(**{"mode": "policy-mean", **settings})
    return search([Theorem("t", ": p")], ScriptedWorld(table), ScriptedPolicy(proposals), config).results[0]


def labels_by_state(result: TheoremResult) -> dict[str, tuple[str, int]]:
    pairs = zip(result.tree.nodes, label_search(result), strict=True)
    return {node.state.text.removeprefix("⊢ "): (label.label, label.remaining_depth) for node, label in pairs}


TABLE = {
    ("root", "x"): "a",
    ("root", "y"): "b",
    ("root", "z"): "side",
    ("a", "x"): "c",
    ("b", "x"): "c",
    ("c", "x"): "",
    ("side", "x"): "leaf",
}
PROPOSALS = {
    "root": {"x": -0.1, "y": -0.2, "z": -0.3},
    "a": {"x": -2.0},
    "b": {"x": -2.0},
    "side": {"x": -5.0},
    "c": {"x": -0.1},
}


def test_every_parent_of_a_proof_gains_and_the_rest_is_negative():
    result = run(TABLE, PROPOSALS)
    assert result.proof == ("x", "x", "x")
    assert labels_by_state(result) == {
        "root": ("positive", 3),
        "a": ("positive", 2),
        "b": ("positive", 2),  # not on the proof's path, but it leads to it too
        "side": ("negative", -1),
        "c": ("positive", 1),
        "leaf": ("negative", -1),
        "": ("positive", 0),
    }
    assert count_rules(label_search(result)) == {
        "negative:expanded": 1,
        "negative:open": 1,
        "positive:other-path": 1,
        "positive:proof": 4,
    }
    rules = {
        node.state.text.removeprefix("⊢ "): label.rule
        for node, label in zip(result.tree.nodes, label_search(result), strict=True)
    }
    assert (rules["side"], rules["leaf"]) == ("negative:expanded", "negative:open")


def test_nothing_is_known_of_a_theorem_that_was_not_proved():
    result = run(TABLE, PROPOSALS, max_expansions=3)
    assert set(labels_by_state(result).values()) == {("unknown", -1)}


def test_a_node_where_a_tactic_timed_out_is_not_negative():
    table = TABLE | {("side", "slow"): TimedOut("out of heartbeats", 1.0)}
    result = run(table, PROPOSALS | {"side": {"x": -5.0, "slow": -0.1}})
    found = labels_by_state(result)
    assert result.proved
    assert found["side"] == ("unknown", -1)
    assert found["leaf"] == ("negative", -1)


def test_remaining_depth_is_the_shortest_in_every_search():
    """Against the definition, on random searches: walk the edges backwards from the completed nodes."""
    seen = set()
    report = search(
        theorems(30),
        HashWorld(complete=0.01, uncertified=0.3, crashed=0.02),
        HashPolicy(),
        SearchConfig(mode="policy-mean"),
    )
    for result in report.results:
        labels = label_search(result)
        seen.update(label.rule for label in labels)
        distance = {node.index: 0 for node in result.tree.nodes if node.complete}
        for _ in result.tree.nodes:
            for parent, child in result.tree.edges():
                if child in distance:
                    distance[parent] = min(distance.get(parent, 10**6), distance[child] + 1)
        for node, label in zip(result.tree.nodes, labels, strict=True):
            assert label.remaining_depth == distance.get(node.index, -1)
            assert (label.label == "positive") == (node.index in distance)
            assert not (label.label == "negative" and not result.proved)
    assert seen >= {"positive:proof", "negative:open", "unknown:not-proved", "unknown:not-certified"}


def frame(rows: list[tuple]) -> pl.DataFrame:
    """(search, theorem, id, key, parent, label, remaining)"""
    names = ["search_id", "theorem_name", "state_id", "state_key", "parent_state_id", "label", "remaining_depth"]
    kinds = [pl.String, pl.String, pl.UInt64, pl.String, pl.UInt64, pl.String, pl.Int32]
    return pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row").with_columns(
        pl.col("state_key").alias("state_pp")
    )


def test_one_state_has_one_label_over_all_searches():
    rows = [
        ("s1", "t", 1, "root", None, "positive", 4),
        ("s1", "t", 2, "k", 1, "negative", -1),
        ("s1", "t", 3, "m", 1, "negative", -1),
        ("s2", "t", 4, "root", None, "positive", 2),
        ("s2", "t", 5, "k", 4, "positive", 1),
        ("s3", "t", 6, "root", None, "unknown", -1),
        ("s3", "t", 7, "m", 6, "unknown", -1),
        ("s3", "t", 8, "n", 6, "unknown", -1),
        ("s1", "u", 9, "k", None, "unknown", -1),  # the same state below another theorem
        ("s1", "u", 10, "m", 9, "unknown", -1),
    ]
    merged = merge_labels(frame(rows))
    assert merged["state_id"].to_list() == [row[2] for row in rows]
    assert merged.select("label", "remaining_depth").rows() == [
        ("positive", 2),
        ("positive", 1),
        ("negative", -1),
        ("positive", 2),
        ("positive", 1),
        ("positive", 2),
        ("negative", -1),
        ("unknown", -1),
        ("positive", 1),
        ("negative", -1),
    ]


def test_a_finished_proof_says_nothing_of_another_claim():
    done = state_key("")
    rows = [
        ("s1", "t", 1, "root", None, "positive", 1),
        ("s1", "t", 2, done, 1, "positive", 0),
        ("s1", "t", 3, "a", 1, "unknown", -1),
        ("s1", "t", 4, done, 3, "unknown", -1),  # a claim that was not certified
        ("s2", "t", 2, done, None, "unknown", -1),
        ("s1", "u", 2, done, None, "unknown", -1),
    ]
    merged = merge_labels(frame(rows))
    assert merged["label"].to_list() == ["positive", "positive", "unknown", "unknown", "unknown", "unknown"]


def test_a_child_proved_elsewhere_makes_its_parents_positive():
    rows = [
        ("s1", "t", 1, "root", None, "unknown", -1),
        ("s1", "t", 2, "a", 1, "unknown", -1),
        ("s1", "t", 3, "b", 2, "unknown", -1),
        ("s2", "t", 4, "root2", None, "positive", 3),
        ("s2", "t", 5, "b", 4, "positive", 2),
    ]
    merged = merge_labels(frame(rows))
    assert merged.select("label", "remaining_depth").rows() == [
        *(("positive", 4), ("positive", 3), ("positive", 2), ("positive", 3), ("positive", 2))
    ]


def test_merging_keeps_columns_order_and_types():
    report_rows = frame([("s1", "t", 1, "root", None, "unknown", -1)])
    merged = merge_labels(report_rows)
    assert merged.schema == report_rows.schema
    assert merged.equals(report_rows)
    empty = frame([])
    assert merge_labels(empty).schema == empty.schema


def test_label_noise_counts_each_state_once():
    rows = [
        ("s1", "t", 1, "provable", None, "negative", -1),
        ("s2", "t", 2, "provable", None, "negative", -1),
        ("s1", "t", 3, "false", None, "negative", -1),
        ("s1", "t", 4, "unreadable", None, "unknown", -1),
        ("s1", "t", 5, "yes", None, "positive", 2),
    ]
    verdicts = {"provable": True, "false": False, "unreadable": None, "yes": True}
    noise = {entry.label: entry for entry in label_noise(frame(rows), verdicts.__getitem__)}
    assert (noise["negative"].states, noise["negative"].decided, noise["negative"].provable) == (2, 2, 1)
    assert (noise["positive"].states, noise["positive"].provable) == (1, 1)
    assert (noise["unknown"].states, noise["unknown"].decided, noise["unknown"].provable) == (1, 0, 0)


@pytest.mark.parametrize("shuffle_seed", [1, 2])
def test_merging_does_not_depend_on_the_order_of_rows(shuffle_seed: int):
    rows = [
        ("s1", "t", 1, "root", None, "positive", 4),
        ("s1", "t", 2, "k", 1, "negative", -1),
        ("s2", "t", 5, "k", None, "positive", 1),
    ]
    whole = merge_labels(frame(rows))
    shuffled = merge_labels(frame(rows).sample(fraction=1.0, shuffle=True, seed=shuffle_seed))
    assert shuffled.sort("state_id").equals(whole.sort("state_id"))


def by_hand(rows: list[tuple]) -> list[tuple[str, int]]:
    """The rules of `merge_labels`, one row after another until nothing changes any more."""
    done = state_key("")
    state = [(row[:3] if row[3] == done else row[3]) for row in rows]
    place = {row[:3]: name for row, name in reversed(list(zip(rows, state, strict=True)))}
    depth: dict[object, float] = {}
    for row, name in zip(rows, state, strict=True):
        if row[5] == "positive":
            depth[name] = min(depth.get(name, float("inf")), row[6] if row[6] >= 0 else float("inf"))
    changed = True
    while changed:
        before = dict(depth)
        for row, name in zip(rows, state, strict=True):
            parent = place.get((*row[:2], row[4]))
            if parent is not None and name in depth:
                depth[parent] = min(depth.get(parent, float("inf")), depth[name] + 1)
        changed = depth != before
    negative = {name for row, name in zip(rows, state, strict=True) if row[5] == "negative"}
    return [
        ("positive", -1 if depth[name] == float("inf") else int(depth[name]))
        if name in depth
        else ("negative" if name in negative else "unknown", -1)
        for name in state
    ]


@pytest.mark.parametrize("seed", range(40))
def test_merging_is_what_the_rules_say(seed: int):
    draw, done = random.Random(seed), state_key("")
    own_ids = seed % 2  # ids may be unique in the whole table, or in their theorem alone
    rows, last = [], 0
    for run_id, theorem in [("s1", "t"), ("s1", "u"), ("s2", "t"), ("s3", "v")]:
        first = last = last if own_ids else 0
        for _ in range(draw.randint(1, 12)):
            parent = draw.choice([None, *range(first, last), 1000]) if last > first else None
            label = draw.choice(["positive", "negative", "negative", "unknown"])
            key = draw.choice([done, *"abcdefgh"])
            rows.append((run_id, theorem, last, key, parent, label, draw.choice([-1, 0, 1, 5])))
            last += 1
    draw.shuffle(rows)
    assert merge_labels(frame(rows)).select("label", "remaining_depth").rows() == by_hand(rows)

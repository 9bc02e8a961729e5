"""Which states are examples of progress: labels of one search, and one label per state over many searches.

Rules for one search:
1. `positive`: a node with a certified completion below it, along any path of the tree (a state that was reached twice
   has two parents, and both count). `remaining_depth` is the smallest number of tactics to a completion.
2. `negative`: any other node of a proved theorem, expanded or not.
3. `unknown`: every node of a theorem that was not proved; a node at which a tactic timed out or crashed, unless
   positive; a claim that was not certified.

A negative is not a dead end: on propositional theorems many are provable (see `label_noise`). What is learnt from these
labels is progress under this policy, not provability.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import polars as pl

from prover.states import state_key
from prover.trajectory.schema import LABELS

if TYPE_CHECKING:  # the search writes trajectories, so at run time the dependency goes the other way
    from prover.search.best_first import TheoremResult

UNKNOWN_DEPTH = -1
_NO_GOALS = state_key("")
_INTERRUPTIONS = ("timed_out", "crashed")  # of prover.search.node.AttemptOutcome


@dataclass(frozen=True, slots=True)
class NodeLabel:
    """label: positive | negative | unknown. remaining_depth: tactics to completion, -1 unknown. rule: which gave it."""

    label: str
    remaining_depth: int
    rule: str


def label_search(result: "TheoremResult") -> list[NodeLabel]:
    """A label for each node of one search, in order of creation."""
    remaining = _distances(result)
    interrupted = {attempt.parent for attempt in result.tree.attempts if attempt.outcome in _INTERRUPTIONS}
    labels = []
    for node in result.tree.nodes:
        distance = remaining.get(node.index)
        if distance is not None:
            on_path = result.proof is not None and result.proof[: node.depth] == node.state.tactics
            labels.append(NodeLabel("positive", distance, "positive:proof" if on_path else "positive:other-path"))
        elif node.claimed:
            labels.append(NodeLabel("unknown", UNKNOWN_DEPTH, "unknown:not-certified"))
        elif not result.proved:
            labels.append(NodeLabel("unknown", UNKNOWN_DEPTH, "unknown:not-proved"))
        elif node.index in interrupted:
            labels.append(NodeLabel("unknown", UNKNOWN_DEPTH, "unknown:interrupted"))
        else:
            rule = "negative:expanded" if node.expansion is not None else "negative:open"
            labels.append(NodeLabel("negative", UNKNOWN_DEPTH, rule))
    return labels


def count_rules(labels: Sequence[NodeLabel]) -> dict[str, int]:
    """How many nodes each rule labelled."""
    return dict(sorted(Counter(label.rule for label in labels).items()))


def _distances(result: "TheoremResult") -> dict[int, int]:
    """Fewest tactics from a node to a certified completion, for the nodes that have one below them."""
    parents: dict[int, list[int]] = {}
    for parent, child in result.tree.edges():
        parents.setdefault(child, []).append(parent)
    distance = {node.index: 0 for node in result.tree.nodes if node.complete}
    queue = deque(distance)
    while queue:
        child = queue.popleft()
        for parent in parents.get(child, ()):
            if parent not in distance:
                distance[parent] = distance[child] + 1
                queue.append(parent)
    return distance


def merge_labels(frame: pl.DataFrame) -> pl.DataFrame:
    """One label per state over all searches, theorems, files and iterations. Replaces `label` and `remaining_depth`.

    States with the same `state_key` are the same state, in whichever theorem they were met. A state is positive if any
    search found it positive, or if a child of it is positive in any search; its remaining depth is the smallest one
    seen. Otherwise it is negative if any search found it negative, else unknown. Nodes without goals keep the label of
    their own search: they all have the same key, and a certified claim says nothing about another claim. Rows and their
    order do not change. Needs the columns theorem_name, state_key, state_id,
    parent_state_id, search_id, label, remaining_depth.
    """
    node = ["search_id", "theorem_name", "state_id"]
    own = pl.concat_str(*node, separator="\0")
    rows = frame.with_columns(
        pl.when(pl.col("state_key") == _NO_GOALS).then(own).otherwise(pl.col("state_key")).alias("_state")
    )
    known = dict(
        rows.filter(pl.col("label") == "positive")
        .group_by("_state")
        .agg(pl.col("remaining_depth").filter(pl.col("remaining_depth") >= 0).min())
        .iter_rows()
    )
    edges = rows.filter(pl.col("parent_state_id").is_not_null()).join(
        rows.select(*node, pl.col("_state").alias("_parent")),
        left_on=[*node[:2], "parent_state_id"],
        right_on=node,
    )
    parents: dict[str, list[str]] = {}
    for child, parent in edges.select("_state", "_parent").unique().iter_rows():
        parents.setdefault(child, []).append(parent)
    positive = _relax(known, parents)

    table = pl.DataFrame(
        {"_state": list(positive), "_depth": list(positive.values())}, schema={"_state": pl.String, "_depth": pl.Int32}
    )
    seen = rows.group_by("_state").agg((pl.col("label") == "negative").any().alias("_ever_negative"))
    joined = rows.join(table, on="_state", how="left", maintain_order="left").join(
        seen, on="_state", how="left", maintain_order="left"
    )
    joined = joined.with_columns(
        pl.when(pl.col("_depth").is_not_null())
        .then(pl.lit("positive"))
        .when(pl.col("_ever_negative"))
        .then(pl.lit("negative"))
        .otherwise(pl.lit("unknown"))
        .alias("label"),
        pl.col("_depth").fill_null(UNKNOWN_DEPTH).alias("remaining_depth"),
    )
    return joined.select(frame.columns)


def _relax(known: Mapping[str, int | None], parents: Mapping[str, list[str]]) -> dict[str, int]:
    """Fewest tactics to completion of every state from which a positive one can be reached; -1 if none was recorded."""
    best = {state: value for state, value in known.items() if value is not None}
    queue = [(value, state) for state, value in best.items()]
    heapq.heapify(queue)
    while queue:
        value, state = heapq.heappop(queue)
        if value > best[state]:
            continue
        for parent in parents.get(state, ()):
            if parent not in best or value + 1 < best[parent]:
                best[parent] = value + 1
                heapq.heappush(queue, (value + 1, parent))
    unmeasured = [state for state, value in known.items() if value is None and state not in best]
    while unmeasured:
        state = unmeasured.pop()
        if state not in best:
            best[state] = UNKNOWN_DEPTH
            unmeasured.extend(parents.get(state, ()))
    return best


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """How many of the distinct states with a label a decision procedure calls provable."""

    label: str
    states: int
    decided: int
    """States that the procedure could read."""
    provable: int

    def to_dict(self) -> dict[str, int | str]:
        """Plain values for JSON."""
        return asdict(self)


def label_noise(frame: pl.DataFrame, is_provable: Callable[[str], bool | None] | None = None) -> list[LabelNoise]:
    """For each label, how many distinct states are provable. All positives should be; many others are too.

    is_provable: decides a state text; None when it cannot read it. Default: `prover.logic.g4ip.provable`, which reads
    propositional states. Finished proofs are left out.
    """
    if is_provable is None:
        from prover.logic.g4ip import provable

        is_provable = provable
    found = []
    states = frame.filter(pl.col("state_pp") != "").unique("state_key", maintain_order=True)
    for label in LABELS:
        texts = states.filter(pl.col("label") == label)["state_pp"].to_list()
        verdicts = [is_provable(text) for text in texts]
        found.append(
            LabelNoise(
                label=label,
                states=len(texts),
                decided=sum(verdict is not None for verdict in verdicts),
                provable=sum(verdict is True for verdict in verdicts),
            )
        )
    return found

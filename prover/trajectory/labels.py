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

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prover.states import state_key
from prover.trajectory.edges import NONE, parent_rows, ranges
from prover.trajectory.schema import LABELS

if TYPE_CHECKING:  # the search writes trajectories, so at run time the dependency goes the other way
    from prover.search.best_first import TheoremResult

UNKNOWN_DEPTH = -1
_NEVER = np.int64(2**62)  # steps to completion of a state from which none is known
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
    state, n_states = _state_numbers(frame)
    children, parents = _edges(frame, state, n_states)
    positive = frame["label"].eq("positive").fill_null(False).to_numpy()
    depth = frame["remaining_depth"].fill_null(UNKNOWN_DEPTH).to_numpy()
    best = _relax(state[positive], depth[positive], children, parents, n_states)
    ever_negative = np.zeros(n_states, dtype=bool)
    ever_negative[state[frame["label"].eq("negative").fill_null(False).to_numpy()]] = True
    label = np.where(best != _NEVER, 0, np.where(ever_negative, 1, 2)).astype(np.uint8)  # of each state, in LABELS
    steps = np.where(best == _NEVER, UNKNOWN_DEPTH, best).astype(np.int32)
    return frame.with_columns(
        pl.Series("label", LABELS).gather(label[state]), pl.Series("remaining_depth", steps[state])
    )


def _state_numbers(frame: pl.DataFrame) -> tuple[np.ndarray, int]:
    """(rows,) int32: equal for rows of the same state; and how many states there are, at most.

    Rows without goals are the same only where they are the same node of the same search.
    """
    number = frame["state_key"].rank("dense").to_numpy().astype(np.int32)
    done = np.flatnonzero(frame["state_key"].eq(_NO_GOALS).fill_null(False).to_numpy())
    n_states = int(number.max(initial=0)) + 1
    if len(done):
        own = frame.select("search_id", "theorem_name", "state_id")[done]
        number[done] = n_states - 1 + own.select(pl.struct(pl.all()).rank("dense")).to_series().to_numpy()
        n_states += len(done)
    return number, n_states


def _edges(frame: pl.DataFrame, state: np.ndarray, n_states: int) -> tuple[np.ndarray, np.ndarray]:
    """(edges,) int32 twice: children and parents of distinct edges between states, sorted by child."""
    above = parent_rows(frame, ["search_id", "theorem_name"])
    rows = np.flatnonzero(above != NONE)
    pairs = state[rows].astype(np.int64) * n_states + state[above[rows]]
    del above, rows  # of ten million rows, each such array is 80 MB
    pairs = np.unique(pairs)
    return (pairs // max(1, n_states)).astype(np.int32), (pairs % max(1, n_states)).astype(np.int32)


def _relax(
    positives: np.ndarray, depths: np.ndarray, children: np.ndarray, parents: np.ndarray, n_states: int
) -> np.ndarray:
    """(n_states,) int64: fewest tactics to completion of every state from which a positive one can be reached.

    positives: states, with the depths that were recorded, -1 where none was. children, parents: states of each edge,
    sorted by child. A state that reaches no positive one gets `_NEVER`; one that reaches only positives without a
    recorded depth gets -1.
    """
    best = np.full(n_states, _NEVER, dtype=np.int64)
    first_edge = np.searchsorted(children, np.arange(n_states + 1))

    def parents_of(states: np.ndarray) -> np.ndarray:
        start = first_edge[states]
        return parents[ranges(start, first_edge[states + 1] - start)]

    measured = depths >= 0
    np.minimum.at(best, positives[measured], depths[measured])
    recorded = np.flatnonzero(best != _NEVER)
    recorded = recorded[np.argsort(best[recorded], kind="stable")]
    values = best[recorded].copy()
    depth, place, nearer = 0, 0, recorded[:0]  # nearer: states that were found to be `depth` away
    while place < len(recorded) or len(nearer):
        if not len(nearer):
            depth = int(values[place])
        stop = int(np.searchsorted(values, depth, side="right"))
        same = recorded[place:stop]
        states = np.concatenate([nearer, same[best[same] == depth]])
        place, depth = stop, depth + 1
        nearer = parents_of(states)
        nearer = np.unique(nearer[best[nearer] > depth])
        best[nearer] = depth
    unmeasured = np.unique(positives[~measured])
    unmeasured = unmeasured[best[unmeasured] == _NEVER]
    while len(unmeasured):
        best[unmeasured] = UNKNOWN_DEPTH
        above = parents_of(unmeasured)
        unmeasured = np.unique(above[best[above] == _NEVER])
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

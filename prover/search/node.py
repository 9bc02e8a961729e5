"""The tree of one search: nodes, attempts, and the transposition table that makes a state reached twice one node."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from prover.environments.base import ProofState


class AttemptOutcome(StrEnum):
    """What became of one tactic at one node."""

    PROGRESS = "progress"
    COMPLETE = "complete"  # closed every goal; certified, or not looked at because a better one was certified first
    UNCERTIFIED = "uncertified"  # closed every goal, said the stepping; certification said no
    REJECTED = "rejected"
    REFUSED = "refused"  # turned down before Lean saw it
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"


@dataclass(slots=True)
class Node:
    """A proof state in the tree. While it is open, a better path to it replaces its own; once expanded, it is fixed."""

    index: int
    """Order of creation within the search; 0 is the root."""
    state: ProofState
    """Text, and the tactics of the path below."""
    key: str
    parent: int | None
    """Index of the node before it on the path; None at the root."""
    tactic: str
    """The last tactic of the path; "" at the root."""
    depth: int
    """Tactics from the root."""
    log_prob: float
    """Cumulative log-probability of the path, nats, higher is better; 0.0 at the root."""
    created_ms: int
    """Unix time, milliseconds."""
    score: float | None = None
    """SCORE (= -energy, higher is better) where the mode asked for it."""
    expansion: int | None = None
    """The number of the expansion (from 1) that expanded it; None while open."""
    complete: bool = False
    """Certified: no goals remain."""
    claimed: bool = False
    """No goals remain, said the stepping. With `complete` false, certification said no."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One tactic tried at one node."""

    parent: int
    """Index of the node it was tried at."""
    expansion: int
    """Number of the expansion, from 1."""
    rank: int
    """Place among the candidates, from 0 = the policy's best."""
    tactic: str
    log_prob: float
    """Of this tactic alone, nats."""
    outcome: AttemptOutcome
    message: str
    """Lean's words where it was not accepted, cut to `MESSAGE_LIMIT` characters."""
    elapsed_ms: float
    child: int | None
    """Index of the node it leads to, new or known."""
    new_node: bool


MESSAGE_LIMIT = 500


@dataclass(slots=True)
class SearchTree:
    """Nodes in order of creation, attempts in order, and the table from state key to node.

    Invariants: `nodes[i].index == i`; a node's path is its parent's path and its tactic; open nodes have no children,
    so replacing an open node's path can make no cycle; terminal nodes are not in the table.
    """

    nodes: list[Node] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    by_key: dict[str, int] = field(default_factory=dict)

    def add_root(self, state: ProofState, created_ms: int) -> Node:
        """The first node, made once."""
        node = Node(0, state, state.key, None, "", 0, 0.0, created_ms)
        self.nodes.append(node)
        self.by_key[node.key] = 0
        return node

    def find(self, key: str) -> Node | None:
        """The node of a state key; None if the state is new."""
        index = self.by_key.get(key)
        return None if index is None else self.nodes[index]

    def add_child(
        self, parent: Node, tactic: str, log_prob: float, state: ProofState, *, key: str, created_ms: int
    ) -> Node:
        """A new open node. log_prob: of `tactic` alone. key: of `state`."""
        node = Node(
            index=len(self.nodes),
            state=state,
            key=key,
            parent=parent.index,
            tactic=tactic,
            depth=parent.depth + 1,
            log_prob=parent.log_prob + log_prob,
            created_ms=created_ms,
        )
        self.nodes.append(node)
        if state.text:
            self.by_key[node.key] = node.index
        return node

    def move(self, node: Node, parent: Node, tactic: str, log_prob: float, state: ProofState) -> None:
        """Give an open node another path. log_prob: of `tactic` alone."""
        assert node.expansion is None, "an expanded node keeps its path"
        node.parent, node.tactic, node.state = parent.index, tactic, state
        node.depth, node.log_prob = parent.depth + 1, parent.log_prob + log_prob

    def edges(self) -> Iterable[tuple[int, int]]:
        """(parent index, child index) of every accepted attempt, transpositions included."""
        return ((a.parent, a.child) for a in self.attempts if a.child is not None)

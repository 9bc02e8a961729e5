"""One theorem's search as a person reads it: the proof step by step, or the branches that came closest.

ENERGY: lower is better. Log-probabilities (nats): higher is better.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prover.json_types import JsonObject

if TYPE_CHECKING:
    from prover.search.best_first import TheoremResult

MOST_BRANCHES = 3


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node of a search tree. The first of a search is its root."""

    id: int
    parent: int | None
    """`id` of the node before it; None at the root."""
    tactic: str
    """The tactic that led here; "" at the root."""
    state: str
    """As Lean prints it; "" where no goals are left."""
    depth: int
    log_prob: float
    """Cumulative, nats; higher is better."""
    energy: float | None
    """Lower is better; None where the search used no energy model."""
    expanded: bool
    complete: bool
    """No goals are left, and the whole script is certified."""


@dataclass(frozen=True, slots=True)
class SearchView:
    """What became of one theorem. Times are in seconds."""

    name: str
    statement: str
    header: str
    proved: bool
    ended: str
    """proved | budget | frontier_exhausted | timeout | crashed | invalid."""
    reason: str
    mode: str
    proof: tuple[str, ...]
    """The certified tactics; empty without a proof."""
    expansions_to_proof: int | None
    expansions: int
    max_expansions: int
    tactics: int
    wall_s: float
    """From the start of its search to the end, the turns of other theorems included."""
    model_s: float
    lean_s: float
    nodes: tuple[NodeView, ...]

    @property
    def declaration(self) -> str:
        """The theorem as it stands in Lean, without its proof."""
        return f"theorem {self.name} {self.statement}"

    def proof_path(self) -> list[NodeView]:
        """Root to the certified end; empty without a proof."""
        final = next((node for node in self.nodes if node.complete), None)
        return [] if final is None else self.path_to(final)

    def path_to(self, node: NodeView) -> list[NodeView]:
        """Nodes from the root to `node`."""
        by_id = {other.id: other for other in self.nodes}
        path = [node]
        while node.parent is not None and node.parent in by_id and len(path) <= len(by_id):
            node = by_id[node.parent]
            path.append(node)
        return path[::-1]

    def best_branches(self, most: int = MOST_BRANCHES) -> list[list[NodeView]]:
        """Root to the most promising nodes that are still open; to the deepest dead ends where none is open.

        Open nodes are ordered by energy where the search used one, else by log-probability per step.
        """
        unfinished = [node for node in self.nodes if node.state and not node.complete]
        leaves = [node for node in unfinished if not node.expanded]
        if leaves:
            leaves.sort(key=_promise)
        else:
            parents = {node.parent for node in unfinished}
            leaves = sorted(
                (node for node in unfinished if node.id not in parents), key=lambda n: (-n.depth, _promise(n))
            )
        return [self.path_to(node) for node in leaves[:most]]

    def to_dict(self) -> dict[str, object]:
        """Plain values: all fields but the nodes, the proof path and the best branches."""
        values = {name: value for name, value in asdict(self).items() if name != "nodes"}
        values["proof"] = list(self.proof)
        values["steps"] = [asdict(node) for node in self.proof_path()]
        values["branches"] = [] if self.proved else [[asdict(n) for n in path] for path in self.best_branches()]
        values["nodes"] = len(self.nodes)
        return values


def _promise(node: NodeView) -> float:
    if node.energy is not None:
        return node.energy
    return -node.log_prob / max(node.depth, 1)


def view_of_result(result: "TheoremResult", *, mode: str, max_expansions: int) -> SearchView:
    """A search that this process has just made. mode: the order that was in force."""
    return SearchView(
        name=result.theorem.name,
        statement=result.theorem.statement,
        header=result.theorem.header,
        proved=result.proved,
        ended=result.ended.value,
        reason=result.reason,
        mode=mode,
        proof=result.proof or (),
        expansions_to_proof=result.expansions_to_proof,
        expansions=result.expansions,
        max_expansions=max_expansions,
        tactics=result.tactics,
        wall_s=result.wall_ms / 1000,
        model_s=result.meter.model_ms / 1000,
        lean_s=result.meter.lean_ms / 1000,
        nodes=tuple(
            NodeView(
                node.index,
                node.parent,
                node.tactic,
                node.state.text,
                node.depth,
                node.log_prob,
                None if node.score is None else -node.score,
                node.expansion is not None,
                node.complete,
            )
            for node in result.tree.nodes
        ),
    )


def view_of_rows(summary: JsonObject, nodes: Iterable[JsonObject]) -> SearchView:
    """A search from its rows: the summary row of the theorem, and its node rows in order of creation."""
    rows = list(nodes)
    number = {row["state_id"]: place for place, row in enumerate(rows)}
    return SearchView(
        name=summary["theorem_name"],
        statement=summary["statement"],
        header=summary["header"],
        proved=summary["certified"],
        ended=summary["ended"],
        reason=summary["reason"],
        mode=summary["mode"],
        proof=tuple(summary["proof"] or ()),
        expansions_to_proof=summary["expansions_to_proof"],
        expansions=summary["expansions"],
        max_expansions=summary["max_expansions"],
        tactics=summary["tactics"],
        wall_s=summary["wall_ms"] / 1000,
        model_s=summary["model_ms"] / 1000,
        lean_s=summary["lean_ms"] / 1000,
        nodes=tuple(
            NodeView(
                number[row["state_id"]],
                number.get(row["parent_state_id"]),
                row["tactic_applied"],
                row["state_pp"],
                row["depth_from_root"],
                row["llm_log_prob"],
                None if row["ebm_score"] is None else -row["ebm_score"],
                row["expanded"],
                row["is_proof_complete"],
            )
            for row in rows
        ),
    )


def read_views(file: str | Path, names: Sequence[str] | None = None) -> list[SearchView]:
    """The searches in a trajectory file (`X.parquet`, finished, or `X.parts` of a running one), in the file's order.

    names: only these theorems. Raises `prover.trajectory.TrajectoryError` where the file cannot be read, or holds no
    summary rows.
    """
    import polars as pl

    from prover.trajectory.reader import TrajectoryError, read_summaries, read_trajectories

    path = running_parts(Path(file))
    summaries = read_summaries(path)
    if summaries.is_empty():
        raise TrajectoryError(
            f"{path}: no summary file beside it, so it says nothing of theorems; give a search's output"
        )
    if names is not None:
        summaries = summaries.filter(pl.col("theorem_name").is_in(list(names)))
    nodes = read_trajectories(path)
    groups = {
        key: frame.to_dicts()
        for key, frame in nodes.join(
            summaries.select("search_id", "theorem_name").unique(), on=["search_id", "theorem_name"], how="semi"
        )
        .partition_by("search_id", "theorem_name", as_dict=True, maintain_order=True)
        .items()
    }
    return [
        view_of_rows(row, groups.get((row["search_id"], row["theorem_name"]), []))
        for row in summaries.iter_rows(named=True)
    ]


_UNSEEN = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]")


def visible(text: str) -> str:
    """A text for a terminal or a page: characters that move the cursor, colour or reorder text become U+FFFD.

    Trajectory files may come from others, so their texts are not trusted.
    """
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def running_parts(file: Path) -> Path:
    """`X.parts` where `X.parquet` is not written yet and its parts are; else the file itself."""
    parts = file.with_suffix(".parts")
    return parts if not file.exists() and parts.is_dir() else file

"""Columns of the three files that a search leaves: nodes, attempts, summaries.

`X.parquet` has one row per node, `X.attempts.parquet` one per tactic tried, `X.summary.parquet` one per theorem.
Rows of a theorem stand together, in order of creation. The first twelve node columns are the interchange format; files
made elsewhere that have only those can be read too (`prover.trajectory.reader`).

Signs: log-prob (nats) higher is better; `ebm_score` is the SCORE = -energy, higher is better.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import polars as pl
import pyarrow as pa

SCHEMA_VERSION = "trajectory/1"
COUNTS_KEY = "policy_counts"
"""In the JSON object under the footer's key `prover`."""
LABELS = ("positive", "negative", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryRecord:
    """A row of the node file: a proof state that the search reached."""

    theorem_name: str
    state_id: int
    """63-bit digest of search, theorem and node, so that ids of different files never meet."""
    state_pp: str
    """The state as Lean prints it; "" when no goals are left."""
    tactic_applied: str
    """The last tactic of the best known path; "" at the root."""
    parent_state_id: int | None
    """The node before it on that path; other parents are in the attempts file."""
    label: str
    """positive | negative | unknown, by the rules of `prover.trajectory.labels`."""
    depth_from_root: int
    remaining_depth: int
    """Fewest further tactics known to finish the proof; 0 when finished; -1 unknown."""
    llm_log_prob: float
    """CUMULATIVE log-probability of the path, nats; 0.0 at the root. A step's own is in the attempts file."""
    ebm_score: float | None
    """SCORE (= -energy) that the search used; null when it used none."""
    is_proof_complete: bool
    """No goals are left, and the whole script is certified."""
    timestamp_ms: int
    """Unix time at which the node was made."""
    iteration: int
    search_id: str
    """Digest of everything that decides a search's result: settings, environment, policy, energy model, iteration."""
    state_key: str
    n_goals: int
    expanded: bool
    environment: str
    policy_id: str
    ebm_id: str | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """A row of the attempts file: a tactic tried at a node."""

    theorem_name: str
    search_id: str
    parent_state_id: int
    expansion: int
    """Which expansion of the theorem, from 1."""
    rank: int
    """Place among the candidates, from 0."""
    tactic: str
    log_prob: float
    """Of this tactic alone, nats."""
    outcome: str
    """progress | complete | uncertified | rejected | refused | timed_out | crashed."""
    message: str
    elapsed_ms: float
    child_state_id: int | None
    """The node that the tactic leads to; null if it was not accepted."""
    new_node: bool
    """False when the state had been reached before (a transposition)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRecord:
    """A row of the summary file: what became of a theorem."""

    theorem_name: str
    statement: str
    header: str
    """What stands above the theorem: imports, opens, options."""
    split: str | None
    difficulty: int | None
    search_id: str
    iteration: int
    proved: bool
    """A certified proof was found."""
    claimed: bool
    """Stepping said at least once that no goals were left."""
    certified: bool
    """As `proved`; there is no proof that is not certified."""
    ended: str
    """proved | budget | frontier_exhausted | timeout | crashed | invalid (Lean does not accept the statement)."""
    reason: str
    """For people: Lean's message, or why a claim was not certified."""
    proof: list[str] | None
    """The certified script, a tactic an element."""
    expansions_to_proof: int | None
    """The expansion at which it was found: a larger budget gives the same number."""
    nodes: int
    expansions: int
    tactics: int
    claims: int
    max_expansions: int
    """The budget, in expansions."""
    n_candidates: int
    mode: str
    """The mode in force."""
    wall_ms: float
    model_ms: float
    """This theorem's share of calls to the policy and the energy model."""
    lean_ms: float
    """This theorem's share of calls to Lean."""
    own_ms: float
    environment: str
    policy_id: str
    ebm_id: str | None
    seed: int
    timestamp_ms: int
    """Unix time at which the search of the theorem began."""


NODE_SCHEMA = pa.schema(
    [
        pa.field("theorem_name", pa.string(), nullable=False),
        pa.field("state_id", pa.uint64(), nullable=False),
        pa.field("state_pp", pa.string(), nullable=False),
        pa.field("tactic_applied", pa.string(), nullable=False),
        pa.field("parent_state_id", pa.uint64()),
        pa.field("label", pa.string(), nullable=False),
        pa.field("depth_from_root", pa.uint32(), nullable=False),
        pa.field("remaining_depth", pa.int32(), nullable=False),
        pa.field("llm_log_prob", pa.float64(), nullable=False),
        pa.field("ebm_score", pa.float64()),
        pa.field("is_proof_complete", pa.bool_(), nullable=False),
        pa.field("timestamp_ms", pa.uint64(), nullable=False),
        pa.field("iteration", pa.int32()),
        pa.field("search_id", pa.string(), nullable=False),
        pa.field("state_key", pa.string(), nullable=False),
        pa.field("n_goals", pa.uint32(), nullable=False),
        pa.field("expanded", pa.bool_(), nullable=False),
        pa.field("environment", pa.string(), nullable=False),
        pa.field("policy_id", pa.string(), nullable=False),
        pa.field("ebm_id", pa.string()),
        pa.field("seed", pa.uint64()),
    ]
)
INTERCHANGE_COLUMNS: tuple[str, ...] = tuple(NODE_SCHEMA.names[:12])

ATTEMPT_SCHEMA = pa.schema(
    [
        pa.field("theorem_name", pa.string(), nullable=False),
        pa.field("search_id", pa.string(), nullable=False),
        pa.field("parent_state_id", pa.uint64(), nullable=False),
        pa.field("expansion", pa.uint32(), nullable=False),
        pa.field("rank", pa.uint32(), nullable=False),
        pa.field("tactic", pa.string(), nullable=False),
        pa.field("log_prob", pa.float64(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("elapsed_ms", pa.float64(), nullable=False),
        pa.field("child_state_id", pa.uint64()),
        pa.field("new_node", pa.bool_(), nullable=False),
    ]
)

SUMMARY_SCHEMA = pa.schema(
    [
        pa.field("theorem_name", pa.string(), nullable=False),
        pa.field("statement", pa.string(), nullable=False),
        pa.field("header", pa.string(), nullable=False),
        pa.field("split", pa.string()),
        pa.field("difficulty", pa.int32()),
        pa.field("search_id", pa.string(), nullable=False),
        pa.field("iteration", pa.int32(), nullable=False),
        pa.field("proved", pa.bool_(), nullable=False),
        pa.field("claimed", pa.bool_(), nullable=False),
        pa.field("certified", pa.bool_(), nullable=False),
        pa.field("ended", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("proof", pa.list_(pa.string())),
        pa.field("expansions_to_proof", pa.uint32()),
        pa.field("nodes", pa.uint32(), nullable=False),
        pa.field("expansions", pa.uint32(), nullable=False),
        pa.field("tactics", pa.uint32(), nullable=False),
        pa.field("claims", pa.uint32(), nullable=False),
        pa.field("max_expansions", pa.uint32(), nullable=False),
        pa.field("n_candidates", pa.uint32(), nullable=False),
        pa.field("mode", pa.string(), nullable=False),
        pa.field("wall_ms", pa.float64(), nullable=False),
        pa.field("model_ms", pa.float64(), nullable=False),
        pa.field("lean_ms", pa.float64(), nullable=False),
        pa.field("own_ms", pa.float64(), nullable=False),
        pa.field("environment", pa.string(), nullable=False),
        pa.field("policy_id", pa.string(), nullable=False),
        pa.field("ebm_id", pa.string()),
        pa.field("seed", pa.uint64(), nullable=False),
        pa.field("timestamp_ms", pa.uint64(), nullable=False),
    ]
)

Record = TrajectoryRecord | AttemptRecord | SummaryRecord


@dataclass(frozen=True, slots=True)
class TheoremRows:
    """All rows of one theorem's search."""

    nodes: list[TrajectoryRecord]
    attempts: list[AttemptRecord]
    summary: SummaryRecord

    def of(self, kind: str) -> Sequence[Record]:
        """The rows for one of the files in `KINDS`."""
        match kind:
            case "nodes":
                return self.nodes
            case "attempts":
                return self.attempts
        return [self.summary]


KINDS: dict[str, pa.Schema] = {"nodes": NODE_SCHEMA, "attempts": ATTEMPT_SCHEMA, "summary": SUMMARY_SCHEMA}
"""The three files, by the word their names carry."""


def sibling_path(output: Path, kind: str) -> Path:
    """`X.parquet` for nodes, `X.attempts.parquet`, `X.summary.parquet`."""
    return output if kind == "nodes" else output.with_suffix(f".{kind}.parquet")


def parts_folder(output: Path) -> Path:
    """Where the part files of an unfinished `X.parquet` are: `X.parts/`."""
    return output.with_suffix(".parts")


def no_rows(schema: pa.Schema) -> pa.Table:
    """A table without rows. Not `schema.empty_table()`: that imports pandas, see `to_table`."""
    return pa.Table.from_batches([], schema=schema)


def to_table(records: Iterable[Record], schema: pa.Schema) -> pa.Table:
    """Records, whose fields are named as the schema's columns, as a table.

    Through polars: given Python values, pyarrow imports pandas where it is installed, which takes longer than a search
    needs for all of its rows.
    """
    rows = list(map(attrgetter(*schema.names), records))
    if not rows:
        return no_rows(schema)
    columns = dict(zip(schema.names, zip(*rows, strict=True), strict=True))
    frame = pl.DataFrame(columns, schema=pl.DataFrame(no_rows(schema)).schema)
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)


__all__ = [
    "ATTEMPT_SCHEMA",
    "INTERCHANGE_COLUMNS",
    "KINDS",
    "LABELS",
    "NODE_SCHEMA",
    "SCHEMA_VERSION",
    "SUMMARY_SCHEMA",
    "AttemptRecord",
    "SummaryRecord",
    "TheoremRows",
    "TrajectoryRecord",
    "no_rows",
    "parts_folder",
    "sibling_path",
    "to_table",
]


def footer_counts(schema: pa.Schema) -> list[dict[str, int]]:
    """What happened to the policy's inputs and outputs (`prover.policy.PolicyCounters`), one entry per call that
    searched; [] for a file that does not say. Entries that are not whole numbers are left out.
    """
    try:
        footer = json.loads((schema.metadata or {}).get(b"prover", b"{}"))
    except (ValueError, RecursionError):
        return []
    calls = footer.get(COUNTS_KEY) if isinstance(footer, dict) else None
    if not isinstance(calls, list):
        return []
    return [
        {name: value for name, value in call.items() if type(value) is int and value >= 0}
        for call in calls
        if isinstance(call, dict)
    ]

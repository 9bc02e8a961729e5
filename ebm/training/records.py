"""Labelled proof states from trajectory files, ours or of the twelve interchange columns alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from prover.states import state_key
from prover.storage import on_disk
from prover.trajectory import TrajectoryError, read_trajectories
from prover.trajectory.labels import merge_labels as merge_trajectory_labels

POSITIVE, NEGATIVE, UNKNOWN = "positive", "negative", "unknown"

STATE_SCHEMA: dict[str, type[pl.DataType]] = {
    "theorem_name": pl.String,
    "state_pp": pl.String,
    "label": pl.String,
    "depth_from_root": pl.Int64,
    "remaining_depth": pl.Int32,
    "llm_log_prob": pl.Float64,
    "state_id": pl.UInt64,
    "parent_state_id": pl.UInt64,
    "is_proof_complete": pl.Boolean,
    "state_key": pl.String,
    "search_id": pl.String,
}
"""Columns of a table of states, as this package passes them around; they mean what `ProofStateRecord` says."""


class TrainingDataError(ValueError):
    """Trajectories that nothing can be learnt from; the message says what to do."""


class TrajectorySchemaError(TrainingDataError):
    """A trajectory file without a column, or with one of the wrong type; the message names the column."""


@dataclass(frozen=True, slots=True)
class ProofStateRecord:
    """One proof state of one search."""

    theorem_name: str
    state_pp: str
    """The state as Lean prints it."""
    label: str
    """`positive` (a proof passes through it), `negative` or `unknown`."""
    depth_from_root: int = 0
    remaining_depth: int = -1
    """Steps to QED along the shortest known proof; -1 unknown."""
    llm_log_prob: float = 0.0
    """Cumulative log-probability of the tactics from the root, nats, higher is better."""
    state_id: int = 0
    """Number of the node in its search."""
    parent_state_id: int | None = None
    is_proof_complete: bool = False
    """Nothing is left to prove. Such states are never scored, so they are not trained on."""
    state_key: str = ""
    """Content address of the state; computed from `state_pp` where it is empty."""
    search_id: str = ""
    """The search that made the record; state ids of different searches are unrelated."""

    @property
    def key(self) -> str:
        """What the state is known by: its content address or, of a state without text, its theorem and number."""
        if self.state_key:
            return self.state_key
        return state_key(self.state_pp) if self.state_pp else f"{self.theorem_name}#{self.state_id}"


def load_records_from_parquet(paths: str | Path | Sequence[str | Path]) -> list[ProofStateRecord]:
    """The records labelled positive or negative in one or several trajectory files; unknown labels are skipped.

    Raises: as `load_states`.
    """
    return records_of(load_states(paths).filter(pl.col("label") != UNKNOWN))


def load_states(paths: str | Path | Iterable[str | Path]) -> pl.DataFrame:
    """Every row of trajectory files as a table of `STATE_SCHEMA`, labels as written there.

    Raises:
        FileNotFoundError: a file is missing.
        TrajectorySchemaError: a file is not Parquet, lacks a column, or has one of the wrong type (it is named).
    """
    files = [on_disk(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not files:
        raise TrainingDataError("no trajectory files were given")
    for file in files:
        if not file.exists():
            raise FileNotFoundError(f"there is no trajectory file {file}: `prover search --output {file}` writes one")
    try:
        frame = read_trajectories(files, list(STATE_SCHEMA))
    except TrajectoryError as error:
        raise TrajectorySchemaError(str(error)) from error
    return frame.select(list(STATE_SCHEMA)).cast(pl.Schema(STATE_SCHEMA))


def records_of(frame: pl.DataFrame) -> list[ProofStateRecord]:
    """Rows of a table of states as records, in order."""
    return [ProofStateRecord(**row) for row in frame.select(list(STATE_SCHEMA)).iter_rows(named=True)]


def states_of(records: Sequence[ProofStateRecord]) -> pl.DataFrame:
    """Records as a table of states, a row each, in order, with every state key filled in."""
    columns = {name: [getattr(record, name) for record in records] for name in STATE_SCHEMA}
    columns["state_key"] = [record.key for record in records]
    return pl.DataFrame(columns, schema=STATE_SCHEMA)


def merge_labels(frame: pl.DataFrame) -> pl.DataFrame:
    """One label for all rows of a state, by `prover.trajectory.labels.merge_labels`. Rows and their order are kept."""
    return merge_trajectory_labels(frame)

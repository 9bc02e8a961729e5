"""Labelled proof states from trajectory files, ours or of the first twelve columns alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from prover.states import state_key

POSITIVE, NEGATIVE, UNKNOWN = "positive", "negative", "unknown"

STATE_SCHEMA: dict[str, type[pl.DataType]] = {
    "theorem_name": pl.String,
    "state_key": pl.String,
    "state_pp": pl.String,
    "label": pl.String,
    "remaining_depth": pl.Int32,  # steps to QED; -1: unknown
    "depth_from_root": pl.Int32,
    "llm_log_prob": pl.Float64,  # nats, cumulative from the root, higher is better
    "state_id": pl.UInt64,
    "parent_state_id": pl.UInt64,  # null at the root
    "source": pl.String,  # the search that made the row: state ids count from zero in each
}
"""Columns of a table of states, as this package passes them around."""

REQUIRED_COLUMNS = ("theorem_name", "state_id", "state_pp", "parent_state_id", "label", "remaining_depth")


class TrainingDataError(ValueError):
    """Trajectories that nothing can be learnt from; the message says what to do."""


class TrajectorySchemaError(TrainingDataError):
    """A trajectory file without a column, or with one of the wrong type; the message names the column."""


@dataclass(frozen=True, slots=True)
class ProofStateRecord:
    """One labelled proof state of one search."""

    theorem_name: str
    state_pp: str
    """The state as Lean prints it."""
    label: str
    """`positive` (on the way to a proof), `negative` or `unknown`."""
    depth_from_root: int = 0
    remaining_depth: int = -1
    """Steps to QED along the shortest known proof; -1 unknown."""
    llm_log_prob: float = 0.0
    """Cumulative log-probability of the tactics from the root, nats, higher is better."""
    state_id: int = 0
    """Number of the node in its search."""
    parent_state_id: int | None = None
    state_key: str = ""
    """Content address of the state; computed from `state_pp` where it is empty."""
    source: str = ""
    """The search that made the record; state ids of different sources are unrelated."""

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
    frame = load_states([paths] if isinstance(paths, str | Path) else paths)
    return records_of(frame.filter(pl.col("label") != UNKNOWN))


def load_states(paths: Iterable[str | Path]) -> pl.DataFrame:
    """Every row of trajectory files as a table of `STATE_SCHEMA`, labels as written there.

    Files of the first twelve trajectory columns alone load too: missing state keys are computed from the state texts.

    Raises:
        FileNotFoundError: a file is missing.
        TrajectorySchemaError: a file is not Parquet, lacks a required column or has one of the wrong type.
    """
    frames = [_load_file(Path(path)) for path in paths]
    if not frames:
        raise TrainingDataError("no trajectory files were given")
    return pl.concat(frames)


def records_of(frame: pl.DataFrame) -> list[ProofStateRecord]:
    """Rows of a table of states as records, in order."""
    return [ProofStateRecord(**row) for row in frame.select(list(STATE_SCHEMA)).iter_rows(named=True)]


def states_of(records: Sequence[ProofStateRecord]) -> pl.DataFrame:
    """Records as a table of states, a row each, in order, with every state key filled in."""
    columns = {name: [getattr(record, name) for record in records] for name in STATE_SCHEMA if name != "state_key"}
    columns["state_key"] = [record.key for record in records]
    return pl.DataFrame(columns, schema_overrides=STATE_SCHEMA).select(list(STATE_SCHEMA))


def merge_labels(frame: pl.DataFrame) -> pl.DataFrame:
    """One label for all rows of a state (theorem and key): ever positive is positive, with its shortest known depth.

    A state that is negative in one search and unknown in others is negative. Rows and their order are kept.
    """
    state = ["theorem_name", "state_key"]
    is_positive = pl.col("label") == POSITIVE
    known_depth = pl.col("remaining_depth").filter(is_positive & (pl.col("remaining_depth") >= 0))
    ever_positive = is_positive.any().over(state)
    return frame.with_columns(
        label=pl.when(ever_positive)
        .then(pl.lit(POSITIVE))
        .when((pl.col("label") == NEGATIVE).any().over(state))
        .then(pl.lit(NEGATIVE))
        .otherwise(pl.lit(UNKNOWN)),
        remaining_depth=pl.when(ever_positive).then(known_depth.min().over(state).fill_null(-1)).otherwise(-1),
    )


def _load_file(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(
            f"trajectory file {path} does not exist; write one with `prover search --output {path}`"
        )
    try:
        schema = pl.read_parquet_schema(path)
    except (pl.exceptions.ComputeError, OSError) as error:
        raise TrajectorySchemaError(f"{path} is not a Parquet file: {error}") from error
    for column in REQUIRED_COLUMNS:
        if column not in schema:
            raise TrajectorySchemaError(
                f"{path} has no column {column!r}: a trajectory file needs {', '.join(REQUIRED_COLUMNS)}"
            )
    wanted = [name for name in (*STATE_SCHEMA, "search_id") if name in schema]
    frame = pl.read_parquet(path, columns=wanted)
    for name, wanted_type in STATE_SCHEMA.items():
        if name in frame.columns:
            frame = frame.with_columns(_convert(frame[name], wanted_type, path))
    for name in ("theorem_name", "state_pp", "label", "state_id", "remaining_depth"):
        if frame[name].null_count():
            raise TrajectorySchemaError(f"{path}: column {name!r} has {frame[name].null_count()} nulls")
    odd = set(frame["label"].unique()) - {POSITIVE, NEGATIVE, UNKNOWN}
    if odd:
        raise TrajectorySchemaError(
            f"{path}: column 'label' has {sorted(odd)}; labels are {POSITIVE}, {NEGATIVE} and {UNKNOWN}"
        )
    search_id = pl.col("search_id").cast(pl.String).fill_null("") if "search_id" in frame.columns else pl.lit("")
    frame = frame.with_columns(source=pl.concat_str(pl.lit(f"{path}:"), search_id))
    if "state_key" not in frame.columns:
        texts = frame["state_pp"].unique()
        keys = pl.DataFrame({"state_pp": texts, "state_key": [state_key(text) for text in texts]})
        frame = frame.join(keys, on="state_pp", how="left", maintain_order="left")
    defaults = {"depth_from_root": 0, "llm_log_prob": 0.0}
    missing = [pl.lit(value).alias(name) for name, value in defaults.items() if name not in frame.columns]
    frame = frame.with_columns(missing).select(list(STATE_SCHEMA))
    return frame.cast(pl.Schema(STATE_SCHEMA))


def _convert(values: pl.Series, wanted: type[pl.DataType], path: Path) -> pl.Series:
    """Widths of numbers and encodings of strings may differ between writers; a number for a text may not."""
    given = values.dtype
    both_text = wanted == pl.String and (given == pl.String or given == pl.Categorical or given == pl.Enum)
    both_integer = wanted.is_integer() and given.is_integer()
    if not (both_text or both_integer or (wanted.is_float() and given.is_numeric()) or given == pl.Null):
        raise TrajectorySchemaError(f"{path}: column {values.name!r} has type {given}, expected {wanted.__name__}")
    try:
        return values.cast(wanted)
    except pl.exceptions.InvalidOperationError as error:
        raise TrajectorySchemaError(
            f"{path}: column {values.name!r} does not fit {wanted.__name__}: {error}"
        ) from error

"""Reads trajectory files: our own, and files made elsewhere that have only the twelve interchange columns."""

import glob
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from prover.parquet import UNREADABLE, ParquetDamaged, checked_columns, read_columns, read_table
from prover.states import count_goals, state_key
from prover.storage import StorageError, on_disk
from prover.trajectory.rows_check import CHECKED, Problem, check_rows, exact_ids
from prover.trajectory.schema import (
    ATTEMPT_SCHEMA,
    INTERCHANGE_COLUMNS,
    LABELS,
    NODE_SCHEMA,
    SUMMARY_SCHEMA,
    no_rows,
    sibling_path,
)

T = TypeVar("T")
Paths = str | Path | Iterable[str | Path]


class TrajectoryError(ValueError):
    """A file is missing or is not a trajectory. The message names the file, the column and what was expected."""


def find_files(paths: Paths) -> list[Path]:
    """Node files named by files, folders (searched downwards) and globs, each once, in the order given.

    URLs of a store (`s3://...`) are fetched first; what is returned lies on this machine.

    In a folder the companions (`.attempts.parquet`, `.summary.parquet`), the parts of unfinished searches and tables of
    other things (the metrics of a checkpoint) are left out; name a `.parts` folder itself to read those. Raises
    `TrajectoryError` if something named holds no file.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        raise TrajectoryError("no trajectory files were given; give .parquet files, folders or globs")
    found: dict[Path, None] = {}
    for given in paths:
        try:
            path = on_disk(given)
        except StorageError as error:
            raise TrajectoryError(str(error)) from error
        if path.is_file():
            some = [path]
        elif path.is_dir():
            some = [file for file in sorted(path.rglob("*.parquet")) if _is_node_file(file, path)]
        else:
            some = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
            some = [file for file in some if file.is_file() and _is_node_file(file, file.parent)]
        if not some:
            raise TrajectoryError(f"{given}: no trajectory file there; give a .parquet file, a folder or a glob")
        found.update(dict.fromkeys(some))
    return list(found)


def _is_node_file(file: Path, root: Path) -> bool:
    companion = file.suffixes[-2:-1] and file.suffixes[-2] in (".attempts", ".summary")
    folders = file.relative_to(root).parts[:-1]
    in_parts = any(part.endswith(".parts") or part.startswith(".") for part in folders)  # "." is of temporary files
    return file.suffix == ".parquet" and not companion and not in_parts and not _is_of_something_else(file)


def _is_of_something_else(file: Path) -> bool:
    """Whether a table has none of a trajectory's columns. A file that cannot be read counts as a trajectory, so that it
    is reported.
    """
    try:
        return not set(INTERCHANGE_COLUMNS) & set(pq.read_schema(file).names)
    except UNREADABLE:
        return False


def read_trajectories(paths: Paths, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Node rows of all files, with every column of `NODE_SCHEMA` in order; or with those of `columns` alone.

    Rows are checked the same either way; what is not asked for takes no memory.

    Where a file has the interchange columns alone, ours are filled: state_key, n_goals and expanded from the rows,
    search_id "external:" and the file's name, empty environment and policy_id, and nulls. Whole numbers may have
    another width or sign in a file as long as the values fit. Raises `TrajectoryError`.
    """
    wanted = NODE_SCHEMA.names if columns is None else [name for name in NODE_SCHEMA.names if name in set(columns)]
    return pl.concat([_read_nodes(file, wanted) for file in find_files(paths)])


def read_attempts(paths: Paths) -> pl.DataFrame:
    """Attempt rows beside the given node files; node files without an attempts file contribute none."""
    return _read_companions(paths, "attempts", ATTEMPT_SCHEMA)


def read_summaries(paths: Paths) -> pl.DataFrame:
    """Summary rows beside the given node files; node files without a summary file contribute none."""
    return _read_companions(paths, "summary", SUMMARY_SCHEMA)


def _read_companions(paths: Paths, kind: str, schema: pa.Schema) -> pl.DataFrame:
    files = [sibling_path(file, kind) for file in find_files(paths)]
    tables = [_cast(_open(file), schema, file) for file in files if file.exists()]
    return _to_polars(pa.concat_tables([no_rows(schema), *tables]))


def _read_nodes(file: Path, wanted: Sequence[str]) -> pl.DataFrame:
    """The columns `wanted` of a file, whose rows are checked."""
    there, sealed = _asked(file, lambda: checked_columns(file))
    missing = [name for name in INTERCHANGE_COLUMNS if name not in there]
    if missing:
        raise TrajectoryError(
            f"{file}: column {missing[0]!r} is missing; a trajectory file has {', '.join(INTERCHANGE_COLUMNS)}"
        )
    ours = set(NODE_SCHEMA.names) <= set(there)  # else columns are made from others
    present = [
        field
        for field in NODE_SCHEMA
        if field.name in there and (not ours or field.name in wanted or field.name in (*CHECKED, "label"))
    ]
    frame = _asked(file, lambda: _columns(file, present, sealed=sealed))
    wrong = frame["label"].is_in(LABELS).not_().arg_true()
    if len(wrong):
        raise TrajectoryError(
            f"{file}: column 'label' holds {frame['label'][wrong[0]]!r}; expected one of {', '.join(LABELS)}"
        )
    check_rows(frame, _problem_in(file))
    return (frame if ours else frame.with_columns(_filled(frame, file))).select(wanted)


def _columns(file: Path, fields: Sequence[pa.Field], *, sealed: bool) -> pl.DataFrame:
    """Columns of a file with the types of the schema. What Arrow holds of a column goes before the next one is read."""
    schema = pa.schema(fields)

    def typed(table: pa.Table) -> pl.DataFrame:
        return _to_polars(_cast(table, pa.schema([schema.field(name) for name in table.column_names]), file))

    return pl.concat(read_columns(file, schema.names, typed, sealed=sealed), how="horizontal")


def _problem_in(file: Path) -> Problem:
    def problem(column: str, row: int, what: str) -> TrajectoryError:
        return TrajectoryError(f"{file}: row {row}, column {column!r} {what}")

    return problem


def _filled(frame: pl.DataFrame, file: Path) -> list[pl.Series | pl.Expr]:
    """Our own columns where the file lacks them."""
    texts = frame["state_pp"]
    expanded = pl.struct("theorem_name", "state_id").is_in(
        frame.filter(pl.col("parent_state_id").is_not_null())
        .select(pl.struct("theorem_name", pl.col("parent_state_id").alias("state_id")))
        .to_series()
        .implode()
    )
    columns: dict[str, pl.Series | pl.Expr] = {
        "iteration": pl.lit(None, dtype=pl.Int32).alias("iteration"),
        "search_id": pl.lit(f"external:{file.stem}").alias("search_id"),
        "state_key": pl.Series("state_key", [state_key(text) for text in texts], dtype=pl.String),
        "n_goals": pl.Series("n_goals", [count_goals(text) for text in texts], dtype=pl.UInt32),
        "expanded": expanded.alias("expanded"),
        "environment": pl.lit("").alias("environment"),
        "policy_id": pl.lit("").alias("policy_id"),
        "ebm_id": pl.lit(None, dtype=pl.String).alias("ebm_id"),
        "seed": pl.lit(None, dtype=pl.UInt64).alias("seed"),
    }
    return [column for name, column in columns.items() if name not in frame.columns]


def _open(file: Path) -> pa.Table:
    return _asked(file, lambda: read_table(file))


def _asked(file: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except (ParquetDamaged, OSError) as error:
        raise TrajectoryError(
            f"{file}: {error}; restore the file from a copy, or leave it out and search its theorems again"
        ) from error


def _cast(table: pa.Table, schema: pa.Schema, file: Path) -> pa.Table:
    """`table` with the schema's types and columns; values that do not fit are an error that names file and column."""
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            raise TrajectoryError(f"{file}: column {field.name!r} is missing")
        column = exact_ids(table[field.name], field.name, _problem_in(file))
        if not field.nullable and column.null_count:
            raise TrajectoryError(f"{file}: column {field.name!r} has {column.null_count} nulls; it must have none")
        try:
            columns.append(column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise TrajectoryError(
                f"{file}: column {field.name!r} is {column.type}, expected {field.type}: {error}"
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _to_polars(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame

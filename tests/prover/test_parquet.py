"""Damaged Parquet files are refused: no flipped bit and no cut changes what is read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults import FLIPS, cuts, flips, try_damage

from prover.parquet import DIGEST_KEY, ParquetDamaged, RowGroups, check, read_columns, read_table, write_sealed
from prover.trajectory import TrajectoryError, read_trajectories
from prover.trajectory.schema import NODE_SCHEMA


def nodes(n: int = 300) -> pa.Table:
    """A trajectory of `n` nodes, each with its own text and log-probability."""
    rows = [
        {
            "theorem_name": f"t{i // 20}", "state_id": 2**62 + i, "state_pp": f"h : p{i} ∧ q\n⊢ p{i}",
            "tactic_applied": "" if i % 20 == 0 else f"exact h.{i}",
            "parent_state_id": None if i % 20 == 0 else 2**62 + i - i % 20,
            "label": ("positive", "negative", "unknown")[i % 3], "depth_from_root": i % 20, "remaining_depth": -1,
            "llm_log_prob": -0.37 * i, "ebm_score": None, "is_proof_complete": False, "timestamp_ms": 1_790_000_000_000,
            "iteration": 0, "search_id": "s", "state_key": f"k{i}", "n_goals": 1, "expanded": i % 20 == 0,
            "environment": "lean", "policy_id": "p", "ebm_id": None, "seed": 1,
        }
        for i in range(n)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, NODE_SCHEMA)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sealed") / "t.parquet"
    table = nodes()
    write_sealed(path, [table.slice(0, 200), table.slice(200)], NODE_SCHEMA.with_metadata({b"prover": b'{"a": 1}'}))
    return path


def test_a_sealed_file_is_read_whole_and_by_others_too(sealed: Path) -> None:
    assert check(sealed)
    assert read_table(sealed).equals(nodes())
    assert read_table(sealed, ["state_id"]).column_names == ["state_id"]
    assert pl.read_parquet(sealed).height == 300  # a reader that knows nothing of the digest
    assert len(pq.read_metadata(sealed).metadata[DIGEST_KEY.encode()]) == 64


@pytest.fixture(params=["a small file", "a large file"])
def either_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read at once, or column by column as large ones are."""
    if request.param == "a large file":
        monkeypatch.setattr("prover.parquet._ROWS_AT_ONCE", 2)


def test_a_large_file_is_read_as_a_small_one(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, some = read_trajectories(sealed), read_trajectories(sealed, ["label", "state_id"])
    monkeypatch.setattr("prover.parquet._ROWS_AT_ONCE", 2)
    asked: list[list[str]] = []
    read_columns(sealed, ["label", "seed"], lambda table: asked.append(table.column_names), sealed=True)
    assert asked == [["label"], ["seed"]]
    assert read_trajectories(sealed).equals(small)
    assert read_trajectories(sealed, ["label", "state_id"]).equals(some)


@pytest.mark.usefixtures("either_size")
def test_a_wrong_value_is_named_in_files_of_either_size(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    ids = pa.array([None, -1, *range(298)], type=pa.int64())
    pq.write_table(nodes().set_column(4, pa.field("parent_state_id", pa.int64()), ids), path)
    with pytest.raises(TrajectoryError, match=r"column 'parent_state_id' is int64, expected uint64"):
        read_trajectories(path)


@pytest.mark.usefixtures("either_size")
def test_no_flipped_bit_is_read(sealed: Path, tmp_path: Path) -> None:
    """Any bit, of the data, the page headers, the footer or the digest itself."""
    damaged, before, data = tmp_path / "damaged.parquet", read_trajectories(sealed), sealed.read_bytes()
    damaged.write_bytes(data)
    tried = try_damage(damaged, flips(data, seed=5), lambda: read_trajectories(damaged), TrajectoryError)
    assert all(str(damaged) in words and "restore the file" in words for words in tried.refusals)
    # Those that are read had the key of the digest itself flipped: the rows are still what they were.
    assert all(before.equals(read) for read in tried.read if isinstance(read, pl.DataFrame))
    assert len(tried.refusals) > 0.98 * FLIPS


@pytest.mark.parametrize("reader", ["table", "row group", "column"])
def test_pages_have_checksums_of_their_own(tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They find what changes after the digest was compared, and what readers that know no digest are given."""
    path = tmp_path / "t.parquet"
    whole = pa.table({"value": np.random.default_rng(0).normal(size=4000)})
    write_sealed(path, [whole], whole.schema)
    data, column = path.read_bytes(), pq.read_metadata(path).row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    first, last = start + 200, start + column.total_compressed_size - 200  # past the page's header, which has no sum
    copies = (data[:first] + changed + data[last:] for changed in flips(data[first:last], seed=7))
    monkeypatch.setattr("prover.parquet._ROWS_AT_ONCE", 0)
    groups = RowGroups(path)
    readers: dict[str, Callable[[], object]] = {
        "table": lambda: read_table(path, sealed=True),
        "row group": lambda: groups.read(0),
        "column": lambda: read_columns(path, ["value"], lambda table: table, sealed=True),
    }
    assert try_damage(path, copies, readers[reader], ParquetDamaged).read == []


def test_no_cut_file_is_read(sealed: Path, tmp_path: Path) -> None:
    damaged, data = tmp_path / "cut.parquet", sealed.read_bytes()
    damaged.write_bytes(data)
    tried = try_damage(damaged, cuts(data), lambda: read_table(damaged), ParquetDamaged)
    assert not tried.read
    assert all("cut off" in words or "too few" in words for words in tried.refusals)


@pytest.mark.usefixtures("either_size")
def test_files_without_a_digest_load_and_their_damage_ends_in_no_panic(tmp_path: Path) -> None:
    """Files made elsewhere have no checksums: some damage cannot be seen. What is raised is our own error, always."""
    path = tmp_path / "old.parquet"
    pq.write_table(nodes(), path, compression="snappy")
    assert not check(path)
    assert read_trajectories(path).height == 300
    tried = try_damage(path, flips(path.read_bytes(), seed=6), lambda: read_trajectories(path), TrajectoryError)
    assert tried.refusals
    assert all(str(path) in words for words in tried.refusals)


@pytest.mark.usefixtures("either_size")
def test_texts_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    """Polars takes Arrow's word that texts are UTF-8, and panics later, past any `except Exception`."""
    path = tmp_path / "t.parquet"
    table = nodes(3)
    raw = pa.array([b"\xff\xfe", b"ok", b"\x80"]).view(pa.string())
    pq.write_table(table.set_column(table.column_names.index("state_pp"), NODE_SCHEMA.field("state_pp"), raw), path)
    with pytest.raises(TrajectoryError, match=r"UTF-?8"):
        read_trajectories(path)

"""Damaged Parquet files are refused: no flipped bit and no cut changes what is read."""

import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prover.parquet import DIGEST_KEY, ParquetDamaged, check, read_table, write_sealed
from prover.trajectory import TrajectoryError, read_trajectories
from prover.trajectory.schema import NODE_SCHEMA

FLIPS, CUTS = 200, 50


def nodes(n: int = 300) -> pa.Table:
    """A trajectory of `n` nodes, each with its own text and log-probability."""
    rows = [
        {
            "theorem_name": f"t{i // 20}", "state_id": 2**62 + i, "state_pp": f"h : p{i} ∧ q\n⊢ p{i}",
            "tactic_applied": "" if i % 20 == 0 else f"exact h.{i}", "parent_state_id": None if i % 20 == 0 else 2**62,
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


def test_no_flipped_bit_is_read(sealed: Path, tmp_path: Path) -> None:
    """Any bit, of the data, the page headers, the footer or the digest itself."""
    data, draw, damaged = sealed.read_bytes(), random.Random(5), tmp_path / "damaged.parquet"
    before = read_trajectories(sealed)
    places = [draw.randrange(len(data)) for _ in range(FLIPS)] + list(range(len(data) - 40, len(data)))
    refused = 0
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << draw.randrange(8)
        damaged.write_bytes(changed)
        try:
            read = read_trajectories(damaged)
        except TrajectoryError as error:
            assert str(damaged) in str(error)
            assert "restore the file" in str(error)
            refused += 1
        else:  # the key of the digest itself: the rows are still what they were
            assert read.equals(before)
    assert refused > 0.98 * len(places)


def test_no_cut_file_is_read(sealed: Path, tmp_path: Path) -> None:
    data, damaged = sealed.read_bytes(), tmp_path / "cut.parquet"
    for i in range(CUTS):
        damaged.write_bytes(data[: i * len(data) // CUTS])
        with pytest.raises(ParquetDamaged, match="cut off|too few"):
            read_table(damaged)


def test_files_without_a_digest_load_and_their_damage_ends_in_no_panic(tmp_path: Path) -> None:
    """Files made elsewhere have no checksums: some damage cannot be seen. What is raised is our own error, always."""
    path, damaged, draw = tmp_path / "old.parquet", tmp_path / "damaged.parquet", random.Random(6)
    pq.write_table(nodes(), path, compression="snappy")
    assert not check(path)
    assert read_trajectories(path).height == 300
    data, refused = path.read_bytes(), 0
    for _ in range(FLIPS):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        damaged.write_bytes(changed)
        try:
            read_trajectories(damaged)
        except TrajectoryError as error:
            assert str(damaged) in str(error)
            refused += 1
    assert refused > 0


def test_texts_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    """Polars takes Arrow's word that texts are UTF-8, and panics later, past any `except Exception`."""
    path = tmp_path / "t.parquet"
    table = nodes(3)
    raw = pa.array([b"\xff\xfe", b"ok", b"\x80"]).view(pa.string())
    pq.write_table(table.set_column(table.column_names.index("state_pp"), NODE_SCHEMA.field("state_pp"), raw), path)
    with pytest.raises(TrajectoryError, match="UTF8|UTF-8"):
        read_trajectories(path)

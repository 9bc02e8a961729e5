"""`prover cache`: counts, damage by name, and pruning that loses nothing that is asked to stay."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ebm.cache_upkeep import compact, orphans, stats, verify
from ebm.cli_cache import app
from ebm.embeddings import EmbeddingCache, EmbeddingError

FINGERPRINT = "cd" * 32
KEYS = [f"{i:032x}" for i in range(60)]
VECTORS = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six parts; ten keys are stored twice, as two processes that encode at the same time leave them."""
    writers = [EmbeddingCache(tmp_path, FINGERPRINT, 4) for _ in range(2)]
    for first in range(0, 60, 12):
        writers[0].add(KEYS[first : first + 12], VECTORS[first : first + 12])
        writers[0].flush()
    writers[1].add(KEYS[:10], VECTORS[:10])
    writers[1].flush()
    return writers[0].folder


def test_stats_count_rows_and_keys(folder: Path) -> None:
    found = stats(folder)
    assert (found.vectors, found.rows, found.parts, found.width) == (60, 70, 6, 4)
    assert found.bytes == sum(path.stat().st_size for path in folder.iterdir())


def test_compaction_joins_parts_and_keeps_each_key_once(folder: Path) -> None:
    assert compact(folder, rows_at_once=25) == (6, 10)
    found = stats(folder)
    assert (found.vectors, found.rows, found.parts) == (60, 60, 3)
    cache = EmbeddingCache(folder.parent, FINGERPRINT, 4)
    assert np.array_equal(cache.gather(KEYS), VECTORS)
    assert verify(folder) == 60
    before = sorted(folder.iterdir())
    assert compact(folder, rows_at_once=25) == (3, 0)
    assert sorted(folder.iterdir()) == before, "what is as it should be is not written again"


def test_a_kill_within_compaction_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ebm.cache_upkeep.remove_parts", killed)
    with pytest.raises(KeyboardInterrupt):
        compact(folder)
    cache = EmbeddingCache(folder.parent, FINGERPRINT, 4)
    assert len(cache) == 60
    assert np.array_equal(cache.gather(KEYS), VECTORS)


def test_what_is_not_needed_goes(folder: Path) -> None:
    compact(folder, keep=set(KEYS[5:15]))
    cache = EmbeddingCache(folder.parent, FINGERPRINT, 4)
    assert cache.all_keys() == KEYS[5:15]
    assert np.array_equal(cache.gather(KEYS[5:15]), VECTORS[5:15])


def test_damage_is_named(folder: Path) -> None:
    path = sorted(folder.glob("*.npy"))[2]
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(EmbeddingError, match=path.name):
        verify(folder)
    said = CliRunner().invoke(app, ["verify", "--cache", str(folder.parent)])
    assert said.exit_code == 1
    assert path.name in said.output


def test_the_commands(folder: Path) -> None:
    root, run = str(folder.parent), CliRunner()
    (folder / "part-1.npy").write_bytes(b"left by a killed process")
    assert orphans(folder) == [folder / "part-1.npy"]
    assert json.loads(run.invoke(app, ["stats", "--cache", root, "--json"]).output)["rows"] == 70
    assert "60 vectors of width 4, 10 stored twice" in run.invoke(app, ["stats", "--cache", root]).output
    assert "70 rows are as they were written" in run.invoke(app, ["verify", "--cache", root]).output
    assert "10 of 70 rows and 1 leftover files would be removed" in run.invoke(app, ["prune", "--cache", root]).output
    assert stats(folder).rows == 70
    assert run.invoke(app, ["prune", "--cache", root, "--yes"]).exit_code == 0
    assert (stats(folder).rows, stats(folder).parts, orphans(folder)) == (60, 1, [])
    nowhere = run.invoke(app, ["stats", "--cache", root + "-nowhere"])
    assert nowhere.exit_code == 2
    assert "holds no embedding cache" in nowhere.output

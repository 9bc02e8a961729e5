"""The embedding cache: by content, append-only, refusing bad vectors, bounded in memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from ebm.cache_upkeep import compact
from ebm.embeddings import EmbeddingCache, EmbeddingError
from ebm.model import EncoderBackend

FINGERPRINT = "ab" * 32


def vectors_of(n: int, width: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def _cut_a_row(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4)


@pytest.fixture
def cache(tmp_path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path, FINGERPRINT, 8, pooling="mean/1")


def test_add_and_gather(cache):
    vectors = vectors_of(5)
    assert cache.add(list("abcde"), vectors) == 5
    np.testing.assert_array_equal(cache.gather(["d", "a", "d"]), vectors[[3, 0, 3]])
    np.testing.assert_array_equal(cache.gather(cache.rows_of(["e", "b"])), vectors[[4, 1]])
    assert "a" in cache
    assert "z" not in cache
    assert cache.missing(["a", "z", "y", "z"]) == ["z", "y"]
    assert cache.gather([]).shape == (0, 8)


def test_a_known_key_is_kept_as_it_is(cache):
    first = vectors_of(2)
    cache.add(["a", "b"], first)
    assert cache.add(["b", "c", "c"], vectors_of(3, seed=1)) == 1
    np.testing.assert_array_equal(cache.gather(["b"]), first[1:])
    np.testing.assert_array_equal(cache.gather(["c"]), vectors_of(3, seed=1)[1:2])


def test_vectors_outlive_the_process(tmp_path, cache):
    vectors = vectors_of(5)
    cache.add(list("abc"), vectors[:3])
    cache.flush()
    cache.add(list("de"), vectors[3:])
    cache.close()
    again = EmbeddingCache(tmp_path, FINGERPRINT, 8, pooling="mean/1")
    assert len(again) == 5
    np.testing.assert_array_equal(again.gather(list("abcde")), vectors)


def test_row_numbers_stay_when_rows_are_written(tmp_path, cache):
    other = EmbeddingCache(tmp_path, FINGERPRINT, 8, pooling="mean/1")
    vectors = vectors_of(6)
    cache.add(["a", "b"], vectors[:2])
    other.add(["c"], vectors[2:3])
    other.flush()
    cache.refresh()  # a part of another process between rows that are only in memory here
    cache.add(["d", "e"], vectors[3:5])
    rows = cache.rows_of(list("abcde"))
    before = cache.gather(rows)
    cache.flush()
    np.testing.assert_array_equal(cache.rows_of(list("abcde")), rows)
    np.testing.assert_array_equal(cache.gather(rows), before)
    cache.add(["f"], vectors[5:])
    np.testing.assert_array_equal(cache.gather(list("abcdef")), vectors)


def test_many_small_additions_become_few_files(tmp_path):
    with EmbeddingCache(tmp_path, FINGERPRINT, 8, flush_rows=100) as cache:
        vectors = vectors_of(250)
        for i in range(250):
            cache.add([f"k{i}"], vectors[i : i + 1])
    assert len(list(cache.folder.glob("*.npy"))) == 3
    np.testing.assert_array_equal(cache.gather([f"k{i}" for i in range(250)]), vectors)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((2, 8)), "2 zero"),
        (np.vstack([np.ones(8), np.zeros(8)]), r"1 zero vector\(s\) of 2, e.g. of 'b'"),
        (np.vstack([np.ones(8), np.full(8, np.nan)]), "1 non-finite"),
        (np.vstack([np.ones(8), np.full(8, np.inf)]), "1 non-finite"),
        (np.full((2, 8), 1e300), "2 non-finite"),  # beyond float32
        (np.ones((2, 7)), r"\(2, 7\)"),
        (np.ones((3, 8)), r"\(3, 8\) for 2 keys"),
        (np.ones(8), r"\(8,\)"),
        (np.full((2, 8), "x"), "type"),
    ],
)
def test_bad_vectors_are_refused_and_never_stored(tmp_path, cache, vectors, message):
    with pytest.raises(EmbeddingError, match=message):
        cache.add(["a", "b"], vectors)
    cache.close()
    assert len(EmbeddingCache(tmp_path, FINGERPRINT, 8, pooling="mean/1")) == 0


def test_bad_keys_are_refused(cache):
    for key in ("", "a\nb"):
        with pytest.raises(EmbeddingError, match="key"):
            cache.add([key], vectors_of(1))


def test_missing_vectors_are_counted(cache):
    cache.add(["a"], vectors_of(1))
    with pytest.raises(KeyError, match=r"2 of 3 states have no cached embedding, e\.g\. 'x'"):
        cache.gather(["a", "x", "y"])
    with pytest.raises(IndexError, match=r"\[0, 1\)"):
        cache.gather(np.array([1]))


def test_another_encoder_has_another_folder(tmp_path, cache):
    cache.add(["a"], vectors_of(1))
    cache.flush()
    assert "a" not in EmbeddingCache(tmp_path, "cd" * 32, 8, pooling="mean/1")


@pytest.mark.parametrize(("width", "pooling", "named"), [(9, "mean/1", "width"), (8, "max/1", "pooling")])
def test_another_width_or_pooling_under_one_fingerprint_is_refused(tmp_path, cache, width, pooling, named):
    with pytest.raises(EmbeddingError, match=named):
        EmbeddingCache(tmp_path, FINGERPRINT, width, pooling=pooling)


def test_a_torn_part_is_not_read(tmp_path, cache):
    """Killed between the two files of a part: the vectors are not there, and are encoded again."""
    cache.add(["a"], vectors_of(1))
    cache.flush()
    next(cache.folder.glob("*.keys")).unlink()
    again = EmbeddingCache(tmp_path, FINGERPRINT, 8, pooling="mean/1")
    assert again.missing(["a"]) == ["a"]
    again.add(["a"], vectors_of(1, seed=1))
    again.close()
    np.testing.assert_array_equal(
        EmbeddingCache(tmp_path, FINGERPRINT, 8, pooling="mean/1").gather(["a"]), vectors_of(1, seed=1)
    )


def test_a_part_of_the_wrong_length_is_named(tmp_path, cache):
    cache.add(["a", "b"], vectors_of(2))
    cache.flush()
    keys = next(cache.folder.glob("*.keys"))
    keys.write_text("a\n")
    with pytest.raises(EmbeddingError, match=r"\.npy cannot be used \(holds \(2, 8\)"):
        EmbeddingCache(tmp_path, FINGERPRINT, 8, pooling="mean/1")


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.unlink(), lambda path: path.write_bytes(b""), lambda path: os.truncate(path, 90), _cut_a_row],
    ids=["gone", "empty", "cut in the header", "cut in the rows"],
)
def test_a_damaged_part_is_named_with_its_remedy(tmp_path, cache, damage):
    cache.add(["a", "b"], vectors_of(2))
    cache.close()
    (path,) = cache.folder.glob("*.npy")
    damage(path)
    with pytest.raises(EmbeddingError, match=rf"{path.name} cannot be used .*; delete it and {path.stem}\.keys"):
        EmbeddingCache(tmp_path, FINGERPRINT, 8, pooling="mean/1")


def test_a_damaged_description_is_named(tmp_path, cache):
    (cache.folder / "meta.json").write_text("{")
    with pytest.raises(EmbeddingError, match=r"meta\.json is not JSON"):
        EmbeddingCache(tmp_path, FINGERPRINT, 8, pooling="mean/1")


def test_encode_missing_encodes_only_what_is_missing(tmp_path, policy):
    cache = EmbeddingCache(tmp_path, policy.encoder_fingerprint, 64)
    texts = {f"key{i}": f"⊢ {'p ' * (i % 5)}{i}" for i in range(10)}
    seen = []
    counts = cache.encode_missing(policy, texts, batch_size=4, on_progress=lambda *done: seen.append(done))
    assert (counts.requested, counts.cached, counts.encoded) == (10, 0, 10)
    assert seen == [(4, 10), (8, 10), (10, 10)]
    texts["new"] = "⊢ new"
    counts = cache.encode_missing(EncoderBackend(policy), texts)
    assert (counts.requested, counts.cached, counts.encoded) == (11, 10, 1)
    assert len(policy.encoded) == 11
    np.testing.assert_array_equal(cache.gather(["key3"])[0], policy.encode_only([texts["key3"]])[0])


def test_encode_missing_keeps_finished_batches_when_a_later_one_is_refused(tmp_path, policy):
    class SometimesZero(type(policy)):
        def encode_only(self, states):
            vectors = super().encode_only(states)
            vectors[["broken" in state for state in states]] = 0
            return vectors

    cache = EmbeddingCache(tmp_path, FINGERPRINT, 64)
    with pytest.raises(EmbeddingError, match="'bad'"):
        cache.encode_missing(SometimesZero(), {"good": "⊢ p", "bad": "⊢ broken state"}, batch_size=1)
    again = EmbeddingCache(tmp_path, FINGERPRINT, 64)
    assert "good" in again
    assert "bad" not in again


def test_several_processes_may_append(tmp_path):
    script = (
        "import sys, numpy as np; from ebm.embeddings import EmbeddingCache\n"
        f"cache = EmbeddingCache(sys.argv[1], {FINGERPRINT!r}, 8, flush_rows=10)\n"
        "name = sys.argv[2]\n"
        "for i in range(100):\n"
        "    cache.add([f'{name}{i}', f'both{i}'], np.full((2, 8), i + 1.0))\n"
        "cache.close()\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in ("x", "y")]
    assert [process.wait() for process in running] == [0, 0]
    cache = EmbeddingCache(tmp_path, FINGERPRINT, 8)
    assert len(cache) == 300
    for i in range(100):
        np.testing.assert_array_equal(cache.gather([f"x{i}", f"both{i}", f"y{i}"]), np.full((3, 8), i + 1.0))


def test_meta_describes_the_cache(cache):
    meta = json.loads((cache.folder / "meta.json").read_text())
    assert meta["encoder_fingerprint"] == FINGERPRINT
    assert meta["width"] == 8
    assert meta["pooling"] == "mean/1"


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads resident memory from /proc")
@pytest.mark.parametrize("parts", [1, 8])
def test_resident_memory_stays_bounded(parts, tmp_path):
    """Reading 2 GiB through memory maps leaves no more than the bound, and some slack, in this process."""
    width, n = 4096, 131_072
    cache = EmbeddingCache(tmp_path, FINGERPRINT, width)
    for part in range(parts):
        name = cache.folder / f"part-sparse-{part}"
        shape = (n // parts, width)
        np.lib.format.open_memmap(name.with_suffix(".npy"), mode="w+", dtype=np.float32, shape=shape)  # sparse
        name.with_suffix(".keys").write_text("".join(f"{part}-{i}\n" for i in range(n // parts)))
    assert cache.refresh() == n

    def resident() -> int:
        with open("/proc/self/statm") as handle:
            return int(handle.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before, most = resident(), 0
    order = np.random.default_rng(0).permutation(n)[:32_768]
    for start in range(0, len(order), 512):
        cache.gather(order[start : start + 512])
        most = max(most, resident())
    assert most - before < 400 * 2**20


def test_float16_takes_half_and_reads_the_same_from_memory_and_file(tmp_path: Path) -> None:
    vectors = vectors_of(40)
    keys = [f"k{i}" for i in range(40)]
    with EmbeddingCache(tmp_path, FINGERPRINT, 8, dtype="float16") as cache:
        cache.add(keys[:25], vectors[:25])
        from_memory = cache.gather(keys[:25])
        cache.flush()
        cache.add(keys[25:], vectors[25:])
    again = EmbeddingCache(tmp_path, FINGERPRINT, 8)  # who does not ask follows
    assert again.dtype == "float16"
    assert again.gather(keys).dtype == np.float32
    np.testing.assert_array_equal(again.gather(keys), vectors.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(again.gather(keys[:25]), from_memory)
    assert sum(path.stat().st_size - 128 for path in again.folder.glob("*.npy")) == 40 * 8 * 2


def test_one_part_of_float16_is_gathered_into_the_given_array(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path, FINGERPRINT, 8, dtype="float16") as cache:
        cache.add(["a", "b"], vectors_of(2))
    out = np.empty((1, 8), dtype=np.float32)
    assert EmbeddingCache(tmp_path, FINGERPRINT, 8).gather(["b"], out=out) is out
    np.testing.assert_array_equal(out, vectors_of(2)[1:].astype(np.float16))


@pytest.mark.parametrize("unfit", [70_000.0, 1e-9], ids=["too large", "all of it too small"])
def test_vectors_that_do_not_fit_float16_stay_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, unfit: float
) -> None:
    vectors = vectors_of(3)
    vectors[1] = unfit
    with EmbeddingCache(tmp_path, FINGERPRINT, 8, dtype="float16") as cache:
        cache.add(["a"], vectors[:1])
        cache.add(["b", "c"], vectors[1:])
        in_memory = cache.gather(list("abc"))
    assert "1 of 2 vectors do not fit float16" in caplog.text
    again = EmbeddingCache(tmp_path, FINGERPRINT, 8)
    np.testing.assert_array_equal(again.gather(["b", "c"]), vectors[1:])
    np.testing.assert_array_equal(again.gather(list("abc")), in_memory)
    assert compact(again.folder) == (1, 0)
    again.add(["d"], vectors_of(1, seed=3))
    again.flush()
    compact(again.folder)
    np.testing.assert_array_equal(EmbeddingCache(tmp_path, FINGERPRINT, 8).gather(list("abc")), in_memory)


def test_a_cache_keeps_its_dtype_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddingCache(tmp_path, FINGERPRINT, 8) as cache:
        cache.add(["a"], vectors_of(1))
    with EmbeddingCache(tmp_path, FINGERPRINT, 8, dtype="float16") as cache:
        assert cache.dtype == "float32"
        assert "stores float32 and goes on doing so" in caplog.text
        cache.add(["b"], vectors_of(1, seed=1))
    np.testing.assert_array_equal(EmbeddingCache(tmp_path, FINGERPRINT, 8).gather(["b"]), vectors_of(1, seed=1))
    with pytest.raises(ValueError, match="dtype 'float8'"):
        EmbeddingCache(tmp_path / "other", FINGERPRINT, 8, dtype="float8")


def test_an_unknown_dtype_in_the_description_is_refused(tmp_path: Path) -> None:
    folder = EmbeddingCache(tmp_path, FINGERPRINT, 8).folder
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "dtype": "float64"}))
    with pytest.raises(EmbeddingError, match="has dtype 'float64'"):
        EmbeddingCache(tmp_path, FINGERPRINT, 8)


def test_more_parts_than_files_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map holds a file open: a cache of a thousand iterations has more parts than a process may open."""
    with EmbeddingCache(tmp_path, "ab" * 32, 4, flush_rows=1) as cache:
        for i in range(60):
            cache.add([f"{i}"], np.full((1, 4), i + 1, dtype=np.float32))
    before = psutil.Process().num_fds()
    monkeypatch.setattr("ebm.embeddings.resource.getrlimit", lambda which: (64, 64))
    cache = EmbeddingCache(tmp_path, "ab" * 32, 4)
    for _ in range(2):
        assert cache.gather([f"{i}" for i in range(60)])[:, 0].tolist() == list(range(1, 61))
        assert psutil.Process().num_fds() - before <= 16

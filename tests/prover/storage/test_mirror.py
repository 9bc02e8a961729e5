"""A local folder and one on a store: what is published is what is fetched, whatever happens on the way."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_proxy import Faults

from prover.storage.commit import COMMIT, read_commit
from prover.storage.mirror import Mirror, url_of
from prover.storage.store import StorageError, Store


def fill(folder: Path, seed: int, count: int = 12) -> dict[str, bytes]:
    draw = random.Random(seed)
    files = {f"iterations/iter_{i % 3:03d}/f{i}.bin": draw.randbytes(draw.randrange(1, 200_000)) for i in range(count)}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return files


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


class Killed(BaseException):
    pass


def test_what_is_published_is_what_is_fetched(memory: str, tmp_path: Path) -> None:
    files = fill(tmp_path / "a", 1)
    one, other = Mirror(Store(memory), tmp_path / "a"), Mirror(Store(memory), tmp_path / "b")
    assert one.fetch() == 0
    assert one.publish() == len(files)
    assert other.fetch() == len(files)
    assert content_of(tmp_path / "b") == files
    assert one.publish() == 0
    assert other.fetch() == 0
    assert url_of(tmp_path / "a") == memory
    assert url_of(tmp_path) is None


def test_changes_removals_and_what_does_not_belong(memory: str, tmp_path: Path) -> None:
    fill(tmp_path / "a", 1)
    one, other = Mirror(Store(memory), tmp_path / "a"), Mirror(Store(memory), tmp_path / "b")
    one.fetch()
    one.publish()
    other.fetch()
    (tmp_path / "a/iterations/iter_000/f0.bin").write_bytes(b"new")
    (tmp_path / "a/iterations/iter_001/f1.bin").unlink()
    (tmp_path / "a/.locks").mkdir()
    (tmp_path / "a/.locks/x.lock").write_text("process 1")
    (tmp_path / "a/t.parts").mkdir()
    (tmp_path / "a/t.parts/lock").touch()
    (tmp_path / "a/t.parts/part-1.parquet").write_bytes(b"part")
    assert one.publish() == 2
    assert other.fetch() == 2
    found = content_of(tmp_path / "b")
    assert found["iterations/iter_000/f0.bin"] == b"new"
    assert "iterations/iter_001/f1.bin" not in found
    assert found["t.parts/part-1.parquet"] == b"part"
    assert not any("lock" in name for name in found)
    left = Store(memory).find()
    assert not [name for name in left if "/old/" in name or "publishing" in name or name.endswith("f1.bin")]


def test_a_publication_killed_at_any_request_leaves_the_old_state_and_the_next_one_mends_it(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fill(tmp_path / "a", 1, 6)
    one = Mirror(Store(memory), tmp_path / "a")
    one.fetch()
    one.publish()
    second = fill(tmp_path / "a", 2, 6)
    real = Store._change
    for until in range(40):
        left = [until]

        def change(store: Store, name: str, call: Callable[[], object], left=left, **more: bool) -> None:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            real(store, name, call, **more)

        monkeypatch.setattr(Store, "_change", change)
        try:
            one.publish()
            killed = False
        except Killed:
            killed = True
        monkeypatch.setattr(Store, "_change", real)
        committed = read_commit(Store(memory), COMMIT)
        assert committed is not None
        reader = tmp_path / f"reader-{until}"
        Mirror(Store(memory), reader).fetch()
        new = content_of(reader) == second
        assert new or content_of(reader) == first
        if not killed:
            break
        if new:  # killed after the commit, before the record of it: this machine starts from what is there
            one.fetch()
            break
        # Another machine publishes without that change: the half of it that lies there must not show.
        another = Mirror(Store(memory), reader)
        (reader / "mine").write_bytes(b"%d" % until)
        another.publish()
        last = tmp_path / f"last-{until}"
        Mirror(Store(memory), last).fetch()
        assert content_of(last) == {**first, "mine": b"%d" % until}
        (reader / "mine").unlink()
        another.publish()
        with pytest.raises(StorageError, match="another process has published"):
            one.publish()
        one.fetch()
        assert content_of(tmp_path / "a") == first
        fill(tmp_path / "a", 2, 6)
    assert until > 10
    Mirror(Store(memory), tmp_path / "z").fetch()
    assert content_of(tmp_path / "z") == second


def test_a_reader_during_a_publication_gets_one_state(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fill(tmp_path / "a", 1, 6)
    one = Mirror(Store(memory), tmp_path / "a")
    one.fetch()
    one.publish()
    second = fill(tmp_path / "a", 2, 6)
    real, seen = Store.upload, []

    def upload(store: Store, path: Path, name: str) -> None:
        real(store, path, name)
        reader = tmp_path / f"reader-{len(seen)}"
        Mirror(Store(memory), reader).fetch()
        seen.append(content_of(reader))

    monkeypatch.setattr(Store, "upload", upload)
    one.publish()
    assert len(seen) == len(second)
    assert all(found == first for found in seen)


def test_work_of_a_killed_run_is_kept_and_work_on_an_older_state_is_not(memory: str, tmp_path: Path) -> None:
    files = fill(tmp_path / "a", 1, 4)
    one, other = Mirror(Store(memory), tmp_path / "a"), Mirror(Store(memory), tmp_path / "b")
    one.fetch()
    one.publish()
    (tmp_path / "a/new").write_bytes(b"not published yet")
    (tmp_path / "a/iterations/iter_000/f0.bin").unlink()  # lost: it comes back
    one.fetch()
    assert content_of(tmp_path / "a") == {**files, "new": b"not published yet"}
    other.fetch()
    (tmp_path / "b/theirs").write_bytes(b"published")
    other.publish()
    one.fetch()
    assert content_of(tmp_path / "a") == {**files, "theirs": b"published"}


def test_a_database_that_is_being_written_is_published_whole(memory: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    one, other = Mirror(Store(memory), tmp_path / "a"), Mirror(Store(memory), tmp_path / "b")
    one.fetch()
    writer = sqlite3.connect(tmp_path / "a/runs.db")
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE t (x)")
    for count in (1, 2, 3):
        writer.execute("INSERT INTO t VALUES (?)", (count,))
        writer.commit()
        assert one.publish() == 1
        other.fetch()
        reader = sqlite3.connect(tmp_path / "b/runs.db")
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (count,)
        reader.close()
    writer.close()


def test_a_commit_that_leads_out_of_the_folder_or_is_damaged_is_refused(memory: str, tmp_path: Path) -> None:
    store = Store(memory)
    store.write(COMMIT, b'{"id": "a", "files": {"../../escape": [1, "00"]}}')
    with pytest.raises(StorageError, match=r"commit\.json is damaged .*escape"):
        Mirror(store, tmp_path / "a").fetch()
    store.write(COMMIT, b'{"id": ')
    with pytest.raises(StorageError, match=r"commit\.json is damaged"):
        Mirror(store, tmp_path / "a").fetch()


def test_a_file_that_was_changed_on_the_store_is_refused_by_name(memory: str, tmp_path: Path) -> None:
    fill(tmp_path / "a", 1, 3)
    one = Mirror(Store(memory), tmp_path / "a")
    one.fetch()
    one.publish()
    name = "iterations/iter_001/f1.bin"
    raw = bytearray(Store(memory).read(name) or b"")
    raw[len(raw) // 2] ^= 1
    Store(memory).write(name, bytes(raw))
    with pytest.raises(StorageError, match=rf"{name} is not what was published"):
        Mirror(Store(memory), tmp_path / "b").fetch()


def test_a_server_that_fails_cuts_off_and_delays_changes_nothing(s3: Faults, tmp_path: Path) -> None:
    s3.fail_every, s3.truncate_downloads, s3.delay_s = 10, 3, 0.01
    url = "s3://provers/some/data"
    files = fill(tmp_path / "a", 3, 30)
    one, other = Mirror(Store(url), tmp_path / "a"), Mirror(Store(url), tmp_path / "b")
    one.fetch()
    assert one.publish() == 30
    assert other.fetch() == 30
    assert content_of(tmp_path / "b") == files
    files |= fill(tmp_path / "a", 4, 5)
    one.publish()
    other.fetch()
    assert content_of(tmp_path / "b") == files
    assert s3.failed > 10
    assert s3.truncated == 3


def test_a_database_and_a_large_file_on_s3(s3: Faults, tmp_path: Path) -> None:
    s3.fail_every, s3.truncate_downloads = 10, 2
    (tmp_path / "a").mkdir()
    large = random.Random(0).randbytes(12_000_000)
    (tmp_path / "a/vectors.npy").write_bytes(large)
    one, other = (Mirror(Store("s3://provers/large"), tmp_path / name) for name in "ab")
    one.fetch()
    one.publish()
    other.fetch()
    assert (tmp_path / "b/vectors.npy").read_bytes() == large
    assert s3.truncated == 2

"""What is wrong with a store is said in one sentence; locks on it hold."""

import tempfile
import threading
from pathlib import Path

import pytest
from faulty_proxy import Faults

from prover.storage import lock as locks
from prover.storage.lock import StoreLock
from prover.storage.places import WORKING_VARIABLE, is_url, plain_path, working_folder
from prover.storage.store import StorageError, Store


def unknown(holder: str) -> None:
    return None


def test_which_texts_are_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_url("s3://bucket/x")
    assert is_url("gs://bucket")
    assert is_url("memory://x")
    assert not any(
        map(is_url, ("data", "/data", "file:///data", "hf://a/b", "http://x", "C:\\x", "propositional:test"))
    )
    assert plain_path("file:///tmp/a%20b") == Path("/tmp/a b")
    assert plain_path("x/y") == Path("x/y")
    monkeypatch.setenv(WORKING_VARIABLE, str(tmp_path))
    assert working_folder("s3://b/x") == working_folder("s3://b/x/") != working_folder("s3://b/y")
    assert working_folder("s3://b/x").parent == tmp_path


def test_without_a_home_local_copies_lie_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(WORKING_VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    assert working_folder("s3://b/x").is_relative_to(tempfile.gettempdir())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense://x/y", "nonsense.*give a path, or a URL such as s3://"),
        ("adl://x/y", "needs a package that is not installed: install the fsspec client of adl://"),
    ],
)
def test_a_scheme_that_nothing_reads(url: str, words: str) -> None:
    with pytest.raises(StorageError, match=words):
        Store(url)


def test_a_bucket_that_is_not_there(s3: Faults) -> None:
    with pytest.raises(StorageError, match=r"s3://nobodys/x/a cannot be written: there is no such bucket"):
        Store("s3://nobodys/x").write("a", b"1")
    assert Store("s3://nobodys/x").read("a") is None


def test_no_credentials(s3: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(StorageError, match=r"refuses these credentials .*AWS_ACCESS_KEY_ID"):
        Store("s3://provers/x").read("a")


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs", reason="the extra [s3] is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setattr("prover.storage.store.TRIES", 2)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match=r"s3://provers/x/a cannot be read: .*look at the network and the address"):
        Store("s3://provers/x").read("a")
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.long
def test_a_store_that_fails_for_good_is_said_so(s3: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prover.storage.store.TRIES", 2)
    s3.fail_every = 1
    with pytest.raises(StorageError, match="2 times; look at the network"):
        Store("s3://provers/x").read("a")


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_one_process_holds_a_lock_the_other_is_refused_with_its_name(kind: str, request: pytest.FixtureRequest) -> None:
    made = request.getfixturevalue(kind)
    store = Store(made if kind == "memory" else "s3://provers/locks")
    if kind == "s3":
        made.fail_every = 10
    with StoreLock(store, "lock.json", "process 1 on a", unknown) as held:
        held.check()
        with pytest.raises(StorageError, match=r"in use by another process \(process 1 on a\)"):
            StoreLock(store, "lock.json", "process 2 on b", unknown).__enter__()
        held.check()
    with StoreLock(store, "lock.json", "process 2 on b", unknown):
        pass
    assert store.find() == []


def test_of_many_at_once_one_gets_the_lock(s3: Faults) -> None:
    s3.fail_every = 10
    store, got, barrier = Store("s3://provers/many"), [], threading.Barrier(8)

    def try_it(number: int) -> None:
        barrier.wait()
        try:
            StoreLock(store, "lock.json", f"process {number}", unknown).__enter__()
            got.append(number)
        except StorageError:
            pass

    threads = [threading.Thread(target=try_it, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_a_dead_holders_lock_is_taken_over_and_a_lost_lock_publishes_nothing(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SETTLE_S", 0.0)
    store = Store(memory)
    dead = StoreLock(store, "lock.json", "process 1 on a", unknown).__enter__()
    with StoreLock(store, "lock.json", "process 2 on a", lambda holder: False) as taken:
        taken.check()
        with pytest.raises(StorageError, match=r"has lost its lock, to process 2 on a; .* not published"):
            dead.check()


def test_a_lock_that_is_no_more_renewed_goes_stale(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SETTLE_S", 0.0)
    monkeypatch.setattr(locks, "STALE_AFTER_S", 0.0)
    store = Store(memory)
    StoreLock(store, "lock.json", "process 1 on a", unknown).__enter__()
    with StoreLock(store, "lock.json", "process 2 on b", unknown) as taken:
        taken.check()


def test_a_store_that_cannot_make_a_file_once_is_not_shared(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(memory)

    def pipe_file(path: str, value: bytes) -> None:
        raise AssertionError("not without mode")

    monkeypatch.setattr(store._files, "pipe_file", pipe_file, raising=False)
    with pytest.raises(StorageError, match="a lock would not hold on it; work in a local folder"):
        StoreLock(store, "lock.json", "process 1 on a", unknown).__enter__()

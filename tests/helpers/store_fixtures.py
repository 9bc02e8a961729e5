"""Stores to test on: memory, and an S3-compatible server on loopback, undisturbed or behind a faulty proxy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_proxy import Faults, faulty_proxy

BUCKET = "provers"


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Local copies lie in the test's own folder; no request waits long before it is made again."""
    monkeypatch.setenv("PROVER_STORE_CACHE", str(tmp_path / "copies"))
    monkeypatch.setattr("prover.storage.store.FIRST_WAIT_S", 0.01)
    return tmp_path / "copies"


@pytest.fixture
def memory() -> Iterator[str]:
    """URL of an empty folder in memory."""
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield "memory://store/folder"
    MemoryFileSystem.store.clear()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, int]]:
    """Host and port of moto's S3 server."""
    pytest.importorskip("s3fs", reason="the extra [s3] is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] of the extra [dev] is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield str(host), int(port)
    running.stop()


@pytest.fixture
def s3(s3_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """A bucket `provers` on the server, behind a proxy; what the proxy does wrong (at first nothing) can be set."""
    import http.client

    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    connection = http.client.HTTPConnection(*s3_server, timeout=30)
    connection.request("POST", "/moto-api/reset")
    connection.getresponse().read()
    connection.request("PUT", f"/{BUCKET}")
    assert connection.getresponse().status == 200
    connection.close()
    faults = Faults()
    with faulty_proxy(*s3_server, faults) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3fs.S3FileSystem.clear_instance_cache()
        yield faults
        s3fs.S3FileSystem.clear_instance_cache()

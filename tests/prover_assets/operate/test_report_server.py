"""The server of the reports: what it hands out, and everything that it does not."""

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover_assets.operate.report_server import HOST, ReportServer
from prover_assets.store.layout import DataFolder

PAGE = b"<!doctype html><title>Report of iter_000</title>"


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    data = DataFolder(tmp_path / "data")
    for key in ("iter_000", "iter_001"):
        folder = data.iteration(key).report
        folder.mkdir(parents=True)
        folder.joinpath("index.html").write_bytes(PAGE)
        folder.joinpath("rank1.png").write_bytes(b"png")
        folder.joinpath("notes.txt").write_bytes(b"not a part of a report")
    data.iteration("iter_002").trajectories.nodes.parent.mkdir()  # not reported yet
    data.iteration("iter_001").champion.write_bytes(b"{}")
    (tmp_path / "secret.html").write_bytes(b"secret")
    data.iteration("iter_000").report.joinpath("link.html").symlink_to(tmp_path / "secret.html")
    return data


@pytest.fixture
def server(data: DataFolder) -> Iterator[ReportServer]:
    with ReportServer(data, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: ReportServer, path: str, method: str = "GET", host: str | None = None) -> tuple[int, bytes, dict]:
    """Status, content and headers of the answer to a path that is sent as it stands."""
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"{HOST}:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())


def test_reports_and_their_pictures_are_handed_out(server: ReportServer):
    status, content, _ = ask(server, "/")
    assert status == 200
    assert content.index(b"/iter_001/") < content.index(b"/iter_000/")  # the newest first
    assert b"iter_002" not in content
    status, content, headers = ask(server, "/iter_001/")
    assert (status, content, headers["Content-Type"]) == (200, PAGE, "text/html; charset=utf-8")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert ask(server, "/iter_001/index.html?theorem=3")[:2] == (200, PAGE)
    assert ask(server, "/iter_001/rank1.png")[:2] == (200, b"png")
    status, _, headers = ask(server, "/iter_001")
    assert (status, headers["Location"]) == (301, "/iter_001/")  # so that what the page names lies beside it


@pytest.mark.parametrize(
    "path",
    [
        "/iter_000/../../../secret.html",
        "/iter_000/..%2f..%2f..%2fsecret.html",
        "/iter_000/%2e%2e/champion.json",
        "/iter_000/..\\..\\secret.html",
        "/../secret.html",
        "//etc/passwd",
        "/etc/passwd",
        "/iter_000//etc/passwd",
        "/iter_000/link.html",
        "/iter_000/notes.txt",
        "/iter_000/index.html/",
        "/iter_000/index.html%00.png",
        "/iter_001/../iter_000/index.html",
        "/iter_002/",
        "/iter_01/",
        "/%",
        "http://127.0.0.1/secret.html",
    ],
)
def test_nothing_else_is_handed_out(server: ReportServer, path: str):
    status, content, _ = ask(server, path)
    assert status == 404
    assert b"secret" not in content


def test_a_folder_of_reports_that_is_a_link_is_none(server: ReportServer, data: DataFolder, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.joinpath("index.html").write_bytes(b"secret")
    data.iteration("iter_003").root.mkdir()
    data.iteration("iter_003").report.symlink_to(elsewhere)
    assert ask(server, "/iter_003/")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_reports_can_only_be_read(server: ReportServer, data: DataFolder, method: str):
    status, _, headers = ask(server, "/iter_000/", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert data.iteration("iter_000").report.joinpath("index.html").read_bytes() == PAGE


def test_a_head_has_no_content(server: ReportServer):
    status, content, headers = ask(server, "/iter_000/", "HEAD")
    assert (status, content, headers["Content-Length"]) == (200, b"", str(len(PAGE)))


def test_a_page_elsewhere_cannot_read_through_a_name_of_its_own(server: ReportServer):
    assert ask(server, "/iter_000/", host="evil.example")[0] == 403
    assert ask(server, "/iter_000/", host=f"localhost:{server.server_port}")[0] == 200


def test_it_listens_on_this_machine_alone(server: ReportServer):
    assert server.server_address[0] == "127.0.0.1"


def test_what_is_no_http_ends_its_own_connection_alone(server: ReportServer):
    with socket.create_connection((HOST, server.server_port), timeout=60) as raw:
        raw.sendall(b"\x00\xff no http at all\r\n\r\n")
        assert raw.recv(1000)
    assert ask(server, "/iter_000/")[0] == 200


def test_an_empty_project_says_how_a_report_is_made(tmp_path: Path):
    with ReportServer(DataFolder(tmp_path), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert b"make run" in ask(server, "/")[1]
        server.shutdown()

"""The live pages over HTTP: searches that run, were cut off and are finished; and what they must not give away."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from search_fakes import HashPolicy, HashScorer, HashWorld

from prover.search import SearchConfig, SearchProgress, search_to_files
from prover.search import glimpse as glimpses
from prover.theorems import Theorem
from prover_assets.operate import live_pages
from prover_assets.operate.report_server import HOST, ReportServer
from prover_assets.store.layout import DataFolder

THEOREMS = [Theorem(f"t{number}", f": statement {number}") for number in range(6)]
CONFIG = SearchConfig(max_expansions=24, n_candidates=4, mode="energy-only", wave_size=3, cohorts=1)


def search(output: Path, theorems: list[Theorem] = THEOREMS, **options: Any) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    search_to_files(theorems, output, HashWorld(), HashPolicy(), CONFIG, scorer=HashScorer(), **options)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look is due, and parts are written as theorems end."""
    monkeypatch.setattr(glimpses, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(glimpses, "MOST_SHARE", 1e9)
    monkeypatch.setattr("prover.trajectory.writer._FLUSH_FIRST_S", 0.0)
    monkeypatch.setattr("prover.trajectory.writer.FLUSH_EVERY_S", 0.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data: Path) -> Iterator[ReportServer]:
    data.mkdir()
    with ReportServer(DataFolder(data), 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: ReportServer, path: str, host: str | None = None, method: str = "GET") -> tuple[int, bytes, dict]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"{HOST}:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())


def state(server: ReportServer, name: str, query: str = "") -> dict[str, Any]:
    status, content, _ = ask(server, f"/live/{name}/state.json{query}")
    assert status == 200, content
    return json.loads(content)


def test_a_running_search_is_listed_first_and_shown_as_it_goes(server: ReportServer, data: Path, at_once: None):
    search(data / "baseline" / "trajectories.parquet")
    output = data / "iterations" / "iter_000" / "guided.parquet"
    seen: list[dict[str, Any]] = []
    lists: list[bytes] = []

    def watch(progress: SearchProgress) -> None:
        seen.append(state(server, "iterations/iter_000/guided"))
        lists.append(ask(server, "/live/")[1])

    search(output, on_progress=watch)
    running = [now for now in seen if now["state"] == "running"]
    assert running[-1]["theorems"] == len(THEOREMS)
    assert [now["done"] for now in running] == sorted(now["done"] for now in running)
    assert any(0 < len(now["landed"]) < len(THEOREMS) for now in running)
    trees = [one for now in running for one in now["searches"] if len(one["nodes"]) > 4]
    assert trees
    for one in trees:
        assert all(one["nodes"][place][3] == 0 for place in one["frontier"])  # open
        assert all(isinstance(one["nodes"][place][2], float) for place in one["frontier"])
    assert lists[-1].index(b"iterations/iter_000/guided") < lists[-1].index(b"baseline/trajectories")
    assert b"(running" in lists[-1]
    ended = state(server, "iterations/iter_000/guided")
    assert (ended["state"], len(ended["landed"])) == ("finished", len(THEOREMS))
    assert b"(running" not in ask(server, "/live/")[1]


def test_what_is_known_is_not_sent_again(server: ReportServer, data: Path):
    search(data / "x.parquet")
    first = state(server, "x")
    again = state(server, "x", f"?since={len(first['landed'])}&generation={first['generation']}")
    assert (again["since"], again["landed"]) == (len(THEOREMS), [])
    for query in ("?since=2", "?since=99&generation=1", "?since=-1&generation=1", "?since=x&generation=y"):
        assert len(state(server, "x", query)["landed"]) == len(THEOREMS)


def test_another_search_in_the_same_place_is_sent_whole(server: ReportServer, data: Path):
    search(data / "x.parquet")
    first = state(server, "x")
    search(data / "x.parquet", THEOREMS[:2])
    again = state(server, "x", f"?since={len(first['landed'])}&generation={first['generation']}")
    assert (again["since"], len(again["landed"])) == (0, 2)
    assert again["model_s"] < first["model_s"]


def test_a_theorem_that_is_done_has_its_proof_and_its_tree(server: ReportServer, data: Path):
    search(data / "x.parquet")
    proved = next(row for row in state(server, "x")["landed"] if row[1])
    found = json.loads(ask(server, f"/live/x/theorem.json?name={quote(proved[0])}")[1])
    assert found["declaration"].startswith(f"theorem {proved[0]}")
    nodes = found["search"]["nodes"]
    assert "; ".join(node[1] for node in nodes if node[3] & 1 and node[1]) == proved[6]
    assert "not among" in json.loads(ask(server, "/live/x/theorem.json?name=other")[1])["problem"]


def test_a_damaged_file_is_said_on_the_page(server: ReportServer, data: Path):
    search(data / "x.parquet")
    (data / "x.summary.parquet").write_bytes(b"PAR1 no more")
    assert "x.summary.parquet" in state(server, "x")["problem"]
    assert "problem" in json.loads(ask(server, "/live/x/theorem.json?name=t0")[1])


def test_the_pages_run_no_script_but_their_own(server: ReportServer, data: Path):
    search(data / "x.parquet")
    for path in ("/live/", "/live/x/", "/live/x/state.json", "/live/live.js"):
        status, _, headers = ask(server, path)
        assert status == 200
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
    page = ask(server, "/live/x/")[1]
    assert page.count(b"<script") == page.count(b"<script src=") == 2


def test_a_name_is_shown_as_text(server: ReportServer, data: Path):
    search(data / "<img src=x onerror=alert(1)>?#%.parquet", [Theorem("<b>", ": \u202e x")])
    (name,) = live_pages.searches_in(data)
    listed = ask(server, "/live/")[1]
    assert b"<img" not in listed
    assert quote(name).encode() in listed
    status, page, _ = ask(server, f"/live/{quote(name)}/")
    assert status == 200
    assert b"<img" not in page
    assert "\u202e" not in json.dumps(state(server, quote(name)), ensure_ascii=False)


@pytest.mark.parametrize(
    "path",
    [
        "../secret/",
        "../secret/state.json",
        "..%2fsecret/state.json",
        "x/../../secret/state.json",
        "x/other.json",
        "x/theorem.json/",
        "x",
        "link/",
        "link/state.json",
        "folder/secret/state.json",
        "mlflow/y/state.json",
        "tree.js/",
        "live.html",
        "page.js",
        "/etc/passwd",
    ],
)
def test_nothing_else_is_handed_out(server: ReportServer, data: Path, tmp_path: Path, path: str):
    search(data / "x.parquet")
    search(data / "mlflow" / "y.parquet")
    search(tmp_path / "elsewhere" / "secret.parquet", [Theorem("secret", ": secret")])
    (data / "link.summary.parquet").symlink_to(tmp_path / "elsewhere" / "secret.summary.parquet")
    (data / "folder").symlink_to(tmp_path / "elsewhere")
    status, content, _ = ask(server, f"/live/{path}")
    assert status == 404
    assert b"secret" not in content


def test_a_page_elsewhere_cannot_read_it(server: ReportServer, data: Path):
    search(data / "x.parquet")
    assert ask(server, "/live/x/state.json", host="evil.example")[0] == 403
    assert ask(server, "/live/x/state.json", method="POST")[0] == 405


def test_looking_changes_no_file(server: ReportServer, data: Path):
    search(data / "x.parquet")

    def files() -> dict[str, tuple[int, bytes]]:
        return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in data.rglob("*") if p.is_file()}

    before = files()
    for path in ("", "x/", "x/state.json", "x/theorem.json?name=t0"):
        assert ask(server, f"/live/{path}")[0] == 200
    assert files() == before


@pytest.mark.long
def test_who_has_not_asked_for_a_while_is_forgotten(data: Path, monkeypatch: pytest.MonkeyPatch, at_once: None):
    pages = live_pages.LivePages(data)
    search(data / "other.parquet")
    marks: list[bool] = []

    def look(progress: SearchProgress) -> None:
        assert pages.answer("x/state.json", "").status == 200
        marks.append(glimpses.watched_file(data / "x.parquet").exists())
        monkeypatch.setattr(live_pages, "_FORGET_AFTER_S", -1.0)
        pages.answer("other/state.json", "")
        marks.append(glimpses.watched_file(data / "x.parquet").exists())
        monkeypatch.setattr(live_pages, "_FORGET_AFTER_S", 60.0)

    search(data / "x.parquet", on_progress=look)
    assert marks[:2] == [True, False]

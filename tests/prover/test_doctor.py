"""`prover doctor`: each line says what is there and what to do, on installations that are fine and that are not."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import standin_lean
import typer
from stand_in_server import StandIn
from typer.testing import CliRunner

from prover.doctor import Check, Subject, iter_checks, register
from prover.doctor.model import check_model


def by_name(checks: Iterator[Check]) -> dict[str, Check]:
    made = list(checks)
    assert len({check.name for check in made}) == len(made)
    return {check.name: check for check in made}


@pytest.fixture(scope="module")
def defaults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Check]:
    return by_name(iter_checks(Subject(data=tmp_path_factory.mktemp("data"))))


def test_the_default_installation_is_fine(defaults: dict[str, Check]) -> None:
    assert [check.name for check in defaults.values() if check.status == "fail"] == []
    lean = defaults["Lean"]
    assert "lean-script:4.35.0:minilib" in lean.detail
    assert "certified a proof" in lean.detail
    assert "prelude" in lean.detail
    assert "shipped policy" in defaults["Model"].detail
    assert {"Python", "Sandbox", "GPU", "Memory", "Data folder", "Dagster", "MLflow", "REPL"} <= defaults.keys()


def test_what_is_wrong_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere"))
    theorems = tmp_path / "set.jsonl"
    theorems.write_text(
        '{"name": "t", "source": "import Mathlib\\n\\ntheorem t : True := by sorry"}\n', encoding="utf-8"
    )
    (tmp_path / "model").mkdir()
    checks = by_name(iter_checks(Subject(llm_path=str(tmp_path / "model"), theorems=theorems, data=tmp_path)))
    assert checks["Theorems"].status == "fail"
    assert "--lean-project" in checks["Theorems"].remedy
    assert checks["Model"].status == "fail"
    assert "config.json" in checks["Model"].detail
    assert checks["MLflow"].status == "fail"
    assert "http://127.0.0.1:1" in checks["MLflow"].detail
    assert checks["Dagster"].status == "fail"
    assert all(check.remedy for check in checks.values() if check.status != "ok")
    project = by_name(iter_checks(Subject(lean_project=tmp_path, data=tmp_path)))
    assert project["Lean"].status == "fail"
    assert project["Toolchain"].status == "fail"
    assert project["Lake project"].status == "fail"


@pytest.mark.long
def test_a_lake_project_and_its_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{standin_lean.install(tmp_path)}{os.pathsep}{os.environ['PATH']}")
    project = tmp_path / "project"
    (project / ".lake" / "packages" / "mathlib" / ".lake" / "build" / "lib").mkdir(parents=True)
    (project / "lakefile.toml").write_text('name = "mine"\n', encoding="utf-8")
    (project / "lean-toolchain").write_text("leanprover/lean4:v4.35.0\n", encoding="utf-8")
    manifest = {"packages": [{"name": "mathlib", "inputRev": "v4.35.0", "rev": "abc"}]}
    (project / "lake-manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    theorems = tmp_path / "set" / "set.jsonl"
    theorems.parent.mkdir()
    entry = {"name": "t", "statement": ": True", "header": standin_lean.HEADER}
    theorems.write_text(json.dumps(entry) + "\n", encoding="utf-8")
    (theorems.parent / "README.md").write_text("Made with toolchain v4.24.0.\n", encoding="utf-8")
    checks = by_name(iter_checks(Subject(lean_project=project, theorems=theorems, data=tmp_path)))
    assert (checks["Lean"].status, checks["Toolchain"].status) == ("ok", "ok"), checks["Lean"]
    assert "4.35.0" in checks["Toolchain"].detail
    assert checks["Lake project"].status == "warn"
    assert "v4.35.0" in checks["Lake project"].detail
    assert "v4.24.0" in checks["Lake project"].detail
    (theorems.parent / "lean-toolchain").write_text("leanprover/lean4:v4.35.0\n", encoding="utf-8")
    assert (
        by_name(iter_checks(Subject(lean_project=project, theorems=theorems, data=tmp_path)))["Lake project"].status
        == "ok"
    )


def test_servers_that_answer_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("PROVER_DAGSTER_UI", f"http://127.0.0.1:{server.server_port}")
        checks = by_name(iter_checks(Subject(data=tmp_path)))
        server.shutdown()
    assert checks["MLflow"].status == "ok"
    assert "answers" in checks["MLflow"].detail
    assert checks["Dagster"].detail.endswith(f"; answers at http://127.0.0.1:{server.server_port}")


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("deepseek-prover-v2", "ok", ["by vllm", "weights /models/ds", "context 4096 tokens", "deepseek-prover-v2/1"]),
        ("mine", "warn", ["no prompt template is known"]),
        ("deepseek-prover-v3", "fail", ["does not serve 'deepseek-prover-v3'", "did you mean 'deepseek-prover-v2'?"]),
    ],
)
def test_a_server_is_asked_what_it_is(name: str, status: str, words: list[str], tmp_path: Path) -> None:
    served = {"owned_by": "vllm", "root": "/models/ds", "max_model_len": 4096}
    models = [served | {"id": "deepseek-prover-v2"}, {"id": "mine"}]
    with StandIn() as server:
        server.pages["/v1/models"] = (200, {"data": models})
        server.start()
        check = check_model(Subject(llm_path=f"{server.url}#{name}", data=tmp_path))
        server.shutdown()
    assert check.status == status
    for word in words:
        assert word in check.detail
    assert bool(check.remedy) is (status != "ok")
    assert server.bodies == []  # it generates nothing


def test_a_server_that_is_not_there_is_one_sentence_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StandIn() as server:
        address = server.url
        server.pages["/v1/models"] = (503, {"error": "Loading model"})
        server.start()
        loading = check_model(Subject(llm_path=f"{address}#m", data=tmp_path))
        server.shutdown()
    assert loading.status == "fail"
    assert "Loading model" in loading.detail
    gone = check_model(Subject(llm_path=f"{address}#m", data=tmp_path))
    assert gone.status == "fail"
    assert "Start the server first" in gone.detail
    assert check_model(Subject(llm_path=address, data=tmp_path)).detail.startswith(f"{address} names no model")


def test_the_model_is_that_of_the_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVER_POLICY", "http://127.0.0.1:9/v1#m")
    asked: list[Subject] = []
    monkeypatch.setattr("prover.doctor.iter_checks", lambda subject: iter(asked.append(subject) or []))
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    for given, expected in (([], "http://127.0.0.1:9/v1#m"), (["--llm-path", str(tmp_path)], str(tmp_path))):
        assert CliRunner().invoke(app, ["doctor", *given]).exit_code == 0
        assert asked.pop().llm_path == expected


def test_the_command_prints_lines_or_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [Check("Lean", "ok", "4.35"), Check("Model", "fail", "[red]none", "get one")]
    monkeypatch.setattr("prover.doctor.iter_checks", lambda subject: iter(rows))
    app = typer.Typer()
    register(app)
    printed = CliRunner().invoke(app, [])
    assert printed.exit_code == 1
    assert printed.stdout.splitlines() == [
        "ok    Lean          4.35",
        "fail  Model         [red]none",
        "                     -> get one",
    ]
    as_json = CliRunner().invoke(app, ["--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["checks"][1]["remedy"] == "get one"

"""`make run` on a data folder that lies on a store: the same graph, published after each step."""

from importlib import import_module
from pathlib import Path

import pytest
from faulty_proxy import Faults
from store_fixtures import memory, s3, s3_server, working

from prover.storage.commit import COMMIT, read_commit
from prover.storage.lock import StoreLock
from prover.storage.mirror import Mirror, url_of
from prover.storage.places import working_folder
from prover.storage.store import StorageError, Store
from prover_assets.operate.shared import LOCK
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder

__all__ = ["memory", "s3", "s3_server", "working"]

QUICK = {"guided_trajectories": {"head_seeds": 1, "random_control": False}}


@pytest.mark.slow
def test_iterations_of_two_machines_on_a_faulty_s3(
    make_run, s3: Faults, working: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    s3.fail_every, s3.truncate_downloads = 10, 2
    project = make_run.project
    project.url, project.config, project.track = "s3://provers/team/data", QUICK, True
    assert make_run() == 0, capsys.readouterr().err
    commit = read_commit(Store(project.url), COMMIT)
    assert commit is not None
    assert {"iterations/iter_000/report/report.json", "iterations/iter_000/ebm/model.safetensors"} <= set(commit.files)
    assert "mlflow/mlflow.db" in commit.files
    assert Store(project.url).read(LOCK) is None
    assert not (project.root / "data" / "iterations").exists(), "nothing lies where a disk would have it"
    # Another machine: no local copy, and the same records of Dagster.
    monkeypatch.setenv("PROVER_STORE_CACHE", str(tmp_path / "other machine"))
    assert make_run() == 0, capsys.readouterr().err
    there = DataFolder(working_folder(project.url))
    assert url_of(there.root) == project.url
    assert [folder.key for folder in there.iterations()] == ["iter_000", "iter_001", "iter_002"]
    assert read_json(there.iteration("iter_001").report_file) is not None
    # The first one again: its copy is behind, and is brought up to date.
    monkeypatch.setenv("PROVER_STORE_CACHE", str(working))
    first = DataFolder(working_folder(project.url))
    assert not first.iteration("iter_001").report_file.exists()
    Mirror(Store(project.url), first.root).fetch()
    assert read_json(first.iteration("iter_001").report_file) == read_json(there.iteration("iter_001").report_file)
    assert s3.failed > 20


def test_a_data_folder_that_another_machine_works_on_is_refused(make_run, memory: str, working: Path, capsys) -> None:
    make_run.project.url = memory
    with StoreLock(Store(memory), LOCK, "4711 1 boot elsewhere", lambda holder: None):
        assert make_run() == 1
    said = capsys.readouterr().err
    assert f"error: {memory} is in use by another process (4711 1 boot elsewhere)" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_step_that_fails_leaves_what_was_made_on_the_store_and_the_next_run_goes_on(
    make_run, memory: str, working: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run.project.url, make_run.project.config = memory, QUICK
    with monkeypatch.context() as patch:
        patch.setattr(import_module("prover_assets.defs.assets.iteration_report"), "compare", _no_report)
        assert make_run() == 1
    assert "no report today" in capsys.readouterr().err
    commit = read_commit(Store(memory), COMMIT)
    assert commit is not None
    assert "iterations/iter_000/guided.manifest.json" in commit.files
    assert "iterations/iter_000/report/report.json" not in commit.files
    assert make_run() == 0
    assert "going on from iteration_report" in capsys.readouterr().out


def _no_report(*values: object) -> None:
    raise ValueError("no report today")


def test_a_store_that_is_gone_is_one_sentence(make_run, memory: str, working: Path, capsys, monkeypatch) -> None:
    make_run.project.url = memory

    def refuse(store: Store, name: str, content: bytes) -> bool:
        raise StorageError(f"{store.url} cannot be written: no such bucket")

    monkeypatch.setattr(Store, "create", refuse)
    assert make_run() == 1
    assert capsys.readouterr().err.strip() == f"error: {memory} cannot be written: no such bucket"

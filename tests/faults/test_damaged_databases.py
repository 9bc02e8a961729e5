"""The databases of MLflow and of Dagster, damaged: what can be read is read, the rest is said in words; never a trace.

Neither has checksums of its own values, and nothing that this project computes is read back from them. test_memo.py
tries the memo, whose answers have digests.
"""

import sqlite3
from pathlib import Path

import dagster as dg
import pytest
from faults import SIZES, damaged_copies, try_damage

from prover_assets.operate.run_iteration import records_in_words
from prover_assets.store.layout import DataFolderError
from prover_assets.tracking.database import TrackingError, described
from prover_assets.tracking.mlflow import Store

HEADER_PAGE = 4096
"""Bytes of the first page, which holds the header and the tables' names."""


@pytest.fixture(scope="module")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking database with one finished run."""
    folder = tmp_path_factory.mktemp("tracking")
    store = Store(f"sqlite:///{folder / 'mlflow.db'}", "expert-iteration", folder / "artifacts")
    run = store.client.create_run(store.experiment_id, run_name="iter_000")
    store.client.log_metric(run.info.run_id, "area", 0.704)
    store.client.set_terminated(run.info.run_id)
    return folder / "mlflow.db"


@pytest.mark.parametrize("n", SIZES)
def test_the_tracking_database(mlflow_database: Path, tmp_path: Path, n: int) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(mlflow_database.read_bytes())

    def read() -> int:
        store = Store(f"sqlite:///{path}", "expert-iteration", tmp_path / "artifacts")
        return len(store.client.search_runs([store.experiment_id]))

    assert read() == 1
    tried = try_damage(path, damaged_copies(path.read_bytes(), seed=21, n=n, head=HEADER_PAGE), read, TrackingError)
    assert all(str(path) in words and "\n" not in words for words in tried.refusals), tried.refusals
    assert len(tried.refusals) >= 3


@pytest.mark.long
def test_the_tracking_database_is_made_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow cannot go on where a kill has ended the making of its tables."""
    uri, database = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlflow.db"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("prover_assets.tracking.database.os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            Store(uri, "expert-iteration", tmp_path / "artifacts")
    assert not database.exists()
    store = Store(uri, "expert-iteration", tmp_path / "artifacts")
    assert store.client.search_runs([store.experiment_id]) == []
    assert list(tmp_path.glob(".*.tmp*")) == [], "what was half made is removed"


def test_a_half_made_tracking_database_is_said_to_be_that(tmp_path: Path) -> None:
    """As a version before this one left it."""
    error = sqlite3.OperationalError("table _alembic_tmp_jobs already exists")
    words = str(described(tmp_path / "mlflow.db", error))
    assert "was left half made" in words
    assert "nothing was recorded yet, delete it" in words


@pytest.fixture(scope="module")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Dagster home with one run."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.run_storage.add_run(dg.DagsterRun("iteration", "a" * 32, status=dg.DagsterRunStatus.SUCCESS))
    with sqlite3.connect(home / "history" / "runs.db") as database:
        database.execute("PRAGMA journal_mode = DELETE")
    return home


@pytest.mark.parametrize("n", SIZES)
def test_the_records_of_dagster(dagster_home: Path, n: int, capsys: pytest.CaptureFixture[str]) -> None:
    path = dagster_home / "history" / "runs.db"

    def read() -> list[str]:
        for companion in ("-wal", "-shm"):
            path.with_name(path.name + companion).unlink(missing_ok=True)
        with records_in_words(dagster_home), dg.DagsterInstance.from_config(str(dagster_home)) as instance:
            return [run.run_id for run in instance.get_runs()]

    assert read() == ["a" * 32]
    tried = try_damage(path, damaged_copies(path.read_bytes(), seed=23, n=n, head=HEADER_PAGE), read, DataFolderError)
    assert all(str(dagster_home) in words and "\n" not in words for words in tried.refusals), tried.refusals
    assert len(tried.refusals) >= 3
    assert "Traceback" not in capsys.readouterr().err


def test_records_of_dagster_that_another_process_holds_are_said_so(dagster_home: Path, tmp_path: Path) -> None:
    """The words for a lock, and for a database of a newer Dagster, never advise to move it away."""
    holder = sqlite3.connect(dagster_home / "history" / "runs.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    other = sqlite3.connect(dagster_home / "history" / "runs.db", timeout=0.01)
    try:
        with pytest.raises(DataFolderError, match="held by another process") as raised, records_in_words(dagster_home):
            other.execute("SELECT * FROM runs")
    finally:
        holder.close()
        other.close()
    assert "empty folder" not in str(raised.value)
    assert str(dagster_home) in str(raised.value)

"""Runs whose process is gone are told from those that go on, and closed in MLflow as well as in Dagster."""

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate import closing, processes
from prover_assets.operate.processes import LOCK_TAG, PROCESS_TAG, RunProcess, is_abandoned, tags_of_this
from prover_assets.operate.run_iteration import WHAT_IS_HELD
from prover_assets.store.layout import DataFolder
from prover_assets.tracking.database import TrackingError, require_known_version
from prover_assets.tracking.mlflow import Store
from prover_assets.tracking.tags import DAGSTER_RUN_TAG

ELSEWHERE = Path("/nonexistent/lock")


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    """In a new container the dead run's process id is that of the new run."""
    mine = RunProcess.this()
    assert RunProcess.parse(str(mine)) == mine
    assert mine.is_alive()
    assert RunProcess(mine.pid, "1", mine.boot, mine.host).is_alive() is False
    assert RunProcess(mine.pid, mine.start, "another boot", mine.host).is_alive() is False
    assert RunProcess(mine.pid, mine.start, mine.boot, "another-host").is_alive() is None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        its = RunProcess(child.pid, processes._start_of(child.pid) or "", mine.boot, mine.host)
        assert its.is_alive()
        child.kill()
        time.sleep(0.2)
        assert its.is_alive() is False, "a zombie, which nobody has waited for yet"


def test_the_lock_decides_where_it_can_be_seen(tmp_path: Path) -> None:
    lock, mine = tmp_path / "x.lock", str(RunProcess.this())
    gone = str(RunProcess(1, "1", "another boot", "another-container"))
    lock.touch()
    assert is_abandoned({PROCESS_TAG: mine, LOCK_TAG: str(lock)}, ELSEWHERE), "free: whoever had it is gone"
    with open(lock, "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert not is_abandoned({PROCESS_TAG: gone, LOCK_TAG: str(lock)}, ELSEWHERE), "held in another container"
        assert is_abandoned({PROCESS_TAG: mine, LOCK_TAG: str(lock)}, lock), "held by this very process"
    assert not is_abandoned({PROCESS_TAG: mine, LOCK_TAG: str(tmp_path / "missing")}, ELSEWHERE)
    assert not is_abandoned({}, ELSEWHERE), "a run that the UI started"
    assert is_abandoned({PROCESS_TAG: str(os.getpid())}, ELSEWHERE), "of an older version: our own number"
    assert is_abandoned({PROCESS_TAG: str(2**22 + 7)}, ELSEWHERE)


def open_run(project, tags: dict[str, str], *, key: str = "iter_000", mlflow_of: str = "") -> str:
    """A Dagster run of the iteration `key` in progress, with the iteration's MLflow run open; returns its id."""
    run = project.instance.create_run_for_job(project.job, tags={"dagster/partition": key, **tags})
    project.instance.report_engine_event("started", run)
    project.instance.handle_run_event(
        run.run_id,
        dg.DagsterEvent(dg.DagsterEventType.PIPELINE_START.value, run.job_name),
    )
    store(project).parent(mlflow_of or run.run_id, key)
    return run.run_id


def store(project) -> Store:
    data = DataFolder(project.data)
    return Store(MlflowResource().resolved_uri(data), "expert-iteration", data.mlflow / "artifacts")


def statuses(project) -> dict[str, str]:
    """MLflow's status by Dagster run."""
    found = store(project)
    runs = found.client.search_runs([found.experiment_id])
    return {run.data.tags[DAGSTER_RUN_TAG]: run.info.status for run in runs if DAGSTER_RUN_TAG in run.data.tags}


def test_a_dead_run_with_our_own_process_id_is_closed(project) -> None:
    data = DataFolder(project.data)
    with data.held(WHAT_IS_HELD):
        lock = data.lock_file(WHAT_IS_HELD)
        dead = open_run(project, tags_of_this(lock))
        of_the_ui = open_run(project, {}, key="iter_001")
        closing.close_abandoned(project.instance, data, lock)
    assert project.instance.get_run_by_id(dead).status == dg.DagsterRunStatus.FAILURE
    assert project.instance.get_run_by_id(of_the_ui).status == dg.DagsterRunStatus.STARTED
    assert statuses(project) == {dead: "FAILED", of_the_ui: "RUNNING"}


def test_a_kill_between_the_two_reports_leaves_nothing_open(project, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow first: what is killed after that is still in progress in Dagster, and looked at again."""
    data = DataFolder(project.data)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with data.held(WHAT_IS_HELD):
        lock = data.lock_file(WHAT_IS_HELD)
        dead = open_run(project, tags_of_this(lock))
        with monkeypatch.context() as patch:
            patch.setattr(project.instance, "report_run_failed", killed)
            with pytest.raises(KeyboardInterrupt):
                closing.close_abandoned(project.instance, data, lock)
        assert statuses(project) == {dead: "FAILED"}
        closing.close_abandoned(project.instance, data, lock)
    assert project.instance.get_run_by_id(dead).status == dg.DagsterRunStatus.FAILURE


@pytest.mark.long
def test_each_start_closes_mlflow_runs_whose_dagster_run_has_ended(project) -> None:
    """As a version before this one left them, or a kill just after the failure was reported."""
    data = DataFolder(project.data)
    ended, going_on = open_run(project, {}), open_run(project, {}, key="iter_001")
    project.instance.report_run_failed(project.instance.get_run_by_id(ended))
    open_run(project, {}, key="iter_002", mlflow_of="a run of another Dagster")
    assert closing.close_left_open(project.instance, data) == [ended]
    found = statuses(project)
    assert (found[ended], found[going_on]) == ("FAILED", "RUNNING")
    assert found["a run of another Dagster"] == "RUNNING"
    assert closing.close_left_open(project.instance, data) == []


@pytest.mark.long
def test_make_run_closes_and_goes_on(make_next_run) -> None:
    make_run = make_next_run
    make_run.project.track = True
    data = DataFolder(make_run.project.data)
    data.iteration(0).report_file.unlink()  # one step is to do
    dead = open_run(make_run.project, tags_of_this(data.lock_file(WHAT_IS_HELD)))
    ended = open_run(make_run.project, {}, key="iter_001")
    make_run.project.instance.report_run_failed(make_run.project.instance.get_run_by_id(ended))
    assert make_run() == 0
    assert make_run.project.instance.get_run_by_id(dead).status == dg.DagsterRunStatus.FAILURE
    found = statuses(make_run.project)
    assert found[ended] == "FAILED", "left open in MLflow although its Dagster run has ended"
    assert "RUNNING" not in found.values()


def test_a_second_make_run_is_refused(make_run, capsys: pytest.CaptureFixture[str]) -> None:
    with DataFolder(make_run.project.data).held(WHAT_IS_HELD):
        assert make_run() == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: another process (process {os.getpid()}) is writing the next iteration in")
    assert len(said.splitlines()) == 1


@pytest.mark.slow
def test_two_make_runs_on_a_fresh_folder(tmp_path: Path) -> None:
    """Real processes, nothing made yet, three at once: one runs, the others are refused in one sentence."""
    config = tmp_path / "config.yaml"
    config.write_text("ops: {trajectories: {config: {n_theorems: 12, max_expansions: 4}}}\n", encoding="utf-8")
    environment = {**os.environ, "PROVER_DATA": str(tmp_path / "data"), "DAGSTER_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "prover_assets.run", "--config", str(config)]
    started = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        for _ in range(3)
    ]
    deadline = time.monotonic() + 120
    while sum(process.poll() is None for process in started) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    refused = [process for process in started if process.poll() is not None]
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    said = [process.communicate()[1] for process in refused]
    assert [process.returncode for process in refused] == [1, 1]
    assert all(words.startswith("error: another process (process ") and words.count("\n") == 1 for words in said), said


@pytest.mark.slow  # each of the calls that close runs waits for the lock
def test_trouble_with_mlflow_does_not_hide_why_the_step_failed(
    make_run, policy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tracking database is locked by another process when the step fails."""
    make_run.project.track = True
    database = make_run.project.data / "mlflow" / "mlflow.db"
    holders: list[sqlite3.Connection] = []

    def generate(*_: object) -> None:
        holder = sqlite3.connect(database, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        holders.append(holder)
        raise ValueError("the policy is out of ideas")

    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "1")
    monkeypatch.setattr(policy, "generate", generate)
    try:
        assert make_run() == 1
    finally:
        for holder in holders:
            holder.close()
    said = capsys.readouterr().err
    assert "error: baseline_trajectories failed: the policy is out of ideas" in said
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking database of this MLflow, with one experiment."""
    folder = tmp_path_factory.mktemp("tracking")
    Store(f"sqlite:///{folder / 'mlflow.db'}", "unused", folder / "artifacts")
    return folder / "mlflow.db"


def test_a_tracking_database_of_a_newer_mlflow_is_said_so(tmp_path: Path, mlflow_template: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(mlflow_template.read_bytes())
    require_known_version(database)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00f00f00f00'")
    with pytest.raises(TrackingError, match=r"newer version of MLflow.*f00f00f00f00") as raised:
        Store(f"sqlite:///{database}", "expert-iteration", tmp_path / "artifacts")
    assert "move" not in str(raised.value)


def test_a_locked_tracking_database_is_said_so(tmp_path: Path, mlflow_template: Path) -> None:
    from prover_assets.tracking.database import described

    database = tmp_path / "mlflow.db"
    database.write_bytes(mlflow_template.read_bytes())
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    other = sqlite3.connect(database, timeout=0.01)
    with pytest.raises(sqlite3.OperationalError) as raised:
        other.execute("SELECT * FROM experiments")
    words = str(described(database, raised.value))
    assert "is held by another process" in words
    assert "move" not in words
    holder.close()

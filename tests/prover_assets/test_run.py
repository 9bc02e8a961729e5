"""`make run`: what it says when something is wrong, and what it closes."""

import os
import re
import signal
import subprocess
import sys

import pytest

from prover_assets.layout import DataFolder
from prover_assets.promotion import POLICY_ALONE, write_champion
from prover_assets.running import failure_words
from prover_assets.tracking import MlflowResource, Store


def test_a_failure_is_said_without_the_class_of_its_error(make_run, capsys):
    with DataFolder(make_run.project.data).held("iter_000"):
        assert make_run() == 1
    assert "error: theorems failed: another process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("iter_000/trajectories.parquet", "should be a Parquet file, .*; materialize trajectories of iter_000 again"),
        ("iter_001/champion.json", "should hold a JSON object, .*; materialize iteration_report of iter_000 again"),
    ],
)
def test_a_damaged_earlier_file_is_named_before_the_search(project, policy, name, words):
    assert project.run("theorems").success
    folder = project.data / "iterations"
    (folder / "iter_000").mkdir(parents=True)
    write_champion(DataFolder(project.data).iteration("iter_001"), POLICY_ALONE)
    (folder / name).write_text("garbage\n", encoding="utf-8")
    result = project.run("trajectories", partition="iter_001", raises=False)
    (error,) = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    said = failure_words(error)
    assert said.startswith(str(folder / name))
    assert re.search(words, said)
    assert policy.asked == []


def test_a_setting_of_another_type_is_one_sentence(make_run, capsys):
    make_run.project.config = {"trajectories": {"n_theorems": "24"}}
    assert make_run() == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the run configuration: Invalid scalar at path root:ops:trajectories:config:n_theo")
    assert len(said.splitlines()) == 1


def test_the_words_of_a_step_come_before_those_of_its_causes():
    from dagster_shared.error import SerializableErrorInfo

    def error(name: str, message: str, cause: SerializableErrorInfo | None = None) -> SerializableErrorInfo:
        return SerializableErrorInfo(message + "\n", [], name.split(".")[-1], cause)

    cause = error("ValueError", "ValueError: invalid literal")
    own = error("DataFolderError", "prover_assets.layout.DataFolderError: what to do: this", cause)
    assert failure_words(error("DagsterExecutionStepExecutionError", "...", own)) == "what to do: this"
    assert failure_words(error("KeyError", "KeyError: 'x'")) == "KeyError: 'x'"
    assert failure_words(error("OSError", "OSError")) == "OSError"
    assert failure_words(error("E", "module.f.<locals>.E: words: more")) == "words: more"
    assert failure_words(None) == "unknown"


def test_ctrl_c_closes_what_is_open_in_mlflow_as_killed(make_run, policy, monkeypatch, capsys):
    monkeypatch.setattr(policy, "generate", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    make_run.project.track = True
    assert make_run() == 130
    assert capsys.readouterr().err.strip().endswith("stopped; `make run` goes on from here")
    data = DataFolder(make_run.project.data)
    store = Store(MlflowResource().resolved_uri(data), "expert-iteration", data.mlflow / "artifacts")
    runs = {run.info.run_name: run.info.status for run in store.client.search_runs([store.experiment_id])}
    open_once = {"iter_000": "KILLED", "iter_000/theorems": "FINISHED", "iter_000/baseline_trajectories": "KILLED"}
    assert runs == open_once


def test_ctrl_c_while_it_is_starting_is_answered(tmp_path):
    """At the first import that takes a while."""
    script = (
        "import builtins, os, signal, sys\n"
        "original = builtins.__import__\n"
        "def slow(name, *rest):\n"
        "    if name == 'dagster': os.kill(os.getpid(), signal.SIGINT)\n"
        "    return original(name, *rest)\n"
        "builtins.__import__ = slow\n"
        "from prover_assets.run import main\n"
        "sys.exit(main([]))"
    )
    environment = {**os.environ, "PROVER_DATA": str(tmp_path / "data")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 130
    assert done.stderr.strip() == "stopped; `make run` goes on from here"

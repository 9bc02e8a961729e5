"""`make run`: what it says when something is wrong, and what it closes."""

import os
import re
import signal
import subprocess
import sys

import dagster as dg
import pytest
import yaml

from prover_assets.defs.jobs import BASELINE_ASSETS, ITERATION_ASSETS
from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate.imports import ROOT
from prover_assets.operate.run_iteration import failure_words
from prover_assets.store.champion import POLICY_ALONE, write_champion
from prover_assets.store.files import read_json, write_json
from prover_assets.store.layout import DataFolder
from prover_assets.tracking.mlflow import Store


def test_a_failure_is_said_without_the_class_of_its_error(make_run, capsys):
    with DataFolder(make_run.project.data).held("iter_000"):
        assert make_run() == 1
    assert "error: theorems failed: another process" in capsys.readouterr().err


def steps(project, partition: str = "iter_000") -> list[str]:
    """The assets of the latest run of a partition that were made, in order."""
    (run,) = project.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": partition}), limit=1)
    events = [entry.dagster_event for entry in project.instance.all_logs(run.run_id)]
    made = [event.step_key for event in events if event is not None and event.event_type_value == "STEP_SUCCESS"]
    return [step for step in made if not step.startswith("asset_check_")]  # a check of Dagster's own is a step too


@pytest.mark.parametrize(
    ("arguments", "tuned"),
    [
        ((), [False]),
        (("--iterations", "2"), [True, True]),
        (("--iterations", "2", "--no-tune-policy"), [False, False]),
        (("--tune-policy",), [True]),
        (("--config", "demo"), [True]),
        (("--config", "demo", "--no-tune-policy"), [False]),
    ],
)
def test_the_demonstration_and_several_iterations_tune_the_policy_unless_told_not_to(
    make_run, monkeypatch, arguments, tuned
):
    asked = []

    def run_next(*given, tune_policy: bool, **options) -> int:
        asked.append(tune_policy)
        return 0

    monkeypatch.setattr("prover_assets.operate.run_iteration.run_next", run_next)
    assert make_run(*arguments) == 0
    assert asked == tuned


EVERYTHING = [*BASELINE_ASSETS, *ITERATION_ASSETS]
QUICK = {"guided_trajectories": {"head_seeds": 1, "random_control": False}}
OTHER_LEAN = {"uncertified": 1e-9}
"""Outcomes are as before; the fingerprint is another."""


@pytest.mark.slow  # two iterations
def test_after_an_upgrade_of_lean_the_baseline_is_made_again_and_so_is_an_iteration_at_hand(make_next_run, capsys):
    make_run, project = make_next_run, make_next_run.project
    project.config = QUICK
    # A new iteration: the baseline alone is out of date.
    project.shares = OTHER_LEAN
    assert make_run() == 0
    said = capsys.readouterr().out
    assert "baseline_trajectories was searched with the Lean maze as maze-[]" in said
    assert set(steps(project, "iter_001")) == {BASELINE_ASSETS[1], *ITERATION_ASSETS}
    # An iteration that lacks its report only: what it would go on from is of another Lean.
    data = DataFolder(project.data)
    data.iteration("iter_001").report_file.unlink()
    project.shares = {}
    assert make_run() == 0
    assert "trajectories was searched with the Lean" in capsys.readouterr().out
    assert set(steps(project, "iter_001")) == {BASELINE_ASSETS[1], *ITERATION_ASSETS}


def test_where_nothing_has_changed_only_what_lacks_is_made(make_next_run):
    project = make_next_run.project
    DataFolder(project.data).iteration("iter_000").report_file.unlink()
    assert make_next_run() == 0
    assert steps(project, "iter_000") == ["iteration_report"]


def restarted(project) -> None:
    """The job is made anew, over another Lean."""
    project.restart()
    project.shares = OTHER_LEAN


def failure_of(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """(step, words) of the only step that failed."""
    ((step, error),) = [(e.step_key, e.step_failure_data.error) for e in result.all_events if e.is_step_failure]
    return step, failure_words(error)


@pytest.mark.long
def test_a_baseline_of_another_lean_is_said_before_the_work_that_is_measured_against_it(made, policy):
    restarted(made)
    policy.asked.clear()
    for assets, at in ((ITERATION_ASSETS, "trajectories"), (ITERATION_ASSETS[2:], "ebm_checkpoint")):
        step, words = failure_of(made.run(*assets, partition="iter_000", raises=False))
        assert step == at
        assert words.startswith("the baseline was searched with the Lean maze as maze-[]")
        assert words.endswith("; materialize baseline_trajectories again")
    assert policy.asked == []
    assert made.run("trajectories", partition="iter_000").success, "alone, it is measured against nothing"


@pytest.mark.long
def test_the_report_names_the_search_that_is_out_of_date(made):
    restarted(made)
    manifest = DataFolder(made.data).iteration("iter_000").guided.manifest
    guided = read_json(manifest)
    _, now = made.lean().identity()
    write_json(manifest, {**guided, "environment_fingerprint": now})
    _, words = failure_of(made.run("iteration_report", partition="iter_000", raises=False))
    assert words.endswith("; materialize baseline_trajectories again")
    made.run("baseline_trajectories")
    write_json(manifest, guided)
    _, words = failure_of(made.run("iteration_report", partition="iter_000", raises=False))
    assert words.endswith("; materialize guided_trajectories of iter_000 again")


def test_a_guided_search_of_another_policy_theorems_or_budget_is_made_again(made, configured):
    from prover_assets.operate.outdated import outdated

    data = DataFolder(made.data)
    iteration = data.iteration("iter_000")
    lean = made.lean()

    def found() -> dict[str, str]:
        return outdated(data, iteration, lean, configured, EVERYTHING)

    assert found() == {}
    guided = read_json(iteration.guided.manifest)
    for changes, words in (
        ({"policy_fingerprint": "other"}, "was searched with the policy maze-policy, and the policy is now"),
        ({"theorems": "other"}, "searched other held-out theorems than there are now"),
        ({"settings": {**guided["settings"], "max_expansions": 3}}, "had another budget than the baseline has now"),
        ({"complete": False}, "was not finished"),
    ):
        write_json(iteration.guided.manifest, {**guided, **changes})
        ((name, reason),) = found().items()
        assert name == "guided_trajectories"
        assert reason.startswith(words)
    iteration.guided.manifest.write_text("{", encoding="utf-8")
    assert found() == {"guided_trajectories": "cannot be read"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("iter_000/trajectories.parquet", "too few for a Parquet file: .*; materialize trajectories of iter_000 again"),
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
    own = error("DataFolderError", "prover_assets.store.layout.DataFolderError: what to do: this", cause)
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
    (run,) = make_run.project.instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED


@pytest.mark.long
def test_runs_of_make_run_are_those_of_a_job_that_the_ui_shows(make_run, policy, monkeypatch):
    monkeypatch.setattr(policy, "generate", lambda *_: 1 / 0)  # the first step is enough
    assert make_run() == 1
    (run,) = make_run.project.instance.get_runs(dg.RunsFilter(job_name="first_iteration"))
    origin = run.remote_job_origin
    assert origin.job_name == "first_iteration"
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    (target,) = (entry["python_module"] for entry in workspace["load_from"])
    assert origin.location_name == target["location_name"]
    assert origin.repository_origin.code_location_origin.loadable_target_origin.module_name == target["module_name"]
    # The timeline and the page of a job look for runs by this tag.
    assert run.tags[".dagster/repository"] == f"__repository__@{target['location_name']}"


@pytest.mark.long
def test_steps_write_to_the_terminal_itself(make_run, policy, monkeypatch):
    written_to = []

    def generate(*_):
        written_to.append(os.fstat(1))
        raise ValueError("enough")

    monkeypatch.setattr(policy, "generate", generate)
    before = os.fstat(1)
    assert make_run() == 1
    assert {os.path.samestat(before, found) for found in written_to} == {True}


@pytest.mark.parametrize(
    "interrupt",
    [
        pytest.param("signal.raise_signal(signal.SIGINT)", marks=pytest.mark.slow),
        # Within a callback, where Python drops exceptions: importing has one for every module.
        "weakref.finalize(type('Module', (), {})(), signal.raise_signal, signal.SIGINT); time.sleep(5)",
    ],
)
def test_ctrl_c_while_it_is_starting_is_answered(tmp_path, interrupt):
    """At the first import that takes a while."""
    script = (
        "import builtins, signal, sys, time, weakref\n"
        "original = builtins.__import__\n"
        "def slow(name, *rest, **named):\n"
        "    if name == 'dagster':\n"
        "        builtins.__import__ = original\n"
        f"        {interrupt}\n"
        "    return original(name, *rest, **named)\n"
        "builtins.__import__ = slow\n"
        "from prover_assets.run import main\n"
        "sys.exit(main(['--config', 'nowhere']))"  # status 1
    )
    environment = {**os.environ, "PROVER_DATA": str(tmp_path / "data")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 130
    assert done.stderr.strip() == "stopped; `make run` goes on from here"

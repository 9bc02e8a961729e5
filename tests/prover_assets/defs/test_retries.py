"""What may heal is tried again; what will not fails at once; a run whose process was killed starts again by itself."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from prover.environments.script.host_process import HostDied
from prover.policy.server import ServerUnavailableError
from prover_assets.defs import step as common
from prover_assets.defs.tracking import MlflowResource
from prover_assets.store.layout import DataFolder
from prover_assets.tracking.mlflow import KIND_TAG, Store


@pytest.fixture
def failing(policy, monkeypatch):
    """Makes the policy raise an error at its first calls of a search; returns the calls."""
    monkeypatch.setattr(common, "RETRY_AFTER_S", 0.0)
    generate = policy.generate
    calls: list[int] = []

    def arrange(error: Exception, times: int) -> list[int]:
        def unsteady(states, n_candidates):
            calls.append(len(states))
            if len(calls) <= times:
                raise error
            return generate(states, n_candidates)

        monkeypatch.setattr(policy, "generate", unsteady)
        return calls

    return arrange


def retries(result: dg.ExecuteInProcessResult) -> list[str]:
    return [event.step_key for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]


@pytest.mark.long
@pytest.mark.parametrize(
    "error",
    [
        ServerUnavailableError("no answer in 6 tries"),
        pytest.param(ConnectionResetError("reset"), marks=pytest.mark.slow),
        pytest.param(TimeoutError(), marks=pytest.mark.slow),
        HostDied("signal 9"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_model_server_or_a_lean_that_comes_back_costs_a_retry(project, failing, error):
    failing(error, 1)
    result = project.run("theorems", "trajectories", partition="iter_000")
    assert result.success
    assert retries(result) == ["trajectories"]
    assert project.metadata("trajectories", "iter_000")["theorems"] == 24


def test_after_two_retries_the_step_fails(project, failing):
    failing(ConnectionRefusedError("nobody there"), 99)
    result = project.run("theorems", "trajectories", partition="iter_000", raises=False)
    assert not result.success
    assert retries(result) == ["trajectories"] * 2


def test_what_does_not_heal_is_not_tried_again(project, failing):
    calls = failing(ValueError("a bug"), 99)
    result = project.run("theorems", "trajectories", partition="iter_000", raises=False)
    assert not result.success
    assert retries(result) == []
    assert len(calls) == 1


@pytest.mark.slow
def test_a_retry_closes_its_first_attempt_and_reopens_the_parent(new_project, failing):
    project = new_project(track=True)
    failing(ConnectionResetError("reset"), 1)
    project.run("theorems", "trajectories", partition="iter_000")
    data = DataFolder(project.data)
    store = Store(MlflowResource().resolved_uri(data), "expert-iteration", data.mlflow / "artifacts")
    found = store.client.search_runs([store.experiment_id])
    by_kind = {kind: [run for run in found if run.data.tags[KIND_TAG] == kind] for kind in ("iteration", "asset")}
    assert [run.info.status for run in by_kind["iteration"]] == ["FINISHED"]
    attempts = [run for run in by_kind["asset"] if run.data.tags["prover.asset"] == "trajectories"]
    assert sorted(run.info.status for run in attempts) == ["FAILED", "FINISHED"]


def test_runs_are_started_again_only_when_their_process_is_gone():
    path = Path(__file__).resolve().parents[3] / "dagster_home" / "dagster.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert settings["run_retries"] == {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False}
    assert settings["run_monitoring"]["enabled"]

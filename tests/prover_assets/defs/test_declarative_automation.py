"""The automation conditions of an iteration's assets, tick by tick, as the daemon looks at them."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from prover_assets.definitions import defs
from prover_assets.defs.automation import automate_iterations
from prover_assets.defs.jobs import BASELINE_ASSETS, ITERATION_ASSETS


class Daemon:
    """Ticks of the sensor, each with the cursor that the one before left."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: str | None = None

    def tick(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=defs.get_repository_def(), sensor_name="x"
        )
        found = automate_iterations.evaluate_tick(context)
        self.cursor = found.cursor
        return list(found.run_requests or ())


@pytest.fixture
def instance(tmp_path: Path):
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def daemon(instance: dg.DagsterInstance) -> Daemon:
    """Switched on when the sets and the baseline are made, and nothing else is."""
    for name in BASELINE_ASSETS:
        instance.report_runless_asset_event(dg.AssetMaterialization(name))
    return Daemon(instance)


def made(instance: dg.DagsterInstance, key: str, *names: str) -> None:
    for name in names or ITERATION_ASSETS:
        instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=key))


def opened(instance: dg.DagsterInstance, key: str) -> None:
    """As the report before an iteration does it."""
    instance.add_dynamic_partitions("iteration", [key])
    instance.report_runless_asset_event(dg.AssetMaterialization("champion_ebm", partition=key))


def assets_of(request: dg.RunRequest) -> set[str]:
    return {key.to_user_string() for key in request.asset_selection or ()}


def test_it_is_off_until_switched_on():
    sensor = defs.get_repository_def().get_sensor_def("automate_iterations")
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
    assert type(sensor) is type(automate_iterations)  # Dagster's copy still gives its runs their settings


def test_the_first_iteration_is_a_persons(instance: dg.DagsterInstance, daemon: Daemon):
    instance.add_dynamic_partitions("iteration", ["iter_000"])
    assert daemon.tick() == []


def test_an_iteration_that_opens_is_asked_for_whole_and_once(instance: dg.DagsterInstance, daemon: Daemon):
    instance.add_dynamic_partitions("iteration", ["iter_000"])
    made(instance, "iter_000")
    assert daemon.tick() == []
    opened(instance, "iter_001")
    (request,) = daemon.tick()
    assert request.partition_key == "iter_001"
    assert assets_of(request) == set(ITERATION_ASSETS)
    assert daemon.tick() == []  # asked for, and neither made nor in progress: it failed, or was stopped
    assert daemon.tick() == []


@pytest.mark.long
def test_iterations_follow_one_another_up_to_the_limit(
    instance: dg.DagsterInstance, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PROVER_CHAIN_LIMIT", "3")
    instance.add_dynamic_partitions("iteration", ["iter_000"])
    made(instance, "iter_000")
    asked = []
    for number in (1, 2, 3, 4):
        opened(instance, f"iter_{number:03}")
        for request in daemon.tick():
            asked.append(request.partition_key)
            made(instance, request.partition_key)
    assert asked == ["iter_001", "iter_002"]
    monkeypatch.setenv("PROVER_CHAIN_LIMIT", "4")
    assert [request.partition_key for request in daemon.tick()] == ["iter_003"]


def test_switched_on_late_it_asks_for_what_is_open(instance: dg.DagsterInstance, daemon: Daemon):
    instance.add_dynamic_partitions("iteration", ["iter_000"])
    made(instance, "iter_000")
    opened(instance, "iter_001")
    assert [request.partition_key for request in daemon.tick()] == ["iter_001"]


def test_what_a_person_is_running_is_not_asked_for_again(instance: dg.DagsterInstance, daemon: Daemon):
    instance.add_dynamic_partitions("iteration", ["iter_000"])
    made(instance, "iter_000")
    opened(instance, "iter_001")
    made(instance, "iter_001", "trajectories")
    (request,) = daemon.tick()
    assert assets_of(request) == set(ITERATION_ASSETS[1:])  # the rest of it


def test_runs_have_the_settings_of_the_iteration_before(instance: dg.DagsterInstance, daemon: Daemon):
    from dagster._core.events import StepMaterializationData

    settings = {"ops": {"trajectories": {"config": {"n_theorems": 7}}}}
    run = create_run_for_test(
        instance, job_name="iteration", run_config=settings, tags={"dagster/partition": "iter_000"}
    )
    instance.add_dynamic_partitions("iteration", ["iter_000"])
    for name in ITERATION_ASSETS:
        data = StepMaterializationData(dg.AssetMaterialization(name, partition="iter_000"), [])
        event = dg.DagsterEvent("ASSET_MATERIALIZATION", job_name="iteration", event_specific_data=data)
        instance.report_dagster_event(event, run_id=run.run_id)
    opened(instance, "iter_001")
    (request,) = daemon.tick()
    assert request.run_config == settings
    assert request.tags["prover/settings"] == "as iter_000"

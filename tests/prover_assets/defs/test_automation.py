"""The schedule and the chaining sensor, tick by tick."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.events import StepMaterializationData

from prover_assets.definitions import defs
from prover_assets.defs.jobs import ITERATION_ASSETS
from prover_assets.defs.resources import DataResource
from prover_assets.defs.schedules import nightly_iteration
from prover_assets.defs.sensors import chain_iterations
from prover_assets.operate.presets import PresetError
from prover_assets.store.files import write_json
from prover_assets.store.iterations import following, in_order, iteration_key, iteration_number
from prover_assets.store.layout import DataFolder

REPORT = dg.AssetKey("iteration_report")


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def data(tmp_path):
    return DataFolder(tmp_path)


def finish(instance: dg.DagsterInstance, data: DataFolder, key: str) -> None:
    """Make an iteration look finished: events and files."""
    instance.add_dynamic_partitions("iteration", [key])
    folder = data.iteration(key)
    for path in (folder.trajectories.manifest, folder.verdict, folder.guided.manifest, folder.report_file):
        write_json(path, {})
    data.embeddings.mkdir(exist_ok=True)
    for name in ITERATION_ASSETS:
        instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=key))


def tick(instance: dg.DagsterInstance, data: DataFolder):
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2026, 1, 2, 2, 0, tzinfo=UTC),
        resources={"data": DataResource(root=str(data.root))},
    )
    return nightly_iteration(context)


def running(instance: dg.DagsterInstance, key: str) -> dg.DagsterRun:
    from dagster._core.test_utils import create_run_for_test

    return create_run_for_test(
        instance, job_name="iteration", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": key}
    )


def test_the_first_night_opens_the_first_iteration(instance, data):
    request = tick(instance, data)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "iter_000"
    assert request.run_key == "nightly-2026-01-02"
    assert instance.get_dynamic_partitions("iteration") == ["iter_000"]


def test_the_next_night_runs_the_next_iteration(instance, data):
    finish(instance, data, "iter_000")
    request = tick(instance, data)
    assert request.partition_key == "iter_001"
    assert request.asset_selection is None  # the whole job


def test_a_night_after_a_failure_goes_on_where_it_failed(instance, data):
    finish(instance, data, "iter_000")
    data.iteration("iter_000").guided.manifest.unlink()
    request = tick(instance, data)
    assert request.partition_key == "iter_000"
    assert request.asset_selection == [dg.AssetKey("guided_trajectories"), REPORT]


def test_a_night_is_skipped_while_an_iteration_runs(instance, data):
    run = running(instance, "iter_000")
    skipped = tick(instance, data)
    assert isinstance(skipped, dg.SkipReason)
    assert run.run_id in skipped.skip_message


def test_an_iteration_whose_files_were_removed_is_made_again(instance, data):
    finish(instance, data, "iter_000")
    data.iteration("iter_000").report_file.unlink()
    assert tick(instance, data).asset_selection == [REPORT]


def chained(instance: dg.DagsterInstance, data: DataFolder, key: str):
    from dagster._core.test_utils import create_run_for_test

    run = create_run_for_test(
        instance, job_name="iteration", status=dg.DagsterRunStatus.SUCCESS, tags={"dagster/partition": key}
    )
    event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name="iteration")
    context = dg.build_run_status_sensor_context(
        sensor_name="chain_iterations",
        dagster_instance=instance,
        dagster_run=run,
        dagster_event=event,
        resources={"data": DataResource(root=str(data.root))},
    )
    return chain_iterations(context)


def test_iterations_are_chained_up_to_the_limit(instance, data, monkeypatch):
    monkeypatch.setenv("PROVER_CHAIN_LIMIT", "2")
    finish(instance, data, "iter_000")
    request = chained(instance, data, "iter_000")
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "iter_001"
    finish(instance, data, "iter_001")
    skipped = chained(instance, data, "iter_001")
    assert isinstance(skipped, dg.SkipReason)
    assert "limit of 2" in skipped.skip_message


def test_the_chain_waits_while_another_iteration_runs(instance, data):
    finish(instance, data, "iter_000")
    running(instance, "iter_001")
    assert isinstance(chained(instance, data, "iter_000"), dg.SkipReason)


def test_schedule_and_chain_are_off_until_switched_on():
    repository = defs.get_repository_def()
    assert repository.get_schedule_def("nightly_iteration").default_status is dg.DefaultScheduleStatus.STOPPED
    assert repository.get_schedule_def("nightly_iteration").execution_timezone == "UTC"
    assert repository.get_sensor_def("chain_iterations").default_status is dg.DefaultSensorStatus.STOPPED
    assert repository.get_sensor_def("close_failed_mlflow_runs").default_status is dg.DefaultSensorStatus.RUNNING


def test_iteration_keys():
    assert [iteration_key(n) for n in (0, 7, 1000)] == ["iter_000", "iter_007", "iter_1000"]
    assert iteration_number("iter_1000") == 1000
    assert following("iter_999") == "iter_1000"
    assert in_order(["iter_1000", "iter_999", "other"]) == ["iter_999", "iter_1000"]
    for wrong in ("iter_0", "iter_0001", "iter_-01", "000", ""):
        with pytest.raises(ValueError, match="iter_000, iter_001"):
            iteration_number(wrong)


def made_with(instance: dg.DagsterInstance, key: str, run_config: dict) -> str:
    """A run that made all assets of an iteration, with these settings; its id."""
    from dagster._core.test_utils import create_run_for_test

    run = create_run_for_test(
        instance,
        job_name="iteration",
        run_config=run_config,
        status=dg.DagsterRunStatus.SUCCESS,
        tags={"dagster/partition": key},
    )
    for name in ITERATION_ASSETS:
        event = dg.AssetMaterialization(name, partition=key)
        instance.report_dagster_event(
            dg.DagsterEvent(
                event_type_value="ASSET_MATERIALIZATION",
                job_name="iteration",
                event_specific_data=StepMaterializationData(event, []),
            ),
            run_id=run.run_id,
        )
    return run.run_id


SETTINGS = {
    "ops": {"trajectories": {"config": {"n_theorems": 7}}, "ebm_checkpoint": {"config": {"lr": 0.5}}},
    "resources": {"lean": {"config": {"workers": 3}}},
    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
}


def test_a_night_runs_with_the_settings_of_the_iteration_before(instance, data):
    finish(instance, data, "iter_000")
    made_with(instance, "iter_000", SETTINGS)
    request = tick(instance, data)
    assert request.run_config == {"ops": SETTINGS["ops"], "resources": SETTINGS["resources"]}
    assert request.tags["prover/settings"] == "as iter_000"


def test_a_night_that_goes_on_has_settings_for_what_it_runs_alone(instance, data):
    finish(instance, data, "iter_000")
    made_with(instance, "iter_000", SETTINGS)
    data.iteration("iter_000").guided.manifest.unlink()
    request = tick(instance, data)
    assert request.asset_selection == [dg.AssetKey("guided_trajectories"), REPORT]
    assert "ops" not in request.run_config
    assert request.run_config["resources"] == SETTINGS["resources"]


def test_a_preset_named_once_decides_for_schedule_and_chain(instance, data, monkeypatch):
    monkeypatch.setenv("PROVER_PRESET", "demo")
    finish(instance, data, "iter_000")
    made_with(instance, "iter_000", SETTINGS)
    for request in (tick(instance, data), chained(instance, data, "iter_000")):
        assert request.run_config["ops"]["trajectories"]["config"]["n_theorems"] == 240
        assert "policy_checkpoint" not in request.run_config["ops"], "the job does not have it"
        assert "theorems" not in request.run_config["ops"]
        assert request.tags["prover/settings"] == "preset demo (PROVER_PRESET)"


def test_a_preset_that_is_not_there_is_said(instance, data, monkeypatch):
    monkeypatch.setenv("PROVER_PRESET", "no-such")
    with pytest.raises(PresetError, match="presets are demo"):
        tick(instance, data)

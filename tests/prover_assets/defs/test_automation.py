"""The schedule and the chaining sensor, tick by tick."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from prover_assets.definitions import defs
from prover_assets.defs.jobs import ITERATION_ASSETS
from prover_assets.defs.resources import DataResource
from prover_assets.defs.schedules import nightly_iteration
from prover_assets.defs.sensors import chain_iterations
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

"""A job that is launched without a partition runs for the iteration that is next; what has one keeps it."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import SubmitRunContext

from prover_assets.defs.jobs import ITERATION_ASSETS
from prover_assets.defs.partitions import PARTITION_TAG
from prover_assets.operate.preflight import SettingsError
from prover_assets.operate.queue import IterationQueue

ORIGIN = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("expert_iteration"), "__repository__")
ROOT = Path(__file__).resolve().parents[3]
QUEUE = {"run_coordinator": {"module": IterationQueue.__module__, "class": IterationQueue.__name__}}


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("PROVER_DATA", str(tmp_path / "data"))
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides=QUEUE) as found:
        yield found


def launched(
    instance: dg.DagsterInstance, job: str, *assets: str, tags: dict[str, str] | None = None
) -> dict[str, str]:
    """The tags of a run of a job that was launched and is queued."""
    from prover_assets.definitions import defs

    selection = frozenset(dg.AssetKey(name) for name in assets) or None
    run = instance.create_run_for_job(
        defs.resolve_job_def(job), asset_selection=selection, tags=tags, remote_job_origin=RemoteJobOrigin(ORIGIN, job)
    )
    instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))  # type: ignore[arg-type]  # not read
    queued = instance.get_run_by_id(run.run_id)
    assert queued is not None
    assert queued.status == dg.DagsterRunStatus.QUEUED
    return dict(queued.tags)


@pytest.mark.parametrize("job", ["first_iteration", "iteration", "policy_iteration", "first_policy_iteration"])
def test_a_job_of_an_iteration_gets_the_next_one(instance: dg.DagsterInstance, job: str):
    assert launched(instance, job)["dagster/partition"] == "iter_000"
    assert instance.get_dynamic_partitions("iteration") == ["iter_000"]


def test_what_has_a_partition_keeps_it(instance: dg.DagsterInstance):
    instance.add_dynamic_partitions("iteration", ["iter_000", "iter_001"])
    tags = launched(instance, "iteration", tags={"dagster/partition": "iter_001"})
    assert tags["dagster/partition"] == "iter_001"
    assert "prover/partition_chosen" not in tags


def test_all_assets_by_name_are_the_whole_job_and_single_ones_are_not(instance: dg.DagsterInstance):
    assert launched(instance, "iteration", *ITERATION_ASSETS)["dagster/partition"] == "iter_000"
    with pytest.raises(SettingsError, match=r"no iteration was chosen.* there are iter_000"):
        launched(instance, "iteration", "state_embeddings")
    assert "dagster/partition" not in launched(instance, "baseline")


def test_a_job_is_refused_while_the_next_iteration_is_running(instance: dg.DagsterInstance):
    assert launched(instance, "iteration")["dagster/partition"] == "iter_000"
    with pytest.raises(SettingsError, match="iter_000, the next one, is running"):
        launched(instance, "iteration")


def test_a_run_works_for_the_iteration_that_it_was_given_in_the_queue(made):
    """Dagster makes a run without a partition, the queue tags it, and only then it is executed."""
    selection = frozenset({dg.AssetKey("state_embeddings")})
    config = {**made.run_config(["state_embeddings"]), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    run = made.instance.create_run_for_job(made.job, asset_selection=selection, run_config=config)
    made.instance.add_run_tags(run.run_id, {PARTITION_TAG: "iter_000"})
    tagged = made.instance.get_run_by_id(run.run_id)
    job = InMemoryJob(made.job.get_subset(asset_selection=selection))
    assert execute_run(job, tagged, made.instance, raise_on_error=True).success
    assert made.latest("state_embeddings", "iter_000").metadata["encoded"].value == 0
    assert "image/svg" in made.metadata("iteration_report", "iter_000")["curve"]
    assert "image/svg" in made.metadata("trajectories", "iter_000")["curve"]


@pytest.mark.parametrize("asset", ["trajectories", "state_embeddings", "iteration_report"])
def test_a_run_that_another_queue_launched_without_a_partition_says_which_there_are(made, asset: str):
    selection = frozenset({dg.AssetKey(asset)})
    config = {**made.run_config([asset]), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    run = made.instance.create_run_for_job(made.job, asset_selection=selection, run_config=config)
    job = InMemoryJob(made.job.get_subset(asset_selection=selection))
    result = execute_run(job, run, made.instance, raise_on_error=False)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_run_failure]
    error = failure.job_failure_data.error
    assert error is not None
    assert error.cls_name == "SettingsError"
    assert "no iteration was chosen: launch again with a partition" in error.message
    assert "there are iter_000, iter_001" in error.message
    assert not [event for event in result.all_events if event.is_step_event]


def test_the_projects_own_instance_has_this_queue_and_its_limits():
    settings = yaml.safe_load((ROOT / "dagster_home" / "dagster.yaml").read_text(encoding="utf-8"))
    assert settings["run_coordinator"] == QUEUE["run_coordinator"]
    with dg.instance_for_test(overrides={**QUEUE, "concurrency": settings["concurrency"]}) as instance:
        assert isinstance(instance.run_coordinator, IterationQueue)
        limits = instance.get_concurrency_config().run_queue_config
        assert limits is not None
        assert limits.max_concurrent_runs == settings["concurrency"]["runs"]["max_concurrent_runs"]
        assert limits.tag_concurrency_limits == settings["concurrency"]["runs"]["tag_concurrency_limits"]

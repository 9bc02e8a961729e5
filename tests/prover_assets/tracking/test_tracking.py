"""MLflow: a parent for the iteration, children for assets, closed as what they were."""

import base64
import json
import os
import shutil
import zlib

import dagster as dg
import polars as pl
import pytest

from prover.policy.server.errors import ServerUnavailableError
from prover_assets.defs.resources import DataResource, PolicyResource
from prover_assets.defs.sensors import close_cancelled_mlflow_runs, close_failed_mlflow_runs
from prover_assets.defs.tracking import MlflowResource
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder, DataFolderError
from prover_assets.tracking.iterations import log_progress, progress_run
from prover_assets.tracking.mlflow import DAGSTER_RUN_TAG, KIND_TAG, PARTITION_TAG, Store
from prover_assets.tracking.relocation import relocate
from prover_assets.tracking.tags import SUPERSEDED_TAG
from prover_assets.tracking.tracked_run import flatten, fluent_uri
from prover_assets.tracking.view import FILTER, TAG


@pytest.fixture(scope="module")
def client(finished):
    return store_of(finished).client


def store_of(project) -> Store:
    data = DataFolder(project.data)
    return Store(MlflowResource().resolved_uri(data), "expert-iteration", data.mlflow / "artifacts")


def runs_of(project, partition: str = "iter_000") -> list:
    """The MLflow runs of the first Dagster run of a partition."""
    store = store_of(project)
    found = store.client.search_runs([store.experiment_id], f"tags.`{PARTITION_TAG}` = '{partition}'")
    first = min(found, key=lambda run: run.info.start_time).data.tags[DAGSTER_RUN_TAG]
    return [run for run in found if run.data.tags[DAGSTER_RUN_TAG] == first]


def test_one_parent_with_a_child_for_each_asset(finished):
    runs = runs_of(finished)
    parents = [run for run in runs if run.data.tags[KIND_TAG] == "iteration"]
    children = [run for run in runs if run.data.tags[KIND_TAG] == "asset"]
    assert [run.info.run_name for run in parents] == ["iter_000"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert {run.data.tags["prover.asset"] for run in children} == {
        "theorems",
        "baseline_trajectories",
        "trajectories",
        "state_embeddings",
        "ebm_checkpoint",
        "guided_trajectories",
        "iteration_report",
    }
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags[DAGSTER_RUN_TAG] for run in runs} == {parents[0].data.tags[DAGSTER_RUN_TAG]}


def test_the_parent_has_settings_versions_and_the_report_at_step_iteration(finished, client):
    (parent,) = [run for run in runs_of(finished) if run.data.tags[KIND_TAG] == "iteration"]
    params = parent.data.params
    assert params["trajectories.max_expansions"] == "24"
    assert params["ebm_checkpoint.lr"] == "0.001"
    assert params["version.torch"].startswith("2.")
    assert params["cpu_count"] == str(os.cpu_count())
    assert params["lean.kind"] == "embedded"
    assert params["policy.pooling"] == "mean+max+early"
    assert params["trajectories.inputs.policy"] == "maze-policy-1"
    manifest = read_json(DataFolder(finished.data).iteration("iter_000").trajectories.manifest)
    assert params["ebm_checkpoint.inputs.iter_000"] == manifest["fingerprint"]
    assert params["trajectories.inputs.theorems"] == manifest["theorems"]
    assert {name for name in params if name.startswith("theorems.digest.")} == {
        "theorems.digest.train",
        "theorems.digest.valid",
        "theorems.digest.test",
    }
    assert len(parent.data.tags["mlflow.source.git.commit"]) >= 7
    for metric in ("guided_area", "policy_area", "area_gain", "train_solve_rate", "beta", "promoted"):
        assert [point.step for point in client.get_metric_history(parent.info.run_id, metric)] == [0], metric
    assert [f.path for f in client.list_artifacts(parent.info.run_id)] == ["index.html", "plots"]
    figures = [f.path for f in client.list_artifacts(parent.info.run_id, "plots")]
    assert figures == [f"plots/{name}.png" for name in ("calibration", "energies", "rank1", "solve_curve")]
    assert parent.data.tags["mlflow.source.name"].startswith("dagster job ")
    assert {"theorems-train", "theorems-valid", "theorems-test", "trajectories-iter_000"} <= {
        read.dataset.name for read in parent.inputs.dataset_inputs
    }
    note = parent.data.tags["mlflow.note.content"]
    assert "| guided |" in note
    assert f"/runs/{parent.data.tags[DAGSTER_RUN_TAG]})" in note, "the link to Dagster"


def test_the_training_curves_are_on_the_child(finished, client):
    (child,) = [run for run in runs_of(finished) if run.data.tags.get("prover.asset") == "ebm_checkpoint"]
    history = client.get_metric_history(child.info.run_id, "train_energy_gap")
    assert [point.step for point in history] == [50, 100, 120]
    assert {f.path for f in client.list_artifacts(child.info.run_id, "plots")} == {"plots/training.png"}


def test_a_training_says_which_tables_it_read_with_columns_and_rows(finished):
    (child,) = [run for run in runs_of(finished) if run.data.tags.get("prover.asset") == "ebm_checkpoint"]
    (read,) = child.inputs.dataset_inputs
    folder = DataFolder(finished.data).iteration("iter_000")
    rows = pl.read_parquet(folder.trajectories.nodes)
    assert read.dataset.name == "trajectories-iter_000"
    assert read.dataset.digest == read_json(folder.trajectories.manifest)["fingerprint"][:36]
    assert json.loads(read.dataset.profile)["num_rows"] == rows.height
    columns = {column["name"] for column in json.loads(read.dataset.schema)["mlflow_colspec"]}
    assert columns == set(rows.columns)
    assert [tag.value for tag in read.tags] == ["training"]


def test_the_promoted_head_is_registered_with_the_alias_champion(finished, client):
    reports = [read_json(DataFolder(finished.data).iteration(number).report_file) for number in (0, 1)]
    report = next(report for report in reversed(reports) if report["promotion"]["promoted"])
    version = client.get_model_version_by_alias("energy-model", "champion")
    assert version.tags["prover.ebm_id"] == report["promotion"]["champion"]
    import mlflow

    with fluent_uri(store_of(finished).uri):
        info = mlflow.models.get_model_info(version.source)
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert info.signature is not None
    assert info.saved_input_example_info is not None


@pytest.mark.slow  # an iteration of its own, which promotes nothing
def test_the_alias_moves_with_a_promotion_and_with_nothing_else(new_project):
    project = new_project(track=True)
    project.config = {"iteration_report": {"promote": False}}
    project.run(partition="iter_000")
    client = store_of(project).client
    (version,) = client.search_model_versions("name = 'energy-model'")
    assert client.get_registered_model("energy-model").aliases == {}
    project.config = {}
    project.run("iteration_report", partition="iter_000")
    assert client.get_registered_model("energy-model").aliases == {"champion": version.version}


def test_the_settings_that_a_guided_search_takes_from_the_baseline_are_parameters(finished):
    (parent,) = [run for run in runs_of(finished, "iter_001") if run.data.tags[KIND_TAG] == "iteration"]
    assert parent.data.params["guided_trajectories.search.max_expansions"] == "16"
    assert parent.data.params["guided_trajectories.search.mode"] == "calibrated"


def test_a_token_in_the_environment_reaches_no_file_that_a_run_writes(finished, secret):
    """The iterations ran with it in HF_TOKEN: look through data, MLflow's store and Dagster's storage."""
    files = [path for path in finished.root.rglob("*") if path.is_file()]
    assert any(path.name == "mlflow.db" for path in files)
    assert any("dagster" in path.parts for path in files)
    for path in files:
        assert secret.encode() not in path.read_bytes(), path


def test_an_address_that_the_configuration_takes_from_the_environment_is_kept_nowhere(new_project, secret, monkeypatch):
    project = new_project(track=True)
    store = project.root / f"{secret}.db"
    (project.data / "mlflow" / "mlflow.db").rename(store)
    monkeypatch.setenv("MY_STORE", f"sqlite:///{store}")
    project.resources = {"mlflow": {"config": {"tracking_uri": {"env": "MY_STORE"}}}}
    project.run("theorems")
    assert not (project.data / "mlflow" / "mlflow.db").exists()
    files = [path for path in project.root.rglob("*") if path.is_file()]
    assert any("dagster" in path.parts for path in files)
    for path in files:
        assert secret.encode() not in path.read_bytes(), path


def test_the_key_of_a_model_server_is_no_setting(monkeypatch, secret):
    monkeypatch.setenv("PROVER_API_KEY", secret)
    resource = PolicyResource(path="http://127.0.0.1:9/v1#some-model")
    assert secret not in json.dumps(resource.model_dump())
    with pytest.raises(ServerUnavailableError) as caught:  # nothing answers there, and it is asked at start
        resource.load()
    assert secret not in str(caught.value)


def test_the_asset_page_leads_to_the_run(finished):
    link = finished.metadata("trajectories", "iter_000")["mlflow_run"]
    text, _, address = link.rstrip(")").partition("](")
    assert text == "[this step in MLflow"
    assert address.startswith("http://127.0.0.1:")
    led_to = store_of(finished).client.get_run(address.rpartition("/")[2])
    assert led_to.data.tags["prover.asset"] == "trajectories"
    assert led_to.data.tags[PARTITION_TAG] == "iter_000"


def test_the_runs_of_a_backfill_share_a_parent_for_each_iteration(new_project):
    project = new_project(track=True)
    store = store_of(project)
    first = store.parent("run-1", "iter_000", "backfill-1")
    store.close(first, "FINISHED")
    assert store.parent("run-2", "iter_000", "backfill-1") == first
    assert store.client.get_run(first).info.status == "RUNNING"
    assert store.client.get_run(first).data.tags[DAGSTER_RUN_TAG] == "run-2"
    assert store.parent("run-3", "iter_001", "backfill-1") != first
    assert store.parent("run-4", "iter_000") == first, "a rerun attaches to the row of its iteration"


def test_two_iterations_differ_in_what_differs_and_in_nothing_else(finished):
    """Settings of the theorem sets and the baseline, which only the first iteration made, are those of both."""
    first, second = (
        next(run for run in runs_of(finished, key) if run.data.tags[KIND_TAG] == "iteration").data.params
        for key in ("iter_000", "iter_001")
    )
    differing = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    assert differing == {
        "trajectories.inputs.theorems",  # the next window of the training theorems
        "trajectories.inputs.ebm",
        "guided_trajectories.inputs.ebm",
        "ebm_checkpoint.inputs.iter_001",
    }
    assert second["baseline_trajectories.max_expansions"] == "16"
    assert second["theorems.train"].endswith("train.jsonl")


def test_progress_is_one_run_with_a_point_per_iteration(finished, client):
    store = store_of(finished)
    (run,) = client.search_runs([store.experiment_id], f"tags.`{KIND_TAG}` = 'iterations'")
    assert (run.info.run_name, run.info.status) == ("progress", "FINISHED")
    history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    for name in ("held_out/guided/area", "held_out/policy/solve_rate", "held_out/rank1/combined", "training/proofs"):
        assert [point.step for point in history[name]] == [0, 1], name
    reports = [read_json(folder.report_file) for folder in DataFolder(finished.data).iterations()[:2]]
    areas = [report["comparison"]["modes"]["guided"]["area"] for report in reports]
    assert [point.value for point in history["held_out/guided/area"]] == areas
    first, second = (DataFolder(finished.data).iteration(number) for number in (0, 1))
    proved = [
        set(pl.read_parquet(folder.trajectories.summary).filter("proved")["theorem_name"]) for folder in (first, second)
    ]
    assert [point.value for point in history["training/proofs"]] == [len(proved[0]), len(proved[0] | proved[1])]
    tactics = [point.value for point in history["cost/lean_calls"]]
    assert 0 < tactics[0] < tactics[1]
    assert all(point.value > 0 for point in history["cost/seconds"])


def test_the_experiment_has_a_saved_view_of_existing_numbers(finished, client):
    store = store_of(finished)
    tag = client.get_experiment(store.experiment_id).tags[TAG]
    state = json.loads(zlib.decompress(base64.b64decode(tag.removeprefix("deflate;"))))
    rows = client.search_runs([store.experiment_id], state["searchFilter"])
    assert {run.info.run_name for run in rows} == {"progress", "iter_000", "iter_001"}
    (progress,) = state["runsPinned"]
    known = client.get_run(progress).data.metrics
    for chart in state["compareRunCharts"]:
        assert set(chart["selectedMetricKeys"]) <= set(known), chart["displayName"]
    assert {chart["selectedXAxisMetricKey"] for chart in state["compareRunCharts"]} == {"", "cost/lean_calls"}
    parent = next(run for run in rows if run.info.run_name == "iter_000")
    columns = {name.removeprefix("metrics.").strip("`") for name in state["selectedColumns"] if name[:1] == "m"}
    assert columns <= set(parent.data.metrics)


def test_progress_that_changed_is_logged_anew_and_the_old_run_is_superseded(new_project):
    store = store_of(new_project(track=True))
    first = log_progress(store.client, store.experiment_id, {0: {"a/b": 1.0}})
    assert log_progress(store.client, store.experiment_id, {0: {"a/b": 1.0}, 1: {"a/b": 2.0}}) == first
    second = log_progress(store.client, store.experiment_id, {0: {"a/b": 1.5}, 1: {"a/b": 2.0}})
    assert second != first
    assert [(p.step, p.value) for p in store.client.get_metric_history(second, "a/b")] == [(0, 1.5), (1, 2.0)]
    assert store.client.get_run(first).data.tags[SUPERSEDED_TAG] == second
    assert progress_run(store.client, store.experiment_id) == second


@pytest.mark.long
def test_a_step_made_again_attaches_to_the_iteration_and_supersedes_what_it_replaced(tracked):
    project = tracked
    store = store_of(project)

    def rows(kind: str) -> list:
        return store.client.search_runs([store.experiment_id], f"tags.`{KIND_TAG}` = '{kind}'")

    def embeddings() -> list:
        return store.client.search_runs([store.experiment_id], "tags.`prover.asset` = 'state_embeddings'")

    (row,) = rows("iteration")
    (before,) = embeddings()
    project.run("state_embeddings", partition="iter_000")
    (same,) = rows("iteration")
    assert same.info.run_id == row.info.run_id
    assert same.info.status == "FINISHED"
    assert same.data.tags["prover.made_again"] == "state_embeddings"
    (again,) = [run for run in embeddings() if run.info.run_id != before.info.run_id]
    assert again.data.tags["mlflow.parentRunId"] == row.info.run_id
    assert store.client.get_run(before.info.run_id).data.tags[SUPERSEDED_TAG] == again.info.run_id
    assert SUPERSEDED_TAG not in again.data.tags

    project.config = {"state_embeddings": {"batch_size": 7}}
    project.run("state_embeddings", partition="iter_000")
    (new,) = rows("iteration")
    assert new.data.params["state_embeddings.batch_size"] == "7"
    differing = {name for name in row.data.params if row.data.params[name] != new.data.params.get(name)}
    assert differing == {"state_embeddings.batch_size"}
    assert new.data.metrics == same.data.metrics
    (old,) = rows("superseded")
    assert old.info.run_id == row.info.run_id
    assert old.data.tags[SUPERSEDED_TAG] == new.info.run_id
    children = store.client.search_runs([store.experiment_id], f"tags.`mlflow.parentRunId` = '{new.info.run_id}'")
    assert len(children) == 9, "seven steps, one of them three times"
    assert {run.info.status for run in (new, old, *children)} == {"FINISHED"}


@pytest.mark.long
def test_runs_without_a_partition_are_no_row_of_the_iterations(new_project):
    project = new_project(track=True)
    project.run("theorems")
    store = store_of(project)
    assert store.client.search_runs([store.experiment_id], FILTER) == []


def test_models_can_be_ordered_by_validation_area_and_versions_say_why(finished, client):
    store = store_of(finished)
    models = client.search_logged_models(
        [store.experiment_id], order_by=[{"field_name": "metrics.validation_area", "ascending": False}]
    )
    areas = [next(m for m in model.metrics if m.key == "validation_area") for model in models]
    assert len(areas) == 2
    assert [area.value for area in areas] == sorted((area.value for area in areas), reverse=True)
    assert {area.dataset_name for area in areas} == {"theorems-valid"}
    first, second = sorted(client.search_model_versions("name = 'energy-model'"), key=lambda v: int(v.version))
    for version, key in ((first, "iter_000"), (second, "iter_001")):
        report = read_json(DataFolder(finished.data).iteration(key).report_file)
        assert version.description.startswith(f"{key}, {version.tags['prover.verdict']}: area 0.")
        assert f"| iteration | {key} |" in version.description
        assert report["promotion"]["reason"] in version.description
        assert version.tags["prover.verdict"] == ("promoted" if report["promotion"]["promoted"] else "not promoted")


@pytest.mark.long
def test_a_failed_asset_closes_its_runs_as_failed(new_project):
    project = new_project(track=True)
    assert not project.run("trajectories", partition="iter_000", raises=False).success
    assert [run.info.status for run in runs_of(project)] == ["FAILED", "FAILED"]


def test_a_blocking_check_closes_the_parent_as_failed_and_says_which(new_project):
    project = new_project(track=True)
    project.config = {"trajectories": {"max_expansions": 1}}
    project.run("theorems", "trajectories", "state_embeddings", partition="iter_000", raises=False)
    (parent,) = [run for run in runs_of(project) if run.data.tags[KIND_TAG] == "iteration"]
    assert parent.info.status == "FAILED"
    assert parent.data.tags["prover.failure"].startswith("both_labels: 0 positive")


@pytest.mark.long
def test_the_sensors_close_what_a_killed_or_cancelled_run_left_open(new_project):
    project = new_project(track=True)
    project.run("theorems", partition="iter_000")
    store = store_of(project)
    (dagster_run,) = project.instance.get_runs()
    of_run = dg.build_run_status_sensor_context(
        sensor_name="of the test",
        dagster_instance=project.instance,
        dagster_run=dagster_run,
        dagster_event=next(e for e in _events(project, dagster_run.run_id) if e.event_type_value == "PIPELINE_SUCCESS"),
        resources={"data": DataResource(root=str(project.data)), "mlflow": MlflowResource()},
    )
    for sensor, context, status in (
        (close_failed_mlflow_runs, of_run.for_run_failure(), "FAILED"),
        (close_cancelled_mlflow_runs, of_run, "KILLED"),
    ):
        parent = store.parent(dagster_run.run_id, "iter_000")  # reopened, as a killed process leaves it
        assert store.client.get_run(parent).info.status == "RUNNING"
        with context as opened:
            sensor(opened)
        assert store.client.get_run(parent).info.status == status


def _events(project, run_id: str) -> list[dg.DagsterEvent]:
    return [entry.dagster_event for entry in project.instance.all_logs(run_id) if entry.dagster_event is not None]


def test_a_copied_data_folder_keeps_its_artifacts_to_itself(finished, tmp_path):
    relocate(DataFolder(finished.data).mlflow)  # itself a copy, of the project that many tests share
    copy = tmp_path / "a copy" / "data"
    shutil.copytree(finished.data, copy)
    before, artifacts = (DataFolder(folder).mlflow / "artifacts" for folder in (finished.data, copy))
    assert relocate(artifacts.parent) == before.resolve().as_uri()
    assert relocate(artifacts.parent) == ""
    assert relocate(before.parent) == "", "the original is as it was"
    store = Store(MlflowResource().resolved_uri(DataFolder(copy)), "expert-iteration", artifacts)
    runs = store.client.search_runs([store.experiment_id])
    assert len(runs) > 10
    assert all(run.info.artifact_uri.startswith(artifacts.as_uri() + "/") for run in runs)
    (report,) = [run for run in runs if run.data.tags.get("prover.asset") == "iteration_report"][:1]
    assert {file.path for file in store.client.list_artifacts(report.info.run_id)} == {"plots"}
    version = store.client.get_model_version_by_alias("energy-model", "champion")
    place = store.client.get_model_version_download_uri("energy-model", version.version)
    assert place.startswith(artifacts.as_uri() + "/")
    new = store.parent("run-of-the-copy", "iter_002")
    assert store.client.get_run(new).info.artifact_uri.startswith(artifacts.as_uri() + "/")


def test_a_run_in_a_copied_data_folder_writes_into_it(new_project, tmp_path):
    project = new_project(track=True)
    project.run("theorems")
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = DataFolder(tmp_path / "moved")
    store = Store(MlflowResource().resolved_uri(moved), "expert-iteration", moved.mlflow / "artifacts")
    run = store.client.get_run(store.parent("another run", "iter_000"))
    assert run.info.artifact_uri.startswith((moved.mlflow / "artifacts").as_uri() + "/")


def test_a_tracking_database_that_is_damaged_is_named(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(
        DataFolderError, match=r"mlflow\.db is damaged, .*\. Restore it from a copy; .* move its folder"
    ):
        relocate(tmp_path)


def test_user_and_password_of_an_address_are_no_parameters():
    assert flatten({"path": "http://me:pw@host:8000/v1#m"}) == {"path": "http://host:8000/v1#m"}


def test_settings_are_flattened():
    assert flatten({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None}) == {"a.b": "1", "a.c.d": "[1, 2]", "e": "None"}


def test_a_few_theorems_of_each_search_have_a_trace_of_their_calls(finished):
    import mlflow

    from prover_assets.steps.search import TRACED_THEOREMS
    from prover_assets.tracking.tracked_run import fluent_uri

    data = DataFolder(finished.data)
    store = MlflowResource()._store(data)
    with fluent_uri(store.uri):
        traces = mlflow.search_traces(locations=[store.experiment_id], return_type="list", max_results=500)
    guided = [trace for trace in traces if trace.info.tags["prover.asset"] == "guided_trajectories"]
    assert len(guided) == 2 * TRACED_THEOREMS  # in both iterations
    kinds = {span.name for trace in guided for span in trace.data.spans}
    assert {"policy", "energy", "Lean", "certificate"} <= kinds
    for trace in guided:
        (root,) = [span for span in trace.data.spans if span.parent_id is None]
        assert root.name == trace.info.tags["prover.theorem"]
        run = store.client.get_run(trace.info.trace_metadata["mlflow.sourceRun"])
        assert run.data.tags["prover.asset"] == "guided_trajectories"
        for span in trace.data.spans:
            assert root.start_time_ns <= span.start_time_ns <= span.end_time_ns <= root.end_time_ns

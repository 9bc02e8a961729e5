"""What a person does in Dagster's UI, through its GraphQL interface: the servers of `make ui`, the real Lean."""

import pytest
from server import ROOT, Server, run_config, serving

from prover_assets.layout import DataFolder, read_json

pytestmark = pytest.mark.slow

ALL = (
    "theorems",
    "baseline_trajectories",
    "trajectories",
    "state_embeddings",
    "ebm_checkpoint",
    "guided_trajectories",
    "iteration_report",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(scope="module")
def first(server: Server) -> dict:
    """The run of the first iteration, from nothing."""
    server.add_partition("iter_000")
    run = server.wait(server.launch("first_iteration", "iter_000", config=run_config()))
    assert run["status"] == "SUCCESS", run
    return run


def steps(run: dict) -> dict[str, str]:
    return {step["stepKey"]: step["status"] for step in run["stepStats"]}


def test_the_first_iteration_from_nothing(server, first):
    assert steps(first) == dict.fromkeys(ALL, "SUCCESS")
    numbers = server.metadata("iteration_report", "iter_000")
    assert numbers["policy_solved_at_12"] >= 0
    assert "| guided |" in numbers["solved"]
    assert server.metadata("champion_ebm", "iter_001")["decided_by"] == "iter_000"
    assert read_json(DataFolder(server.data).iteration("iter_000").report_file)["iteration"] == "iter_000"


def test_mlflow_shows_a_closed_parent_with_a_child_for_each_asset(server, first):
    experiment = server.mlflow_get("experiments/get-by-name", "experiment_name=expert-iteration")["experiment"]
    runs = server.mlflow_post(
        "runs/search",
        experiment_ids=[experiment["experiment_id"]],
        filter=f"tags.`dagster.run_id` = '{first['runId']}'",
    )["runs"]
    assert {run["info"]["status"] for run in runs} == {"FINISHED"}
    tags = [{tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs]
    assert {tag.get("prover.asset") for tag in tags} == {*ALL, None}


def test_one_asset_again_encodes_nothing(server, first):
    run = server.wait(server.launch("iteration", "iter_000", "state_embeddings"))
    assert steps(run) == {"state_embeddings": "SUCCESS"}
    assert server.metadata("state_embeddings", "iter_000")["encoded"] == 0


def test_a_failed_iteration_is_retried_from_where_it_failed(server, first):
    server.add_partition("iter_001")
    manifest = DataFolder(server.data).baseline.manifest
    content = manifest.read_text(encoding="utf-8")
    manifest.unlink()
    try:
        failed = server.wait(server.launch("iteration", "iter_001", *ALL[2:]))
    finally:
        manifest.write_text(content, encoding="utf-8")
    assert failed["status"] == "FAILURE"
    assert steps(failed)["guided_trajectories"] == "FAILURE"
    again = server.wait(server.reexecute_from_failure(failed["runId"]))
    assert again["status"] == "SUCCESS"
    assert steps(again) == {"guided_trajectories": "SUCCESS", "iteration_report": "SUCCESS"}


def test_a_backfill_runs_iterations_one_after_another_in_order(server, first):
    keys = ["iter_002", "iter_003"]
    for key in keys:
        server.add_partition(key)
    answer = server.graphql(
        "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename "
        "... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
        p={
            "assetSelection": [{"path": [name]} for name in ALL[2:]],
            "partitionNames": keys,
            "runConfigData": run_config(*ALL[2:]),
        },
    )["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    import time

    until = time.monotonic() + 600
    while time.monotonic() < until:
        backfill = server.graphql(
            "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status "
            "runs(limit: 10) { runId status startTime endTime tags { key value } } } } }",
            id=answer["backfillId"],
        )["partitionBackfillOrError"]
        if backfill["status"].startswith("COMPLETED") or backfill["status"] in ("FAILED", "CANCELED"):
            break
        time.sleep(2)
    assert backfill["status"] == "COMPLETED_SUCCESS", backfill
    runs = sorted(backfill["runs"], key=lambda run: run["startTime"])
    of = [{tag["key"]: tag["value"] for tag in run["tags"]}["dagster/partition"] for run in runs]
    assert of == keys
    assert runs[0]["endTime"] <= runs[1]["startTime"]


def test_the_location_loads_from_the_workspace_file(server):
    nodes = server.graphql("{ assetNodes { assetKey { path } isExecutable } }")["assetNodes"]
    assert {node["assetKey"]["path"][0] for node in nodes if node["isExecutable"]} == set(ALL)
    assert (ROOT / "workspace.yaml").exists()

"""What a person does in Dagster's UI, through its GraphQL interface: the servers of `make ui`, the real Lean."""

import os
import signal

import polars as pl
import pytest
from server import ALL, ROOT

from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder

pytestmark = [pytest.mark.ui, pytest.mark.xdist_group("servers")]


def steps(run: dict) -> dict[str, str]:
    """The assets of a run and how they ended; a check of Dagster's own is a step too."""
    found = {step["stepKey"]: step["status"] for step in run["stepStats"]}
    return {name: status for name, status in found.items() if not name.startswith("asset_check_")}


def test_the_first_iteration_from_nothing(server, first):
    done = [step for run in first for step in steps(run).items()]  # the backfill decides on how many runs
    assert sorted(done) == sorted((name, "SUCCESS") for name in ALL)
    numbers = server.metadata("iteration_report", "iter_000")
    assert numbers["policy_solved_at_12"] >= 0
    assert "| guided |" in numbers["solved"]
    assert server.metadata("champion_ebm", "iter_001")["decided_by"] == "iter_000"
    assert read_json(DataFolder(server.data).iteration("iter_000").report_file)["iteration"] == "iter_000"


def test_mlflow_shows_a_closed_parent_with_a_child_for_each_asset(server, first):
    experiment = server.mlflow_get("experiments/get-by-name", "experiment_name=expert-iteration")["experiment"]
    (backfill,) = {tag["value"] for tag in first[-1]["tags"] if tag["key"] == "dagster/backfill"}

    def found(condition: str) -> list[dict]:
        asked = {"experiment_ids": [experiment["experiment_id"]], "filter": condition}
        return server.mlflow_post("runs/search", **asked)["runs"]

    (parent,) = found(f"tags.`prover.group` = '{backfill}' and tags.`prover.kind` = 'iteration'")
    children = found(f"tags.`mlflow.parentRunId` = '{parent['info']['run_id']}'")
    assert {run["info"]["status"] for run in [parent, *children]} == {"FINISHED"}
    names = {tag["value"] for run in children for tag in run["data"]["tags"] if tag["key"] == "prover.asset"}
    assert names >= set(ALL[2:])


def test_one_asset_again_encodes_nothing(server, first):
    run = server.wait(server.launch("iteration", "iter_000", "state_embeddings"))
    assert steps(run) == {"state_embeddings": "SUCCESS"}
    assert server.metadata("state_embeddings", "iter_000")["encoded"] == 0


def test_a_failed_iteration_is_retried_from_where_it_failed(server, second, failed_and_retried):
    failed, again = failed_and_retried
    assert failed["status"] == "FAILURE"
    assert steps(failed)["guided_trajectories"] == "FAILURE"
    assert again["status"] == "SUCCESS"
    assert steps(again) == {"guided_trajectories": "SUCCESS", "iteration_report": "SUCCESS"}


def test_a_run_that_was_killed_is_started_again_and_searches_no_finished_theorem_again(server, failed_and_retried):
    search = DataFolder(server.data).iteration("iter_003").trajectories
    server.add_partition("iter_003")
    settings = {**server.settings["trajectories"], "n_theorems": 64, "max_expansions": 32}
    run_id = server.launch(
        "iteration", "iter_003", "trajectories", config={"ops": {"trajectories": {"config": settings}}}
    )
    server.until("a batch of finished theorems", lambda: any(search.parts.glob("*.summary*")) or search.nodes.exists())
    (process,) = {int(found) for found in server.processes(run_id)}
    assert not search.nodes.exists(), "the search ended before it could be killed"
    os.kill(process, signal.SIGKILL)
    assert server.wait(run_id)["status"] == "FAILURE"
    (again,) = server.until("another run", lambda: [run for run in server.runs() if run["parentRunId"] == run_id])
    assert server.wait(again["runId"])["status"] == "SUCCESS"
    summary = pl.read_parquet(search.summary)
    assert summary["theorem_name"].n_unique() == summary.height == 64
    assert read_json(search.manifest)["figures"]["resumed"] > 0


def test_a_backfill_runs_old_iterations_again_one_after_another_in_order(server, second, failed_and_retried):
    keys = ["iter_001", "iter_002"]
    runs = server.backfill(keys, ALL[2:])
    of = [{tag["key"]: tag["value"] for tag in run["tags"]}["dagster/partition"] for run in runs]
    assert of == keys
    assert runs[0]["endTime"] <= runs[1]["startTime"]
    assert server.metadata("trajectories", "iter_001")["theorems"] == server.settings["trajectories"]["n_theorems"]


def test_an_old_iteration_again_leaves_the_newest_decision_alone(server, second):
    champion = server.data / "champion.json"
    before = champion.read_text(encoding="utf-8") if champion.exists() else ""
    run = server.wait(server.launch("iteration", "iter_000", "guided_trajectories", "iteration_report"))
    assert run["status"] == "SUCCESS"
    assert (champion.read_text(encoding="utf-8") if champion.exists() else "") == before
    assert server.metadata("champion_ebm", "iter_001")["decided_by"] == "iter_000"


def test_of_two_iterations_at_once_the_second_waits(server, second):
    ids = [server.launch("iteration", key, "state_embeddings") for key in ("iter_000", "iter_001")]
    one, two = sorted((server.wait(run_id) for run_id in ids), key=lambda run: run["startTime"])
    assert {one["status"], two["status"]} == {"SUCCESS"}
    assert one["endTime"] <= two["startTime"]


def test_what_is_unsynced_is_what_the_ui_says(server, second):
    def stale() -> set[str]:
        """Unpartitioned assets, and those of iter_000."""
        query = "query($k: [AssetKeyInput!]) { assetNodes(assetKeys: $k) { assetKey { path } status: staleStatus%s } }"
        nodes = [
            node
            for names, partition in ((ALL[:2], ""), (ALL[2:], '(partition: "iter_000")'))
            for node in server.graphql(query % partition, k=[{"path": [name]} for name in names])["assetNodes"]
        ]
        return {node["assetKey"]["path"][0] for node in nodes if node["status"] == "STALE"}

    before = stale()
    other = {**server.settings["baseline_trajectories"], "n_candidates": 5}
    config = {"ops": {"baseline_trajectories": {"config": other}}}
    usual = server.config("baseline_trajectories")
    try:
        assert (
            server.wait(server.launch("baseline", None, "baseline_trajectories", config=config))["status"] == "SUCCESS"
        )
        assert stale() - before == {"guided_trajectories", "iteration_report"}
    finally:
        server.wait(server.launch("baseline", None, "baseline_trajectories", config=usual))
    assert stale() == before


def test_the_location_loads_from_the_workspace_file(server):
    nodes = server.graphql("{ assetNodes { assetKey { path } isExecutable } }")["assetNodes"]
    assert {node["assetKey"]["path"][0] for node in nodes if node["isExecutable"]} == {*ALL, "policy_checkpoint"}
    assert (ROOT / "workspace.yaml").exists()

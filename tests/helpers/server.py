"""The servers that `make ui` starts, over a project of a few theorems on the real Lean, and their HTTP interfaces."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOCATION, REPOSITORY = "expert_iteration", "__repository__"
RUN_WITHIN_S = 1200
REPLY_S = 300
"""Seconds; enough for a busy machine: tests fail for what they see, never for how long it took."""

ALL = (
    "theorems",
    "baseline_trajectories",
    "trajectories",
    "state_embeddings",
    "ebm_checkpoint",
    "guided_trajectories",
    "iteration_report",
)
SMALL: dict[str, dict[str, Any]] = {
    "theorems": {"train": "propositional:train", "valid_limit": 4, "test_limit": 8},
    "baseline_trajectories": {"max_expansions": 12, "n_candidates": 6},
    "trajectories": {"n_theorems": 16, "max_expansions": 16, "n_candidates": 6},
    "ebm_checkpoint": {"total_steps": 60, "warmup_steps": 5, "calibration_expansions": 8, "betas": [0.0, 0.5]},
    "guided_trajectories": {"random_control": False},
    "iteration_report": {"budgets": [4, 8, 12]},
}
"""The demonstration scaled down to seconds."""
TOUR: dict[str, dict[str, Any]] = {
    "theorems": {"train": "propositional:train", "valid_limit": 20, "test_limit": 40},
    "baseline_trajectories": {"max_expansions": 64},
    "trajectories": {"n_theorems": 60},
    "ebm_checkpoint": {"total_steps": 800, "betas": [0.0, 0.5, 1.0, 2.0]},
    "iteration_report": {"budgets": [4, 8, 16, 32, 64]},
}
"""A project worth a picture: a minute or two an iteration."""


@dataclass(frozen=True)
class Server:
    dagster: str
    mlflow: str
    reports: str
    charts: str
    """Address of the saved view in MLflow."""
    live: str
    data: Path
    settings: Mapping[str, Mapping[str, Any]]
    """Of the assets, by name."""

    def config(self, *assets: str) -> dict[str, Any]:
        """Run configuration of some assets, or of all."""
        return {"ops": {name: {"config": self.settings[name]} for name in assets or ALL if name in self.settings}}

    def graphql(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL answer; fails on errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.dagster}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=REPLY_S) as reply:
            answer = json.load(reply)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def mlflow_post(self, method: str, version: str = "2.0", **content: Any) -> Any:
        request = urllib.request.Request(
            f"{self.mlflow}/api/{version}/mlflow/{method}",
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=REPLY_S) as reply:
            return json.load(reply)

    def mlflow_get(self, method: str, query: str) -> Any:
        with urllib.request.urlopen(f"{self.mlflow}/api/2.0/mlflow/{method}?{query}", timeout=REPLY_S) as reply:
            return json.load(reply)

    def partitions(self) -> list[str]:
        """The iterations that there are."""
        found = self.graphql(
            "query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode { partitionKeys } } }",
            k={"path": ["trajectories"]},
        )
        return list(found["assetNodeOrError"]["partitionKeys"])

    def terminate(self, run_id: str) -> None:
        """Cancel a run, queued or started."""
        self.graphql("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run_id)

    def add_partition(self, key: str) -> None:
        self.graphql(
            "mutation($s: RepositorySelector!, $k: String!) { addDynamicPartition(repositorySelector: $s, "
            'partitionsDefName: "iteration", partitionKey: $k) { __typename } }',
            s={"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY},
            k=key,
        )

    def launch(self, job: str, partition: str | None, *assets: str, config: Mapping[str, Any] | None = None) -> str:
        """Launch a run of a job, or of some of its assets; returns its id."""
        selector: dict[str, Any] = {
            "repositoryLocationName": LOCATION,
            "repositoryName": REPOSITORY,
            "pipelineName": job,
        }
        if assets:
            selector["assetSelection"] = [{"path": [name]} for name in assets]
        answer = self.graphql(
            "mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) { __typename "
            "... on LaunchRunSuccess { run { runId } } ... on PythonError { message } "
            "... on RunConfigValidationInvalid { errors { message } } } }",
            p={
                "selector": selector,
                "mode": "default",
                "runConfigData": config if config is not None else self.config(*assets),
                "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}] if partition else []},
            },
        )["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def reexecute_from_failure(self, run_id: str) -> str:
        answer = self.graphql(
            "mutation($p: ReexecutionParams!) { launchPipelineReexecution(reexecutionParams: $p) { __typename "
            "... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
            p={"parentRunId": run_id, "strategy": "FROM_FAILURE"},
        )["launchPipelineReexecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def run(self, run_id: str) -> dict[str, Any]:
        return self.graphql(
            "query($id: ID!) { runOrError(runId: $id) { ... on Run { runId status startTime endTime runConfigYaml "
            "tags { key value } stepStats { stepKey status } } } }",
            id=run_id,
        )["runOrError"]

    def wait(self, run_id: str) -> dict[str, Any]:
        """The run once it has ended."""
        until = time.monotonic() + RUN_WITHIN_S
        while time.monotonic() < until:
            run = self.run(run_id)
            if run["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
                return run
            time.sleep(1)
        raise AssertionError(f"run {run_id} is {run['status']} after {RUN_WITHIN_S} s")

    def runs(self) -> list[dict[str, Any]]:
        """All runs, newest first."""
        return self.graphql(
            "{ runsOrError { ... on Runs { results { runId parentRunId status tags { key value } } } } }"
        )["runsOrError"]["results"]

    def processes(self, run_id: str) -> list[str]:
        """The ids of the processes that a run's steps are executed in."""
        found = self.graphql(
            "query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events { ... on EngineEvent { "
            "metadataEntries { label ... on TextMetadataEntry { text } ... on IntMetadataEntry { intRepr } } } } } } }",
            id=run_id,
        )["logsForRun"]["events"]
        entries = [entry for event in found for entry in event.get("metadataEntries", ())]
        return [entry.get("text") or entry["intRepr"] for entry in entries if entry["label"] == "pid"]

    def until(self, what: str, look: Callable[[], Any]) -> Any:
        """What `look` finds, once it finds something."""
        until = time.monotonic() + RUN_WITHIN_S
        while time.monotonic() < until:
            found = look()
            if found:
                return found
            time.sleep(0.5)
        raise AssertionError(f"no {what} after {RUN_WITHIN_S} s")

    def iterate(self, *keys: str) -> list[dict[str, Any]]:
        """Run iterations, one after another."""
        ended = []
        for key in keys:
            self.add_partition(key)
            ended.append(self.wait(self.launch("iteration", key, *ALL[2:])))
        return ended

    def backfill(self, partitions: Sequence[str], assets: Sequence[str]) -> list[dict[str, Any]]:
        """Backfill assets over partitions; its runs once it has ended well, in the order in which they started."""
        answer = self.graphql(
            "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename "
            "... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
            p={
                "assetSelection": [{"path": [name]} for name in assets],
                "partitionNames": list(partitions),
                "runConfigData": self.config(*assets),
            },
        )["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        until = time.monotonic() + 2 * RUN_WITHIN_S
        while time.monotonic() < until:
            found = self.graphql(
                "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status "
                "runs(limit: 10) { runId status startTime endTime tags { key value } stepStats { stepKey status } } "
                "} } }",
                id=answer["backfillId"],
            )["partitionBackfillOrError"]
            if found["status"].startswith("COMPLETED") or found["status"] in ("FAILED", "CANCELED"):
                assert found["status"] == "COMPLETED_SUCCESS", found
                return sorted(found["runs"], key=lambda run: run["startTime"])
            time.sleep(2)
        raise AssertionError(f"the backfill of {partitions} has not ended: {found}")

    def metadata(self, asset: str, partition: str) -> dict[str, Any]:
        """Numbers and texts of an asset's latest materialization of a partition."""
        found = self.graphql(
            "query($k: AssetKeyInput!, $p: [String!]) { assetOrError(assetKey: $k) { ... on Asset { "
            "assetMaterializations(partitions: $p, limit: 1) { runId metadataEntries { label __typename "
            "... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue } "
            "... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr } } } } } }",
            k={"path": [asset]},
            p=[partition],
        )["assetOrError"]["assetMaterializations"]
        return {
            entry["label"]: next((v for k, v in entry.items() if k not in ("label", "__typename")), None)
            for entry in found[0]["metadataEntries"]
        }


@contextmanager
def serving(
    folder: Path, settings: Mapping[str, Mapping[str, Any]] = SMALL, project: Path | None = None
) -> Iterator[Server]:
    """`make ui` over an empty project in `folder`; its runs have these settings unless others are given.

    project: a folder with `data` and `dagster_home` of a project that is there already, to be served instead.
    """
    home, data = (project or folder) / "dagster_home", (project or folder) / "data"
    if project is None:
        home.mkdir()
        shutil.copy(ROOT / "dagster_home" / "dagster.yaml", home)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "PROVER_DATA": str(data),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    log = folder / "ui.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "prover_assets.ui"),
                *("--dagster-port", "3300", "--mlflow-port", "5500", "--report-port", "3380"),
            ],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Server(**_addresses(process, log), data=data, settings=settings)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=REPLY_S) == 0, log.read_text()


def _addresses(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    until = time.monotonic() + REPLY_S
    while time.monotonic() < until:
        text = log.read_text()
        if "Ctrl-C" in text:
            return {
                name.lower(): url
                for name, url in re.findall(r"^(Dagster|MLflow|Reports|charts|live) +(http://\S+)", text, re.M)
            }
        assert process.poll() is None, text
        time.sleep(0.3)
    raise AssertionError(f"the servers did not come up: {log.read_text()}")

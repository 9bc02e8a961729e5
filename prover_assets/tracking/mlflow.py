"""MLflow, directly: one parent run per iteration (and per Dagster run of it), one child run per asset.

Only explicit run ids are used (`MlflowClient`), never MLflow's global active run, so that several processes and several
runs in one process do not disturb each other. mlflow is imported inside the functions: it takes seconds.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prover_assets.store.iterations import iteration_number
from prover_assets.tracking.database import TrackingError, client_in_words, in_words, make_whole, require_known_version
from prover_assets.tracking.iterations import progress_run
from prover_assets.tracking.relocation import relocate
from prover_assets.tracking.rows import log_params, mark_superseded, row_of
from prover_assets.tracking.system import watching_the_machine
from prover_assets.tracking.tags import (
    ASSET,
    ASSET_TAG,
    BASELINE,
    DAGSTER_RUN_TAG,
    GROUP_TAG,
    ITERATION,
    KIND_TAG,
    NOTE_TAG,
    PARENT_TAG,
    PARTITION_TAG,
    SOURCE_TAG,
    SOURCE_TYPE_TAG,
    STATUS_OPEN,
)
from prover_assets.tracking.tracked_run import TrackedRun, flatten
from prover_assets.tracking.view import save_view, view_link

if TYPE_CHECKING:
    from mlflow.entities import Run

logger = logging.getLogger(__name__)


def own_uri(folder: Path) -> str:
    """Address of the tracking store that lies in a data folder's `mlflow`."""
    return f"sqlite:///{folder / 'mlflow.db'}"


def resolved_uri(configured: str, folder: Path) -> str:
    """A store's address: as configured, else from the environment, else the SQLite file in a data folder's `mlflow`."""
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI") or own_uri(folder)
    if uri.startswith(("postgresql://", "postgres://")):  # not shown: it may hold a password
        raise ValueError(
            "the MLflow tracking URI names no database driver: write postgresql+psycopg2:// instead of "
            f"{uri.partition('//')[0]}//"
        )
    return uri


class Store:
    """An MLflow tracking store with its experiment, made if need be."""

    def __init__(self, uri: str, experiment: str, artifacts: Path) -> None:
        from mlflow import MlflowClient

        self.uri = uri
        self._lock = artifacts.parent / ".lock"
        artifacts.mkdir(parents=True, exist_ok=True)
        with self._locked():  # several processes that make the same database fail
            if uri == own_uri(artifacts.parent):
                require_known_version(artifacts.parent / "mlflow.db")
                relocate(artifacts.parent)
            with in_words(uri):
                if uri.startswith("sqlite:///"):
                    make_whole(Path(uri.removeprefix("sqlite:///")))
                self.client: MlflowClient = client_in_words(MlflowClient(tracking_uri=uri), uri)
            found = self.client.get_experiment_by_name(experiment)
            if found is None:
                # Absolute, or artifacts land beside whoever happened to be first. A server chooses its own.
                location = None if uri.startswith(("http://", "https://")) else artifacts.resolve().as_uri()
                self.experiment_id = self.client.create_experiment(experiment, artifact_location=location)
            else:
                self.experiment_id = found.experiment_id

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self._lock, "a", encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def parent(
        self, dagster_run_id: str, partition: str | None, backfill: str | None = None, *, job: str = "iteration"
    ) -> str:
        """Id of the parent run, found by its tags or made.

        Of an iteration there is one, whatever run of Dagster works on it: reruns, retries and backfills attach to it. A
        Dagster run (or backfill) without a partition has a parent of its own, which is no row of the iterations.
        """
        group = backfill or dagster_run_id
        with self._locked():
            found = self._group(group) if partition is None else row_of(self.client, self.experiment_id, partition)
            if found is not None:
                run_id = found.info.run_id
                if found.info.status != STATUS_OPEN:  # a step that is retried reopens what its failure closed
                    self.client.update_run(run_id, status=STATUS_OPEN)
                self.client.set_tag(run_id, DAGSTER_RUN_TAG, dagster_run_id)  # whose failure would close it
                return str(run_id)
            from prover_assets.tracking.provenance import provenance

            facts = provenance()
            run_id = self.client.create_run(
                self.experiment_id,
                run_name=partition or BASELINE,
                tags={
                    DAGSTER_RUN_TAG: dagster_run_id,
                    GROUP_TAG: group,
                    KIND_TAG: ITERATION if partition else BASELINE,
                    **({PARTITION_TAG: partition} if partition else {}),
                    SOURCE_TAG: f"dagster job {job}",
                    SOURCE_TYPE_TAG: "JOB",
                    NOTE_TAG: f"**{partition}** of expert iteration. Not reported yet."
                    if partition
                    else "Theorem sets, and held-out theorems searched with the policy alone. No iteration.",
                    "mlflow.source.git.commit": facts["git_commit"],
                },
            ).info.run_id
            log_params(self.client, run_id, flatten(facts))
            return str(run_id)

    def _group(self, group: str) -> "Run | None":
        wanted = f"tags.`{GROUP_TAG}` = '{group}' and tags.`{KIND_TAG}` = '{BASELINE}'"
        found = self.client.search_runs([self.experiment_id], wanted, max_results=1)
        return found[0] if found else None

    @contextmanager
    def child(
        self,
        asset: str,
        dagster_run_id: str,
        *,
        job: str,
        partition: str | None,
        backfill: str | None,
        server: str,
        last: bool,
        about: str = "",
        system_metrics: bool = False,
    ) -> Iterator["TrackedRun"]:
        """The child run of an asset, under the parent of its Dagster run, which is made where there is none yet.

        job: name of the Dagster job. server: address of MLflow's UI, for the link. last: whether this is the last asset
        of the Dagster run, which closes the parent as FINISHED. about: the run's description, in Markdown.
        system_metrics: whether to log CPU, memory, disk and network while the step runs. An error closes both as
        FAILED; Ctrl-C and a request to terminate close both as KILLED.
        """
        parent = self.parent(dagster_run_id, partition, backfill, job=job)
        child = self.client.create_run(
            self.experiment_id,
            run_name=f"{partition}/{asset}" if partition else asset,
            tags={
                PARENT_TAG: parent,
                DAGSTER_RUN_TAG: dagster_run_id,
                SOURCE_TAG: f"dagster job {job}",
                SOURCE_TYPE_TAG: "JOB",
                KIND_TAG: ASSET,
                ASSET_TAG: asset,
                NOTE_TAG: about,
                **({PARTITION_TAG: partition} if partition else {}),
            },
        ).info.run_id
        step = iteration_number(partition) if partition else 0
        link = f"{server}/#/experiments/{self.experiment_id}/runs/{child}"
        run = TrackedRun(self.client, child, parent, step, link, self.uri, self.experiment_id, server)
        try:
            if partition is not None:
                run.inherit(asset)
            with watching_the_machine(child, self.uri, enabled=system_metrics):
                yield run
        except BaseException as error:
            # What interrupts, Dagster's own interruption as well, is no Exception.
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            troubles: dict[str, str] = {}  # run id by what stopped it from being closed: often the same for both
            for run_id in (child, run.parent_id):
                try:
                    self.close(run_id, status)
                except TrackingError as trouble:  # must not hide what the asset itself raised
                    troubles[str(trouble)] = run_id
            for words, run_id in troubles.items():
                logger.warning("MLflow's run %s stays open until the next start: %s", run_id, words)
            raise
        self.close(child, "FAILED" if run.failed else "FINISHED")
        mark_superseded(self.client, self.experiment_id, run.parent_id, asset, child)
        if run.failed:
            self.close(run.parent_id, "FAILED")
        elif last:
            self.close(run.parent_id, "FINISHED")

    def view(self, server: str) -> str:
        """Keep the saved view of the iterations, and return the address that opens it. server: of MLflow's UI."""
        save_view(self.client, self.experiment_id, progress_run(self.client, self.experiment_id))
        return view_link(server, self.experiment_id)

    def close_dagster_run(self, dagster_run_id: str, status: str) -> list[str]:
        """Close as `status` whatever a Dagster run left open; returns the ids of the runs closed."""
        found = self.client.search_runs(
            [self.experiment_id], f"tags.`{DAGSTER_RUN_TAG}` = '{dagster_run_id}' and attributes.status = 'RUNNING'"
        )
        for run in found:
            self.close(run.info.run_id, status)
        return [run.info.run_id for run in found]

    def close(self, run_id: str, status: str) -> None:
        """Close a run, unless it is closed already."""
        if self.client.get_run(run_id).info.status == STATUS_OPEN:
            self.client.set_terminated(run_id, status)

"""MLflow, directly: one parent run per iteration (and per Dagster run of it), one child run per asset.

Only explicit run ids are used (`MlflowClient`), never MLflow's global active run, so that several processes and several
runs in one process do not disturb each other. mlflow is imported inside the functions: it takes seconds.
"""

import fcntl
import logging
import math
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prover_assets.store.iterations import iteration_number
from prover_assets.tracking.database import TrackingError, client_in_words, in_words, require_known_version
from prover_assets.tracking.relocation import relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from prover_assets.report.plots import Picture

logger = logging.getLogger(__name__)

DAGSTER_RUN_TAG = "dagster.run_id"
PARTITION_TAG = "dagster.partition"
GROUP_TAG = "prover.group"
"""What shares a parent: a Dagster run, or all runs that a backfill makes of one iteration."""
KIND_TAG = "prover.kind"
"""`iteration` on parents (`baseline` where a run has no partition), `asset` on children."""
SOURCE_TAG = "mlflow.source.name"
"""What MLflow shows as a run's source."""
STATUS_OPEN = "RUNNING"
BATCH = 1000
"""MLflow's own limit of metrics a request."""
LONGEST_PARAM = 6000


USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
"""User and password in an address."""


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as `search.max_expansions` -> "32"; lists become their JSON-like text.

    User and password of an address are left out.
    """
    flat: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = USER_INFO.sub("", str(value))[:LONGEST_PARAM]
    return flat


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


@contextmanager
def fluent_uri(uri: str) -> Iterator[None]:
    """Point MLflow's global functions at a store, and back: setting it writes to the environment of this process."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # documented as a string, and unsets on None
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


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

    def parent(self, dagster_run_id: str, partition: str | None, backfill: str | None = None) -> str:
        """Id of the parent run of a Dagster run or of a backfill's iteration, found by its tags or made."""
        kind, group = "iteration" if partition else "baseline", backfill or dagster_run_id
        wanted = {GROUP_TAG: group, KIND_TAG: kind, **({PARTITION_TAG: partition} if partition else {})}
        with self._locked():
            found = self.client.search_runs(
                [self.experiment_id],
                " and ".join(f"tags.`{name}` = '{value}'" for name, value in wanted.items()),
                max_results=1,
            )
            if found:
                run_id = found[0].info.run_id
                if found[0].info.status != STATUS_OPEN:  # a step that is retried reopens what its failure closed
                    self.client.update_run(run_id, status=STATUS_OPEN)
                self.client.set_tag(run_id, DAGSTER_RUN_TAG, dagster_run_id)  # whose failure would close it
                return run_id
            from prover_assets.tracking.provenance import provenance

            facts = provenance()
            run_id = self.client.create_run(
                self.experiment_id,
                run_name=partition or "baseline",
                tags={
                    DAGSTER_RUN_TAG: dagster_run_id,
                    **wanted,
                    "mlflow.source.git.commit": facts["git_commit"],
                },
            ).info.run_id
            _log_params(self.client, run_id, facts)
            return run_id

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
    ) -> Iterator["TrackedRun"]:
        """The child run of an asset, under the parent of its Dagster run, which is made where there is none yet.

        job: name of the Dagster job. server: address of MLflow's UI, for the link. last: whether this is the last asset
        of the Dagster run, which closes the parent as FINISHED. An error closes both as FAILED; Ctrl-C and a request to
        terminate close both as KILLED.
        """
        parent = self.parent(dagster_run_id, partition, backfill)
        child = self.client.create_run(
            self.experiment_id,
            run_name=f"{partition}/{asset}" if partition else asset,
            tags={
                "mlflow.parentRunId": parent,
                DAGSTER_RUN_TAG: dagster_run_id,
                SOURCE_TAG: f"dagster job {job}",
                KIND_TAG: "asset",
                "prover.asset": asset,
                **({PARTITION_TAG: partition} if partition else {}),
            },
        ).info.run_id
        step = iteration_number(partition) if partition else 0
        link = f"{server}/#/experiments/{self.experiment_id}/runs/{child}"
        run = TrackedRun(self.client, child, parent, step, link, self.uri)
        try:
            yield run
        except BaseException as error:
            # What interrupts, Dagster's own interruption as well, is no Exception.
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            for run_id in (child, parent):
                try:
                    self.close(run_id, status)
                except TrackingError as trouble:  # must not hide what the asset itself raised
                    logger.warning("MLflow's run %s stays open until the next start: %s", run_id, trouble)
            raise
        self.close(child, "FAILED" if run.failed else "FINISHED")
        if run.failed:
            self.close(parent, "FAILED")
        elif last:
            self.close(parent, "FINISHED")

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


@dataclass
class TrackedRun:
    """A child run, open. All methods do nothing where tracking is off (`client` None)."""

    client: "MlflowClient | None"
    run_id: str
    parent_id: str
    iteration: int
    url: str
    uri: str = ""
    """Address of the store."""
    failed: bool = field(default=False)

    def params(self, settings: Mapping[str, Any], *, parent_prefix: str | None = None) -> None:
        """Log settings, flattened; also on the parent, under `parent_prefix` unless that is "" or None (not at all).

        Params never change: the same name with another value is an error.
        """
        if self.client is None:
            return
        _log_params(self.client, self.run_id, settings)
        if parent_prefix is not None:
            _log_params(self.client, self.parent_id, {parent_prefix: dict(settings)} if parent_prefix else settings)

    def metrics(self, values: Mapping[str, float | None], *, step: int | None = None) -> None:
        """Log numbers on the child; None and NaN (nothing was measured) are left out."""
        self.curve([(self.iteration if step is None else step, values)])

    def curve(self, points: Iterable[tuple[int, Mapping[str, float | None]]]) -> None:
        """Log (step, numbers) points on the child, in as few requests as MLflow allows."""
        if self.client is not None:
            _log_metrics(self.client, self.run_id, points)

    def summary(self, values: Mapping[str, float | None]) -> None:
        """Log numbers on the parent, at step = iteration, so that one chart spans the iterations."""
        if self.client is not None:
            _log_metrics(self.client, self.parent_id, [(self.iteration, values)])

    def picture(self, picture: "Picture", name: str) -> None:
        """Keep a picture as `plots/NAME.png`."""
        if self.client is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"{name}.png"
                path.write_bytes(picture.png)
                self.client.log_artifact(self.run_id, str(path), "plots")

    def artifact(self, path: Path, folder: str = "", *, on_parent: bool = False) -> None:
        """Keep a copy of a file or of a folder's content."""
        if self.client is None:
            return
        target = self.parent_id if on_parent else self.run_id
        if path.is_dir():
            self.client.log_artifacts(target, str(path), folder or None)
        else:
            self.client.log_artifact(target, str(path), folder or None)

    def dataset(self, name: str, digest: str, path: Path, context: str) -> None:
        """Say what the run read or made: a table by name, digest, place, columns and rows. context: `training`, ..."""
        if self.client is None:
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(**_described(name, digest, path))
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def tags(self, values: Mapping[str, str], *, on_parent: bool = False) -> None:
        """Set tags."""
        if self.client is None:
            return
        for key, value in values.items():
            self.client.set_tag(self.parent_id if on_parent else self.run_id, key, value)

    def mark_failed(self, reason: str) -> None:
        """A blocking check failed: both runs will be closed as FAILED, with the reason as a tag."""
        self.failed = True
        self.tags({"prover.failure": reason})
        self.tags({"prover.failure": reason}, on_parent=True)

    @property
    def tracked(self) -> bool:
        """Whether there is a run at all."""
        return self.client is not None


def _described(name: str, digest: str, path: Path) -> dict[str, Any]:
    """What MLflow keeps of a Parquet or JSON Lines file: never the rows."""
    import polars as pl
    from mlflow.data.polars_dataset import from_polars
    from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]  # made when imported

    frame = pl.read_ndjson(path) if path.suffix == ".jsonl" else pl.read_parquet(path)
    unsigned = [column for column, kind in frame.schema.items() if kind.is_unsigned_integer()]
    frame = frame.with_columns(pl.col(unsigned).cast(pl.Int64, strict=False))  # MLflow has no word for unsigned numbers
    source = LocalArtifactDatasetSource(os.fspath(path))
    return dict(from_polars(frame, source=source, name=name, digest=digest[:36]).to_dict())


def _log_params(client: "MlflowClient", run_id: str, settings: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    params = [Param(key, value) for key, value in flatten(settings).items()]
    for start in range(0, len(params), 100):
        client.log_batch(run_id, params=params[start : start + 100])


def _log_metrics(client: "MlflowClient", run_id: str, points: Iterable[tuple[int, Mapping[str, float | None]]]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [
        Metric(key, float(value), now, step)
        for step, values in points
        for key, value in values.items()
        if value is not None and not math.isnan(value)
    ]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])

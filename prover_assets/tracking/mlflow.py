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

from prover.parquet import ParquetDamaged, read_table
from prover_assets.store.files import DamagedFile
from prover_assets.store.iterations import iteration_number
from prover_assets.tracking.database import TrackingError, client_in_words, in_words, make_whole, require_known_version
from prover_assets.tracking.iterations import log_progress, progress_run
from prover_assets.tracking.relocation import relocate
from prover_assets.tracking.rows import log_decision, log_params, made_earlier, mark_superseded, row_of
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
from prover_assets.tracking.traces import log_traces
from prover_assets.tracking.view import save_view, view_link

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from prover_assets.report.plots import Picture

logger = logging.getLogger(__name__)

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
    experiment_id: str = ""
    server: str = ""
    """Address of MLflow's UI."""
    failed: bool = field(default=False)
    with_traces: bool = True

    def traces(self, asset: str, calls: Mapping[str, Mapping[str, Any]]) -> None:
        """Log a trace for each theorem of a search whose calls were noted, unless that is off."""
        if self.client is not None and self.with_traces and calls:
            with fluent_uri(self.uri):
                log_traces(self.experiment_id, self.run_id, asset, calls)

    def params(self, settings: Mapping[str, Any], *, parent_prefix: str | None = None) -> None:
        """Log settings, flattened; also on the parent, under `parent_prefix` unless that is "" or None (not at all).

        On the child, the same name with another value is an error. On an iteration's parent it means that a step was
        made again with other settings: `parent_id` is then another run, which took the place of the old one.
        """
        if self.client is None:
            return
        log_params(self.client, self.run_id, flatten(settings))
        if parent_prefix is not None:
            decided = {parent_prefix: dict(settings)} if parent_prefix else settings
            self.parent_id = log_decision(self.client, self.parent_id, flatten(decided))

    def inherit(self, asset: str) -> None:
        """Log on the parent what decided the theorem sets and the baseline, made before, if `asset` uses them."""
        if self.client is None:
            return
        params, inputs = made_earlier(self.client, self.experiment_id, asset)
        if params:
            self.parent_id = log_decision(self.client, self.parent_id, params)
        if inputs:
            self.client.log_inputs(self.parent_id, inputs)

    def progress(self, points: Mapping[int, Mapping[str, float]]) -> None:
        """Log numbers (iteration -> name -> value) on the run `progress`, and renew the saved view."""
        if self.client is not None:
            run_id = log_progress(self.client, self.experiment_id, points)
            save_view(self.client, self.experiment_id, run_id)

    @property
    def view(self) -> str:
        """Address of the saved view of all iterations; "" where tracking is off."""
        return view_link(self.server, self.experiment_id) if self.client is not None else ""

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

    def picture(self, picture: "Picture", name: str, *, on_parent: bool = False) -> None:
        """Keep a picture as `plots/NAME.png`."""
        if self.client is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"{name}.png"
                path.write_bytes(picture.png)
                self.client.log_artifact(self.parent_id if on_parent else self.run_id, str(path), "plots")

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
        """Say what the run read or made: a table by name, digest, place, columns and rows. context: `training`, ...

        The parent has the same, so that the row of an iteration shows its data.
        """
        if self.client is None:
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(**_described(name, digest, path))
        read = [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])]
        self.client.log_inputs(self.run_id, read)
        self.client.log_inputs(self.parent_id, read)

    def note(self, text: str, *, on_parent: bool = False) -> None:
        """Set the run's description, in Markdown."""
        self.tags({NOTE_TAG: text}, on_parent=on_parent)

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

    def page_link(self, artifact: str) -> str:
        """Address of an artifact of the parent in MLflow's UI; "" where tracking is off."""
        if self.client is None:
            return ""
        return f"{self.server}/#/experiments/{self.experiment_id}/runs/{self.parent_id}/artifacts/{artifact}"

    @property
    def tracked(self) -> bool:
        """Whether there is a run at all."""
        return self.client is not None


def _described(name: str, digest: str, path: Path) -> dict[str, Any]:
    """What MLflow keeps of a Parquet or JSON Lines file: never the rows. Raises DamagedFile."""
    import polars as pl
    from mlflow.data.polars_dataset import from_polars
    from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]  # made when imported

    try:
        found = pl.read_ndjson(path) if path.suffix == ".jsonl" else pl.from_arrow(read_table(path))
    except (ParquetDamaged, pl.exceptions.PolarsError) as error:
        raise DamagedFile(path, str(error)) from error
    assert isinstance(found, pl.DataFrame), "a table of several columns is a frame"
    frame = found
    unsigned = [column for column, kind in frame.schema.items() if kind.is_unsigned_integer()]
    frame = frame.with_columns(pl.col(unsigned).cast(pl.Int64, strict=False))  # MLflow has no word for unsigned numbers
    source = LocalArtifactDatasetSource(os.fspath(path))
    return dict(from_polars(frame, source=source, name=name, digest=digest[:36]).to_dict())


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

"""A run of MLflow that is open for one asset: what can be logged on it, and on the iteration that it is a part of."""

import math
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from prover.json_types import JsonObject
from prover.parquet import ParquetDamaged, read_table
from prover_assets.store.files import DamagedFile
from prover_assets.tracking.iterations import log_progress
from prover_assets.tracking.rows import log_decision, log_params, made_earlier
from prover_assets.tracking.tags import NOTE_TAG
from prover_assets.tracking.traces import log_traces
from prover_assets.tracking.view import save_view, view_link

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from prover.search.figures import TracedCalls
    from prover_assets.report.plots import Picture

BATCH = 1000
"""MLflow's own limit of metrics a request."""
LONGEST_PARAM = 6000


USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
"""User and password in an address."""


def flatten(settings: JsonObject, prefix: str = "") -> dict[str, str]:
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

    def traces(self, asset: str, calls: "Mapping[str, TracedCalls]") -> None:
        """Log a trace for each theorem of a search whose calls were noted, unless that is off."""
        if self.client is not None and self.with_traces and calls:
            with fluent_uri(self.uri):
                log_traces(self.experiment_id, self.run_id, asset, calls)

    def params(self, settings: JsonObject, *, parent_prefix: str | None = None) -> None:
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


def _described(name: str, digest: str, path: Path) -> JsonObject:
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

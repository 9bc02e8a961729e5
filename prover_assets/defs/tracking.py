"""Tracking of runs in MLflow as a Dagster resource: which run of MLflow belongs to which run of Dagster."""

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from prover_assets.store.layout import DataFolder
from prover_assets.tracking.mlflow import Store, resolved_uri
from prover_assets.tracking.tracked_run import TrackedRun

BACKFILL_TAG = "dagster/backfill"
DEFAULT_UI = "http://127.0.0.1:5000"
DEFAULT_DAGSTER_UI = "http://127.0.0.1:3000"
DEFAULT_REPORT_UI = "http://127.0.0.1:3080"


def mlflow_ui(configured: str = "") -> str:
    """Address of MLflow's UI: as configured, else $PROVER_MLFLOW_UI, which `make ui` sets, else its default."""
    return configured or os.environ.get("PROVER_MLFLOW_UI") or DEFAULT_UI


def dagster_ui() -> str:
    """Address of Dagster's UI: $PROVER_DAGSTER_UI, which `make ui` sets, else its default."""
    return os.environ.get("PROVER_DAGSTER_UI") or DEFAULT_DAGSTER_UI


def report_link(iteration: str) -> str:
    """Address of an iteration's report while `make ui` serves it: under $PROVER_REPORT_UI, else under its default."""
    return f"{os.environ.get('PROVER_REPORT_UI') or DEFAULT_REPORT_UI}/{iteration}/"


class MlflowResource(dg.ConfigurableResource):
    """Where runs are tracked. Off: nothing is logged, and nothing of MLflow is imported."""

    enabled: bool = Field(default=True, description="Whether runs are tracked in MLflow.")
    tracking_uri: str = Field(
        default="",
        description="Tracking store (URI). Empty: $MLFLOW_TRACKING_URI, else a SQLite file in the data folder.",
    )
    experiment: str = Field(default="expert-iteration", description="Experiment (name).")
    registered_model: str = Field(
        default="energy-model", description="Model that versions are registered under (name)."
    )
    ui_url: str = Field(
        default="",
        description="Address of MLflow's UI, for links (URL). Empty: $PROVER_MLFLOW_UI, else http://127.0.0.1:5000.",
    )

    system_metrics: bool = Field(
        default=True, description="Whether to log CPU, memory, disk and network of the machine while a step runs."
    )

    traces: bool = Field(
        default=True,
        description="Whether to log a trace of the calls to the models and to Lean, for a few theorems of each search.",
    )

    @contextmanager
    def child(self, context: dg.AssetExecutionContext, data: DataFolder) -> Iterator[TrackedRun]:
        """The child run of the asset in `context`, as `Store.child` makes it."""
        if not self.enabled:
            yield TrackedRun(None, "", "", 0, "")
            return
        name = context.asset_key.to_user_string()
        with self._store(data).child(
            name,
            context.run.run_id,
            job=context.run.job_name,
            partition=context.run.tags.get("dagster/partition"),
            backfill=context.run.tags.get(BACKFILL_TAG),
            server=mlflow_ui(self.ui_url),
            last=name == last_asset(context),
            about=_about(context),
            system_metrics=self.system_metrics,
        ) as run:
            run.with_traces = self.traces
            yield run

    def _store(self, data: DataFolder) -> Store:
        return Store(self.resolved_uri(data), self.experiment, data.mlflow / "artifacts")

    def view(self, data: DataFolder, server: str) -> str:
        """Address of the saved view of all iterations in the MLflow UI at `server`; the view is made if need be."""
        return self._store(data).view(server)

    def resolved_uri(self, data: DataFolder) -> str:
        """The store's address: as configured, from the environment, or the SQLite file of the data folder."""
        return resolved_uri(self.tracking_uri, data.mlflow)

    def close_dagster_run(self, data: DataFolder, dagster_run_id: str, status: str) -> list[str]:
        """Close as `status` whatever a Dagster run left open in MLflow; returns the ids of the MLflow runs closed."""
        if not self.enabled or (self.resolved_uri(data).startswith("sqlite:///") and not data.mlflow.exists()):
            return []
        return self._store(data).close_dagster_run(dagster_run_id, status)


def _about(context: dg.AssetExecutionContext) -> str:
    """An asset's own description, and where its run is in Dagster, as Markdown."""
    described = context.assets_def.descriptions_by_key.get(context.asset_key) or ""
    return f"{described.strip()}\n\n[The run in Dagster]({dagster_ui()}/runs/{context.run.run_id})".strip()


def selected_assets(context: dg.AssetExecutionContext) -> AbstractSet[dg.AssetKey]:
    """The assets that this Dagster run makes."""
    return context.run.asset_selection or context.job_def.asset_layer.asset_graph.executable_asset_keys


def last_asset(context: dg.AssetExecutionContext) -> str:
    """Name of the asset that runs last in this Dagster run."""
    graph = context.job_def.asset_layer.asset_graph
    selected = selected_assets(context)
    in_order = [key for level in graph.toposorted_asset_keys_by_level for key in sorted(level)]
    return [key for key in in_order if key in selected][-1].to_user_string()

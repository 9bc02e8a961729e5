"""What every asset does around its work: the data folder proven writable and held, the MLflow child run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from prover_assets.layout import DataFolder, IterationFolder
from prover_assets.progress import Reporter, reporter_for
from prover_assets.resources import DataResource
from prover_assets.tracking import MlflowResource, TrackedRun

OWNERS = ["team:provers"]
GROUP = "expert_iteration"
LEAN_POOL, GPU_POOL = "lean", "gpu"

TRANSIENT = (ConnectionError, TimeoutError)
"""What may heal: a model server or a Lean that does not answer. Everything else fails at once, with its reason."""
MAX_RETRIES, RETRY_AFTER_S = 2, 10.0


@dataclass
class Step:
    """An asset at work."""

    context: dg.AssetExecutionContext
    data: DataFolder
    run: TrackedRun
    reporter: Reporter

    @property
    def iteration(self) -> IterationFolder:
        return self.data.iteration(self.context.partition_key)

    def result(
        self,
        *,
        data_version: str,
        metadata: Mapping[str, Any],
        checks: Sequence[dg.AssetCheckResult] = (),
        blocking: frozenset[str] = frozenset(),
    ) -> dg.MaterializeResult:
        """The asset's result; a failed blocking check also closes the MLflow runs as failed."""
        failed = [check for check in checks if not check.passed]
        for check in failed:
            self.context.log.warning(f"check {check.check_name} failed: {check.description}")
            if check.check_name in blocking:
                self.run.mark_failed(f"{check.check_name}: {check.description}")
        return dg.MaterializeResult(
            metadata={**metadata, **self.run.link()},
            check_results=list(checks),
            data_version=dg.DataVersion(data_version),
        )


@contextmanager
def step(
    context: dg.AssetExecutionContext, data: DataResource, mlflow: MlflowResource, settings: dg.Config | None = None
) -> Iterator[Step]:
    """Opens an asset's work. Asks for a retry of what may heal (`TRANSIENT`), and of nothing else."""
    try:
        folder = data.folder()
        held = context.partition_key if context.has_partition_key else "baseline"
        with folder.held(held), mlflow.child(context, folder) as run:
            if settings is not None:
                name = context.asset_key.to_user_string()
                run.params(settings.model_dump(mode="json"), parent_prefix=name)
            yield Step(context, folder, run, reporter_for(context))
    except TRANSIENT as error:
        raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=RETRY_AFTER_S) from error


def check(
    name: str, passed: bool, description: str, numbers: Mapping[str, float] | None = None, *, blocking: bool = False
) -> dg.AssetCheckResult:
    """A check's result with its numbers; one that does not block warns."""
    severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        check_name=name, passed=passed, description=description, severity=severity, metadata=dict(numbers or {})
    )

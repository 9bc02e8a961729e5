"""What every asset does around its work: the data folder proven writable and held, the MLflow child run."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from prover_assets.defs.checks import shown
from prover_assets.defs.jobs import TUNING_ASSET
from prover_assets.defs.observe import Observed
from prover_assets.defs.partitions import require_partition
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.tracking import MlflowResource, dagster_ui, selected_assets
from prover_assets.operate.preflight import require_valid
from prover_assets.operate.progress import LOG_EVERY_S, Reporter, reporter_for, stages_of
from prover_assets.operate.shared import shared
from prover_assets.protocols import Update
from prover_assets.steps.search import keeping_searches_since, require_baseline
from prover_assets.store.files import remove_leftovers
from prover_assets.store.layout import DataFolder, IterationFolder
from prover_assets.store.policy import PolicyInUse, policy_of
from prover_assets.tracking.tracked_run import TrackedRun

if TYPE_CHECKING:
    from dagster._core.definitions.metadata import RawMetadataValue

OWNERS = ["team:provers"]
GROUP = "expert_iteration"
LEAN_POOL, GPU_POOL = "lean", "gpu"

MAX_RETRIES, RETRY_AFTER_S = 2, 10.0


def transient_errors() -> tuple[type[Exception], ...]:
    """What may heal by itself: a connection that was lost, a model server that does not answer, a Lean that died.

    Everything else fails at once, with its reason. Called when there is an error: its imports are not for start-up.
    """
    from prover.environments.script.host_process import HostDied
    from prover.policy.server import ServerUnavailableError

    return (ConnectionError, TimeoutError, ServerUnavailableError, HostDied)


@dataclass
class Step:
    """An asset at work."""

    context: dg.AssetExecutionContext
    data: DataFolder
    run: TrackedRun
    reporter: Reporter

    @property
    def iteration(self) -> IterationFolder:
        """The iteration of this run's partition."""
        return self.data.iteration(self.context.partition_key)

    def policy_of(self, configured: PolicyResource) -> PolicyInUse:
        """The policy of this iteration: the one as configured, or a tuned one that an earlier iteration adopted."""
        found = policy_of(self.data, self.iteration, configured)
        if found.note:
            self.context.log.warning(found.note)
        return found

    def require_baseline_to_measure_against(self, lean: LeanResource, policy: PolicyInUse) -> None:
        """Before work that this run will measure against the baseline: is it still one of what there is now?

        Raises ValueError where it is not. A run that makes the baseline itself, and a tuned policy, whose baseline is
        made where it is needed, are let pass.
        """
        makes = {key.to_user_string() for key in selected_assets(self.context)}
        if "guided_trajectories" not in makes or "baseline_trajectories" in makes or policy.tuned:
            return
        if self.data.baseline.manifest.exists():
            require_baseline(self.data, lean, policy)

    @property
    def dagster_link(self) -> str:
        """Address of this run in Dagster's UI."""
        return f"{dagster_ui()}/runs/{self.context.run.run_id}"

    def _mlflow_link(self) -> dict[str, dg.MetadataValue]:
        if not self.run.tracked:
            return {}
        return {
            # Not as URLs: a cell with a long one is wider than the page, and every other cell is then cut off.
            "mlflow_run": dg.MetadataValue.md(f"[this step in MLflow]({self.run.url})"),
            "mlflow_iterations": dg.MetadataValue.md(f"[all iterations in MLflow]({self.run.view})"),
        }

    def result(
        self,
        *,
        data_version: str,
        metadata: "Mapping[str, RawMetadataValue]",
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
            metadata={**{name: shown(value) for name, value in metadata.items()}, **self._mlflow_link()},
            check_results=list(checks),
            data_version=dg.DataVersion(data_version),
        )


@contextmanager
def step(
    context: dg.AssetExecutionContext,
    data: DataResource,
    mlflow: MlflowResource,
    settings: dg.Config,
    **borrowed: dg.ConfigurableResource,
) -> Iterator[Step]:
    """Opens an asset's work. Asks for a retry of what may heal (`transient_errors`), and of nothing else.

    settings: the asset's own. borrowed: resources whose settings can change its result, by name. Both become MLflow
    parameters. Raises dagster.Failure with one sentence for whatever a person can mend: what was given, what was
    expected, what to do. The trace of what happened is its cause, and comes below it in Dagster's UI.
    """
    try:
        require_valid(context.run.run_config)
        if context.assets_def.partitions_def is not None and not context.has_partition_key:
            require_partition(context.instance, context.asset_key)
        folder = data.folder()
        held = context.partition_key if context.has_partition_key else "baseline"
        with ExitStack() as stack:
            stack.enter_context(shared(folder))
            stack.enter_context(folder.held(held))
            remove_leftovers(folder.iteration(held).root if context.has_partition_key else folder.baseline.nodes.parent)
            stack.enter_context(keeping_searches_since(_reported_at(context)))
            run = stack.enter_context(mlflow.child(context, folder))
            run.params(settings.model_dump(mode="json"), parent_prefix=context.asset_key.to_user_string())
            for name, resource in borrowed.items():
                run.params({name: resource.model_dump(mode="json")}, parent_prefix="")
            stages = stages_of(tuning=dg.AssetKey(TUNING_ASSET) in selected_assets(context))
            reporter = Observed(_Logged(reporter_for(context.log, stages), run), context, stages)
            yield Step(context, folder, run, reporter)
    except transient_errors() as error:
        raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=RETRY_AFTER_S) from error
    except (OSError, RuntimeError, ValueError) as error:
        # Said to a person in a sentence. Other errors are mistakes in the program, whose trace says more.
        raise dg.Failure(" ".join(str(error).split()) or type(error).__name__, allow_retries=False) from error


def _reported_at(context: dg.AssetExecutionContext) -> float:
    """When this asset of this iteration was last reported as made (Unix seconds); 0 where it never was."""
    wanted = dg.AssetRecordsFilter(
        asset_key=context.asset_key,
        asset_partitions=[context.partition_key] if context.has_partition_key else None,
    )
    found = context.instance.fetch_materializations(wanted, limit=1).records
    return found[0].timestamp if found else 0.0


class _Logged:
    """A reporter that also logs on the MLflow run how far a step is, while it goes."""

    def __init__(self, reporter: Reporter, run: TrackedRun) -> None:
        self._reporter, self._run = reporter, run

    @contextmanager
    def stage(self, title: str) -> Iterator[Update]:
        """See `Reporter.stage`."""
        began = last = time.monotonic()
        name = title.replace(" ", "_").replace(",", "")

        def tell(done: int, total: int) -> None:
            seconds = int(time.monotonic() - began)
            share = {f"progress/{name}": done / total} if total else {}
            self._run.metrics({**share, f"progress/{name}_done": float(done)}, step=seconds)

        with self._reporter.stage(title) as report:

            def update(done: int, total: int, note: str) -> None:
                nonlocal last
                report(done, total, note)
                if time.monotonic() - last >= LOG_EVERY_S:
                    last = time.monotonic()
                    tell(done, total)

            yield update

"""How the steps of a run are executed: one after another in the run's process, or each in a process of its own.

The asset graph of an iteration is a chain, so processes of their own gain nothing but a clean memory, and cost seconds
of imports each. fork is not offered: it copies threads' locks of torch and of Lean in an unknown state.
"""

from collections.abc import Iterator

import dagster as dg
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.execution.step_dependency_config import StepDependencyConfig

from prover_assets.defs.partitions import has_partition, require_partition


class _WithPartition(dg.Executor):
    """Another executor, which is asked only where the run has the partition that its assets need.

    The project's own run queue chooses one. In an instance with another queue, Dagster would fail before any asset is
    asked, with an error of its own.
    """

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """See `dagster.Executor`. Raises SettingsError where there is no partition."""
        run, graph = plan_context.dagster_run, plan_context.job.get_definition().asset_layer.asset_graph
        if not has_partition(run):
            for key in run.asset_selection or graph.executable_asset_keys:
                if graph.get(key).is_partitioned:
                    require_partition(plan_context.instance, key)
        yield from self._inner.execute(plan_context, execution_plan)

    @property
    def retries(self) -> RetryMode:
        """See `dagster.Executor`."""
        return self._inner.retries

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """See `dagster.Executor`."""
        return self._inner.step_dependency_config


_dagsters = dg.multi_or_in_process_executor


def _steps(context: dg.InitExecutorContext) -> dg.Executor:
    make = _dagsters.executor_creation_fn
    assert make is not None, "Dagster's own executors can be made"
    return _WithPartition(make(context))


@dg.configured(
    dg.ExecutorDefinition(
        name="steps",
        config_schema=_dagsters.config_schema,  # type: ignore[arg-type]  # a schema that is one already is accepted too
        requirements=_dagsters.get_requirements,
        executor_creation_fn=_steps,
    ),
    {
        "kind": dg.Field(
            dg.Enum("ExecutorKind", [dg.EnumValue(name) for name in ("in_process", "spawn", "forkserver")]),
            default_value="in_process",
            description="in_process: all steps in one process. spawn, forkserver: one process per step.",
        ),
        "max_concurrent": dg.Field(int, default_value=1, description="Steps at a time (count); in_process has one."),
    },
)
def iteration_executor(config: dict[str, object]) -> dict[str, object]:
    """Config of the executor that Dagster has for both."""
    if config["kind"] == "in_process":
        return {"in_process": {}}
    method: dict[str, object] = {"spawn": {}} if config["kind"] == "spawn" else {"forkserver": {}}
    return {"multiprocess": {"max_concurrent": config["max_concurrent"], "start_method": method}}

"""Declarative automation: iterations that ask for themselves, instead of by the chaining sensor. Off until switched on.

The condition is of each asset; the sensor looks at it. It does not start the first iteration: a person does, and says
with which settings.
"""

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg
from dagster_shared.record import replace

from prover.json_types import JsonObject
from prover_assets.defs.jobs import ITERATION_ASSETS
from prover_assets.operate.settings import SETTINGS_TAG, settings_for
from prover_assets.store.iterations import iteration_number

if TYPE_CHECKING:
    from dagster._core.definitions.sensor_definition import SensorExecutionData


def chain_limit() -> int:
    """Iterations at which automation and the chaining sensor stop (count): PROVER_CHAIN_LIMIT, 10 by default."""
    text = os.environ.get("PROVER_CHAIN_LIMIT", "10")
    if not text.isdecimal():
        raise ValueError(f"PROVER_CHAIN_LIMIT should be a whole number of iterations; it is {text!r}")
    return int(text)


class WithinLimit(dg.AutomationCondition[dg.AssetKey]):
    """True of iterations before PROVER_CHAIN_LIMIT."""

    @property
    def description(self) -> str:
        """As Dagster's page of an evaluation shows it."""
        return "the iteration is before PROVER_CHAIN_LIMIT"

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        """See `dagster.AutomationCondition`."""
        limit = chain_limit()
        keys = context.candidate_subset.expensively_compute_partition_keys()
        within = {key for key in keys if iteration_number(key) < limit}
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection_with_partition_keys(within))


def next_when_open() -> dg.AutomationCondition[dg.AssetKey]:
    """Each iteration once: when everything that it is made from is there, or asked for together with it.

    An iteration's champion is there once the report before it is, so iterations follow one another. One that failed or
    was stopped is not asked for again: a person looks at it first.
    """
    never_asked_for = (
        dg.AutomationCondition.missing()
        .newly_true()
        .since(dg.AutomationCondition.newly_requested() | dg.AutomationCondition.newly_updated())
    )
    return (
        never_asked_for.with_label("never made, and never asked for")
        & ~dg.AutomationCondition.in_progress()
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & WithinLimit()
    ).with_label("the next iteration is open")


class IterationAutomation(dg.AutomationConditionSensorDefinition):
    """Looks at the conditions; what it asks for has the settings of the last iteration, or of PROVER_PRESET."""

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> "SensorExecutionData":
        """See `dagster.SensorDefinition`."""
        found = super().evaluate_tick(context)
        asked = [_with_settings(context.instance, request) for request in found.run_requests or ()]
        return replace(found, run_requests=asked)

    def with_attributes(self, **changes: object) -> "IterationAutomation":
        """A copy, as Dagster makes one when it takes definitions in. changes: `metadata`; others mean nothing here."""
        metadata = changes.get("metadata")
        return automation_sensor(metadata=metadata if metadata and isinstance(metadata, Mapping) else self.metadata)


def _with_settings(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.RunRequest:
    names = {key.to_user_string() for key in request.asset_selection or ()}
    settings = settings_for(instance, [name for name in ITERATION_ASSETS if name in names])
    tags: Mapping[str, str] = {**request.tags, SETTINGS_TAG: settings.source}
    return request.with_replaced_attrs(run_config=settings.run_config, tags=tags)


def automation_sensor(metadata: JsonObject | None = None) -> IterationAutomation:
    """The sensor that looks at the conditions of an iteration's assets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # conditions of one's own are new in Dagster
        return IterationAutomation(
            "automate_iterations",
            target=dg.AssetSelection.assets(*ITERATION_ASSETS),
            default_status=dg.DefaultSensorStatus.STOPPED,
            minimum_interval_seconds=30,
            use_user_code_server=True,
            emit_backfills=False,
            metadata=metadata,
            description="By the automation conditions of the assets: asks for the next iteration once the report "
            "before it is there, up to PROVER_CHAIN_LIMIT iterations (default 10). An alternative to chain_iterations: "
            "switch on one of the two. Runs with the settings of the last iteration, or of the preset that "
            "PROVER_PRESET names.",
        )


automate_iterations = automation_sensor()

"""Where the time of a theorem's search went, as a trace in MLflow: a span per call to policy, energy model and Lean."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prover.search.figures import TracedCalls

SHARED_NOTE = "Calls serve many theorems at once, so spans of several theorems are the same call."
_NANO = 1_000_000_000
_KINDS = {"policy": "LLM", "energy": "RERANKER", "Lean": "TOOL", "certificate": "GUARDRAIL"}
"""Kind of call -> the nearest of MLflow's types of spans."""


def log_traces(experiment: str, run: str, asset: str, calls: "Mapping[str, TracedCalls]") -> None:
    """Log a trace for each theorem, which belongs to a run. calls: as `prover.search.search_to_files` gives them.

    MLflow's global functions have to point at the store (`prover_assets.tracking.tracked_run.fluent_uri`).
    """
    import mlflow

    for theorem, found in calls.items():
        root = mlflow.start_span_no_context(
            theorem,
            span_type="CHAIN",
            inputs={"theorem": theorem, "asset": asset},
            attributes={"note": SHARED_NOTE},
            tags={"prover.asset": asset, "prover.theorem": theorem},
            metadata={"mlflow.sourceRun": run},
            experiment_id=experiment,
            start_time_ns=_ns(found["started"]),
        )
        end = found["started"] + found["seconds"]
        for kind, started, seconds, theorems in found["calls"]:
            span = mlflow.start_span_no_context(
                kind,
                span_type=_KINDS.get(kind, "UNKNOWN"),
                parent_span=root,
                attributes={"theorems that shared the call": str(theorems)},
                start_time_ns=_ns(started),
            )
            span.end(end_time_ns=_ns(started + seconds))
            end = max(end, started + seconds)
        root.end(
            outputs={"ended": found["ended"], "expansions": found["expansions"]},
            end_time_ns=_ns(end),
        )
    mlflow.flush_trace_async_logging()


def _ns(seconds: float) -> int:
    return round(seconds * _NANO)

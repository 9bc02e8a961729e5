"""How the steps of a run are executed: one after another in the run's process, or each in a process of its own.

The asset graph of an iteration is a chain, so processes of their own gain nothing but a clean memory, and cost seconds
of imports each. fork is not offered: it copies threads' locks of torch and of Lean in an unknown state.
"""

from typing import Any

import dagster as dg


@dg.configured(
    dg.multi_or_in_process_executor,
    {
        "kind": dg.Field(
            dg.Enum("ExecutorKind", [dg.EnumValue(name) for name in ("in_process", "spawn", "forkserver")]),
            default_value="in_process",
            description="in_process: all steps in one process. spawn, forkserver: a process a step.",
        ),
        "max_concurrent": dg.Field(int, default_value=1, description="Steps at a time (count); in_process has one."),
    },
)
def iteration_executor(config: dict[str, Any]) -> dict[str, Any]:
    """Config of the executor that Dagster has for both."""
    if config["kind"] == "in_process":
        return {"in_process": {}}
    method: dict[str, Any] = {"spawn": {}} if config["kind"] == "spawn" else {"forkserver": {}}
    return {"multiprocess": {"max_concurrent": config["max_concurrent"], "start_method": method}}

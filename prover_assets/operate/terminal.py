"""Dagster's instance as `make run` uses it: its runs belong to the jobs that Dagster's UI shows."""

import fcntl
import os
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

LOCATION, MODULE, REPOSITORY = "expert_iteration", "prover_assets.definitions", "__repository__"
"""As workspace.yaml names them; the repository's name is Dagster's own for a module of definitions."""


class TerminalInstance(dg.DagsterInstance):
    """Says of each run which job of which code location it is one of.

    A run without that is in the list of runs alone: neither the timeline nor the page of its job shows it.
    """

    @classmethod
    def config_schema(cls) -> dict[str, object]:
        """What can be configured of it in dagster.yaml: nothing."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> dict[str, object]:
        """Storage and the like as Dagster has them by default."""
        return dict(InstanceRef.config_defaults(base_dir))

    def create_run_for_job(self, *arguments: Any, **named: Any) -> dg.DagsterRun:  # noqa: ANN401 - Dagster's own
        """See `DagsterInstance.create_run_for_job`. The arguments are passed on."""
        job = named["job_def"] if "job_def" in named else arguments[0]
        target = LoadableTargetOrigin(module_name=MODULE)
        repository = RemoteRepositoryOrigin(ManagedGrpcPythonEnvCodeLocationOrigin(target, LOCATION), REPOSITORY)
        named["remote_job_origin"] = RemoteJobOrigin(repository, job.name)
        named["tags"] = {**(named.get("tags") or {}), ".dagster/repository": f"{REPOSITORY}@{LOCATION}"}
        return super().create_run_for_job(*arguments, **named)


def instance_with_terminal() -> dg.DagsterInstance:
    """Dagster's instance of $DAGSTER_HOME, which leaves standard output and error of steps where they are.

    Captured, they are no terminal (there are no progress bars), their lines come late, between others, and the
    processes that carry them answer Ctrl-C with a trace of their own.
    """
    home = Path(os.environ["DAGSTER_HOME"])
    overrides = {
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
        "instance_class": {"module": "prover_assets.operate.terminal", "class": "TerminalInstance"},
    }
    with open(home / ".instance.lock", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several processes that make a fresh instance's tables, all but one fail
        return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=overrides))


def report_canceled(instance: dg.DagsterInstance, run_id: str) -> None:
    """Say that a run was stopped by the person who had started it: Dagster calls it failed."""
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status is not dg.DagsterRunStatus.CANCELED:
        instance.report_run_canceled(run, message="stopped with Ctrl-C")

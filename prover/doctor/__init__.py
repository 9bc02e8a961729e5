"""`prover doctor`: what this installation will use, and what stands in its way, line by line.

Each check looks at the real thing (it starts Lean, and loads a model of up to 2 GiB) and says ok, warn or fail, with
what to do. `warn` is for what some uses need and others do not. Nothing is changed, nothing is downloaded.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from prover.cli_options import Lean, LeanProject
from prover.doctor.checks import Check, Status, Subject
from prover.doctor.interfaces import check_dagster, check_mlflow
from prover.doctor.lean import (
    check_lake_project,
    check_lean,
    check_repl,
    check_sandbox,
    check_theorem_file,
    check_toolchain,
)
from prover.doctor.machine import check_disk, check_gpu, check_memory, check_python
from prover.doctor.model import check_model
from prover.storage import data_root

if TYPE_CHECKING:
    import typer

__all__ = ["Check", "Subject", "iter_checks", "register"]


def iter_checks(subject: Subject) -> Iterator[Check]:
    """The checks as they are done; some take seconds."""
    checks: list[Callable[[Subject], Check | None]] = [
        check_python,
        check_lean,
        check_sandbox,
        check_toolchain,
        check_lake_project,
        check_repl,
        check_theorem_file,
        check_model,
        check_gpu,
        check_memory,
        check_disk,
        check_dagster,
        check_mlflow,
    ]
    for check in checks:
        found = check(subject)
        if found is not None:
            yield found


def register(app: "typer.Typer") -> None:
    """Add `doctor` to the command line."""
    import typer
    from rich.console import Console

    colours: dict[Status, str] = {"ok": "green", "warn": "yellow", "fail": "red"}

    @app.command()
    def doctor(
        theorems: Annotated[Path | None, typer.Option(help="Theorem file that you mean to search.")] = None,
        llm_path: Annotated[
            str | None,
            typer.Option(
                help="Policy: folder, hub id, or a server as http://HOST:PORT/v1#MODEL. Default: $PROVER_POLICY, else "
                "the shipped one."
            ),
        ] = None,
        lean: Lean = None,
        lean_project: LeanProject = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Say what this installation will use, and what is in the way. Exit code 1 when a line fails."""
        data = data_root()
        subject = Subject(lean, lean_project, llm_path or os.environ.get("PROVER_POLICY") or None, theorems, data)
        console = Console(highlight=False, soft_wrap=True)
        found: list[Check] = []
        for check in iter_checks(subject):
            found.append(check)
            if not as_json:
                line = f"[{colours[check.status]}]{check.status:4}[/]  {check.name:13} "
                console.print(line, end="")
                console.print(check.detail, markup=False)
                if check.remedy:
                    console.print(f"{'':20} -> {check.remedy}", markup=False)
        if as_json:
            rows = [{"name": c.name, "status": c.status, "detail": c.detail, "remedy": c.remedy} for c in found]
            print(json.dumps({"ok": all(c.status != "fail" for c in found), "checks": rows}))
        if any(check.status == "fail" for check in found):
            raise typer.Exit(1)

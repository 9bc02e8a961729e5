"""Commands for traces: import-traces, generate-negatives, export. Heavy imports are inside."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from prover.cli_open import load_models, open_lean
from prover.cli_options import AsJson, Lean, LeanProject, LeanWorkers
from prover.cli_output import UsageProblem
from prover.cli_policy import ApiKeyEnv, Device, Dtype, Encoder, LlmPath, PolicyOptions, Template, Threads
from prover.storage import on_disk, published

if TYPE_CHECKING:
    from prover.theorems import Problem

_err = Console(stderr=True, highlight=False, soft_wrap=True)
_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the commands to the command line (see `prover.cli.load_plugins`)."""
    app.command("import-traces")(import_command)
    app.command("generate-negatives")(negatives_command)
    app.command("export")(export_command)


def import_command(
    file: Annotated[str, typer.Argument(help="File of traces or proofs: JSON, JSON Lines (.gz too) or Parquet.")],
    output: Annotated[
        str, typer.Option(help="FILE.parquet; FILE.attempts.parquet and FILE.summary.parquet are made beside it.")
    ],
    format: Annotated[
        str | None,
        typer.Option(help="leandojo | lean-github | leantree | nanoproof | proofs. [default: by the fields]"),
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out entries that cannot be read, and list them.")
    ] = False,
    lean: Lean = None,
    lean_project: LeanProject = None,
    lean_workers: LeanWorkers = None,
    as_json: AsJson = False,
) -> None:
    """Read traces of others, or replay whole proofs, into trajectory files to train on.

    Foreign traces are taken as they are: only proofs that our own Lean replays are certified.
    """
    from prover.traces.imports import guess_layout, import_traces

    local = on_disk(file)
    chosen = format or guess_layout(local)
    if format is None:
        _err.print(f"format: {chosen} (guessed by the fields; --format overrides it)")
    with ExitStack() as stack:
        place = stack.enter_context(published(output))
        environment = stack.enter_context(open_lean(lean, lean_project, lean_workers)) if chosen == "proofs" else None
        report = import_traces(local, place.path, format=chosen, skip_invalid=skip_invalid, environment=environment)
    _list("not in the layout, left out", report.invalid)
    _list("not taken by Lean, left out", report.refused)
    _list("no answer from Lean, left out", report.lost)
    figures = report.to_dict()
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))
    else:
        _table(figures)


def negatives_command(
    file: Annotated[str, typer.Argument(help="Known proofs: a theorem file with a proof each, or a trajectory file.")],
    output: Annotated[
        str, typer.Option(help="FILE.parquet; FILE.attempts.parquet and FILE.summary.parquet are made beside it.")
    ],
    llm_path: LlmPath = None,
    encoder: Encoder = None,
    template: Template = None,
    dtype: Dtype = None,
    device: Device = None,
    api_key_env: ApiKeyEnv = None,
    candidates: Annotated[int, typer.Option(min=1, help="Tactics asked of the policy at each state.")] = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N proofs.")] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out entries that cannot be read, and list them.")
    ] = False,
    lean: Lean = None,
    lean_project: LeanProject = None,
    lean_workers: LeanWorkers = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Try the policy's other tactics at each state of known proofs: negatives for an energy model."""
    from prover.traces.negatives import generate_negatives

    local = on_disk(file)
    with published(output) as place, open_lean(lean, lean_project, lean_workers) as environment:
        policy, _ = load_models(PolicyOptions(llm_path, encoder, template, dtype, device, api_key_env, threads), None)
        report = generate_negatives(
            local, place.path, environment, policy, n_candidates=candidates, skip_invalid=skip_invalid, limit=limit
        )
    _list("not in the layout, left out", report.invalid)
    _list("not taken by Lean, left out", report.refused)
    _list("no answer from Lean, left out", report.lost)
    figures = report.to_dict()
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))
    else:
        _table(figures)


def export_command(
    files: Annotated[list[str], typer.Argument(help="Trajectory files, folders or globs.")],
    output: Annotated[Path, typer.Option(help="JSON Lines file to write; leandojo to FILE.json is one list.")],
    to: Annotated[str, typer.Option(help="leandojo | leantree | pairs | sft.")],
    as_json: AsJson = False,
) -> None:
    """Write trajectories in the layouts of others: traces, pairs of states, fine-tuning data."""
    from prover.traces.export import LAYOUTS, export_trajectories

    if to not in LAYOUTS:
        raise UsageProblem(f"--to {to}: expected one of {', '.join(LAYOUTS)}")
    try:
        report = export_trajectories([on_disk(file) for file in files], output, to)
    except OSError as error:
        raise UsageProblem(f"cannot write {output}: {error.strerror or error}") from error
    figures = report.to_dict()
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))
    else:
        print(f"{report.lines} lines of {report.theorems} theorems in {output}")


def _list(what: str, problems: "list[Problem]") -> None:
    for problem in problems[:_SHOWN]:
        _err.print(f"{what}: {problem}", markup=False)
    if len(problems) > _SHOWN:
        _err.print(f"... and {len(problems) - _SHOWN} more {what}")


def _table(figures: dict[str, object]) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for name, value in figures.items():
        shown = len(value) if isinstance(value, list) else value
        if isinstance(shown, dict):
            shown = ", ".join(f"{key} {count}" for key, count in shown.items())
        table.add_row(name.replace("_", " "), str(shown))
    Console(highlight=False).print(table)

"""`prover lint-theorems`. Heavy imports are inside."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from prover.cli_open import open_lean
from prover.cli_options import AsJson, Format, Lean, LeanProject, LeanWorkers, Split
from prover.cli_output import UsageProblem
from prover.files import write_atomic

if TYPE_CHECKING:
    from prover.lint.findings import LintReport

_err = Console(stderr=True, highlight=False, soft_wrap=True)
_out = Console(highlight=False)


def register(app: typer.Typer) -> None:
    """Add the command to the command line (see `prover.cli.load_plugins`)."""
    app.command("lint-theorems")(lint_command)


def lint_command(
    theorems: Annotated[str, typer.Argument(help="Theorem file, or a built-in set, e.g. propositional.")],
    split: Split = None,
    layout: Format = None,
    text_only: Annotated[
        bool, typer.Option("--text-only", help="Do not ask Lean: the checks of the text alone.")
    ] = False,
    tactics: Annotated[
        list[str] | None,
        typer.Option("--tactic", help="A cheap tactic to try; repeat the option. [default: simp, decide, omega, ...]"),
    ] = None,
    whitelist: Annotated[
        Path | None, typer.Option(help="Write here which statements Lean accepts; `prover search` reads it back.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the findings to this JSON file, too.")] = None,
    lean: Lean = None,
    lean_project: LeanProject = None,
    lean_workers: LeanWorkers = None,
    as_json: AsJson = False,
) -> None:
    """Look for wrong, empty, doubled and suspicious statements in a theorem set."""
    from prover.lint.run import DEFAULT_TACTICS, lint_theorems
    from prover.lint.whitelist import WhitelistError, read_whitelist, write_whitelist
    from prover.theorem_files.layouts import FormatError

    if text_only and whitelist is not None:
        raise UsageProblem("--whitelist needs Lean: leave out --text-only")
    try:
        if whitelist is not None and whitelist.exists():
            read_whitelist(whitelist)
        with ExitStack() as stack:
            environment = None if text_only else stack.enter_context(open_lean(lean, lean_project, lean_workers))
            report, verdicts = lint_theorems(
                theorems, environment=environment, tactics=tactics or DEFAULT_TACTICS, split=split, layout=layout
            )
            if whitelist is not None and environment is not None:
                known = write_whitelist(whitelist, environment, verdicts)
                _err.print(f"{whitelist}: {known} statements under {environment.name}")
        if output is not None:
            text = json.dumps(report.to_dict(), ensure_ascii=False, indent=1) + "\n"
            write_atomic(output, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except WhitelistError as error:
        raise UsageProblem(str(error)) from error
    except (FileNotFoundError, FormatError) as error:
        raise UsageProblem(str(error)) from error
    if as_json:
        print(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        _print(report)


def _print(report: "LintReport") -> None:
    from rich.table import Table

    table = Table(box=None)
    for column in ("line", "theorem", "check", "detail"):
        table.add_column(column, overflow="fold")
    for finding in report.findings:
        line = "" if finding.line is None else str(finding.line)
        table.add_row(line, finding.theorem, finding.check, finding.detail)
    if report.findings:
        _out.print(table, markup=False)
    counted = ", ".join(f"{check} {count}" for check, count in report.counts.items()) or "nothing found"
    print(f"{report.theorems} theorems: {counted}")
    print(f"lint digest {report.digest}")

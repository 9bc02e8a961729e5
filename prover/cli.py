"""The command line. Heavy imports (torch, polars) are inside the commands, so that `prover --help` is quick.

Exit codes: 0 fine; 1 trouble in the work (Lean cannot be had, a file could not be written half way); 2 bad arguments or
input, said before any work; 130 interrupted, with what is finished written (143 on a termination signal).
Results go to standard output, everything else to standard error. With `--json` the last line of standard output is one
JSON object.
"""

import logging
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.logging import RichHandler

from prover import cli_results, cli_search
from prover.cli_help import OrderedGroup, show_version
from prover.cli_output import BAD_INPUT, ERR, INTERRUPTED, TROUBLE, UsageProblem
from prover.limits import limit_sentence

app = typer.Typer(
    name="prover",
    cls=OrderedGroup,
    help="Neural theorem proving in Lean 4: search for proofs, look at what was found.",
    epilog="Exit codes: 0 fine, 1 trouble in the work, 2 bad arguments or input, 130 interrupted (see --resume).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on standard error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    handler = RichHandler(console=ERR, show_path=False, show_time=False, markup=False)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler], force=True
    )


cli_search.register(app)
cli_results.register(app)


_GROUP = "prover.commands"
_OWN = ("prover.show.cli", "prover.show.live_cli", "prover.doctor", "prover.traces.cli", "prover.lint.cli")
"""Modules of this package that register commands as a plugin does."""


def load_plugins(target: typer.Typer, found: list[EntryPoint] | None = None) -> None:
    """Let the packages above add their commands: entry points of the group `prover.commands`, each `register(app)`.

    One that cannot be loaded is reported, and the other commands work.
    """
    if found is None:
        found = [EntryPoint(module, f"{module}:register", _GROUP) for module in _OWN if find_spec(module)]
        found += entry_points(group=_GROUP)
    for point in found:
        try:
            register: Callable[[typer.Typer], None] = point.load()
            register(target)
        except Exception as error:  # noqa: BLE001 - whatever is wrong in a plugin must not take the other commands along
            ERR.print(f"warning: the commands of {point.value} are missing: {type(error).__name__}: {error}")


def main() -> None:
    """Entry point of the `prover` command."""
    load_plugins(app)
    sys.exit(run(app))


def run(target: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; known troubles become one message on standard error."""
    try:
        target(args=arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except UsageProblem as problem:
        return _fail(problem, BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("Interrupted.", INTERRUPTED)
    except (ImportError, MemoryError, OSError, RuntimeError, ValueError) as error:
        code = _exit_code(error)
        if code is None:
            limit = limit_sentence(error)
            if limit is None:
                raise
            return _fail(limit, TROUBLE)
        return _fail(error, code)
    return 0


def _exit_code(error: Exception) -> int | None:
    """For an error whose message says what was wrong and what to do; None for one that deserves a traceback."""
    from prover.environments.script.embedded import LeanUnavailable
    from prover.policy import PolicyError
    from prover.policy.template_file import TemplateFileError
    from prover.proofs import ProofFileError
    from prover.scale.config import ScaleError
    from prover.search import MemoError, ScoreError, SearchConfigError
    from prover.storage import StorageError
    from prover.theorem_files.layouts import FormatError
    from prover.theorems import TheoremFileError
    from prover.trajectory import OutputError, TrajectoryError, WriteFailed

    if isinstance(
        error, LeanUnavailable | MemoError | PolicyError | ScaleError | ScoreError | StorageError | WriteFailed
    ):
        return TROUBLE
    bad_input = SearchConfigError | OutputError | TrajectoryError | ProofFileError | TheoremFileError | FormatError
    if isinstance(error, bad_input | TemplateFileError):
        return BAD_INPUT
    return None


def _fail(message: object, code: int) -> int:
    ERR.print(f"error: {message}", markup=False)
    return code

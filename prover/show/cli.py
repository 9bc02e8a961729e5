"""`prover prove` and `prover show`. Heavy imports are inside."""

import difflib
import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from prover.cli_help import modes_help
from prover.cli_open import lean_kind, load_models, open_lean, open_memo
from prover.cli_options import AsJson, Lean, LeanProject, LeanWorkers, given, option
from prover.cli_output import TROUBLE, UsageProblem
from prover.cli_policy import ApiKeyEnv, Device, Dtype, Encoder, LlmPath, PolicyOptions, Template
from prover.cli_search import fill_wave
from prover.search.config import SearchConfig
from prover.storage import on_disk

if TYPE_CHECKING:
    from prover.show.view import SearchView
    from prover.theorems import Theorem

_err = Console(stderr=True, highlight=False, soft_wrap=True)
_SHOWN_NAMES = 5


def register(app: typer.Typer) -> None:
    """Add the commands to the command line (see `prover.cli.load_plugins`)."""
    app.command("prove", epilog=modes_help())(prove)
    app.command("show")(show)


def prove(
    statement: Annotated[
        str,
        typer.Argument(help="A proposition, a signature, or a whole `theorem NAME ... := by`; - reads standard input."),
    ],
    header: Annotated[str, typer.Option(help="What stands above the theorem: imports, opens, options.")] = "",
    llm_path: LlmPath = None,
    encoder: Encoder = None,
    template: Template = None,
    dtype: Dtype = None,
    device: Device = None,
    api_key_env: ApiKeyEnv = None,
    ebm_path: Annotated[
        str | None, typer.Option(help="Energy model: a checkpoint folder, or `champion` of the data folder.")
    ] = None,
    budget: Annotated[int | None, option(SearchConfig, "max_expansions", "--budget")] = None,
    candidates: Annotated[int | None, option(SearchConfig, "n_candidates", "--candidates")] = None,
    mode: Annotated[str | None, option(SearchConfig, "mode")] = None,
    beta: Annotated[float | None, option(SearchConfig, "beta")] = None,
    time_limit: Annotated[float | None, option(SearchConfig, "time_limit_s", "--time-limit")] = None,
    lean: Lean = None,
    lean_project: LeanProject = None,
    lean_workers: LeanWorkers = None,
    no_memo: Annotated[
        bool, typer.Option("--no-memo", help="Neither use nor keep answers in the data folder's memo.sqlite.")
    ] = False,
    states: Annotated[bool, typer.Option("--states/--no-states", help="Print the states between the tactics.")] = True,
    as_json: AsJson = False,
) -> None:
    """Search one statement for a proof, and print it with the states between. Exit code 1 if none is found.

    Example: prover prove "(p q : Prop) (h : p ∧ q) : q ∧ p"
    """
    from prover.cli_progress import SearchProgressView
    from prover.search import search
    from prover.show.view import view_of_result

    theorem = theorem_of(sys.stdin.read() if statement == "-" else statement, header)
    kind = lean_kind(lean, lean_project)
    values = given(max_expansions=budget, n_candidates=candidates, mode=mode, beta=beta, time_limit_s=time_limit)
    settings = SearchConfig.from_dict(fill_wave(values, kind))
    with ExitStack() as stack:
        environment = stack.enter_context(open_lean(kind, lean_project, lean_workers))
        policy, scorer = load_models(PolicyOptions(llm_path, encoder, template, dtype, device, api_key_env), ebm_path)
        memo = None if no_memo else stack.enter_context(open_memo(None))
        progress = stack.enter_context(SearchProgressView(quiet=as_json))
        report = search([theorem], environment, policy, settings, scorer=scorer, memo=memo, on_progress=progress)
    result = report.results[0]
    if result.ended == "invalid":
        raise UsageProblem(f"Lean does not accept the statement `{theorem.statement}`: {result.reason}")
    view = view_of_result(result, mode=report.guidance.mode, max_expansions=settings.max_expansions)
    _print([view], states=states, as_json=as_json)
    if not view.proved:
        raise typer.Exit(TROUBLE)


def show(
    file: Annotated[
        str, typer.Argument(help="Output of a search, finished or running: X.parquet or X.parts, here or on a store.")
    ],
    theorem: Annotated[
        str | None, typer.Argument(help="Name of the theorem. Without it: every proof, and a line per theorem left.")
    ] = None,
    states: Annotated[bool, typer.Option("--states/--no-states", help="Print the states between the tactics.")] = True,
    as_json: AsJson = False,
) -> None:
    """Print a theorem's proof tactic by tactic, with the states between; or its best open branches."""
    from prover.show.view import read_views

    local = on_disk(file)
    views = read_views(local, None if theorem is None else [theorem])
    if not views:
        names = [view.name for view in read_views(local)]
        near = difflib.get_close_matches(theorem or "", names, n=_SHOWN_NAMES, cutoff=0.4) or names[:_SHOWN_NAMES]
        raise UsageProblem(f"{file} holds no theorem `{theorem}`; it holds {len(names)}, e.g. {', '.join(near)}")
    if theorem is None and len(views) > 1 and not as_json:
        _print_all(views, states=states)
    else:
        _print(views, states=states, as_json=as_json)


def theorem_of(text: str, header: str) -> "Theorem":
    """The theorem that a text states. Raises `prover.cli_output.UsageProblem` for what cannot be read as one."""
    from prover.theorem_text import TheoremTextError, join_headers, read_header, read_statement
    from prover.theorems import Theorem

    if not text.strip():
        raise UsageProblem("the statement is empty; expected a proposition, e.g. '∀ p : Prop, p → p'")
    try:
        found = read_statement(text)
        above = join_headers(read_header(header), found.header)
        return Theorem(found.name or "statement", found.statement, header=above)
    except TheoremTextError as error:
        raise UsageProblem(f"the statement {error}") from error


def _print(views: "list[SearchView]", *, states: bool, as_json: bool) -> None:
    from prover.show.terminal import print_search

    if as_json:
        found = [view.to_dict() for view in views]
        print(json.dumps(found[0] if len(found) == 1 else {"theorems": found}, ensure_ascii=False), flush=True)
        return
    console = Console(highlight=False)
    for place, view in enumerate(views):
        if place:
            console.rule(style="dim")
        print_search(console, view, states=states)


def _print_all(views: "list[SearchView]", *, states: bool) -> None:
    """Every proof, then a line for each theorem without one."""
    from prover.show.view import visible

    _print([view for view in views if view.proved], states=states, as_json=False)
    console = Console(highlight=False)
    left = [view for view in views if not view.proved]
    if left:
        console.print(f"\nnot proved: {len(left)} of {len(views)}; `prover show FILE THEOREM` shows its branches")
    for view in left:
        console.print(visible(f"  {view.name}: {view.ended}, {view.expansions} expansions"), markup=False)

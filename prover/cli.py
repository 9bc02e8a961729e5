"""The command line. Heavy imports (torch, polars) are inside the commands, so that `prover --help` is quick.

Exit codes: 0 fine; 1 trouble in the work (Lean cannot be had, a file could not be written half way); 2 bad arguments or
input, said before any work; 130 interrupted, with what is finished written (143 on a termination signal).
Results go to standard output, everything else to standard error. With `--json` the last line of standard output is one
JSON object.
"""

import json
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from prover.cli_help import OrderedGroup, modes_help, show_version
from prover.cli_options import Format, Lean, LeanProject, LeanWorkers, SkipInvalid, given, option
from prover.cli_policy import (
    ApiKeyEnv,
    BatchTokens,
    Device,
    Dtype,
    Encoder,
    LlmPath,
    MaxEncodingTokens,
    MaxPromptTokens,
    PolicyOptions,
    Template,
    Threads,
)
from prover.cli_progress import SearchProgressView
from prover.limits import limit_sentence
from prover.scale.config import EngineSettings
from prover.search.config import SearchConfig
from prover.storage import data_folder, on_disk, published

TROUBLE, BAD_INPUT, INTERRUPTED = 1, 2, 130

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
_err = Console(stderr=True, highlight=False, soft_wrap=True)
_out = Console(highlight=False)


class UsageProblem(Exception):
    """Arguments or input that cannot be used; ends the command with exit code 2."""


@app.callback()
def _common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on standard error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    handler = RichHandler(console=_err, show_path=False, show_time=False, markup=False)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler], force=True
    )


# -- search -------------------------------------------------------------------------------------------------------


@app.command(epilog=modes_help())
def search(
    theorems: Annotated[
        str,
        typer.Option(help="JSON, JSONL or Parquet file, or a built-in set, e.g. propositional or propositional:test."),
    ],
    output: Annotated[
        str,
        typer.Option(
            help="FILE.parquet, or s3://BUCKET/FILE.parquet; FILE.attempts.parquet and FILE.summary.parquet are made "
            "beside it."
        ),
    ],
    llm_path: LlmPath = None,
    encoder: Encoder = None,
    template: Template = None,
    dtype: Dtype = None,
    device: Device = None,
    api_key_env: ApiKeyEnv = None,
    max_prompt_tokens: MaxPromptTokens = None,
    max_encoding_tokens: MaxEncodingTokens = None,
    batch_tokens: BatchTokens = None,
    ebm_path: Annotated[
        str | None, typer.Option(help="Energy model: a checkpoint folder, or `champion` of the data folder.")
    ] = None,
    no_ebm: Annotated[bool, typer.Option("--no-ebm", help="Use no energy model, whatever --ebm-path says.")] = False,
    split: Annotated[str | None, typer.Option(help="Only this split of the theorem set.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N theorems.")] = None,
    layout: Format = None,
    skip_invalid: SkipInvalid = False,
    budget: Annotated[int | None, option(SearchConfig, "max_expansions", "--budget")] = None,
    candidates: Annotated[int | None, option(SearchConfig, "n_candidates", "--candidates")] = None,
    mode: Annotated[str | None, option(SearchConfig, "mode")] = None,
    beta: Annotated[float | None, option(SearchConfig, "beta")] = None,
    seed: Annotated[int | None, option(SearchConfig, "seed")] = None,
    time_limit: Annotated[float | None, option(SearchConfig, "time_limit_s", "--time-limit")] = None,
    config: Annotated[
        Path | None, typer.Option(help="JSON file with search settings by name; options given here override the file.")
    ] = None,
    lean: Lean = None,
    lean_project: LeanProject = None,
    lean_workers: LeanWorkers = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Keep Lean's own words for every rejected tactic (slower).")
    ] = False,
    threads: Threads = None,
    memo: Annotated[
        Path | None, typer.Option(help="File of remembered answers. [default: memo.sqlite in the data folder]")
    ] = None,
    no_memo: Annotated[bool, typer.Option("--no-memo", help="Remember nothing.")] = False,
    whitelist: Annotated[
        Path | None, typer.Option(help="Statements that Lean does not accept, from `lint-theorems --whitelist`.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what an earlier run of this search finished.")] = False,
    engine: Annotated[str | None, option(EngineSettings, "engine")] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Ray cluster as HOST:PORT. Without it, and without $RAY_ADDRESS, Ray is started here."),
    ] = None,
    ray_config: Annotated[
        Path | None, typer.Option(help="JSON file of Ray settings: actors, CPUs, GPUs, restarts (see docs/scale.md).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last on standard output.")] = False,
) -> None:
    """Search theorems for proofs that Lean certifies, and write trajectories."""
    from prover.search import SearchProgress, search_to_files
    from prover.show.proved import print_proved
    from prover.trajectory.writer import probe_output

    values: dict[str, Any] = {} if config is None else _settings(config)
    values |= given(
        max_expansions=budget,
        n_candidates=candidates,
        mode=mode,
        beta=beta,
        seed=seed,
        time_limit_s=time_limit,
    )
    engine = engine or "local"
    check_engine(engine, explain=explain, whitelist=whitelist)
    kind = lean_kind(lean, lean_project)
    settings = SearchConfig.from_dict(fill_wave(values, kind))
    chosen = load_theorems(theorems, split, limit, layout=layout, skip_invalid=skip_invalid)
    with ExitStack() as stack:
        place_of = stack.enter_context(published(output, keep=resume))
        probe_output(place_of.path)
        models = PolicyOptions(
            llm_path,
            encoder,
            template,
            dtype,
            device,
            api_key_env,
            threads,
            max_prompt_tokens=max_prompt_tokens,
            max_encoding_tokens=max_encoding_tokens,
            batch_tokens=batch_tokens,
        )
        energy = None if no_ebm else ebm_path
        if engine == "ray":
            remembered = None if no_memo else memo or data_folder() / "memo.sqlite"
            place = open_cluster(
                stack, kind, lean_project, models, energy, address=ray_address, config=ray_config, memo=remembered
            )
        else:
            environment = stack.enter_context(open_lean(kind, lean_project, lean_workers))
            from prover.environments.base import Explaining

            if explain and isinstance(environment, Explaining):
                environment.explain = True
            if whitelist is not None:
                environment = open_whitelist(environment, whitelist)
            policy, scorer = load_models(models, energy)
            place = SearchPlace(environment, policy, scorer, None if no_memo else stack.enter_context(open_memo(memo)))
        stopping = stack.enter_context(_stop_on_signal())
        view = stack.enter_context(SearchProgressView())

        def on_progress(progress: SearchProgress) -> None:
            view(progress)
            place_of.publish_if_due()

        figures = search_to_files(
            chosen,
            place_of.path,
            place.environment,
            place.policy,
            settings,
            scorer=place.scorer,
            memo=place.memo,
            resume=resume,
            on_progress=on_progress,
            stop=lambda: stopping.asked,
            **({} if place.searcher is None else {"searcher": place.searcher}),
        )
    figures["output"] = output
    if figures["note"]:
        _err.print(figures["note"])
    for sentence in figures["policy_warnings"]:
        _err.print(f"Warning: {sentence}", markup=False)
    if figures["refused"]:
        _err.print(
            f"{len(figures['refused'])} theorems were refused before Lean was asked (the reasons are above): "
            f"{', '.join(figures['refused'][:10])}"
        )
    if figures["invalid"]:
        _err.print(f"Lean did not accept {len(figures['invalid'])} statements: {', '.join(figures['invalid'][:10])}")
    _show(figures, as_json)
    print_proved(_err if as_json else _out, place_of.path)
    if figures["interrupted"]:
        again = [*sys.argv, *([] if "--resume" in sys.argv else ["--resume"])]
        _err.print(
            f"Interrupted. {figures['theorems']} finished theorems are kept beside {output}; go on with\n"
            f"    {shlex.join(['prover', *again[1:]])}"
        )
        raise typer.Exit(128 + stopping.signal_number)
    ended = figures["ended"]
    if figures["theorems"] and ended.get("invalid", 0) + ended.get("crashed", 0) == figures["theorems"]:
        _err.print("No theorem could be searched.")
        raise typer.Exit(TROUBLE)


def lean_kind(kind: str | None, project: Path | None) -> str:
    """The Lean that the options name; without `--lean` a project's own, else the embedded one."""
    return kind or ("embedded" if project is None else "project")


def fill_wave(values: dict[str, Any], kind: str) -> dict[str, Any]:
    """Search settings for a kind of Lean: one that pays for its imports at every wave is given no small wave."""
    return {"fill_wave_to": SearchConfig.wave_size, **values} if kind in ("lean", "project") else values


def _settings(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageProblem(f"{file}: not a JSON file that can be read: {error}") from error
    if not isinstance(values, dict):
        raise UsageProblem(f"{file}: expected an object of search settings, got {type(values).__name__}")
    return values


def load_theorems(
    source: str, split: str | None, limit: int | None, *, layout: str | None = None, skip_invalid: bool = False
) -> list[Any]:
    """Theorems of a file or a built-in set; `UsageProblem` if there are none or the file has a fault.

    Says how a layout of other people's was read, and what `--skip-invalid` left out.
    """
    from prover.theorem_files.layouts import FROM_STATES
    from prover.theorem_files.problems import describe
    from prover.theorems import TheoremSet

    try:
        chosen = TheoremSet.load(source, split=split, limit=limit, layout=layout, skip_invalid=skip_invalid)
    except (OSError, ValueError) as error:
        raise UsageProblem(str(error)) from error
    if not len(chosen):
        raise UsageProblem(f"{source} holds no theorem to search")
    if layout is None and chosen.layout != "own":
        _err.print(f"{source}: read as `{chosen.layout}`; --format NAME overrules the guess (docs/formats.md)")
    if chosen.from_states:
        _err.print(f"{source}: {FROM_STATES}")
    if chosen.skipped:
        _err.print(f"{len(chosen.skipped)} entries were left out:\n{describe(chosen.skipped)}", markup=False)
    return list(chosen)


def open_lean(kind: str | None, project: Path | None, workers: int | None) -> Any:
    """The Lean that the options name; without `--lean` a project's own, else the embedded one."""
    from prover.environments import open_environment

    kind = lean_kind(kind, project)
    if project is not None and not project.is_dir():
        raise UsageProblem(f"--lean-project {project}: no such folder; expected that of a Lake project")
    try:
        return open_environment(kind, lean_project=project, workers=workers)
    except ValueError as error:
        raise UsageProblem(str(error)) from error


def load_models(options: PolicyOptions, ebm_path: str | None) -> tuple[Any, Any]:
    """The policy, and the energy model if one is asked for. The other cores belong to Lean.

    The energy model gets the pooling that it was trained with, and a server without an encoder the folder that the
    checkpoint names, if it is here.
    """
    from prover.policy import is_address, start_policy
    from prover.policy.base import ENCODER_ADVICE
    from prover.policy.server import ServerPolicyError, ServerUnavailableError
    from prover.policy.weights import PolicyLoadError

    if not options.threads:
        options = replace(options, threads=max(1, (os.cpu_count() or 1) // 2))
    options = with_policy_of(options, ebm_path)
    if options.llm_path is None and options.where is not None:
        _err.print(f"policy: {options.where}, from PROVER_POLICY", markup=False)
    try:
        if ebm_path is None:
            return options.open(), None
        policy = options.open(start=False)  # the energy model may say which encoder a server needs
        scorer = _scorer_loader()(ebm_path, policy, data_folder())
        start_policy(policy, choose_template=options.template is None)
        return policy, scorer
    except ServerUnavailableError:
        raise
    except (OSError, ValueError, PolicyLoadError, ServerPolicyError) as error:
        missing = ebm_path is not None and is_address(options.where) and not options.encoder
        if missing and "--encoder" not in str(error):
            raise UsageProblem(
                f"{error}. The policy is a server, which needs an encoder too: {ENCODER_ADVICE}"
            ) from error
        raise UsageProblem(str(error)) from error


def _scorer_loader() -> Any:
    """What opens an energy model: (path, policy, data folder) -> scorer. Raises `UsageProblem` where none is there."""
    loaders = list(entry_points(group="prover.scorers"))
    if not loaders:
        raise UsageProblem("--ebm-path is given but no energy model is installed; install the whole project")
    return loaders[0].load()


def with_policy_of(options: PolicyOptions, ebm_path: str | None) -> PolicyOptions:
    """The options with the policy that an energy model was trained with, where `--llm-path` names none.

    That is a tuned policy of the data folder; where the model was trained with another one, the options stay as they
    are, and whoever loads the two compares them.
    """
    if ebm_path is None or options.llm_path is not None:
        return options
    policy_of = getattr(_scorer_loader(), "policy_of", None)
    found = None if policy_of is None else policy_of(ebm_path, data_folder())
    if found is None:
        return options
    _err.print(f"policy: {found}, which the energy model was trained with", markup=False)
    return replace(options, llm_path=str(found))


def check_engine(engine: str, *, explain: bool, whitelist: Path | None) -> None:
    """Raises `UsageProblem` for an engine that there is not, and for options that it does not take."""
    from prover.scale.config import require_engine

    try:
        require_engine(engine)
    except ValueError as error:
        raise UsageProblem(str(error)) from error
    if engine != "local" and (explain or whitelist is not None):
        raise UsageProblem("--explain and --whitelist work with --engine local only; leave them out, or the engine")


@dataclass(frozen=True, slots=True)
class SearchPlace:
    """Where a search runs: Lean, policy, energy model and memo, of this process or of a cluster."""

    environment: Any
    policy: Any
    scorer: Any
    memo: Any = None
    searcher: Any = None
    """What searches; None: this process."""


def open_cluster(
    stack: ExitStack,
    kind: str,
    project: Path | None,
    models: PolicyOptions,
    ebm_path: str | None,
    *,
    address: str | None,
    config: Path | None,
    memo: Path | None,
) -> SearchPlace:
    """Search actors on a Ray cluster, closed with `stack`. Raises `UsageProblem` for settings that cannot be."""
    from prover.scale import EnvironmentSpec
    from prover.scale.options import cluster_of

    data = None if ebm_path is None else data_folder()
    lean = EnvironmentSpec(kind, None if project is None else str(project.resolve()))
    models = with_policy_of(models, ebm_path)
    try:
        cluster = cluster_of(lean, models, address=address, config=config, memo=memo, data=data)
    except ValueError as error:
        raise UsageProblem(str(error)) from error
    stack.enter_context(cluster)
    scorer = None if data is None or ebm_path is None else cluster.scorer(ebm_path, data)
    return SearchPlace(cluster.environment, cluster.policy, scorer, searcher=cluster.search)


def open_whitelist(environment: Any, path: Path) -> Any:
    """The environment behind a whitelist of statements; `UsageProblem` for a file that is none."""
    from prover.lint.whitelist import WhitelistedEnvironment, WhitelistError

    try:
        listed = WhitelistedEnvironment(environment, path)
    except WhitelistError as error:
        raise UsageProblem(str(error)) from error
    if not listed.known:
        _err.print(f"--whitelist {path} says nothing of this Lean ({environment.name}); Lean is asked as usual.")
    return listed


def open_memo(path: Path | None) -> Any:
    """The memo at `path`, or that of the data folder."""
    from prover.search import SearchMemo

    return SearchMemo(path or data_folder() / "memo.sqlite")


@dataclass
class _Stopping:
    asked: bool = False
    signal_number: int = int(signal.SIGINT)


@contextmanager
def _stop_on_signal() -> Iterator[_Stopping]:
    """The first Ctrl-C (or termination signal) asks the search to stop; a second one has its usual effect."""
    stopping = _Stopping()
    usual: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for caught, handler in usual.items():
            signal.signal(caught, handler)

    def ask(number: int, frame: object) -> None:
        stopping.asked, stopping.signal_number = True, number
        restore()
        _err.print("Stopping: writing what is finished. Once more to quit at once.")

    for caught in (signal.SIGINT, signal.SIGTERM):
        usual[caught] = signal.signal(caught, ask)
    try:
        yield stopping
    finally:
        restore()


def _show(figures: dict[str, Any], as_json: bool) -> None:
    table = Table(show_header=False, box=None)
    names = ("theorems", "proved", "claimed", "expansions", "tactics", "seconds", "mode", "output")
    for name in names:
        if name in figures:
            table.add_row(name, str(figures[name]))
    for budget, solved in figures["solved_by_budget"].items():
        table.add_row(f"proved within {budget} expansions", str(solved))
    for reason, count in figures["ended"].items():
        table.add_row(f"ended: {reason}", str(count))
    for name, count in figures["policy_counts"].items():
        if count:
            table.add_row(f"policy: {name.replace('_', ' ')}", str(count))
    for label, found in figures.get("label_noise", {}).items():
        words = f"{found['provable']} provable of {found['decided']} decided, of {found['states']} states"
        table.add_row(f"labelled {label}", words)
    (_err if as_json else _out).print(table)
    if as_json:
        print(json.dumps(figures), flush=True)


# -- looking at what is there -------------------------------------------------------------------------------------


@app.command()
def summary(
    files: Annotated[list[str], typer.Argument(help="Trajectory files, folders or globs.")],
    noise: Annotated[
        bool, typer.Option("--noise", help="Decide how many propositional states of each label are provable.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last on standard output.")] = False,
) -> None:
    """Sum up trajectory files: proved, budget curve, labels, time."""
    from prover.policy import PolicyCounters
    from prover.trajectory import label_noise, merge_labels, read_trajectories, summarize

    figures = summarize(files)
    figures["policy_warnings"] = PolicyCounters.from_dict(figures["policy_counts"]).warnings()
    if noise:
        found = label_noise(merge_labels(read_trajectories(files)))
        figures["label_noise"] = {entry.label: entry.to_dict() for entry in found}
    for sentence in figures["policy_warnings"]:
        _err.print(f"Warning: {sentence}", markup=False)
    _show(figures, as_json)


@app.command()
def certify(
    file: Annotated[str, typer.Argument(help="Trajectory file, or JSON / JSONL of theorems with a `proof` each.")],
    layout: Format = None,
    checker: Annotated[
        Path | None, typer.Option(help="Program for a second opinion, run on each proof's lean4export text.")
    ] = None,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Second opinion of Lean's kernel alone, from an empty environment.")
    ] = False,
    lean: Lean = None,
    lean_project: LeanProject = None,
    lean_workers: LeanWorkers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last on standard output.")] = False,
) -> None:
    """Check proofs again: each whole, against its statement, in a fresh Lean. Exit code 1 if one does not hold."""
    from prover.certificates import Opinions, opinions_on
    from prover.proofs import failures, read_claims

    claims = read_claims(on_disk(file), layout)
    with open_lean(lean, lean_project, lean_workers) as environment:
        certificates = environment.certify(claims)
        asked = recheck or checker is not None
        opinions = opinions_on(certificates, environment, checker) if asked else Opinions()
    failed = failures(certificates) | opinions.refused(certificates)
    for name, reason in failed.items():
        _err.print(f"{name}: {reason}", markup=False)
    for index, reason in opinions.missing.items():
        _err.print(f"{certificates[index].claim.theorem.name}: no second opinion: {reason}", markup=False)
    figures: dict[str, Any] = {"claims": len(claims), "certified": len(claims) - len(failed), "failed": failed}
    if asked:
        figures["second_opinions"] = len(opinions.given)
    print(json.dumps(figures) if as_json else f"{figures['certified']} of {figures['claims']} proofs certified")
    if failed or opinions.missing:
        raise typer.Exit(TROUBLE)


@app.command("export-proofs")
def export(
    file: Annotated[str, typer.Argument(help="Trajectory file, or JSON / JSONL of theorems with a `proof` each.")],
    output: Annotated[str, typer.Option(help="Folder for the Lean files, one per theorem, and their certificates.")],
    checker: Annotated[
        Path | None, typer.Option(help="Program for a second opinion. [default: Lean's kernel, from an empty start]")
    ] = None,
    no_recheck: Annotated[bool, typer.Option("--no-recheck", help="Ask for no second opinion (faster).")] = False,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Put the prelude into every file, below the proof, not beside them.")
    ] = False,
    lean: Lean = None,
    lean_project: LeanProject = None,
    lean_workers: LeanWorkers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last on standard output.")] = False,
) -> None:
    """Write proofs as Lean files with certificates, each once it is certified again. Exit code 1 if one does not hold.

    CHECK.md in the folder says how a plain Lean checks all of them.
    """
    from prover.certificates import export_folder
    from prover.proofs import read_claims

    claims = read_claims(on_disk(file))
    with published(output) as place, open_lean(lean, lean_project, lean_workers) as environment:
        certificates = environment.certify(claims)  # files may have been edited
        try:
            done = export_folder(
                certificates, place.path, environment, checker=checker, recheck=not no_recheck, single_file=single_file
            )
        except OSError as error:
            raise UsageProblem(f"cannot write in {output}: {error.strerror or error}") from error
    for name, reason in done.failed.items():
        _err.print(f"{name}: not written, it does not hold: {reason}", markup=False)
    for index, reason in done.opinions.missing.items():
        _err.print(f"{certificates[index].claim.theorem.name}: no second opinion: {reason}", markup=False)
    figures = {
        "proofs": len(done.files),
        "output": output,
        "files": [path.name for path in done.files],
        "certificates": [path.name for path in done.certificates],
        "second_opinions": len(done.opinions.given),
        "failed": done.failed,
    }
    print(json.dumps(figures) if as_json else f"{len(done.files)} Lean files in {output}")
    if done.failed or (checker is not None and done.opinions.missing):
        raise typer.Exit(TROUBLE)


# -- plugins and the way out --------------------------------------------------------------------------------------

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
            _err.print(f"warning: the commands of {point.value} are missing: {type(error).__name__}: {error}")


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
    _err.print(f"error: {message}", markup=False)
    return code

"""`prover search`: theorems searched, here or on a cluster, and their trajectories written."""

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from prover.cli_help import modes_help
from prover.cli_open import lean_kind, load_models, load_theorems, open_lean, open_memo, open_whitelist, with_policy_of
from prover.cli_options import AsJson, Format, Lean, LeanProject, LeanWorkers, Limit, SkipInvalid, Split, given, option
from prover.cli_output import ERR, OUT, TROUBLE, UsageProblem, show_figures
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
from prover.scale.config import EngineSettings
from prover.search.config import SearchConfig
from prover.settings import settings_of_file
from prover.storage import data_folder, published

if TYPE_CHECKING:
    from prover.environments.base import ProofEnvironment
    from prover.policy.base import TacticGenerator
    from prover.search import SearchMemo, ValueScorer
    from prover.search.figures import SearchFigures
    from prover.search.searcher import Searcher


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=modes_help())(search)


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
    split: Split = None,
    limit: Limit = None,
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
    as_json: AsJson = False,
) -> None:
    """Search theorems for proofs that Lean certifies, and write trajectories."""
    from prover.search import SearchProgress, search_to_files
    from prover.search import search as search_here
    from prover.trajectory.writer import probe_output

    values = {} if config is None else settings_in(config)
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
        stopping = stack.enter_context(stop_on_signal())
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
            searcher=place.searcher or search_here,
        )
    figures["output"] = output
    _report(figures, place_of.path, as_json)
    _end(figures, stopping)


def _report(figures: "SearchFigures", file: Path, as_json: bool) -> None:
    """Print what the search came to. file: the output, on this machine."""
    from prover.show.proved import print_proved

    if figures["note"]:
        ERR.print(figures["note"])
    for sentence in figures["policy_warnings"]:
        ERR.print(f"Warning: {sentence}", markup=False)
    if figures["refused"]:
        ERR.print(
            f"{len(figures['refused'])} theorems were refused before Lean was asked (the reasons are above): "
            f"{', '.join(figures['refused'][:10])}"
        )
    if figures["invalid"]:
        ERR.print(f"Lean did not accept {len(figures['invalid'])} statements: {', '.join(figures['invalid'][:10])}")
    show_figures(figures, as_json)
    print_proved(ERR if as_json else OUT, file)


def _end(figures: "SearchFigures", stopping: "Stopping") -> None:
    """End the command with another exit code after an interruption, or where no theorem could be searched."""
    if figures["interrupted"]:
        again = [*sys.argv, *([] if "--resume" in sys.argv else ["--resume"])]
        ERR.print(
            f"Interrupted. {figures['theorems']} finished theorems are kept beside {figures['output']}; go on with\n"
            f"    {shlex.join(['prover', *again[1:]])}"
        )
        raise typer.Exit(128 + stopping.signal_number)
    ended = figures["ended"]
    if figures["theorems"] and ended.get("invalid", 0) + ended.get("crashed", 0) == figures["theorems"]:
        ERR.print("No theorem could be searched.")
        raise typer.Exit(TROUBLE)


def settings_in(file: Path) -> dict[str, object]:
    """Search settings by name, from a JSON file. Raises `UsageProblem` for a file that holds none."""
    try:
        return settings_of_file(file)
    except ValueError as error:
        raise UsageProblem(str(error)) from error


def fill_wave(values: Mapping[str, object], kind: str) -> Mapping[str, object]:
    """Search settings for a kind of Lean: one that pays for its imports at every wave is given no small wave."""
    return {"fill_wave_to": SearchConfig.wave_size, **values} if kind in ("lean", "project") else values


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

    environment: "ProofEnvironment"
    policy: "TacticGenerator"
    scorer: "ValueScorer | None"
    memo: "SearchMemo | None" = None
    searcher: "Searcher | None" = None
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


@dataclass
class Stopping:
    """Whether a signal has asked the search to stop, and which one."""

    asked: bool = False
    signal_number: int = int(signal.SIGINT)


@contextmanager
def stop_on_signal() -> Iterator[Stopping]:
    """The first Ctrl-C (or termination signal) asks the search to stop; a second one has its usual effect."""
    stopping = Stopping()
    usual: dict[signal.Signals, signal.Handlers | int | Callable[[int, FrameType | None], object] | None] = {}

    def restore() -> None:
        for caught, handler in usual.items():
            signal.signal(caught, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        stopping.asked, stopping.signal_number = True, number
        restore()
        ERR.print("Stopping: writing what is finished. Once more to quit at once.")

    for caught in (signal.SIGINT, signal.SIGTERM):
        usual[caught] = signal.signal(caught, ask)
    try:
        yield stopping
    finally:
        restore()

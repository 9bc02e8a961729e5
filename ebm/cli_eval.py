"""`prover eval` and `prover calibrate`: does the energy help on unseen theorems, and how much should it count."""

import json
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ebm.calibration_config import BETAS, CalibrationConfig
from prover.cli_open import load_models, load_theorems, open_lean, open_memo
from prover.cli_options import AsJson, Format, Lean, LeanProject, LeanWorkers, Limit, SkipInvalid, Split, given, option
from prover.cli_output import UsageProblem
from prover.cli_policy import ApiKeyEnv, BatchTokens, Device, Dtype, Encoder, MaxEncodingTokens, PolicyOptions, Template
from prover.evaluation.budgets import EVALUATION_BUDGET, budgets_up_to
from prover.policy.settings import PolicySettings
from prover.search.config import SearchConfig
from prover.search.modes import CALIBRATED, POLICY_MEAN
from prover.storage import data_folder, is_url, published

if TYPE_CHECKING:
    from ebm.calibration import Calibration
    from ebm.evaluation import Evaluation
    from prover.evaluation.comparison import ModeResult
    from prover.search import SearchProgress

_err = Console(stderr=True, highlight=False, soft_wrap=True)
_out = Console(highlight=False)


def _listed(values: Iterable[object]) -> str:
    return ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


Theorems = Annotated[str, typer.Option(help="JSON, JSONL or Parquet file, or a built-in set such as propositional.")]
EbmPath = Annotated[str, typer.Option(help="Energy model: a checkpoint folder, or `champion` of the data folder.")]
LlmPath = Annotated[
    str | None,
    option(PolicySettings, "path", "--llm-path", default="the policy that the energy model was trained with"),
]
Candidates = Annotated[int | None, option(SearchConfig, "n_candidates", "--candidates")]


def evaluate(
    theorems: Theorems,
    ebm_path: EbmPath = "champion",
    modes: Annotated[str, typer.Option(help="Search orders; the second is compared with the first.")] = _listed(
        (POLICY_MEAN, CALIBRATED)
    ),
    budgets: Annotated[str, typer.Option(help="Expansions at which proofs are counted.")] = _listed(
        budgets_up_to(EVALUATION_BUDGET)
    ),
    llm_path: LlmPath = None,
    encoder: Encoder = None,
    template: Template = None,
    dtype: Dtype = None,
    device: Device = None,
    api_key_env: ApiKeyEnv = None,
    max_encoding_tokens: MaxEncodingTokens = None,
    batch_tokens: BatchTokens = None,
    split: Split = None,
    limit: Limit = None,
    layout: Format = None,
    skip_invalid: SkipInvalid = False,
    candidates: Candidates = None,
    seed: Annotated[int | None, option(SearchConfig, "seed")] = None,
    lean: Lean = None,
    lean_project: LeanProject = None,
    lean_workers: LeanWorkers = None,
    output: Annotated[
        str | None, typer.Option(help="Folder, or s3://BUCKET/FOLDER, to keep the searches in. [default: none kept]")
    ] = None,
    no_memo: Annotated[
        bool, typer.Option("--no-memo", help="Share nothing between modes, so that their seconds compare.")
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Compare once more at this many seconds per theorem, memo and cache off."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search the same theorems in several orders with the same budget, and compare."""
    from ebm.champion import resolve_checkpoint
    from ebm.evaluation import evaluate_modes, evaluate_seconds
    from ebm.inference import EBMScorer
    from prover.evaluation.comparison import EvaluationError

    try:
        counts = [int(part) for part in budgets.split(",")]
    except ValueError as error:
        raise UsageProblem(f"--budgets {budgets!r}: expected whole numbers, e.g. 4,8,16,32,64") from error
    chosen = load_theorems(theorems, split, limit, layout=layout, skip_invalid=skip_invalid)
    with ExitStack() as stack:
        environment = stack.enter_context(open_lean(lean, lean_project, lean_workers))
        policy, scorer = load_models(
            PolicyOptions(
                llm_path,
                encoder,
                template,
                dtype,
                device,
                api_key_env,
                max_encoding_tokens=max_encoding_tokens,
                batch_tokens=batch_tokens,
            ),
            ebm_path,
        )
        memo = None if no_memo else stack.enter_context(open_memo(None))
        if output is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prover-eval-")))
        else:
            folder = stack.enter_context(published(output)).path
        view = stack.enter_context(_ModesView())
        names = [part.strip() for part in modes.split(",") if part.strip()]
        config = SearchConfig.from_dict(given(n_candidates=candidates, seed=seed))
        timed = None
        try:
            evaluation = evaluate_modes(
                chosen,
                environment,
                policy,
                config,
                folder,
                modes=names,
                budgets=counts,
                scorer=scorer,
                memo=memo,
                on_progress=view.show,
            )
            if seconds is not None:
                timed = evaluate_seconds(
                    chosen,
                    environment,
                    policy,
                    config,
                    folder / "seconds",
                    seconds=seconds,
                    modes=names,
                    scorer=EBMScorer.load(resolve_checkpoint(ebm_path, data_folder()), policy),
                    on_progress=view.show,
                )
        except EvaluationError as error:
            raise UsageProblem(str(error)) from error
    shown = [*evaluation_tables(evaluation), *([] if timed is None else ["\n", seconds_table(timed, seconds or 0.0)])]
    (_err if as_json else _out).print(*shown)
    if as_json:
        figures = evaluation.to_dict()
        if timed is not None:
            figures["equal_seconds"] = {"seconds": seconds, **timed.to_dict()}
        print(json.dumps(figures, allow_nan=False), flush=True)


def calibrate(
    trajectories: Annotated[list[str], typer.Option(help="Files that the model was trained on, comma-separated.")],
    theorems: Annotated[
        str, typer.Option(help="Validation theorems: neither trained on nor reported on.")
    ] = "propositional:valid",
    ebm_path: EbmPath = "champion",
    llm_path: LlmPath = None,
    encoder: Encoder = None,
    template: Template = None,
    dtype: Dtype = None,
    device: Device = None,
    api_key_env: ApiKeyEnv = None,
    max_encoding_tokens: MaxEncodingTokens = None,
    split: Split = None,
    limit: Limit = None,
    layout: Format = None,
    skip_invalid: SkipInvalid = False,
    budget: Annotated[int | None, option(CalibrationConfig, "calibration_expansions", "--budget")] = None,
    candidates: Candidates = None,
    betas: Annotated[str, typer.Option(help="Weights to try.")] = _listed(BETAS),
    lean: Lean = None,
    lean_project: LeanProject = None,
    lean_workers: LeanWorkers = None,
    as_json: AsJson = False,
) -> None:
    """Choose the energy's weight on validation theorems, and write it into the checkpoint."""
    from ebm.calibration import CalibrationError
    from ebm.calibration import calibrate as run
    from ebm.champion import resolve_checkpoint
    from ebm.checkpoint import write_calibration
    from prover.trajectory import read_trajectories
    from prover.trajectory.labels import merge_labels

    expansions = budget or CalibrationConfig().calibration_expansions
    try:
        weights = [float(part) for part in betas.split(",")]
    except ValueError as error:
        raise UsageProblem(f"--betas {betas!r}: expected numbers, e.g. 0,0.5,1") from error
    files = [name.strip() for given in trajectories for name in given.split(",") if name.strip()]
    rows = merge_labels(read_trajectories(files))
    chosen = load_theorems(theorems, split, limit, layout=layout, skip_invalid=skip_invalid)
    with ExitStack() as stack:
        checkpoint = ebm_path
        if is_url(ebm_path):  # the calibration goes back there
            checkpoint = str(stack.enter_context(published(ebm_path, keep=True)).path)
        environment = stack.enter_context(open_lean(lean, lean_project, lean_workers))
        policy, scorer = load_models(
            PolicyOptions(
                llm_path,
                encoder,
                template,
                dtype,
                device,
                api_key_env,
                max_encoding_tokens=max_encoding_tokens,
            ),
            checkpoint,
        )
        memo = stack.enter_context(open_memo(None))
        view = stack.enter_context(_ModesView())
        try:
            found = run(
                scorer,
                rows,
                chosen,
                environment,
                policy,
                SearchConfig.from_dict(given(max_expansions=expansions, n_candidates=candidates)),
                memo=memo,
                betas=weights,
                on_progress=view.show,
            )
        except CalibrationError as error:
            raise UsageProblem(str(error)) from error
        write_calibration(resolve_checkpoint(checkpoint, data_folder()), found.mixing, found.evidence())
    (_err if as_json else _out).print(calibration_table(found))
    if as_json:
        print(json.dumps(found.evidence()), flush=True)


def calibration_table(found: "Calibration") -> Table:
    """Area and solve count of each order tried. The chosen one is marked; below stands how sure the choice is."""
    table = Table(title=f"{found.theorems} validation theorems, {found.max_expansions} expansions")
    table.add_column("order")
    for column in ("area under the solve curve", "proved", ""):
        table.add_column(column, justify="right")
    for trial in found.trials:
        table.add_row(trial.name, f"{trial.area:.4f}", str(trial.solved), "chosen" if trial is found.chosen else "")
    policy, second = found.over_policy, found.over_second
    if found.chosen.beta == 0:
        table.caption = "on these theorems the policy alone searches best"
    else:
        table.caption = (
            f"above the policy alone by {policy.difference:+.4f} [{policy.low:+.4f}, {policy.high:+.4f}], better in "
            f"{policy.probability:.0%} of resamples; above the next best by {second.difference:+.4f} "
            f"[{second.low:+.4f}, {second.high:+.4f}], better in {second.probability:.0%}"
        )
    return table


def evaluation_tables(evaluation: "Evaluation") -> list[Table | str]:
    """The solve counts by budget, the paired comparison in words, rank-1 by depth."""
    total = evaluation.modes[0].theorems
    solved = Table(title=f"Proved (certified) of {total} theorems, by budget in expansions")
    solved.add_column("mode")
    for column in (*map(str, evaluation.budgets), "area", "Lean calls", "policy calls", "encoder calls", "seconds"):
        solved.add_column(column, justify="right")
    for mode in evaluation.modes:
        counts = [str(mode.solved[budget]) for budget in evaluation.budgets]
        solved.add_row(mode.name, *counts, f"{mode.area:.4f}", *_calls(mode), f"{mode.seconds:.1f}")
    parts: list[Table | str] = [solved]
    if evaluation.comparison is not None:
        paired, first, second = evaluation.comparison.paired, *evaluation.modes[:2]
        ratio = (
            f"expansions to proof x {paired.ratio:.3f} [{paired.ratio_low:.3f}, {paired.ratio_high:.3f}] over "
            f"{paired.both} theorems that both prove"
            if paired.both
            else "no theorem is proved by both"
        )
        parts.append(
            f"{second.name} against {first.name}: {paired.faster} faster, {paired.slower} slower, {paired.tied} tied "
            f"(sign test p = {paired.p_value:.2g}); {ratio}; "
            f"proved by one alone: {paired.only_second} against {paired.only_first} "
            f"(McNemar p = {paired.mcnemar_p:.2g})"
        )
    if evaluation.ranking is not None:
        table = Table(title="Best-scored sibling is positive (rank-1), by depth of the parent")
        signals = ("random", "policy", "energy", "combined")
        for column in ("depth", "sibling sets", *signals):
            table.add_column(column, justify="right")
        for bucket, row in evaluation.ranking.rank1.items():
            cells = [f"{row[s].mean:.3f} [{row[s].low:.3f}, {row[s].high:.3f}]" for s in signals]
            table.add_row(bucket, str(row["random"].n), *cells)
        parts.append(table)
    return [part for item in parts for part in (item, "\n")][:-1]


def _calls(mode: "ModeResult") -> list[str]:
    return [str(count) for count in (mode.calls.lean, mode.calls.policy, mode.calls.encoder)]


def seconds_table(timed: "Evaluation", seconds: float) -> Table:
    """Solve counts at equal seconds per theorem, with what each mode asked for in them."""
    table = Table(title=f"Proved of {timed.modes[0].theorems} theorems at {seconds:g} s each, nothing shared")
    table.add_column("mode")
    for column in ("proved", "Lean calls", "policy calls", "encoder calls", "seconds"):
        table.add_column(column, justify="right")
    for mode in timed.modes:
        table.add_row(mode.name, str(mode.solved[timed.budgets[-1]]), *_calls(mode), f"{mode.seconds:.1f}")
    if timed.comparison is not None:
        paired = timed.comparison.paired
        table.caption = (
            f"proved by {timed.modes[1].name} alone: {paired.only_second}, by {timed.modes[0].name} alone: "
            f"{paired.only_first} (McNemar p = {paired.mcnemar_p:.2g})"
        )
    return table


class _ModesView:
    """One progress line per search, on standard error."""

    def __init__(self) -> None:
        from prover.cli_progress import SearchProgressView

        self._make = SearchProgressView
        self._stack = ExitStack()
        self._name: str | None = None
        self._view: Callable[[SearchProgress], None] | None = None

    def __enter__(self) -> "_ModesView":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def show(self, name: str, progress: "SearchProgress") -> None:
        if self._view is None or name != self._name:
            self._stack.close()
            _err.print(f"{name}:")
            self._name, self._view = name, self._stack.enter_context(self._make())
        self._view(progress)

"""The energy model's commands. Exit codes as in `prover.cli`: 0 fine, 1 trouble, 2 bad input, 130 interrupted."""

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Literal, Self

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ebm.training.config import EBMTrainingConfig
from ebm.training.machine import TrainingMachine, threads_for
from prover.cli_open import with_policy_of
from prover.cli_options import AsJson, option
from prover.cli_output import INTERRUPTED, TROUBLE, UsageProblem
from prover.cli_policy import ApiKeyEnv, Device, Dtype, Encoder, LlmPath, MaxEncodingTokens, PolicyOptions, Template
from prover.policy import DEFAULT_POOLING
from prover.policy.settings import PolicySettings
from prover.settings import settings_of_file
from prover.storage import data_folder, on_disk, published
from prover.storage.outputs import Output

if TYPE_CHECKING:
    from ebm.embeddings import EmbeddingCache
    from ebm.training.from_files import DatasetSummary, TrainResult
    from ebm.training.metrics import EBMMetrics
    from prover.policy.huggingface import HuggingFacePolicy
    from prover.policy.server import ServerPolicy

_err = Console(stderr=True, highlight=False, soft_wrap=True)
_out = Console(highlight=False)
_LINE_EVERY_S = 15.0


def register(app: typer.Typer) -> None:
    """Add the commands to the `prover` command line (entry point group `prover.commands`)."""
    from ebm.cli_cache import app as cache
    from ebm.cli_ensemble import ensemble
    from ebm.cli_eval import calibrate, evaluate

    app.add_typer(cache, name="cache")
    app.command("train-ebm")(train_ebm)
    app.command("calibrate")(calibrate)
    app.command("ensemble")(ensemble)
    app.command("eval")(evaluate)


def train_ebm(
    trajectories: Annotated[
        list[str], typer.Option(help="Trajectory files, comma-separated or with the option repeated.")
    ],
    output: Annotated[str, typer.Option(help="Folder of the checkpoint, or s3://BUCKET/FOLDER.")],
    llm_path: LlmPath = None,
    encoder: Encoder = None,
    template: Template = None,
    dtype: Dtype = None,
    api_key_env: ApiKeyEnv = None,
    max_encoding_tokens: MaxEncodingTokens = None,
    pooling: Annotated[
        str | None,
        option(
            PolicySettings,
            "pooling",
            default=f"that of the run or head that this one begins from, else {DEFAULT_POOLING}",
        ),
    ] = None,
    cache_dtype: Annotated[
        Literal["float32", "float16"] | None,
        typer.Option(
            help="How a new embedding cache stores vectors; float16 halves it. A cache that is there keeps its own. "
            "[default: float32]"
        ),
    ] = None,
    resume_from: Annotated[
        str | None,
        typer.Option(help="Go on with the interrupted run in this folder: same trajectories, same settings."),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            help="Begin with the weights of the head in this folder, or of `champion`: a new run, on any trajectories."
        ),
    ] = None,
    steps: Annotated[int | None, option(EBMTrainingConfig, "total_steps", "--steps")] = None,
    lr: Annotated[float | None, option(EBMTrainingConfig, "lr")] = None,
    warmup_steps: Annotated[int | None, option(EBMTrainingConfig, "warmup_steps")] = None,
    batch_size: Annotated[int | None, option(EBMTrainingConfig, "batch_size")] = None,
    k_negatives: Annotated[int | None, option(EBMTrainingConfig, "k_negatives")] = None,
    depth_loss_weight: Annotated[float | None, option(EBMTrainingConfig, "depth_loss_weight")] = None,
    valid_fraction: Annotated[float | None, option(EBMTrainingConfig, "valid_fraction")] = None,
    seed: Annotated[int | None, option(EBMTrainingConfig, "seed")] = None,
    checkpoint_interval: Annotated[int | None, option(EBMTrainingConfig, "checkpoint_interval")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="JSON file of training settings by name; options given here override it."),
    ] = None,
    device: Device = None,
    threads: Annotated[int | None, option(TrainingMachine, "threads")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Give up an unfinished run in the output folder.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train the energy model on trajectories, and write its checkpoint."""
    from ebm.champion import resolve_checkpoint

    options = {
        "total_steps": steps,
        "lr": lr,
        "warmup_steps": warmup_steps,
        "batch_size": batch_size,
        "k_negatives": k_negatives,
        "depth_loss_weight": depth_loss_weight,
        "valid_fraction": valid_fraction,
        "seed": seed,
        "checkpoint_interval": checkpoint_interval,
    }
    files = [name.strip() for given in trajectories for name in given.split(",") if name.strip()]
    with published(output, keep=True) as place:
        resumed = _resumed(resume_from, output, place)
        with _as_usage_problems(OSError, ValueError):
            if resume_from is not None and init_from is not None:
                raise ValueError(
                    "--resume-from goes on with an interrupted run, --init-from begins a new one from a head's "
                    "weights: give one of them"
                )
            warm = None if init_from is None else resolve_checkpoint(init_from, data_folder())
            settings = _settings(config, options, resumed)
            pooling = pooling or _pooling_of(resumed, warm)
            _probe(place.path, overwrite=overwrite or resume_from is not None)

        from ebm.checkpoint import CheckpointError
        from ebm.embeddings import EmbeddingError
        from ebm.inference import EncoderMismatchError
        from ebm.training import (
            ResumeError,
            TrainingDataError,
            TrainingDivergedError,
            WidthMismatchError,
            train_from_files,
        )
        from ebm.training.from_files import TrainingData
        from prover.policy.weights import PolicyLoadError, checked_device

        with _as_usage_problems(PolicyLoadError):
            chosen_device = checked_device(device)
        with _as_usage_problems(OSError, TrainingDataError):
            data = TrainingData.load(files)  # before the policy: a large one takes minutes to load
        chosen = PolicyOptions(
            llm_path,
            encoder,
            template,
            dtype,
            chosen_device,
            api_key_env,
            pooling=pooling,
            max_encoding_tokens=max_encoding_tokens,
        )
        policy, cache = _open_encoder(chosen, init_from, threads, cache_dtype)
        try:
            with (
                _as_usage_problems(
                    OSError, WidthMismatchError, EncoderMismatchError, ResumeError, CheckpointError, EmbeddingError
                ),
                cache,
                _TrainingView(settings.total_steps) as view,
            ):

                def on_metrics(step: int, metrics: "EBMMetrics") -> None:
                    view.metrics(step, metrics)
                    place.publish_if_due()

                result = train_from_files(
                    data,
                    policy,
                    place.path,
                    settings,
                    cache=cache,
                    device=chosen_device,
                    resume_from=resumed,
                    init_from=warm,
                    on_summary=view.summary,
                    on_encode=view.encode,
                    on_metrics=on_metrics,
                )
        except TrainingDivergedError as error:
            _err.print(str(error))
            raise typer.Exit(TROUBLE) from error
        _end(result, output, place, as_json)


def _open_encoder(
    chosen: PolicyOptions, init_from: str | None, threads: int | None, cache_dtype: str | None
) -> "tuple[HuggingFacePolicy | ServerPolicy, EmbeddingCache]":
    """The policy whose hidden vectors the head reads, and the cache of these. Raises UsageProblem."""
    import torch

    from ebm.embeddings import EmbeddingCache
    from prover.policy import PolicyError
    from prover.policy.weights import PolicyLoadError

    with _as_usage_problems(OSError, ValueError, PolicyLoadError, PolicyError):
        chosen.check_encoder("the energy model")
        policy = with_policy_of(chosen, init_from).open(start=False)  # a server is not asked: its encoder is enough
        torch.set_num_threads(threads or threads_for(policy.encoding_width))
        cache = EmbeddingCache(
            data_folder() / "embeddings",
            policy.encoder_fingerprint,
            policy.encoding_width,
            pooling=policy.pooling,
            dtype=cache_dtype,
        )
    return policy, cache


def _end(result: "TrainResult", output: str, place: Output, as_json: bool) -> None:
    """Say what came of the training, and how to go on with one that was interrupted."""
    from ebm.checkpoint import checkpoint_id

    _show(result, as_json)
    if result.status == "interrupted":
        again = shlex.join(["prover", *_resuming(sys.argv[1:], output)])
        _err.print(f"Interrupted at step {result.step}, which is saved; go on with\n    {again}")
        raise typer.Exit(INTERRUPTED)
    if not as_json:
        where = result.checkpoint if place.mirror is None else output
        _out.print(f"{checkpoint_id(result.checkpoint)} is in {where}")


def _resumed(resume_from: str | None, output: str, place: Output) -> Path | None:
    """The folder of the run that is gone on with: the output's own, or another one, fetched if it is on a store."""
    if resume_from is None:
        return None
    if resume_from.rstrip("/") == output.rstrip("/"):
        return place.path
    return on_disk(resume_from)


def _resuming(arguments: list[str], output: str) -> list[str]:
    """The command line that goes on with a run that these arguments began, or went on with."""
    kept: list[str] = []
    rest = iter(arguments)
    for part in rest:
        if part in ("--resume-from", "--init-from"):
            next(rest, None)
        elif part != "--overwrite" and not part.startswith(("--resume-from=", "--init-from=")):
            kept.append(part)
    return [*kept, "--resume-from", output]


def _pooling_of(resume_from: Path | None, warm: Path | None) -> str | None:
    """The pooling of the run that is gone on with, or of the head that is begun from; None if there is none."""
    from ebm.checkpoint import read_encoder
    from ebm.training.resume import resume_from_checkpoint

    begun = warm if resume_from is None else resume_from_checkpoint(resume_from).folder
    return None if begun is None else read_encoder(begun).pooling


def _settings(config: Path | None, options: Mapping[str, object], resume_from: Path | None) -> EBMTrainingConfig:
    """Training settings: the defaults or those resumed from, then the file's, then the options'."""
    values: dict[str, object] = {}
    if resume_from is not None:
        from ebm.training.resume import resume_from_checkpoint

        values = resume_from_checkpoint(resume_from).config.to_dict()
    if config is not None:
        values |= settings_of_file(config)
    values |= {name: value for name, value in options.items() if value is not None}
    return EBMTrainingConfig.from_dict(values)


def _probe(output: Path, *, overwrite: bool) -> None:
    """Say before the work, not after it, that the output folder cannot be written, or holds an unfinished run."""
    from ebm.checkpoint import latest_step_folder

    if output.exists() and not output.is_dir():
        raise ValueError(f"--output {output} is a file; give a folder")
    probe = output / f".probe.{os.getpid()}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ValueError(f"cannot write in {output}: {error.strerror or error}; give another --output") from error
    unfinished = latest_step_folder(output)
    if unfinished is not None and not overwrite:
        raise ValueError(
            f"{output} holds an unfinished run ({unfinished.name}): go on with it by --resume-from {output}, give it "
            "up by --overwrite, or choose another folder"
        )


@contextmanager
def _as_usage_problems(*kinds: type[Exception]) -> Iterator[None]:
    """Errors whose message says what is wrong with the input end the command with exit code 2 and that message."""

    try:
        yield
    except kinds as error:
        raise UsageProblem(str(error)) from error


class _TrainingView:
    """The dataset summary, then bars of states encoded and of steps with their metrics; lines where no terminal is."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self.live = _err.is_terminal
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self.bar = Progress(*columns, console=_err, refresh_per_second=4)
        self.tasks: dict[str, TaskID] = {}
        self.last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self.live:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.bar.stop()

    def summary(self, summary: "DatasetSummary") -> None:
        (self.bar.console if self.live else _err).print(str(summary))

    def encode(self, done: int, total: int) -> None:
        self._show("states encoded", done, total, "")

    def metrics(self, step: int, metrics: "EBMMetrics") -> None:
        if metrics.split == "train":
            self._show("steps", step, self.total_steps, metrics.display())

    def _show(self, what: str, done: int, total: int, figures: str) -> None:
        if self.live:
            if what not in self.tasks:
                self.tasks[what] = self.bar.add_task(what, total=total, figures="")
            self.bar.update(self.tasks[what], completed=done, total=total, figures=figures)
        elif time.monotonic() - self.last_line >= _LINE_EVERY_S or done == total:
            self.last_line = time.monotonic()
            print(f"{done}/{total} {what} {figures}".rstrip(), file=sys.stderr, flush=True)


def _show(result: "TrainResult", as_json: bool) -> None:
    from ebm.checkpoint import checkpoint_id

    lines = {
        "ended": f"{result.status} after {result.step} steps in {result.train_seconds:.1f} s",
        "encoded": f"{result.encoded.encoded} states in {result.encode_seconds:.1f} s",
        "training, last": str(result.metrics or "none"),
    }
    if result.valid_metrics is not None:
        lines[f"held out, step {result.best_step}"] = str(result.valid_metrics)
    for name, text in lines.items():
        print(f"{name:<20} {text}", file=sys.stderr if as_json else sys.stdout)
    for warning in result.warnings:
        _err.print(f"warning: {warning}", style="yellow")
    if as_json:
        figures = {
            "status": result.status,
            "step": result.step,
            "best_step": result.best_step,
            "checkpoint": str(result.checkpoint),
            "ebm_id": checkpoint_id(result.checkpoint),
            "summary": result.summary.to_dict(),
            "metrics": None if result.metrics is None else asdict(result.metrics),
            "valid_metrics": None if result.valid_metrics is None else asdict(result.valid_metrics),
            "warnings": result.warnings,
            "encoded": asdict(result.encoded),
            "encode_seconds": round(result.encode_seconds, 3),
            "train_seconds": round(result.train_seconds, 3),
        }
        print(json.dumps(figures), flush=True)

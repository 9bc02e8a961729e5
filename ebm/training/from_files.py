"""Trajectory files in, checkpoint out: what the command line and the assets call."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from ebm.calibration import CalibrationError, uncalibrated
from ebm.checkpoint import EncoderDescription, write_calibration
from ebm.embeddings import EmbeddingCache, EncodeCounts
from ebm.inference import EBMScorer, require_same_encoder
from ebm.model.encoder import EncoderBackend
from ebm.model.energy_head import EnergyHead, EnergyHeadConfig
from ebm.training.config import DISTANCE_BINS, EBMTrainingConfig
from ebm.training.data import ContrastiveIndex, ContrastiveSampler, no_examples_error
from ebm.training.features import WidthMismatchError, features_of
from ebm.training.metrics import EBMMetrics, MetricsHistory
from ebm.training.records import UNKNOWN, load_states, merge_labels
from ebm.training.resume import resume_from_checkpoint
from ebm.training.starting import WarmStart, check_resumable
from ebm.training.step import seeded
from ebm.training.trainer import MetricsCallback, Status, TrainingResult, train
from prover.files import file_digest
from prover.policy.base import TacticGenerator
from prover.storage import on_disk

logger = logging.getLogger(__name__)

MIN_VALID_THEOREMS = 2
"""Fewer held-out theorems than this say too little: all are trained on and nothing stops early."""


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What there is to learn from. Rows are as in the files; states are distinct (theorem, state key) pairs."""

    files: int
    rows: int
    rows_unknown: int
    """Rows whose state no search labelled: not used."""
    positives: int
    negatives: int
    theorems: int
    eligible_theorems: int
    """Theorems with both positives and dead ends: those that examples are drawn from."""
    valid_theorems: int
    """Of these, held out."""

    def to_dict(self) -> dict[str, int]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.rows} records in {self.files} file(s): {self.positives} positive and {self.negatives} negative "
            f"states ({self.rows_unknown} unlabelled rows not used), {self.theorems} theorems, of which "
            f"{self.eligible_theorems} have both labels and {self.valid_theorems} are held out"
        )


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Trajectory files as read."""

    files: list[Path]
    index: ContrastiveIndex

    @classmethod
    def load(cls, trajectories: Sequence[str | Path] | str | Path) -> "TrainingData":
        """Read files and merge their labels.

        Raises:
            FileNotFoundError, TrajectorySchemaError: a file is missing or has another schema.
            TrainingDataError: nothing to learn from, e.g. no positive state.
        """
        files = [on_disk(path) for path in ([trajectories] if isinstance(trajectories, str | Path) else trajectories)]
        index = ContrastiveIndex.from_states(load_states(files))
        if not len(index.anchors):
            raise no_examples_error(len(index), len(index.positives), len(index.negatives))
        return cls(files, index)

    def digests(self) -> list[dict[str, str]]:
        """Name and SHA-256 of each file."""
        return [{"name": path.name, "sha256": file_digest(path)} for path in self.files]

    def summary(self, held_out: Sequence[str]) -> DatasetSummary:
        """Counts, with `held_out` theorems kept from training."""
        index = self.index
        return DatasetSummary(
            files=len(self.files),
            rows=len(index),
            rows_unknown=int((index.states["label"] == UNKNOWN).sum()),
            positives=len(index.positives),
            negatives=len(index.negatives),
            theorems=len(index.theorem_names),
            eligible_theorems=len(index.eligible_theorems),
            valid_theorems=len(held_out),
        )


@dataclass(slots=True)
class TrainResult:
    """What `train_from_files` made."""

    head: EnergyHead
    checkpoint: Path
    """Folder; the latest step's folder if training was interrupted."""
    status: Status
    summary: DatasetSummary
    metrics: EBMMetrics | None
    """Last training metrics."""
    valid_metrics: EBMMetrics | None
    """Metrics on the held-out theorems at the best step; None without held-out theorems."""
    history: MetricsHistory
    warnings: list[str]
    """Health warnings of the last metrics, training and held-out."""
    step: int
    best_step: int | None
    encoded: EncodeCounts
    encode_seconds: float
    train_seconds: float
    valid_theorems: list[str]


def train_from_files(
    trajectories: TrainingData | Sequence[str | Path] | str | Path,
    encoder: TacticGenerator | EncoderBackend,
    output: str | Path,
    config: EBMTrainingConfig | None = None,
    *,
    head_config: EnergyHeadConfig | None = None,
    cache: EmbeddingCache | None = None,
    valid_fraction: float | None = None,
    valid_theorems: Collection[str] | None = None,
    device: torch.device | str = "cpu",
    encode_batch_size: int = 16,
    resume_from: str | Path | None = None,
    init_from: str | Path | None = None,
    on_summary: Callable[[DatasetSummary], None] | None = None,
    on_encode: Callable[[int, int], None] | None = None,
    on_metrics: MetricsCallback | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train an energy head on trajectory files and write its checkpoint to `output`.

    Labels of one state are merged over all files. States without a vector in `cache` are encoded first; the training
    loop itself never encodes.

    Args:
        encoder: the policy (or an `EncoderBackend` over it) whose vectors the head reads.
        config: training settings; with `resume_from`, None means those of the checkpoint.
        head_config: shape of the head; default `EnergyHeadConfig(width of the encoder)`, or that of `init_from`. Not
            used when resuming.
        cache: embedding cache of this encoder; None encodes into a temporary one.
        valid_fraction: share of the eligible theorems that are held out for evaluation and early stopping, instead of
            the config's; 0 for none.
        valid_theorems: hold out these instead. A resumed run goes on with those it had; a warm start holds out the ones
            that its head was not trained on before others.
        resume_from: folder of an interrupted run, which goes on: same files, same settings.
        init_from: folder of a trained head to begin with: its weights and feature statistics, a new optimizer and
            schedule, any files.
        on_summary, on_encode(done, total), on_metrics(step, metrics): for progress displays and tracking.

    Raises:
        as `TrainingData.load`, and
        WidthMismatchError: the head resumed or begun from, or `head_config`, has another width than the encoder.
        EncoderMismatchError: the head resumed or begun from reads another encoder's vectors.
        ResumeError: the run in `resume_from` has ended, or has other files or settings.
        TrainingDivergedError: the loss became NaN or infinite.
    """
    data = trajectories if isinstance(trajectories, TrainingData) else TrainingData.load(trajectories)
    index = data.index
    backend = encoder if isinstance(encoder, EncoderBackend) else EncoderBackend(encoder)
    if resume_from is not None and init_from is not None:
        raise ValueError("give resume_from, to go on with a run, or init_from, to begin one from its weights; not both")
    resume = None if resume_from is None else resume_from_checkpoint(resume_from)
    warm = None if init_from is None else WarmStart.load(init_from, head_config)
    if config is None:
        config = EBMTrainingConfig() if resume is None else resume.config
    if valid_fraction is not None and resume is None:
        config = replace(config, valid_fraction=valid_fraction)
    given = resume.head if resume is not None else None if warm is None else warm.head
    _check_width(backend, head_config, given, resume_from or init_from)
    digests = data.digests()
    if resume is not None:
        assert resume_from is not None
        check_resumable(resume, resume_from, config, digests)
        require_same_encoder(resume.folder, backend)
        if valid_theorems is None:
            valid_theorems = resume.data.get("valid_theorems")
    if warm is not None:
        require_same_encoder(warm.folder, backend)
    start = resume.start if resume is not None else {"kind": "fresh"} if warm is None else warm.to_dict()
    held_out = _held_out(index, config, valid_theorems, () if warm is None else warm.held_out)
    summary = data.summary(held_out)
    if on_summary is not None:
        on_summary(summary)

    with ExitStack() as stack:
        if cache is None:
            folder = stack.enter_context(TemporaryDirectory(prefix="embeddings-"))
            cache = EmbeddingCache(folder, backend.fingerprint or "unnamed-encoder", backend.hidden_dim)
        started = time.perf_counter()
        encoded = cache.encode_missing(backend, _texts(index), encode_batch_size, on_encode)
        encode_seconds = time.perf_counter() - started

        valid_index = index.restricted_to(held_out) if held_out else None
        train_index = index.restricted_to(set(index.theorem_names) - set(held_out)) if held_out else index
        features = features_of(cache, index).in_memory(index.used_rows, config.memory_limit_gib * 2**30)
        new_head_config = head_config or EnergyHeadConfig(backend.hidden_dim)
        if config.objective == "distance" and not new_head_config.n_bins:
            new_head_config = replace(new_head_config, n_bins=DISTANCE_BINS)
        head = _new_head(new_head_config, config) if given is None else given
        result = train(
            config,
            head,
            features,
            ContrastiveSampler.of(train_index, config),
            device,
            valid_sampler=None if valid_index is None else ContrastiveSampler.of(valid_index, config),
            output=output,
            resume=resume,
            on_metrics=on_metrics,
            should_stop=should_stop,
            description={
                "encoder": EncoderDescription.of(backend).to_dict(),
                "start": start,
                "data": {"trajectories": digests, "summary": summary.to_dict(), "valid_theorems": held_out},
            },
        )
        if result.status != "interrupted" and result.checkpoint is not None:
            _store_scales(result.head, result.checkpoint, index, backend, cache)
    return _result(result, Path(output), summary, encoded, encode_seconds, held_out)


def _store_scales(
    head: EnergyHead, checkpoint: Path, index: ContrastiveIndex, backend: EncoderBackend, cache: EmbeddingCache
) -> None:
    """Make the checkpoint usable by calibrated search at once; calibration on validation theorems replaces this."""
    scorer = EBMScorer(head, backend, cache=cache)
    try:
        mixing, evidence = uncalibrated(merge_labels(index.states), scorer)
    except CalibrationError as error:
        logger.warning("the checkpoint is stored without a calibration: %s", error)
        return
    write_calibration(checkpoint, mixing, evidence)


def _check_width(
    backend: EncoderBackend, head_config: EnergyHeadConfig | None, head: EnergyHead | None, folder: str | Path | None
) -> None:
    """Raise WidthMismatchError unless the head of `folder`, or else `head_config`, fits the encoder."""
    given = head.config if head is not None else head_config
    if given is not None and given.d_encoder != backend.hidden_dim:
        what = f"the head of {folder}" if head is not None else "head_config"
        raise WidthMismatchError(
            f"{what} takes vectors of width {given.d_encoder}, the encoder's have width {backend.hidden_dim}: use the "
            "policy and pooling that the head was made for, or train a new head"
        )


def _held_out(
    index: ContrastiveIndex, config: EBMTrainingConfig, named: Collection[str] | None, first: Collection[str]
) -> list[str]:
    """Eligible theorems to hold out, such that eligible ones remain to train on.

    named: these instead of a share of all. first: taken before others.
    """
    eligible = index.eligible_theorems
    if named is not None:
        chosen = [name for name in eligible if name in set(named)]
    else:
        order = np.random.default_rng([config.seed, len(eligible)]).permutation(len(eligible)).tolist()
        order.sort(key=lambda i: eligible[i] not in set(first))  # stable: random among equals
        chosen = sorted(eligible[i] for i in order[: round(config.valid_fraction * len(eligible))])
    if len(chosen) < MIN_VALID_THEOREMS or len(chosen) == len(eligible):
        if named or (named is None and config.valid_fraction):
            logger.warning(
                "%d of %d eligible theorems would be held out: too few or too many, so none is and nothing stops early",
                len(chosen),
                len(eligible),
            )
        return []
    return chosen


def _texts(index: ContrastiveIndex) -> dict[str, str]:
    used = index.states[index.used_rows]
    return dict(zip(used["state_key"].to_list(), used["state_pp"].to_list(), strict=True))


def _new_head(head_config: EnergyHeadConfig, config: EBMTrainingConfig) -> EnergyHead:
    with seeded(config.seed, torch.device("cpu")):
        return EnergyHead(head_config)


def _result(
    result: TrainingResult,
    output: Path,
    summary: DatasetSummary,
    encoded: EncodeCounts,
    encode_seconds: float,
    held_out: list[str],
) -> TrainResult:
    valid = next((m for step, m in result.history.of_split("valid") if step == result.best_step), None)
    warnings = [*result.warnings]
    if valid is not None:
        warnings += [f"on held-out theorems: {warning}" for warning in valid.health_check()]
    return TrainResult(
        head=result.head,
        checkpoint=result.checkpoint or output,
        status=result.status,
        summary=summary,
        metrics=result.metrics,
        valid_metrics=valid,
        history=result.history,
        warnings=warnings,
        step=result.step,
        best_step=result.best_step,
        encoded=encoded,
        encode_seconds=encode_seconds,
        train_seconds=result.seconds,
        valid_theorems=held_out,
    )

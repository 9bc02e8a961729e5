"""The training loop of the energy head. It never encodes: vectors come from a table or the embedding cache."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ebm.model.energy_head import EnergyHead
from ebm.training.config import EBMTrainingConfig, learning_rate_at
from ebm.training.data import ContrastiveSampler
from ebm.training.examples import ExampleFeeder
from ebm.training.features import Embeddings, WidthMismatchError, feature_statistics, features_of
from ebm.training.held_out import BestState, HeldOut
from ebm.training.interrupt import interruptible
from ebm.training.metrics import EBMMetrics, MetricsHistory
from ebm.training.resume import ResumeState
from ebm.training.step import TrainingStep, random_state, restore_random_state, seeded
from ebm.training.window import MetricsWindow
from ebm.training.writer import CheckpointWriter

logger = logging.getLogger(__name__)

Status = Literal["finished", "early_stopped", "interrupted"]
MetricsCallback = Callable[[int, EBMMetrics], None]


class TrainingDivergedError(RuntimeError):
    """The loss became NaN or infinite. The last checkpoint before that is kept.

    Attributes: step (counted from 0), theorems of the batch, learning_rate, checkpoint (folder or None).
    """

    def __init__(self, step: int, theorems: list[str], learning_rate: float, checkpoint: Path | None) -> None:
        self.step, self.theorems, self.learning_rate, self.checkpoint = step, theorems, learning_rate, checkpoint
        shown = ", ".join(theorems[:8]) + (f" and {len(theorems) - 8} more" if len(theorems) > 8 else "")
        kept = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint had been written yet"
        super().__init__(
            f"the loss is not finite at step {step} (learning rate {learning_rate:.3g}, theorems of the batch: {shown}"
            f"); {kept}. Lower the learning rate, or look for extreme embeddings of these theorems"
        )


@dataclass(slots=True)
class TrainingResult:
    """What `train` leaves."""

    head: EnergyHead
    """In eval mode: the last state, or the best on the held-out theorems where there were any."""
    history: MetricsHistory
    status: Status
    step: int
    """Steps completed."""
    best_step: int | None
    """Steps completed at the best evaluation; None without held-out theorems."""
    seconds: float
    checkpoint: Path | None
    """Folder of the written checkpoint."""
    warnings: list[str] = field(default_factory=list)
    """Health warnings of the last metrics."""

    @property
    def metrics(self) -> EBMMetrics | None:
        """The last training metrics."""
        return self.history.last()


def train(
    config: EBMTrainingConfig,
    head: EnergyHead,
    embeddings: Embeddings,
    sampler: ContrastiveSampler,
    device: torch.device | str = "cpu",
    *,
    valid_sampler: ContrastiveSampler | None = None,
    output: str | Path | None = None,
    resume: ResumeState | None = None,
    on_metrics: MetricsCallback | None = None,
    should_stop: Callable[[], bool] | None = None,
    description: Mapping[str, object] | None = None,
) -> TrainingResult:
    """Train `head` by contrast on the examples of `sampler`.

    The number and mix of negatives are the sampler's. On a CPU the result is a function of the arguments alone,
    interrupted and resumed or not, bit for bit.

    A head without feature statistics gets those of the sampler's states, unless `standardise_inputs` is off. One that
    has them, such as the head of a checkpoint, keeps them: training goes on from its weights (a warm start) with a new
    optimizer and schedule.

    Args:
        embeddings: what `ebm.training.features.features_of` takes: an `EmbeddingCache`, a table with a row for each
            row of the sampler's index, or a mapping from state key or text to vector.
        valid_sampler: over held-out theorems of the same index rows: evaluated every `eval_interval` steps; the head
            returned is the best of these evaluations, and training stops after `early_stop_patience` without a better.
        output: folder of the checkpoint; None writes nothing.
        resume: from `resume_from_checkpoint`; its head is used instead of `head`.
        on_metrics: called with (steps completed, metrics) every `log_interval` steps, and for evaluations.
        should_stop: asked after every step; True ends training as Ctrl-C does.
        description: further keys of config.json, e.g. `encoder` and `data`.

    Raises:
        WidthMismatchError: head and embeddings differ in width.
        ValueError: the objective `distance` and a head without bins, or another one and a head with them.
        TrainingDivergedError: the loss is NaN or infinite.
    """
    device = torch.device(device)
    if resume is not None:
        head = resume.head
    rows = sampler.index.used_rows
    if valid_sampler is not None:
        rows = np.union1d(rows, valid_sampler.index.used_rows)
    features = features_of(embeddings, sampler.index, rows)
    if features.width != head.config.d_encoder:
        raise WidthMismatchError(
            f"the head takes vectors of width {head.config.d_encoder}, the embeddings have width {features.width}: "
            f"make it with EnergyHeadConfig(d_encoder={features.width}), or use the encoder it was made for"
        )
    if (config.objective == "distance") != bool(head.config.n_bins):
        raise ValueError(
            f"the objective is {config.objective!r} and the head has {head.config.n_bins} bins: `distance` needs a "
            "head with bins (EnergyHeadConfig.n_bins), the other objectives one without"
        )
    features = features.in_memory(rows, config.memory_limit_gib * 2**30)
    if config.standardise_inputs and resume is None and not head.has_feature_statistics:
        mean, std, _ = feature_statistics(features, sampler.index.used_rows)
        head.set_feature_statistics(torch.from_numpy(mean), torch.from_numpy(std))
    head = head.to(device)
    writer = CheckpointWriter(
        None if output is None else Path(output),
        config,
        head.config,
        description or {},
        last=None if resume is None else resume.folder,
    )
    if resume is None or (writer.output is not None and not resume.folder.is_relative_to(writer.output)):
        writer.start_anew()
    with seeded(config.seed, device), interruptible() as interrupted:
        feeder = ExampleFeeder(sampler, features, config.batch_size, device)
        held_out = None if valid_sampler is None else HeldOut(valid_sampler, features, config, device)
        loop = _Loop(config, head, feeder, held_out, writer, on_metrics, resume)
        return loop.run(lambda: interrupted.is_set() or (should_stop is not None and should_stop()))


class _Loop:
    """A training run: takes the steps, reports, evaluates, and has checkpoints written."""

    def __init__(
        self,
        config: EBMTrainingConfig,
        head: EnergyHead,
        feeder: ExampleFeeder,
        held_out: HeldOut | None,
        writer: CheckpointWriter,
        on_metrics: MetricsCallback | None,
        resume: ResumeState | None,
    ) -> None:
        self._config, self._head, self._feeder, self._held_out = config, head, feeder, held_out
        self._writer, self._on_metrics = writer, on_metrics
        device = feeder.device
        self._training_step = TrainingStep(head, config, feeder.sampler.k_negatives, device)
        self._window = MetricsWindow(config, self._training_step.shape, device)
        self._warned: set[tuple[str, str]] = set()
        self._steps = 0
        self._history = MetricsHistory()
        self._best = BestState()
        if resume is not None:  # go on as if the run had not been cut
            self._steps, self._history = resume.step, resume.history
            self._best = BestState.restored(resume.best, resume.progress, device)
            self._training_step.load_state(resume.tensors)
            restore_random_state(resume.tensors, device)

    def run(self, should_stop: Callable[[], bool]) -> TrainingResult:
        config, started = self._config, time.perf_counter()
        self._head.train()
        status: Status = "finished"
        while self._steps < config.total_steps:
            self._take_step()
            last = self._steps == config.total_steps
            if self._steps % config.log_interval == 0 or last:
                self._log()
            if self._held_out is not None and (self._steps % config.steps_between_evaluations == 0 or last):
                self._evaluate(self._held_out)
                if config.early_stop_patience and self._best.evaluations_without_gain >= config.early_stop_patience:
                    status = "early_stopped"
                    break
            if not last and should_stop():
                status = "interrupted"
                break
            if not last and self._steps % config.checkpoint_interval == 0:
                self._checkpoint("running")
        self._log()
        return self._finish(status, time.perf_counter() - started)

    def _take_step(self) -> None:
        depth = self._feeder.fill(self._steps, self._training_step)
        self._training_step.run(learning_rate_at(self._steps, self._config))
        self._window.add(self._training_step, depth)
        self._steps += 1

    def _log(self) -> None:
        """Metrics over all examples since the last call; raises if one of those steps had no finite loss."""
        size = self._window.size
        if not size:
            return
        bad = self._window.first_not_finite()
        if bad is not None:
            self._diverged(self._steps - size + bad)
        self._report(self._window.close(self._steps, float(self._head.log_temperature.detach().exp())))

    def _report(self, metrics: EBMMetrics) -> None:
        self._history.push(self._steps, metrics)
        for warning in metrics.health_check():
            kind = (metrics.split, warning.split(":")[0])
            if kind not in self._warned:  # the metrics go on saying it; the log says it once
                self._warned.add(kind)
                logger.warning("step %d (%s): %s", self._steps, metrics.split, warning)
        if self._on_metrics is not None:
            self._on_metrics(self._steps, metrics)

    def _diverged(self, step: int) -> None:
        theorems = self._feeder.theorems_of(step)
        raise TrainingDivergedError(step, theorems, learning_rate_at(step, self._config), self._writer.last)

    def _evaluate(self, held_out: HeldOut) -> None:
        self._log()
        metrics = held_out.evaluate(self._head)
        self._report(metrics)
        if self._best.improved_by(metrics.contrastive_loss):
            self._best.keep(metrics.contrastive_loss, self._steps, self._state())

    def _state(self) -> dict[str, Tensor]:
        """Copies of all that the next step depends on; raises if the last one left weights that are not finite."""
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self._head.parameters()):
            self._diverged(self._steps - 1)
        model = {f"model.{name}": tensor.detach().clone() for name, tensor in self._head.state_dict().items()}
        return model | self._training_step.state() | random_state(self._feeder.device)

    def _checkpoint(self, status: str) -> None:
        self._log()
        self._writer.write_step(status, self._steps, self._state(), self._history, self._best)

    def _finish(self, status: Status, seconds: float) -> TrainingResult:
        checkpoint = self._writer.output
        if status == "interrupted":
            # What goes on from here needs the last state, not the best.
            self._checkpoint("interrupted")
            checkpoint = self._writer.last
        else:
            best = self._best.tensors
            self._writer.write_final(
                status, self._steps, self._state() if best is None else best, self._history, self._best
            )
            if best is not None:
                model = {name.removeprefix("model."): t for name, t in best.items() if name.startswith("model.")}
                self._head.load_state_dict(model)
        last = self._history.last()
        return TrainingResult(
            head=self._head.eval(),
            history=self._history,
            status=status,
            step=self._steps,
            best_step=self._best.step,
            seconds=seconds,
            checkpoint=checkpoint,
            warnings=last.health_check() if last is not None else [],
        )

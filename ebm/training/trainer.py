"""The training loop of the energy head. It never encodes: vectors come from a table or the embedding cache."""

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ebm.checkpoint import (
    BEST_FILE,
    METRICS_FILE,
    OPTIMIZER_FILE,
    EncoderDescription,
    step_folder,
    step_folders,
    write_checkpoint,
)
from ebm.model.energy_head import EnergyHead
from ebm.training.config import EBMTrainingConfig, learning_rate_at
from ebm.training.data import ContrastiveSampler, Draw
from ebm.training.features import BatchFeeder, StateFeatures, WidthMismatchError, feature_statistics, features_of
from ebm.training.interrupt import interruptible
from ebm.training.loss import depth_regression_loss, info_nce_loss
from ebm.training.metrics import EBMMetrics, MetricsHistory
from ebm.training.resume import ResumeState
from ebm.training.step import TrainingStep, random_state, restore_random_state, seeded

logger = logging.getLogger(__name__)

Status = Literal["finished", "early_stopped", "interrupted"]
MetricsCallback = Callable[[int, EBMMetrics], None]

_BLOCK_STEPS = 64
"""Steps whose examples are drawn in one call. Resuming relies on it: step s draws from stream s // _BLOCK_STEPS."""
_KEPT_CHECKPOINTS = 2
_VALID_STREAM = 2**40
"""Stream of the held-out examples, out of the way of those of training."""


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
    embeddings: Any,
    sampler: ContrastiveSampler,
    device: torch.device | str = "cpu",
    *,
    valid_sampler: ContrastiveSampler | None = None,
    output: str | Path | None = None,
    resume: ResumeState | None = None,
    on_metrics: MetricsCallback | None = None,
    should_stop: Callable[[], bool] | None = None,
    description: Mapping[str, Any] | None = None,
) -> TrainingResult:
    """Train `head` by contrast on the examples of `sampler`.

    The number and mix of negatives are the sampler's. On a CPU the result is a function of the arguments alone,
    interrupted and resumed or not, bit for bit.

    A head without feature statistics gets those of the sampler's states, unless `standardise_inputs` is off.

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
    features = features.in_memory(rows, config.memory_limit_gib * 2**30)
    if config.standardise_inputs and resume is None and not head.has_feature_statistics:
        mean, std, _ = feature_statistics(features, sampler.index.used_rows)
        head.set_feature_statistics(torch.from_numpy(mean), torch.from_numpy(std))
    head = head.to(device)
    with seeded(config.seed, device), interruptible() as interrupted:
        loop = _Loop(config, head, features, sampler, device, valid_sampler, on_metrics)
        loop.output = None if output is None else Path(output)
        loop.description = dict(description or {})
        if resume is not None:
            loop.restore(resume)
        elif loop.output is not None and step_folders(loop.output):
            logger.warning("an unfinished run in %s is given up: this one starts anew", loop.output)
            shutil.rmtree(loop.output / "checkpoints")
        return loop.run(lambda: interrupted.is_set() or (should_stop is not None and should_stop()))


class _Loop:
    """State of a training run."""

    def __init__(
        self,
        config: EBMTrainingConfig,
        head: EnergyHead,
        features: StateFeatures,
        sampler: ContrastiveSampler,
        device: torch.device,
        valid_sampler: ContrastiveSampler | None,
        on_metrics: MetricsCallback | None,
    ) -> None:
        self.config, self.head, self.features, self.sampler, self.device = config, head, features, sampler, device
        self.on_metrics = on_metrics
        self.output: Path | None = None
        self.description: dict[str, Any] = {}
        self.step = 0
        self.history = MetricsHistory()
        self.training_step = TrainingStep(head, config, sampler.k_negatives, device)
        self.feeder = BatchFeeder(features, device)
        self.block: Draw | None = None
        self.block_depth = torch.empty(0)
        self.block_number = -1
        # What the metrics of the running window are computed from, read once a window.
        shape = (config.log_interval, *self.training_step.shape)
        self.window_energies = torch.zeros(shape, device=device)
        self.window_grad_norm = torch.zeros(config.log_interval, device=device)
        self.window_depth = np.zeros(shape[:2], dtype=np.int32)
        self.window_size = 0
        self.valid_draw = None if valid_sampler is None else valid_sampler.draw(config.valid_examples, _VALID_STREAM)
        self.best: dict[str, Tensor] | None = None
        self.best_step: int | None = None
        self.best_loss = math.inf
        self.evaluations_without_gain = 0
        self.last_checkpoint: Path | None = None
        self.warned: set[tuple[str, str]] = set()

    def run(self, should_stop: Callable[[], bool]) -> TrainingResult:
        config, started = self.config, time.perf_counter()
        self.head.train()
        status: Status = "finished"
        while self.step < config.total_steps:
            self._take_step()
            if self.step % config.log_interval == 0 or self.step == config.total_steps:
                self._log()
            if self.valid_draw is not None and (
                self.step % config.steps_between_evaluations == 0 or self.step == config.total_steps
            ):
                self._evaluate()
                if config.early_stop_patience and self.evaluations_without_gain >= config.early_stop_patience:
                    status = "early_stopped"
                    break
            if self.step < config.total_steps and should_stop():
                status = "interrupted"
                break
            if self.step % config.checkpoint_interval == 0 and self.step < config.total_steps:
                self._checkpoint("running")
        self._log()
        return self._finish(status, time.perf_counter() - started)

    def _take_step(self) -> None:
        place = self.step % _BLOCK_STEPS
        if self.block_number != self.step // _BLOCK_STEPS:
            self.block_number = self.step // _BLOCK_STEPS
            self.block = self.sampler.draw(_BLOCK_STEPS * self.config.batch_size, self.block_number)
            self.feeder.load(self.block.rows.reshape(_BLOCK_STEPS, -1))
            depth = self.block.remaining_depth.reshape(_BLOCK_STEPS, -1)
            self.block_depth = torch.from_numpy(depth).to(self.device)
        assert self.block is not None
        step, window = self.training_step, self.window_size
        self.feeder.batch(place, step.inputs)
        step.remaining_depth.copy_(self.block_depth[place])
        step.run(learning_rate_at(self.step, self.config))
        self.window_energies[window].copy_(step.energies)
        self.window_grad_norm[window].copy_(step.grad_norm)
        examples = slice(place * self.config.batch_size, (place + 1) * self.config.batch_size)
        self.window_depth[window] = self.block.remaining_depth[examples]
        self.window_size += 1
        self.step += 1

    def _log(self) -> None:
        """Metrics over all examples since the last call; raises if one of those steps had no finite loss."""
        n = self.window_size
        if not n:
            return
        self.window_size = 0
        energies = self.window_energies[:n].double().cpu()  # (n, B, 1 + K)
        finite = torch.isfinite(energies).all(dim=2).all(dim=1)
        if not bool(finite.all()):
            self._diverged(self.step - n + int(torch.argmin(finite.int())))
        depth = torch.from_numpy(self.window_depth[:n])
        contrastive = float(info_nce_loss(energies[..., 0].flatten(), energies[..., 1:].flatten(0, 1)))
        by_step = [float(depth_regression_loss(e[:, 0], d)) for e, d in zip(energies, depth, strict=True)]
        depth_loss = float(np.mean(by_step))
        metrics = EBMMetrics.compute(
            energies[..., 0].flatten(),
            energies[..., 1:].flatten(0, 1),
            contrastive,
            depth_loss,
            contrastive + self.config.depth_loss_weight * depth_loss,
            remaining_depth=depth.flatten(),
            learning_rate=learning_rate_at(self.step - 1, self.config),
            grad_norm=float(self.window_grad_norm[:n].mean()),
            temperature=float(self.head.log_temperature.detach().exp()),
        )
        self._report(metrics)

    def _report(self, metrics: EBMMetrics) -> None:
        self.history.push(self.step, metrics)
        for warning in metrics.health_check():
            kind = (metrics.split, warning.split(":")[0])
            if kind not in self.warned:  # the metrics go on saying it; the log says it once
                self.warned.add(kind)
                logger.warning("step %d (%s): %s", self.step, metrics.split, warning)
        if self.on_metrics is not None:
            self.on_metrics(self.step, metrics)

    def _diverged(self, step: int) -> None:
        block = self.sampler.draw(_BLOCK_STEPS * self.config.batch_size, step // _BLOCK_STEPS)
        rows = block.positives.reshape(_BLOCK_STEPS, -1)[step % _BLOCK_STEPS]
        index = self.sampler.index
        theorems = [index.theorem_names[code] for code in dict.fromkeys(index.theorem[rows].tolist())]
        raise TrainingDivergedError(step, theorems, learning_rate_at(step, self.config), self.last_checkpoint)

    @torch.no_grad()
    def _evaluate(self) -> None:
        assert self.valid_draw is not None
        self._log()
        self.head.eval()
        rows = self.valid_draw.rows  # (n, 1 + K)
        energies = np.concatenate(
            [
                self.head(torch.from_numpy(self.features.gather(chunk.ravel())).to(self.device)).double().cpu().numpy()
                for chunk in np.array_split(rows, math.ceil(rows.size / 4096))
            ]
        ).reshape(rows.shape)
        self.head.train()
        positive, negative = torch.from_numpy(energies[:, 0]), torch.from_numpy(energies[:, 1:])
        depth = torch.from_numpy(self.valid_draw.remaining_depth)
        contrastive, depth_loss = (
            float(info_nce_loss(positive, negative)),
            float(depth_regression_loss(positive, depth)),
        )
        loss = contrastive + self.config.depth_loss_weight * depth_loss
        metrics = EBMMetrics.compute(
            positive, negative, contrastive, depth_loss, loss, remaining_depth=depth, split="valid"
        )
        self._report(metrics)
        if contrastive < self.best_loss:
            self.best_loss, self.best_step, self.evaluations_without_gain = contrastive, self.step, 0
            self.best = self._state()
        else:
            self.evaluations_without_gain += 1

    def _state(self) -> dict[str, Tensor]:
        """Copies of all that the next step depends on; raises if the last one left weights that are not finite."""
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.head.parameters()):
            self._diverged(self.step - 1)
        model = {f"model.{name}": tensor.detach().clone() for name, tensor in self.head.state_dict().items()}
        return model | self.training_step.state() | random_state(self.device)

    def _checkpoint(self, status: str) -> None:
        self._log()
        if self.output is None:
            return
        folder = step_folder(self.output, self.step)
        self._write(folder, self._state(), status, self.step, with_best=True)
        self.last_checkpoint = folder
        for old in step_folders(self.output)[:-_KEPT_CHECKPOINTS]:
            shutil.rmtree(old)

    def _write(self, folder: Path, state: dict[str, Tensor], status: str, step: int, with_best: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.history.write_parquet(folder / METRICS_FILE)
        model = {name.removeprefix("model."): t for name, t in state.items() if name.startswith("model.")}
        others: dict[str, dict[str, Tensor]] = {
            OPTIMIZER_FILE: {name: tensor for name, tensor in state.items() if not name.startswith("model.")}
        }
        if with_best and self.best is not None:
            others[BEST_FILE] = self.best
        last = {split: self.history.last(split) for split in ("train", "valid")}
        encoder = EncoderDescription(None, self.head.config.d_encoder).to_dict()
        config = {
            "head": self.head.config.to_dict(),
            "feature_statistics": {"tensors": ["feature_mean", "feature_std"], "stored_in": "model.safetensors"},
            "encoder": encoder,
            "calibration": None,
            **self.description,
            "training": {
                "config": self.config.to_dict(),
                "status": status,
                "step": step,
                "steps_taken": self.step,
                "best_step": self.best_step,
                "best_loss": self.best_loss if self.best is not None else None,
                "evaluations_without_gain": self.evaluations_without_gain,
                "health_warnings": last["train"].health_check() if last["train"] is not None else [],
                "metrics": {split: metrics.display() for split, metrics in last.items() if metrics is not None},
            },
        }
        write_checkpoint(folder, model, config, others)

    def _finish(self, status: Status, seconds: float) -> TrainingResult:
        checkpoint = self.output
        if status == "interrupted":
            # What goes on from here needs the last state, not the best.
            self._checkpoint("interrupted")
            checkpoint = self.last_checkpoint
        elif self.output is not None:
            state, step = (self._state(), self.step) if self.best is None else (self.best, self.best_step or 0)
            self._write(self.output, state, status, step, with_best=False)
            shutil.rmtree(self.output / "checkpoints", ignore_errors=True)
        if self.best is not None and status != "interrupted":
            model = {name.removeprefix("model."): t for name, t in self.best.items() if name.startswith("model.")}
            self.head.load_state_dict(model)
        last = self.history.last()
        return TrainingResult(
            head=self.head.eval(),
            history=self.history,
            status=status,
            step=self.step,
            best_step=self.best_step,
            seconds=seconds,
            checkpoint=checkpoint,
            warnings=last.health_check() if last is not None else [],
        )

    def restore(self, resume: ResumeState) -> None:
        """Go on from a checkpoint as if the run had not been cut."""
        self.step = resume.step
        self.history = resume.history
        self.training_step.load_state(resume.tensors)
        restore_random_state(resume.tensors, self.device)
        self.last_checkpoint = resume.folder
        if resume.best is not None:
            self.best = {
                name: tensor.to(self.device) if name.startswith("model.") else tensor
                for name, tensor in resume.best.items()
            }
            self.best_step = resume.progress["best_step"]
            self.best_loss = resume.progress["best_loss"]
            self.evaluations_without_gain = resume.progress["evaluations_without_gain"]

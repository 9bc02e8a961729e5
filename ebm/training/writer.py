"""Writing the checkpoints of a run: those of steps while it goes on, and the one it ends with."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ebm.checkpoint import (
    BEST_FILE,
    METRICS_FILE,
    OPTIMIZER_FILE,
    SAMPLER,
    EncoderDescription,
    mark_kept,
    step_folder,
    step_folders,
    unfinished_step_folders,
    write_checkpoint,
)
from ebm.model.energy_head import EnergyHeadConfig
from ebm.training.config import EBMTrainingConfig
from ebm.training.held_out import BestState
from ebm.training.metrics import MetricsHistory

logger = logging.getLogger(__name__)

_KEPT_WHILE_RUNNING = 2


class CheckpointWriter:
    """Writes into one output folder; without one (None) it writes nothing."""

    def __init__(
        self,
        output: Path | None,
        config: EBMTrainingConfig,
        head: EnergyHeadConfig,
        description: Mapping[str, object],
        last: Path | None = None,
    ) -> None:
        """`description`: further keys of config.json. `last`: the checkpoint that a resumed run goes on from."""
        self.output = output
        self.last = last
        """Folder of the last checkpoint of a step; None before the first."""
        self._config = config
        self._head = head
        self._description = dict(description)

    def start_anew(self) -> None:
        """Remove the checkpoints of steps that an earlier run left in the output folder."""
        if self.output is None or not step_folders(self.output):
            return
        if unfinished_step_folders(self.output):
            logger.warning("an unfinished run in %s is given up: this one starts anew", self.output)
        shutil.rmtree(self.output / "checkpoints")

    def write_step(
        self, status: str, steps: int, state: Mapping[str, Tensor], history: MetricsHistory, best: BestState
    ) -> None:
        """The checkpoint of a step that a run can go on from. Older ones go, unless they are to be kept."""
        if self.output is None:
            return
        folder = step_folder(self.output, steps)
        self._write(folder, state, status, steps, steps, history, best)
        self.last = folder
        for old in self._too_old(max(_KEPT_WHILE_RUNNING, self._config.keep_checkpoints)):
            shutil.rmtree(old)

    def write_final(
        self, status: str, steps: int, state: Mapping[str, Tensor], history: MetricsHistory, best: BestState
    ) -> None:
        """The checkpoint of a run that has ended: of its best evaluation, or of its last step where there was none."""
        if self.output is None:
            return
        step = steps if best.step is None else best.step
        self._write(self.output, state, status, step, steps, history, best, final=True)
        for old in self._too_old(self._config.keep_checkpoints):
            shutil.rmtree(old)
        kept = step_folders(self.output)
        for folder in kept:
            mark_kept(folder)
        if not kept:
            shutil.rmtree(self.output / "checkpoints", ignore_errors=True)

    def _too_old(self, n: int) -> list[Path]:
        """All checkpoints of steps but the last n; none of them if all are to be kept."""
        assert self.output is not None
        if self._config.keep_checkpoints == -1:
            return []
        folders = step_folders(self.output)
        return folders[: len(folders) - n] if n < len(folders) else []

    def _write(
        self,
        folder: Path,
        state: Mapping[str, Tensor],
        status: str,
        step: int,
        steps_taken: int,
        history: MetricsHistory,
        best: BestState,
        *,
        final: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        history.write_parquet(folder / METRICS_FILE)
        model = {name.removeprefix("model."): t for name, t in state.items() if name.startswith("model.")}
        others: dict[str, Mapping[str, Tensor]] = {
            OPTIMIZER_FILE: {name: tensor for name, tensor in state.items() if not name.startswith("model.")}
        }
        if not final and best.tensors is not None:
            others[BEST_FILE] = best.tensors
        last = {split: history.last(split) for split in ("train", "valid")}
        config = {
            "head": self._head.to_dict(),
            "feature_statistics": {"tensors": ["feature_mean", "feature_std"], "stored_in": "model.safetensors"},
            "encoder": EncoderDescription(None, self._head.d_encoder).to_dict(),
            "calibration": None,
            **self._description,
            "training": {
                "config": self._config.to_dict(),
                "sampler": SAMPLER,
                "status": status,
                "step": step,
                "steps_taken": steps_taken,
                **best.to_dict(),
                "health_warnings": last["train"].health_check() if last["train"] is not None else [],
                "metrics": {split: metrics.display() for split, metrics in last.items() if metrics is not None},
            },
        }
        write_checkpoint(folder, model, config, others)

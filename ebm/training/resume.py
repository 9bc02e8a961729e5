"""Going on from a checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ebm.checkpoint import (
    BEST_FILE,
    METRICS_FILE,
    OPTIMIZER_FILE,
    SAMPLER,
    CheckpointError,
    latest_step_folder,
    load_head,
    load_tensors,
    read_config,
    read_metadata,
)
from ebm.model.energy_head import EnergyHead
from ebm.training.config import EBMTrainingConfig
from ebm.training.metrics import MetricsHistory
from prover.json_types import JsonObject


@dataclass(slots=True)
class ResumeState:
    """A checkpoint to go on from."""

    head: EnergyHead
    """On the CPU, in training mode."""
    step: int
    """Steps completed."""
    tensors: dict[str, Tensor]
    """Optimizer moments and random state."""
    history: MetricsHistory
    best: dict[str, Tensor] | None
    """Whole state of the best evaluation so far, where the run stops early."""
    progress: JsonObject
    """Early-stopping counters."""
    config: EBMTrainingConfig
    data: JsonObject
    """What config.json says of the data; empty where the run was not made from files."""
    start: JsonObject
    """What config.json says the run began with."""
    folder: Path


def resume_from_checkpoint(folder: str | Path) -> ResumeState:
    """The state to go on from: the last checkpoint of an unfinished run below `folder`, else `folder` itself.

    Raises:
        FileNotFoundError: there is no checkpoint.
        CheckpointError: its files do not belong together, or an earlier version of this package began the run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist: nothing to resume from")
    folder = latest_step_folder(folder) or folder
    stored = read_config(folder)
    head = load_head(folder).train()
    path = folder / OPTIMIZER_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {OPTIMIZER_FILE}: it can be searched with, but not resumed from")
    progress = stored["training"]
    if progress.get("sampler") != SAMPLER and progress.get("status") not in ("finished", "early_stopped"):
        raise CheckpointError(
            f"the run in {folder} was begun by an earlier version of this package, which drew other examples, so it "
            f"cannot be resumed bit for bit: begin a new run from its weights instead (--init-from {folder})"
        )
    if read_metadata(path).get("step") != str(progress["step"]):
        raise CheckpointError(
            f"{path} is of step {read_metadata(path).get('step')}, the checkpoint of step {progress['step']}: "
            "writing it was cut off"
        )
    best_path = folder / BEST_FILE
    history = MetricsHistory.read_parquet(folder / METRICS_FILE)
    return ResumeState(
        head=head,
        step=progress["step"],
        tensors=load_tensors(path),
        history=MetricsHistory([entry for entry in history if entry[0] <= progress["step"]]),
        best=load_tensors(best_path) if best_path.is_file() else None,
        progress=progress,
        config=EBMTrainingConfig.from_dict(progress["config"]),
        data=stored.get("data", {}),
        start=stored.get("start", {"kind": "fresh"}),
        folder=folder,
    )

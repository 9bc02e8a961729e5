"""Training the energy head: losses, contrastive data, metrics, the loop.

Names are loaded when first used, so that `ebm.training.config` can be read without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ebm.training.config import EBMTrainingConfig, learning_rate_at
    from ebm.training.data import ContrastiveIndex, ContrastiveSample, ContrastiveSampler
    from ebm.training.features import WidthMismatchError
    from ebm.training.from_files import DatasetSummary, TrainResult, train_from_files
    from ebm.training.loss import depth_regression_loss, info_nce_loss
    from ebm.training.metrics import EBMMetrics, MetricsHistory
    from ebm.training.records import (
        ProofStateRecord,
        TrainingDataError,
        TrajectorySchemaError,
        load_records_from_parquet,
    )
    from ebm.training.resume import ResumeState, resume_from_checkpoint
    from ebm.training.starting import ResumeError
    from ebm.training.trainer import TrainingDivergedError, TrainingResult, train

_MODULE_OF = {
    "ContrastiveIndex": "data",
    "ContrastiveSample": "data",
    "ContrastiveSampler": "data",
    "DatasetSummary": "from_files",
    "EBMMetrics": "metrics",
    "EBMTrainingConfig": "config",
    "MetricsHistory": "metrics",
    "ProofStateRecord": "records",
    "ResumeError": "starting",
    "ResumeState": "resume",
    "TrainResult": "from_files",
    "TrainingDataError": "records",
    "TrainingDivergedError": "trainer",
    "TrainingResult": "trainer",
    "TrajectorySchemaError": "records",
    "WidthMismatchError": "features",
    "depth_regression_loss": "loss",
    "info_nce_loss": "loss",
    "learning_rate_at": "config",
    "load_records_from_parquet": "records",
    "resume_from_checkpoint": "resume",
    "train": "trainer",
    "train_from_files": "from_files",
}

__all__ = [
    "ContrastiveIndex",
    "ContrastiveSample",
    "ContrastiveSampler",
    "DatasetSummary",
    "EBMMetrics",
    "EBMTrainingConfig",
    "MetricsHistory",
    "ProofStateRecord",
    "ResumeError",
    "ResumeState",
    "TrainResult",
    "TrainingDataError",
    "TrainingDivergedError",
    "TrainingResult",
    "TrajectorySchemaError",
    "WidthMismatchError",
    "depth_regression_loss",
    "info_nce_loss",
    "learning_rate_at",
    "load_records_from_parquet",
    "resume_from_checkpoint",
    "train",
    "train_from_files",
]


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(f"ebm.training.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

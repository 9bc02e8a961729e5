"""Evaluation on held-out theorems while training goes on, and the best state it has seen."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ebm.model.energy_head import EnergyHead
from ebm.training.config import EBMTrainingConfig
from ebm.training.data import ContrastiveSampler
from ebm.training.features import StateFeatures
from ebm.training.loss import depth_regression_loss, info_nce_loss
from ebm.training.metrics import EBMMetrics
from prover.json_types import JsonObject

VALID_STREAM = 2**40
"""Stream of the held-out examples, out of the way of those of training."""
_CHUNK_ROWS = 4096


class HeldOut:
    """The same examples of held-out theorems, evaluated again and again without dropout."""

    def __init__(
        self, sampler: ContrastiveSampler, features: StateFeatures, config: EBMTrainingConfig, device: torch.device
    ) -> None:
        self._draw = sampler.draw(config.valid_examples, VALID_STREAM)
        self._features = features
        self._depth_loss_weight = config.depth_loss_weight
        self._device = device

    @torch.no_grad()
    def evaluate(self, head: EnergyHead) -> EBMMetrics:
        """Metrics of the head in eval mode; its mode is as before afterwards."""
        was_training = head.training
        head.eval()
        rows = self._draw.rows  # (n, 1 + K)
        parts = [
            head(torch.from_numpy(self._features.gather(chunk)).to(self._device)).double().cpu().numpy()
            for chunk in np.array_split(rows.ravel(), math.ceil(rows.size / _CHUNK_ROWS))
        ]
        head.train(was_training)
        energies = torch.from_numpy(np.concatenate(parts).reshape(rows.shape))
        positive, negative = energies[:, 0], energies[:, 1:]
        depth = torch.from_numpy(self._draw.remaining_depth)
        contrastive = float(info_nce_loss(positive, negative))
        depth_loss = float(depth_regression_loss(positive, depth))
        loss = contrastive + self._depth_loss_weight * depth_loss
        return EBMMetrics.compute(
            positive, negative, contrastive, depth_loss, loss, remaining_depth=depth, split="valid"
        )


@dataclass(slots=True)
class BestState:
    """The best evaluation so far, by contrastive loss."""

    loss: float = math.inf
    step: int | None = None
    """Steps completed at it; None before the first."""
    tensors: dict[str, Tensor] | None = None
    """Weights, moments and random state at it."""
    evaluations_without_gain: int = 0

    def improved_by(self, loss: float) -> bool:
        """Count an evaluation; whether it is the best so far, so that `keep` should follow."""
        if loss < self.loss:
            return True
        self.evaluations_without_gain += 1
        return False

    def keep(self, loss: float, step: int, tensors: dict[str, Tensor]) -> None:
        """Take a better state in the place of the one before. loss: held-out, lower is better."""
        self.loss, self.step, self.tensors, self.evaluations_without_gain = loss, step, tensors, 0

    @classmethod
    def restored(cls, tensors: dict[str, Tensor] | None, progress: JsonObject, device: torch.device) -> "BestState":
        """From a checkpoint: `tensors` of best.safetensors, `progress` of its config.json."""
        if tensors is None:
            return cls()
        on_device = {name: t.to(device) if name.startswith("model.") else t for name, t in tensors.items()}
        return cls(
            progress["best_loss"], progress["best_step"], on_device, evaluations_without_gain=progress[_WITHOUT_GAIN]
        )

    def to_dict(self) -> dict[str, object]:
        """For config.json."""
        return {
            "best_step": self.step,
            "best_loss": self.loss if self.tensors is not None else None,
            _WITHOUT_GAIN: self.evaluations_without_gain,
        }


_WITHOUT_GAIN = "evaluations_without_gain"

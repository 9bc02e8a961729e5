"""The metrics of a stretch of training: kept on the device step by step, read once for the whole stretch."""

import numpy as np
import torch

from ebm.training.config import EBMTrainingConfig, learning_rate_at
from ebm.training.loss import depth_regression_loss, info_nce_loss
from ebm.training.metrics import EBMMetrics
from ebm.training.step import TrainingStep


class MetricsWindow:
    """Energies and gradient norms of the steps since the metrics were last read; at most `log_interval` of them."""

    def __init__(self, config: EBMTrainingConfig, shape: tuple[int, int], device: torch.device) -> None:
        """`shape`: (batch_size, 1 + K)."""
        self._config = config
        self._energies = torch.zeros((config.log_interval, *shape), device=device)
        self._grad_norm = torch.zeros(config.log_interval, device=device)
        self._depth = np.zeros((config.log_interval, shape[0]), dtype=np.int32)
        self.size = 0
        """Steps in it."""

    def add(self, step: TrainingStep, remaining_depth: np.ndarray) -> None:
        """Keep what the step that was just taken left. `remaining_depth`: (batch_size,) int32; -1 unknown."""
        self._energies[self.size].copy_(step.energies)
        self._grad_norm[self.size].copy_(step.grad_norm)
        self._depth[self.size] = remaining_depth
        self.size += 1

    def first_not_finite(self) -> int | None:
        """Place in the window of the first step that had an energy that is NaN or infinite; None if all are finite."""
        finite = torch.isfinite(self._energies[: self.size]).all(dim=2).all(dim=1)
        return None if bool(finite.all()) else int(torch.argmin(finite.int()))

    def close(self, steps_taken: int, temperature: float) -> EBMMetrics:
        """Metrics over all examples in the window, which is empty afterwards. `steps_taken`: since the run began."""
        n, self.size = self.size, 0
        energies = self._energies[:n].double().cpu()  # (n, B, 1 + K)
        depth = torch.from_numpy(self._depth[:n].copy())
        positive, negative = energies[..., 0].flatten(), energies[..., 1:].flatten(0, 1)
        contrastive = float(info_nce_loss(positive, negative))
        # Step by step, as it was trained: the loss scales depths by the largest of a batch.
        by_step = [float(depth_regression_loss(e[:, 0], d)) for e, d in zip(energies, depth, strict=True)]
        depth_loss = float(np.mean(by_step))
        return EBMMetrics.compute(
            positive,
            negative,
            contrastive,
            depth_loss,
            contrastive + self._config.depth_loss_weight * depth_loss,
            remaining_depth=depth.flatten(),
            learning_rate=learning_rate_at(steps_taken - 1, self._config),
            grad_norm=float(self._grad_norm[:n].mean()),
            temperature=temperature,
        )

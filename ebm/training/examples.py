"""The examples of every training step: drawn in blocks, gathered into the input buffers."""

import numpy as np
import torch

from ebm.training.data import ContrastiveSampler, Draw
from ebm.training.features import BatchFeeder, StateFeatures
from ebm.training.step import TrainingStep

BLOCK_STEPS = 64
"""Steps whose examples are drawn in one call. Resuming relies on it: step s draws from stream s // BLOCK_STEPS."""


class ExampleFeeder:
    """Fills a `TrainingStep` with the examples of training step 0, 1, ..., which follow from sampler and step alone."""

    def __init__(
        self, sampler: ContrastiveSampler, features: StateFeatures, batch_size: int, device: torch.device
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.device = device
        self._feeder = BatchFeeder(features, device)
        self._number = -1  # of the block that is loaded
        self._depth = np.empty((0, 0), dtype=np.int32)
        self._depth_on_device = torch.empty(0)
        self._distance = torch.empty(0)

    def fill(self, step: int, training_step: TrainingStep) -> np.ndarray:
        """Write the examples of `step` into the input buffers.

        Returns the remaining depths of the positives, (batch_size,) int32; -1 unknown.
        """
        number, place = divmod(step, BLOCK_STEPS)
        if number != self._number:
            block = self._draw(number)
            self._feeder.load(block.rows.reshape(BLOCK_STEPS, -1))
            self._depth = block.remaining_depth.reshape(BLOCK_STEPS, -1)
            self._depth_on_device = torch.from_numpy(self._depth).to(self.device)
            distance = self.sampler.index.distance[block.rows].reshape(BLOCK_STEPS, -1)
            self._distance = torch.from_numpy(distance).to(self.device)
            self._number = number
        self._feeder.batch(place, training_step.inputs)
        training_step.remaining_depth.copy_(self._depth_on_device[place])
        training_step.distance.copy_(self._distance[place])
        return self._depth[place]

    def theorems_of(self, step: int) -> list[str]:
        """Names of the theorems whose positives are the examples of `step`."""
        number, place = divmod(step, BLOCK_STEPS)
        rows = self._draw(number).positives.reshape(BLOCK_STEPS, -1)[place]
        index = self.sampler.index
        return [index.theorem_names[code] for code in dict.fromkeys(index.theorem[rows].tolist())]

    def _draw(self, number: int) -> Draw:
        return self.sampler.draw(BLOCK_STEPS * self.batch_size, number)

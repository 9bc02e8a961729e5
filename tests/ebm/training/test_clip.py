"""Clipping: the same gradients as torch's own, whether they are short or long."""

import pytest
import torch
from torch import nn

from ebm.model import EnergyHead, EnergyHeadConfig
from ebm.training.config import EBMTrainingConfig
from ebm.training.step import TrainingStep


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_short_gradient_stays_and_a_long_one_gets_the_allowed_length(scale: float) -> None:
    torch.manual_seed(0)
    config = EBMTrainingConfig(total_steps=2, warmup_steps=1, max_grad_norm=1.0)
    step = TrainingStep(EnergyHead(EnergyHeadConfig(8)), config, 4, torch.device("cpu"))
    parameters = list(step.head.parameters())
    gradients = [torch.randn_like(parameter) * scale for parameter in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    step._clip()
    ours = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    norm = nn.utils.clip_grad_norm_(parameters, 1.0)
    assert torch.equal(step.grad_norm, norm)
    assert (float(norm) > 1) == (scale > 1)
    for parameter, gradient in zip(parameters, ours, strict=True):
        assert torch.equal(gradient, parameter.grad)

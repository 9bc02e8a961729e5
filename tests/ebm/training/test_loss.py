"""Losses against their definitions in float64 NumPy, and at the edges."""

import math

import numpy as np
import pytest
import torch

from ebm.training import depth_regression_loss, info_nce_loss
from ebm.training.loss import distance_loss, pairwise_margin_loss


def test_info_nce_perfect_separation():
    assert float(info_nce_loss(torch.full((2,), -10.0), torch.full((2, 2), 10.0))) == pytest.approx(0.0, abs=1e-6)


def test_info_nce_no_separation():
    assert float(info_nce_loss(torch.zeros(2), torch.zeros(2, 2))) == pytest.approx(math.log(3), abs=1e-6)


def test_info_nce_wrong_separation():
    loss = info_nce_loss(torch.full((2,), 10.0), torch.full((2, 2), -10.0))
    assert float(loss) == pytest.approx(20 + math.log(2), abs=1e-4)


def test_info_nce_gradient_direction():
    positive, negative = torch.zeros(2, requires_grad=True), torch.zeros(2, 2, requires_grad=True)
    info_nce_loss(positive, negative).backward()
    # Descent subtracts the gradient: positives go down, negatives up.
    torch.testing.assert_close(positive.grad, torch.full((2,), 1 / 3))
    torch.testing.assert_close(negative.grad, torch.full((2, 2), -1 / 6))


def test_info_nce_against_numpy():
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(size=7), rng.normal(size=(7, 4))
    weights = np.exp(-np.concatenate([positive[:, None], negative], axis=1))
    expected = -np.log(weights[:, 0] / weights.sum(axis=1)).mean()
    assert float(info_nce_loss(torch.tensor(positive), torch.tensor(negative))) == pytest.approx(expected, rel=1e-12)


def test_info_nce_gradient_against_finite_differences():
    generator = torch.Generator().manual_seed(0)
    positive = torch.randn(3, dtype=torch.float64, generator=generator, requires_grad=True)
    negative = torch.randn(3, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(info_nce_loss, (positive, negative))


def test_info_nce_large_energies():
    positive = torch.tensor([1e4, -1e4], requires_grad=True)
    negative = torch.tensor([[-1e4, 1e4], [1e4, 1e4]], requires_grad=True)
    loss = info_nce_loss(positive, negative)
    loss.backward()
    assert float(loss) == pytest.approx(1e4)
    assert torch.isfinite(positive.grad).all()
    assert torch.isfinite(negative.grad).all()


@pytest.mark.parametrize(
    ("positive", "negative"), [((2,), (2,)), ((2, 1), (2, 2)), ((2,), (3, 2)), ((2,), (2, 0)), ((0,), (0, 2))]
)
def test_info_nce_refuses_wrong_shapes(positive, negative):
    with pytest.raises(ValueError, match="info_nce_loss"):
        info_nce_loss(torch.zeros(positive), torch.zeros(negative))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float32])
def test_depth_loss_perfect(dtype):
    loss = depth_regression_loss(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0, 5, 10], dtype=dtype))
    assert float(loss) == pytest.approx(0.0, abs=1e-12)


def test_depth_loss_with_unknowns():
    energy = torch.tensor([0.5, 0.9, 0.5], requires_grad=True)
    loss = depth_regression_loss(energy, torch.tensor([5, -1, 10]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.125)  # errors 0 and -1/2
    torch.testing.assert_close(energy.grad, torch.tensor([0.0, 0.0, -0.5]))


def test_depth_loss_all_unknown():
    energy = torch.tensor([3.0, -2.0, math.pi], requires_grad=True)
    loss = depth_regression_loss(energy, torch.full((3,), -1))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.equal(energy.grad, torch.zeros(3))


def test_depth_loss_single_valid_depth():
    # Its own depth is the largest: the target is 1. A depth of 0 has the target 0.
    assert float(depth_regression_loss(torch.tensor([0.25, 9.0]), torch.tensor([4, -1]))) == pytest.approx(0.75**2)
    assert float(depth_regression_loss(torch.tensor([0.25, 9.0]), torch.tensor([0, -1]))) == pytest.approx(0.25**2)


def test_depth_loss_large_energies():
    energy = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = depth_regression_loss(energy, torch.tensor([1, 2]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1e8, rel=1e-3)
    assert torch.isfinite(energy.grad).all()


def test_depth_loss_against_numpy():
    rng = np.random.default_rng(0)
    energy, depth = rng.normal(size=20), rng.integers(-1, 9, size=20)
    known = depth >= 0
    expected = np.square(energy[known] - depth[known] / depth.max()).mean()
    assert float(depth_regression_loss(torch.tensor(energy), torch.tensor(depth))) == pytest.approx(expected, rel=1e-12)


def test_depth_loss_gradient_against_finite_differences():
    energy = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e: depth_regression_loss(e, torch.tensor([1, -1, 3, 0])), (energy,))


def test_depth_loss_refuses_wrong_shapes():
    with pytest.raises(ValueError, match="depth_regression_loss"):
        depth_regression_loss(torch.zeros(2), torch.zeros(3))


def test_pairwise_margin_loss():
    positive, negative = torch.tensor([0.0, 1.0]), torch.tensor([[2.0, 0.5], [1.5, 3.0]])
    assert float(pairwise_margin_loss(positive, negative)) == pytest.approx((0 + 0.5 + 0.5 + 0) / 4)
    assert float(pairwise_margin_loss(positive, negative, margin=3.0)) == pytest.approx((1 + 2.5 + 2.5 + 1) / 4)
    with pytest.raises(ValueError, match="pairwise_margin_loss"):
        pairwise_margin_loss(positive, negative[:1])


def test_distance_loss():
    """Five bins: 0, 1, 2, 3 steps and never; unknown distances do not count, far ones share the last known bin."""
    logits = torch.eye(5) * 3.0
    never = 2**31 - 1
    exact = float(distance_loss(logits, torch.tensor([0, 1, 2, 3, never])))
    assert exact == pytest.approx(math.log(math.exp(3) + 4) - 3)
    assert float(distance_loss(logits[3:4], torch.tensor([40]))) == pytest.approx(exact)
    assert float(distance_loss(logits, torch.tensor([0, -1, -1, -1, -1]))) == pytest.approx(exact)
    unknown = logits.clone().requires_grad_()
    loss = distance_loss(unknown, torch.full((5,), -1))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not unknown.grad.any()
    with pytest.raises(ValueError, match="distance_loss"):
        distance_loss(logits, torch.tensor([1]))

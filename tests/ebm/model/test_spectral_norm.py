"""The effective weight's largest singular value is 1, measured by SVD and never by the layer's own estimate."""

import numpy as np
import pytest
import torch
from torch.nn.utils.parametrizations import spectral_norm

from ebm.model import SpectralNormLinear, SpectralNormLinearConfig

MODES = ["persistent", "fresh"]


def layer_of(d_input=64, d_output=32, **settings) -> SpectralNormLinear:
    torch.manual_seed(0)
    return SpectralNormLinear(SpectralNormLinearConfig(d_input, d_output, **settings))


def probed_weight(layer: SpectralNormLinear) -> np.ndarray:
    """The matrix that the forward multiplies by, (d_output, d_input), from its answers to unit vectors."""
    with torch.no_grad():
        answers = layer(torch.eye(layer.config.d_input))
        return (answers if layer.bias is None else answers - layer.bias).T.numpy().astype(np.float64)


@pytest.mark.parametrize("mode", MODES)
def test_output_shape(mode):
    layer = layer_of(power_iteration=mode)
    assert layer(torch.randn(4, 64)).shape == (4, 32)
    assert layer.weight.shape == (32, 64)
    assert layer.bias.shape == (32,)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(64, 32), (32, 64), (4096, 512), (256, 1)])
def test_spectral_norm_bounds(mode, shape):
    layer = layer_of(*shape, power_iteration=mode)
    layer(torch.randn(2, shape[0]))
    assert np.linalg.svd(probed_weight(layer), compute_uv=False)[0] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_spectral_norm_bounds_of_any_weight(scale):
    """Not only of the orthogonal one that a layer starts with."""
    layer = layer_of()
    with torch.no_grad():
        layer.weight.normal_().mul_(scale)
    for _ in range(5):
        layer(torch.randn(2, 64))
    assert np.linalg.svd(probed_weight(layer), compute_uv=False)[0] == pytest.approx(1.0, abs=0.15)


def test_spectral_norm_stays_bounded_while_training():
    layer = layer_of()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
    x, target = torch.randn(16, 64), torch.randn(16, 32)
    for _ in range(100):
        optimizer.zero_grad()
        (layer(x) - target).square().mean().backward()
        optimizer.step()
    layer.eval()
    assert np.linalg.svd(probed_weight(layer), compute_uv=False)[0] == pytest.approx(1.0, abs=0.15)


def test_no_bias():
    layer = layer_of(bias=False).eval()
    assert layer.bias is None
    x = torch.randn(4, 64)
    sigma = torch.linalg.matrix_norm(layer.weight.detach(), ord=2)
    torch.testing.assert_close(layer(x).detach(), x @ (layer.weight.detach() / sigma).T, rtol=1e-3, atol=1e-4)


def kaiming_uniform(weight):
    torch.nn.init.kaiming_uniform_(weight, a=5**0.5)


def rank_deficient(weight):
    d_output, d_input = weight.shape
    weight.copy_(torch.randn(d_output, 3) @ torch.randn(3, d_input))


def one_dominant_direction(weight):
    d_output, d_input = weight.shape
    weight.copy_(torch.randn(d_output, d_input) / 100 + torch.outer(torch.ones(d_output), torch.ones(d_input)))


WEIGHTS = {
    "kaiming uniform": kaiming_uniform,
    "kaiming normal": torch.nn.init.kaiming_normal_,
    "rank 3": rank_deficient,
    "one dominant direction": one_dominant_direction,
}


def effective_norm(layer: SpectralNormLinear) -> float:
    """Largest singular value, by SVD, of the matrix that one forward multiplies by."""
    return float(np.linalg.svd(probed_weight(layer), compute_uv=False)[0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(64, 32), (512, 4096)])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_norm_of_weights_that_are_not_orthogonal(kind, shape, mode):
    """After one forward in training mode from vectors that know nothing of the weight: five power iterations.

    Five iterations leave the norm of a 64 -> 32 layer 6% too large on average and 23% at worst (of 1,000), that of
    a 512 -> 4096 one 7% (benchmarks/spectral_norm.py); a single one leaves 36% and 27%. It is never too small.
    """
    layer = layer_of(*shape, power_iteration=mode)
    norms = []
    for seed in range(20 if shape == (64, 32) else 1):
        torch.manual_seed(seed)
        with torch.no_grad():
            WEIGHTS[kind](layer.weight)
        layer.weight.data *= 10.0 ** (seed % 5 - 2)
        norms.append(effective_norm(layer))
    assert min(norms) > 0.999
    assert np.mean(norms) < (1.001 if kind == "one dominant direction" else 1.12)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_persistent_vectors_find_the_norm_within_a_few_steps(kind):
    layer = layer_of()
    with torch.no_grad():
        WEIGHTS[kind](layer.weight)
    for _ in range(20):
        layer(torch.randn(2, 64))
    assert effective_norm(layer.eval()) == pytest.approx(1.0, abs=0.02)


def two_forwards(layer: SpectralNormLinear, seeds: int) -> np.ndarray:
    """Relative difference of two forwards of the same input, for many Kaiming weights, (seeds,)."""
    differences = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        with torch.no_grad():
            torch.nn.init.kaiming_normal_(layer.weight)
            x = torch.randn(8, layer.config.d_input)
            first, second = layer(x), layer(x)
        differences.append(float((first - second).norm() / first.norm()))
    return np.array(differences)


def test_two_forwards_of_fresh_vectors_agree_as_far_as_five_iterations_go():
    """Measured over 1,000 weights (benchmarks/spectral_norm.py): 4% on average and 22% at worst for 64 -> 32; with ten
    iterations 2% and 19%. The 1% of the first specification holds only for weights that are nearly orthogonal."""
    five = two_forwards(layer_of(power_iteration="fresh"), 60)
    assert 0.02 < five.mean() < 0.06
    assert five.max() < 0.25
    ten = two_forwards(layer_of(power_iteration="fresh", n_power_iterations=10), 60)
    assert ten.mean() < 0.75 * five.mean()


@pytest.mark.parametrize("kind", WEIGHTS)
def test_persistent_is_deterministic_in_eval_mode(kind):
    layer = layer_of()
    with torch.no_grad():
        WEIGHTS[kind](layer.weight)
    layer(torch.randn(2, 64))
    layer.eval()
    x = torch.randn(4, 64)
    first = layer(x)
    torch.manual_seed(7)
    assert all(torch.equal(layer(x), first) for _ in range(5))
    copy = layer_of().eval()
    copy.load_state_dict(layer.state_dict())
    assert torch.equal(copy(x), first), "u and v are part of the state dict"


def test_fresh_vectors_are_redrawn_at_every_forward_in_eval_mode_too():
    layer = layer_of(power_iteration="fresh").eval()
    with torch.no_grad():
        torch.nn.init.kaiming_normal_(layer.weight)
    x = torch.randn(4, 64)
    assert not torch.equal(layer(x), layer(x))
    assert set(layer.state_dict()) == {"weight", "bias"}


def test_eval_leaves_the_vectors_alone():
    layer = layer_of()
    with torch.no_grad():
        layer.weight.normal_()
    u, v = layer.u.clone(), layer.v.clone()
    layer.eval()(torch.randn(2, 64))
    assert torch.equal(layer.u, u)
    assert torch.equal(layer.v, v)
    layer.train()(torch.randn(2, 64))
    assert not torch.equal(layer.u, u)


@pytest.mark.parametrize("mode", MODES)
def test_gradient_flows(mode):
    layer = layer_of(power_iteration=mode)
    layer(torch.randn(4, 64)).square().sum().backward()
    assert layer.weight.grad.abs().max() > 0
    assert layer.bias.grad.abs().max() > 0


def test_gradient_against_finite_differences():
    layer = layer_of(5, 3).double()
    with torch.no_grad():
        layer.weight.normal_()
        layer.bias.normal_()
    layer(torch.zeros(1, 5, dtype=torch.float64))  # u and v follow the weight
    layer.eval()
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, weight, bias: layer(x), (x, layer.weight, layer.bias))


def test_training_in_bfloat16_is_near_and_eval_is_exact():
    layer = layer_of()
    x = torch.randn(16, 64)
    exact = layer(x)
    exact.square().sum().backward()
    grad = layer.weight.grad.clone()
    layer.zero_grad()
    layer.training_dtype = torch.bfloat16
    near = layer(x)
    near.square().sum().backward()
    assert near.dtype == layer.weight.grad.dtype == torch.float32
    assert not torch.equal(near, exact)
    torch.testing.assert_close(near, exact, rtol=0.02, atol=0.02)
    assert float((layer.weight.grad - grad).norm() / grad.norm()) < 0.02
    layer.eval()
    before = layer(x)
    layer.training_dtype = None
    assert torch.equal(layer(x), before)


def test_persistent_matches_torch():
    """Outputs, gradients and vectors agree with PyTorch's own parametrisation over steps of training."""
    torch.manual_seed(1)
    reference = spectral_norm(torch.nn.Linear(20, 12), n_power_iterations=2)
    layer = SpectralNormLinear(SpectralNormLinearConfig(20, 12, n_power_iterations=2))
    norm = reference.parametrizations.weight
    with torch.no_grad():
        layer.weight.copy_(norm.original)
        layer.bias.copy_(reference.bias)
        layer.u.copy_(norm[0]._u)
        layer.v.copy_(norm[0]._v)
    for _ in range(5):
        x = torch.randn(7, 20)
        ours, theirs = layer(x), reference(x)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        layer.zero_grad()
        reference.zero_grad()
        ours.square().sum().backward()
        theirs.square().sum().backward()
        torch.testing.assert_close(layer.weight.grad, norm.original.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.u, norm[0]._u, rtol=1e-5, atol=1e-6)
        with torch.no_grad():
            layer.weight -= 0.1 * layer.weight.grad
            norm.original -= 0.1 * norm.original.grad
            layer.bias -= 0.1 * layer.bias.grad
            reference.bias -= 0.1 * reference.bias.grad


def test_sigma_against_float64_svd():
    layer = layer_of(40, 30, n_power_iterations=200).double()
    with torch.no_grad():
        layer.weight.normal_()
    expected = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)[0]
    assert float(layer.sigma()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(64, 32), (512, 4096)])
def test_zero_weight_gives_zero_and_finite_gradients(mode, shape):
    layer = layer_of(*shape, power_iteration=mode)
    with torch.no_grad():
        layer.weight.zero_()
    x = torch.randn(3, shape[0], requires_grad=True)
    y = layer(x)
    assert torch.equal(y, torch.zeros(3, shape[1]))
    y.sum().backward()
    assert torch.isfinite(layer.weight.grad).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    "settings",
    [{"d_input": 0}, {"d_output": -1}, {"n_power_iterations": 0}, {"eps": 0.0}, {"power_iteration": "sometimes"}],
)
def test_bad_configuration_is_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        SpectralNormLinearConfig(**{"d_input": 4, "d_output": 4} | settings)


def test_wrong_width_is_refused():
    with pytest.raises(ValueError, match=r"width 64.*\(4, 63\)"):
        layer_of()(torch.randn(4, 63))


@pytest.mark.parametrize("mode", MODES)
def test_single_vectors_and_stacks_of_batches_are_taken(mode):
    layer = layer_of(power_iteration=mode).eval()
    x = torch.randn(2, 3, 64)
    assert layer(x[0, 0]).shape == (32,)
    assert layer(x).shape == (2, 3, 32)
    with pytest.raises(ValueError, match=r"width 64, got a tensor of shape \(\)"):
        layer(torch.zeros(()))

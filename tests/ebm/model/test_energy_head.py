"""The energy head: shapes, gradients, temperature, standardisation."""

import math

import pytest
import torch

from ebm.model import EnergyHead, EnergyHeadConfig


def small_head(**settings) -> EnergyHead:
    torch.manual_seed(0)
    return EnergyHead(EnergyHeadConfig(32, 16, 8, **settings))


def test_forward_shape():
    assert EnergyHead(EnergyHeadConfig(d_encoder=4096))(torch.randn(8, 4096)).shape == (8,)


def test_small_model():
    head = small_head()
    assert head(torch.randn(4, 32)).shape == (4,)
    assert head(torch.randn(1, 32)).shape == (1,)
    assert head(torch.randn(0, 32)).shape == (0,)


def test_different_inputs_different_energies():
    head = small_head().eval()
    energies = head(torch.randn(2, 32)).detach()
    assert float((energies[0] - energies[1]).abs()) > 1e-4


def test_gradient_flows_through_all_layers():
    head = small_head()
    head(torch.randn(4, 32)).sum().backward()
    parameters = [head.sn_linear1.weight, head.sn_linear2.weight, head.sn_linear3.weight, head.log_temperature]
    for parameter in parameters:
        assert parameter.grad.abs().max() > 0
    assert head.sn_linear3.bias is None


def test_temperature_scaling():
    head = small_head().eval()
    x = torch.randn(4, 32)
    before = head(x)
    assert head.log_temperature.item() == 0.0
    with torch.no_grad():
        head.log_temperature.fill_(math.log(2))
    torch.testing.assert_close(head(x), before / 2)


def test_parameter_count():
    head = EnergyHead(EnergyHeadConfig(4096, 512, 256))
    assert head.n_parameters == 4096 * 512 + 512 + 512 * 256 + 256 + 256 + 1


def test_eval_is_deterministic_and_dropout_is_not():
    head, x = small_head(dropout=0.5), torch.randn(4, 32)
    assert not torch.equal(head(x), head(x))
    head.eval()
    assert torch.equal(head(x), head(x))


def test_feature_statistics_standardise_the_input():
    head, x = small_head().eval(), torch.randn(16, 32) * 7 + 3
    mean, std = x.mean(0), x.std(0)
    expected = head((x - mean) / std)
    assert not head.has_feature_statistics
    head.set_feature_statistics(mean, std)
    assert head.has_feature_statistics
    torch.testing.assert_close(head(x), expected, rtol=1e-5, atol=1e-5)


def test_feature_statistics_travel_with_the_state_dict():
    head, x = small_head().eval(), torch.randn(4, 32)
    head.set_feature_statistics(torch.full((32,), 2.0), torch.full((32,), 3.0))
    other = EnergyHead(head.config).eval()
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(x), head(x))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (torch.zeros(31), torch.ones(32), "shape"),
        (torch.zeros(32), torch.zeros(32), "positive"),
        (torch.full((32,), math.nan), torch.ones(32), "non-finite"),
    ],
)
def test_bad_feature_statistics_are_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        small_head().set_feature_statistics(mean, std)


@pytest.mark.parametrize("shape", [(32,), (4, 31), (2, 4, 32)])
def test_wrong_input_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(batch, 32\)"):
        small_head()(torch.randn(shape))


def test_configuration_round_trip_and_unknown_key():
    config = EnergyHeadConfig(32, dropout=0.3)
    assert EnergyHeadConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="d_hiden"):
        EnergyHeadConfig.from_dict({"d_encoder": 4, "d_hiden": 5})
    with pytest.raises(ValueError, match="dropout"):
        EnergyHeadConfig(32, dropout=1.0)

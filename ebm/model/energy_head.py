"""The energy head: a small network that turns an embedding into an energy. ENERGY: lower is better."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ebm.head_config import EnergyHeadConfig
from ebm.model.spectral_norm import SpectralNormLinear, SpectralNormLinearConfig


class EnergyHead(nn.Module):
    """E(h) = w3 . SiLU(W2 SiLU(W1 (h - mean) / std + b1) + b2) / exp(log_temperature), all W spectrally normalised.

    Attributes:
        sn_linear1, sn_linear2, sn_linear3: d_encoder -> d_hidden1 -> d_hidden2 -> 1; the last has no bias.
            With `n_bins` the last has a row per bin, and the energy is the mean bin: steps to QED.
        log_temperature: scalar parameter, 0 at the start (temperature 1).
        feature_mean, feature_std: (d_encoder,) buffers that standardise the input; 0 and 1 until
            `set_feature_statistics`. They are part of the state dict, so they travel with the checkpoint.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, config: EnergyHeadConfig) -> None:
        super().__init__()
        self.config = config

        def layer(d_input: int, d_output: int, bias: bool) -> SpectralNormLinear:
            return SpectralNormLinear(
                SpectralNormLinearConfig(
                    d_input,
                    d_output,
                    n_power_iterations=config.n_power_iterations,
                    bias=bias,
                    power_iteration=config.power_iteration,
                )
            )

        self.sn_linear1 = layer(config.d_encoder, config.d_hidden1, bias=True)
        self.sn_linear2 = layer(config.d_hidden1, config.d_hidden2, bias=True)
        self.sn_linear3 = layer(config.d_hidden2, config.n_bins or 1, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        self.register_buffer("feature_mean", torch.zeros(config.d_encoder))
        self.register_buffer("feature_std", torch.ones(config.d_encoder))

    def set_feature_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Standardise inputs with these (d_encoder,) statistics from now on. `std` must be positive and finite."""
        for name, value in (("mean", mean), ("std", std)):
            if tuple(value.shape) != (self.config.d_encoder,):
                raise ValueError(f"feature {name} must have shape ({self.config.d_encoder},), got {tuple(value.shape)}")
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"feature {name} has non-finite entries")
        if not bool((std > 0).all()):
            raise ValueError("feature std must be positive everywhere; give constant features a std of 1")
        with torch.no_grad():
            self.feature_mean.copy_(mean)
            self.feature_std.copy_(std)

    @property
    def has_feature_statistics(self) -> bool:
        """Whether `set_feature_statistics` was called, on this head or the one it was loaded from."""
        return bool(self.feature_mean.any()) or bool((self.feature_std != 1).any())

    def forward(self, h: Tensor, *, raw: bool = False) -> Tensor:
        """Embeddings (B, d_encoder) -> ENERGIES (B,), lower is better.

        raw: give what `energies_of` takes instead: (B, 1) energies or, with bins, (B, n_bins) logits.
        """
        if h.ndim != 2 or h.shape[1] != self.config.d_encoder:
            raise ValueError(
                f"the energy head takes embeddings of shape (batch, {self.config.d_encoder}), got {tuple(h.shape)}"
            )
        scale = 1.0 / self.feature_std
        x = torch.addcmul(-self.feature_mean * scale, h.to(scale.dtype), scale)  # (B, d_encoder), in one pass
        x = self.dropout(functional.silu(self.sn_linear1(x)))  # (B, d_hidden1)
        x = self.dropout(functional.silu(self.sn_linear2(x)))  # (B, d_hidden2)
        outputs = self.sn_linear3(x) / self.log_temperature.exp()
        return outputs if raw else self.energies_of(outputs)

    def energies_of(self, outputs: Tensor) -> Tensor:
        """What `forward(h, raw=True)` gave -> ENERGIES (B,): with bins, the mean one, in steps to QED."""
        if not self.config.n_bins:
            return outputs.squeeze(1)
        steps = torch.arange(self.config.n_bins, dtype=outputs.dtype, device=outputs.device)
        return outputs.softmax(dim=1) @ steps

    @property
    def n_parameters(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

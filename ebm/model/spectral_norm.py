"""A linear layer whose weight is divided by its largest singular value, so that it is 1-Lipschitz.

Source: Miyato et al., Spectral Normalization for Generative Adversarial Networks (ICLR 2018), algorithm 1.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

PowerIteration = Literal["persistent", "fresh"]

WARM_UP_ITERATIONS = 15
"""Power iterations run once on a new `persistent` layer, so that its first forward is already normalised."""


@dataclass(frozen=True, slots=True)
class SpectralNormLinearConfig:
    """Shape and normalisation of a `SpectralNormLinear`."""

    d_input: int
    """Width of an input vector."""
    d_output: int
    """Width of an output vector."""
    n_power_iterations: int = 5
    """Power iterations a forward: every one for `fresh`, those in training mode for `persistent`."""
    eps: float = 1e-12
    """Smallest norm that is divided by."""
    bias: bool = True
    power_iteration: PowerIteration = "persistent"
    """`persistent`: u and v are buffers, improved at each training forward and frozen in eval mode, so inference is
    deterministic. `fresh`: u and v are redrawn from a normal distribution at every forward, in eval mode too."""

    def __post_init__(self) -> None:
        for name in ("d_input", "d_output", "n_power_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"SpectralNormLinearConfig.{name} must be at least 1, got {getattr(self, name)}")
        if self.eps <= 0:
            raise ValueError(f"SpectralNormLinearConfig.eps must be positive, got {self.eps}")
        if self.power_iteration not in get_args(PowerIteration):
            raise ValueError(
                f"SpectralNormLinearConfig.power_iteration must be one of {', '.join(get_args(PowerIteration))}, "
                f"got {self.power_iteration!r}"
            )


class SpectralNormLinear(nn.Module):
    """y = x W^T / sigma(W) + b, with sigma(W) estimated by power iteration as u^T W v.

    The division is differentiable (d sigma / d W = u v^T); u and v carry no gradient.

    Attributes:
        weight: (d_output, d_input), the parameter before the division; orthogonal at the start, so that sigma is 1 in
            every direction.
        bias: (d_output,), zero at the start, or None.
        u, v: (d_output,) and (d_input,) unit vectors, buffers; `persistent` only.
    """

    bias: nn.Parameter | None
    u: Tensor
    v: Tensor

    def __init__(self, config: SpectralNormLinearConfig) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.d_output, config.d_input))
        nn.init.orthogonal_(self.weight)
        self.register_parameter("bias", nn.Parameter(torch.zeros(config.d_output)) if config.bias else None)
        if config.power_iteration == "persistent":
            u, v = self._iterate(*self._random_vectors(), WARM_UP_ITERATIONS)
            self.register_buffer("u", u)
            self.register_buffer("v", v)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_input) -> (..., d_output)."""
        if x.ndim < 1 or x.shape[-1] != self.config.d_input:
            raise ValueError(f"expected vectors of width {self.config.d_input}, got a tensor of shape {tuple(x.shape)}")
        # Dividing the product instead of the weight saves a weight-sized tensor in the forward and the backward.
        y = functional.linear(x, self.weight) / self.sigma()
        return y if self.bias is None else y + self.bias

    def sigma(self) -> Tensor:
        """Scalar estimate of the weight's largest singular value. In training mode it improves u and v first."""
        u, v = self._singular_vectors()
        return torch.dot(u, torch.mv(self.weight, v)).clamp_min(self.config.eps)

    def effective_weight(self) -> Tensor:
        """(d_output, d_input): the weight as the forward uses it."""
        return self.weight / self.sigma()

    @torch.no_grad()
    def _singular_vectors(self) -> tuple[Tensor, Tensor]:
        n = self.config.n_power_iterations
        if self.config.power_iteration == "fresh":
            return self._iterate(*self._random_vectors(), n)
        if self.training:
            u, v = self._iterate(self.u, self.v, n)
            self.u.copy_(u)
            self.v.copy_(v)
            return u, v  # not the buffers: the next forward overwrites those before this one's backward may run
        return self.u, self.v

    @torch.no_grad()
    def _random_vectors(self) -> tuple[Tensor, Tensor]:
        weight = self.weight
        u = self._unit(weight.new_empty(self.config.d_output).normal_())
        v = self._unit(weight.new_empty(self.config.d_input).normal_())
        return u, v

    @torch.no_grad()
    def _iterate(self, u: Tensor, v: Tensor, n_iterations: int) -> tuple[Tensor, Tensor]:
        for _ in range(n_iterations):
            u = self._unit(torch.mv(self.weight, v))
            v = self._unit(torch.mv(self.weight.t(), u))
        return u, v

    def _unit(self, vector: Tensor) -> Tensor:
        return vector / torch.linalg.vector_norm(vector).clamp_min(self.config.eps)

    def extra_repr(self) -> str:
        c = self.config
        return f"{c.d_input} -> {c.d_output}, bias={c.bias}, {c.power_iteration} x {c.n_power_iterations}"

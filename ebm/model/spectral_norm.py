"""A linear layer whose weight is divided by its largest singular value, so that it is 1-Lipschitz.

Source: Miyato et al., Spectral Normalization for Generative Adversarial Networks (ICLR 2018), algorithm 1.
"""

from dataclasses import dataclass
from typing import Protocol, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from ebm.head_config import PowerIteration

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
    """Power iterations per forward: every forward of `fresh`, those in training mode of `persistent`.

    From random vectors, on Kaiming weights, 5 leave the norm of a 64 -> 32 layer 6% too large on average (23% at worst
    of 1,000), and two forwards differ by 4% (22%); 10 leave 2% (15%), and 2% (19%). `benchmarks/spectral_norm.py`."""
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


class _Saved(Protocol):
    """What torch hands to a backward pass. Its own class is typed as if there were one tensor."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]


class _DivideBySigma(torch.autograd.Function):
    """y = x W^T / sigma with sigma = u^T W v, whose gradient goes into W as u v^T.

    Written out, because autograd would build u v^T and add it, two passes over a weight-sized matrix more. The three
    matrix products are done in `dtype`; everything else stays in the weight's.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, u: Tensor, v: Tensor, sigma: Tensor, dtype: torch.dtype
    ) -> Tensor:
        x, factor = x.to(dtype), weight.to(dtype)
        y = torch.mm(x, factor.t()).to(weight.dtype).div_(sigma)
        ctx.save_for_backward(x, factor, u, v, sigma, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: _Saved, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        x, factor, u, v, sigma, y = ctx.saved_tensors
        grad_product = grad / sigma
        grad_factor = grad_product.to(factor.dtype)
        grad_x = torch.mm(grad_factor, factor).to(grad.dtype) if ctx.needs_input_grad[0] else None
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_sigma = -(grad_product * y).sum()
            grad_weight = torch.mm(grad_factor.t(), x).to(grad.dtype).addr_(u * grad_sigma, v)
        return grad_x, grad_weight, None, None, None, None


class SpectralNormLinear(nn.Module):
    """y = x W^T / sigma(W) + b, with sigma(W) = u^T W v estimated by power iteration.

    The division is differentiable (d sigma / d W = u v^T); u and v carry no gradient.

    Attributes:
        weight: (d_output, d_input), the parameter before the division; orthogonal at the start, so that sigma is 1 in
            every direction.
        bias: (d_output,), zero at the start, or None.
        u, v: (d_output,) and (d_input,) unit vectors, buffers; `persistent` only.
        training_dtype: of the matrix products in training mode; None is the weight's. In eval mode it is not looked at.
    """

    bias: nn.Parameter | None
    u: Tensor
    v: Tensor

    def __init__(self, config: SpectralNormLinearConfig) -> None:
        super().__init__()
        self.config = config
        self.training_dtype: torch.dtype | None = None
        self.weight = nn.Parameter(torch.empty(config.d_output, config.d_input))
        nn.init.orthogonal_(self.weight)
        self.register_parameter("bias", nn.Parameter(torch.zeros(config.d_output)) if config.bias else None)
        if config.power_iteration == "persistent":
            u, v, _ = self._iterate(self._random_vector(), WARM_UP_ITERATIONS)
            self.register_buffer("u", u)
            self.register_buffer("v", v)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_input) -> (..., d_output)."""
        if x.ndim < 1 or x.shape[-1] != self.config.d_input:
            raise ValueError(f"expected vectors of width {self.config.d_input}, got a tensor of shape {tuple(x.shape)}")
        dtype = (self.training_dtype if self.training else None) or self.weight.dtype
        y = _DivideBySigma.apply(x.reshape(-1, self.config.d_input), self.weight, *self._singular_triple(), dtype)
        y = y.view(*x.shape[:-1], self.config.d_output)
        return y if self.bias is None else y + self.bias

    def sigma(self) -> Tensor:
        """Scalar estimate of the weight's largest singular value. In training mode it improves u and v first."""
        return self._singular_triple()[2]

    @torch.no_grad()
    def _singular_triple(self) -> tuple[Tensor, Tensor, Tensor]:
        """u, v and sigma of this forward."""
        n = self.config.n_power_iterations
        if self.config.power_iteration == "fresh":
            return self._iterate(self._random_vector(), n)
        if self.training:
            u, v, sigma = self._iterate(self.v, n)
            self.u.copy_(u)
            self.v.copy_(v)
            return u, v, sigma  # not the buffers: the next forward overwrites those before this one's backward may run
        sigma = torch.dot(self.u, torch.mv(self.weight, self.v)).clamp_min(self.config.eps)
        return self.u, self.v, sigma

    @torch.no_grad()
    def _random_vector(self) -> Tensor:
        """(d_input,): the first half-step gives u, so v alone has to be drawn."""
        return self.weight.new_empty(self.config.d_input).normal_()

    @torch.no_grad()
    def _iterate(self, v: Tensor, n_iterations: int) -> tuple[Tensor, Tensor, Tensor]:
        """u, v and sigma = u^T W v after power iterations from v, (d_input,) of any length."""
        for _ in range(n_iterations):
            u = torch.mv(self.weight, v)
            u = u / torch.linalg.vector_norm(u).clamp_min(self.config.eps)
            v = torch.mv(self.weight.t(), u)
            sigma = torch.linalg.vector_norm(v).clamp_min(self.config.eps)  # v is W^T u here, along the new v
            v = v / sigma
        return u, v, sigma

    def extra_repr(self) -> str:
        """Shape and settings, for torch's printed summary."""
        c = self.config
        return f"{c.d_input} -> {c.d_output}, bias={c.bias}, {c.power_iteration} x {c.n_power_iterations}"

"""One training step: forward, loss, backward, clip, AdamW, with no synchronisation between host and device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ebm.model.energy_head import EnergyHead
from ebm.training.config import EBMTrainingConfig
from ebm.training.loss import depth_regression_loss, distance_loss, info_nce_loss, pairwise_margin_loss

_EAGER_STEPS_BEFORE_CAPTURE = 3


class TrainingStep:
    """A head with its optimizer and the fixed buffers its inputs are written to.

    Attributes:
        inputs: (batch_size * (1 + K), d_encoder) float32; examples one after the other, each positive then negatives.
        remaining_depth: (batch_size,) int32 of the positives; -1 unknown.
        distance: (batch_size * (1 + K),) int64 steps to QED of all inputs, for the objective `distance`; -1 unknown.
        energies: (batch_size, 1 + K) of the last step.
        grad_norm: scalar, of the last step, before clipping.
    """

    def __init__(self, head: EnergyHead, config: EBMTrainingConfig, k_negatives: int, device: torch.device) -> None:
        self.head = head
        self.config = config
        for layer in (head.sn_linear1, head.sn_linear2, head.sn_linear3):
            layer.training_dtype = getattr(torch, config.matmul_dtype)
        self.shape = (config.batch_size, 1 + k_negatives)
        self._graph_wanted = config.cuda_graph and device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._eager_steps = 0
        # The temperature is a scale, not a weight: it has a learning rate and a decay of its own.
        weights = [p for p in head.parameters() if p is not head.log_temperature]
        groups = [
            {"params": weights, "lr_scale": 1.0, "weight_decay": config.weight_decay},
            {
                "params": [head.log_temperature],
                "lr_scale": config.temperature_lr_scale,
                "weight_decay": config.temperature_weight_decay,
            },
        ]
        for group in groups:  # a captured step reads its learning rate from device memory
            group["lr"] = torch.tensor(config.lr, device=device) if self._graph_wanted else config.lr
        self.optimizer = torch.optim.AdamW(
            groups,
            fused=device.type in ("cpu", "cuda"),
            capturable=self._graph_wanted,
        )
        self.inputs = torch.zeros(config.batch_size * (1 + k_negatives), head.config.d_encoder, device=device)
        self.remaining_depth = torch.full((config.batch_size,), -1, dtype=torch.int32, device=device)
        self.distance = torch.full((self.inputs.shape[0],), -1, dtype=torch.int64, device=device)
        self.energies = torch.zeros(self.shape, device=device)
        self.grad_norm = torch.zeros((), device=device)

    def run(self, lr: float) -> None:
        """Take one training step on what the input buffers hold."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr * group["lr_scale"])
            else:
                group["lr"] = lr * group["lr_scale"]
        if not self._graph_wanted:
            self._step()
        elif self._graph is not None:
            self._graph.replay()
        elif self._eager_steps < _EAGER_STEPS_BEFORE_CAPTURE:
            # Ordinary steps, on a side stream as capture asks for: they allocate the optimizer's state.
            self._eager_steps += 1
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._step()
            torch.cuda.current_stream().wait_stream(side)
        else:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._step()
            self._graph.replay()  # capturing records without running

    def _step(self) -> None:
        outputs = self.head(self.inputs, raw=True)
        energies = self.head.energies_of(outputs).view(self.shape)  # (B, 1 + K)
        loss = self._loss(outputs, energies[:, 0], energies[:, 1:])
        self.optimizer.zero_grad(set_to_none=True)  # what backward makes is taken over, not added to zeros
        loss.backward()
        self._clip()
        self.optimizer.step()
        self.energies.copy_(energies.detach())

    def _clip(self) -> None:
        """Shorten the gradient to `max_grad_norm`.

        On a CPU one that is short enough is left alone, not multiplied by 1; a GPU would have to wait for the answer.
        """
        limit = self.config.max_grad_norm
        parameters = list(self.head.parameters())
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if norm.device.type != "cpu" or not norm <= limit:
            nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        self.grad_norm.copy_(norm)

    def _loss(self, outputs: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Scalar. outputs: of the head, (B * (1 + K), 1 or bins). positive: (B,) energies; negative: (B, K)."""
        config = self.config
        if config.objective == "distance":
            return distance_loss(outputs, self.distance)
        if config.objective == "margin":
            loss = pairwise_margin_loss(positive, negative, config.margin)
        else:
            loss = info_nce_loss(positive, negative)
        if config.depth_loss_weight:
            loss = loss + config.depth_loss_weight * depth_regression_loss(positive, self.remaining_depth)
        return loss

    def state(self) -> dict[str, Tensor]:
        """Copies of the optimizer's moments and step counts, by parameter name: `adamw.NAME.FIELD`."""
        state = {}
        for name, parameter in self.head.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                state[f"adamw.{name}.{key}"] = value.detach().clone()
        return state

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Continue from `state`. Raises KeyError naming a tensor that is missing."""
        for name, parameter in self.head.named_parameters():
            moments = {}
            for key in ("step", "exp_avg", "exp_avg_sq"):
                value = tensors[f"adamw.{name}.{key}"].clone()
                on_device = key != "step" or self._graph_wanted or parameter.device.type == "cuda"
                moments[key] = value.to(parameter.device) if on_device else value
            self.optimizer.state[parameter] = moments


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw torch's random numbers from `seed` inside, and leave the caller's generators as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of the generators that dropout draws from."""
    state = {"random.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["random.cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(tensors: dict[str, Tensor], device: torch.device) -> None:
    """Set torch's generators to a saved state, so that dropout goes on as it would have."""
    torch.set_rng_state(tensors["random.cpu"].cpu())
    if device.type == "cuda" and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"].cpu(), device)

"""Several energy heads as one. ENERGY: lower is better."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ebm.model.energy_head import EnergyHead, EnergyHeadConfig


class EnergyEnsemble(nn.Module):
    """E(h) = mean_i z_i(h) - spread_bonus * deviation_i z_i(h), with z_i = (E_i(h) - mu_i) / sigma_i of head i.

    A state that the heads disagree about gets a lower energy where the bonus is positive, so that search looks there.

    Attributes:
        members: the heads. They take vectors of one width; their other widths may differ.
        energy_mean, energy_std: (m,) buffers, mu and sigma of each head's energies.
    """

    energy_mean: Tensor
    energy_std: Tensor

    def __init__(self, members: Sequence[EnergyHead], scales: Sequence[tuple[float, float]], spread_bonus: float = 0.0):
        """scales: (mu, sigma) of the energies of each head. Raises ValueError for what does not fit together."""
        super().__init__()
        if len(members) < 2 or len(members) != len(scales):
            raise ValueError(f"an ensemble takes two heads or more, each with its scale; got {len(members)} heads")
        widths = {head.config.d_encoder for head in members}
        if len(widths) > 1:
            raise ValueError(f"the heads take vectors of the widths {sorted(widths)}; expected one width")
        if spread_bonus < 0 or min(sigma for _, sigma in scales) <= 0:
            raise ValueError("the bonus for spread is 0 or more, and each deviation of energies is above 0")
        self.members = nn.ModuleList(members)
        self.spread_bonus = spread_bonus
        self.register_buffer("energy_mean", torch.tensor([mu for mu, _ in scales], dtype=torch.float32))
        self.register_buffer("energy_std", torch.tensor([sigma for _, sigma in scales], dtype=torch.float32))

    @property
    def config(self) -> EnergyHeadConfig:
        """That of the first head; all take vectors of one width."""
        return self.heads[0].config

    @property
    def heads(self) -> list[EnergyHead]:
        """The heads, in order."""
        return [head for head in self.members if isinstance(head, EnergyHead)]

    def forward(self, h: Tensor) -> Tensor:
        """Embeddings (B, d_encoder) -> ENERGIES (B,), lower is better."""
        energies = torch.stack([head(h) for head in self.heads], dim=1)  # (B, m)
        z = (energies - self.energy_mean) / self.energy_std
        return z.mean(dim=1) - self.spread_bonus * z.std(dim=1, correction=0)

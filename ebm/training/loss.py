"""What the energy head is trained on. ENERGY: lower is better, so positives are pushed down and negatives up."""

import torch
from torch import Tensor
from torch.nn import functional


def info_nce_loss(pos_energy: Tensor, neg_energies: Tensor) -> Tensor:
    """Mean over the batch of -log( exp(-E+) / (exp(-E+) + sum_k exp(-E-_k)) ), in nats. Lower is better.

    0 when every positive lies far below its negatives, ln(K + 1) when energies do not tell them apart. Computed with
    log-sum-exp, so energies of any finite size are safe. Source: van den Oord et al., 2018, equation 4, with -E as the
    score.

    Args:
        pos_energy: (B,) energies of the positives.
        neg_energies: (B, K) energies of the K negatives of each positive.
    """
    if pos_energy.ndim != 1 or neg_energies.ndim != 2 or len(pos_energy) != len(neg_energies):
        raise ValueError(
            "info_nce_loss takes pos_energy (B,) and neg_energies (B, K), "
            f"got {tuple(pos_energy.shape)} and {tuple(neg_energies.shape)}"
        )
    if neg_energies.numel() == 0:
        raise ValueError(f"info_nce_loss needs at least one example and one negative, got {tuple(neg_energies.shape)}")
    logits = -torch.cat([pos_energy.unsqueeze(1), neg_energies], dim=1)  # (B, 1 + K)
    return (torch.logsumexp(logits, dim=1) - logits[:, 0]).mean()


def depth_regression_loss(energy: Tensor, remaining_depth: Tensor) -> Tensor:
    """Mean squared error between the energies of positives and their normalised remaining depth, over known depths.

    The target is remaining_depth / (largest known remaining depth of the batch, at least 1), in [0, 1]: a state nearer
    to QED gets a lower energy. Exactly 0, with a zero gradient, when no depth is known.

    Args:
        energy: (B,) energies of the positives.
        remaining_depth: (B,) steps to QED, integer or float; -1 means unknown.
    """
    if energy.ndim != 1 or energy.shape != remaining_depth.shape:
        raise ValueError(
            "depth_regression_loss takes energy (B,) and remaining_depth (B,), "
            f"got {tuple(energy.shape)} and {tuple(remaining_depth.shape)}"
        )
    known = remaining_depth >= 0
    depth = remaining_depth.to(energy.dtype).clamp_min(0)  # unknown -> 0: never the largest
    target = depth / functional.pad(depth, (0, 1), value=1.0).max()
    error = torch.where(known, energy - target, torch.zeros_like(energy))
    return error.square().sum() / known.sum().clamp_min(1)


def pairwise_margin_loss(pos_energy: Tensor, neg_energies: Tensor, margin: float = 1.0) -> Tensor:
    """Mean of max(0, margin + E+ - E-) over pairs of a positive and a state that is farther from QED. Lower is better.

    Unlike InfoNCE, a pair that is a margin apart counts no more. Source: the hinge of ranking SVMs (Joachims, 2002).

    Args:
        pos_energy: (B,) energies of the positives.
        neg_energies: (B, K) energies of the K negatives of each positive.
    """
    if pos_energy.ndim != 1 or neg_energies.ndim != 2 or len(pos_energy) != len(neg_energies):
        raise ValueError(
            "pairwise_margin_loss takes pos_energy (B,) and neg_energies (B, K), "
            f"got {tuple(pos_energy.shape)} and {tuple(neg_energies.shape)}"
        )
    return functional.relu(margin + pos_energy.unsqueeze(1) - neg_energies).mean()


def distance_loss(logits: Tensor, distance: Tensor) -> Tensor:
    """Mean cross-entropy of the bins of steps to QED, over states whose distance is known, in nats. Lower is better.

    Distances beyond the last bin but one count as that bin; states that no search completed belong to the last one.
    Exactly 0, with a zero gradient, when no distance is known.

    Args:
        logits: (N, n_bins) of each state.
        distance: (N,) integer steps to QED; -1 unknown, `ebm.training.data.NEVER` for states that no search completed.
    """
    if logits.ndim != 2 or distance.shape != logits.shape[:1]:
        raise ValueError(
            f"distance_loss takes logits (N, bins) and distance (N,), got {tuple(logits.shape)} and "
            f"{tuple(distance.shape)}"
        )
    last = logits.shape[1] - 1
    known = distance >= 0
    bins = torch.where(distance >= _NEVER, last, distance.clamp(0, last - 1)).long()
    losses = functional.cross_entropy(logits, bins, reduction="none")
    return torch.where(known, losses, torch.zeros_like(losses)).sum() / known.sum().clamp_min(1)


_NEVER = 2**31 - 1  # ebm.training.index.NEVER

"""Hidden states of single tokens and of every layer, and a head that weighs tokens: what `guidance_heads.py` compares.

The token vectors of all states are kept in memory as float16: for the small policy, and some ten thousand states.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel

from ebm.model import EnergyHead, EnergyHeadConfig
from ebm.training import ContrastiveIndex, ContrastiveSampler, EBMTrainingConfig
from ebm.training.loss import depth_regression_loss, info_nce_loss
from prover.policy.weights import resolve

MOST_TOKENS = 256
"""Tokens of a state that are read, counted from its end, where its goal is."""


@dataclass
class TokenStates:
    """Of each row: the mean over tokens of every layer, and the tokens of the last layer."""

    layers: np.ndarray
    """(rows, layers, H) float32; layer 0 is the first above the embeddings. Zeros for empty texts."""
    tokens: np.ndarray
    """(rows, MOST_TOKENS, H) float16, padded behind with zeros: a token that is all zeros is none."""

    @classmethod
    def of(cls, policy: Any, folder: Path | None, texts: Sequence[str]) -> "TokenStates":
        """Run the model of `folder` over the distinct texts, one at a time; `policy` gives the tokens."""
        model = AutoModel.from_pretrained(resolve(folder)).eval()
        n_layers, width = model.config.num_hidden_layers, model.config.hidden_size
        layers = np.zeros((len(texts), n_layers, width), dtype=np.float32)
        tokens = np.zeros((len(texts), MOST_TOKENS, width), dtype=np.float16)
        first: dict[str, int] = {}
        with torch.inference_mode():
            for row, text in enumerate(texts):
                if text and text not in first:
                    first[text] = row
                    ids = policy.token_ids(text, True)[-MOST_TOKENS:]
                    hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
                    layers[row] = torch.stack([each[0].mean(dim=0) for each in hidden[1:]]).numpy()
                    tokens[row, : len(ids)] = hidden[-1][0].half().numpy()
                elif text:
                    layers[row], tokens[row] = layers[first[text]], tokens[first[text]]
        return cls(layers, tokens)

    def inputs(self, kind: str) -> np.ndarray:
        """`layer SHARE`: (rows, H) of the layer at that share of the depth; `attention`: (rows, MOST_TOKENS, H)."""
        if kind == "attention":
            return self.tokens
        layer = max(1, round(float(kind.split()[1]) * self.layers.shape[1]))
        return self.layers[:, layer - 1]


class AttentionHead(nn.Module):
    """An energy head over a mean of token vectors that a trained query weighs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(width))
        self.head = EnergyHead(EnergyHeadConfig(width, 256, 128))

    def pooled(self, tokens: Tensor) -> Tensor:
        """(B, L, H) token vectors, zeros for none -> (B, H)."""
        tokens = tokens.float()
        absent = (tokens == 0).all(dim=2)
        absent[:, 0] = False  # a row without tokens is weighed as its zeros
        weights = (tokens @ self.query / tokens.shape[2] ** 0.5).masked_fill(absent, float("-inf")).softmax(dim=1)
        return torch.einsum("bl,blh->bh", weights, tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, H) -> ENERGIES (B,), in pieces: lower is better."""
        return torch.cat([self.head(self.pooled(part)) for part in tokens.split(512)])


def fit_attention(index: ContrastiveIndex, tokens: np.ndarray, steps: int, seed: int) -> AttentionHead:
    """Train query and head together, with the objective, schedule and examples of the first row of the table."""
    config = EBMTrainingConfig(total_steps=steps, warmup_steps=steps // 10, batch_size=64, lr=1e-3, seed=seed)
    sampler = ContrastiveSampler.of(index, config)
    torch.manual_seed(seed)
    model = AttentionHead(tokens.shape[2])
    with torch.no_grad():
        sample = model.pooled(torch.from_numpy(tokens[index.used_rows[:4096]]))
        model.head.set_feature_statistics(sample.mean(dim=0), sample.std(dim=0).clamp_min(1e-6))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    warm = max(1, config.warmup_steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm, 0.5 * (1 + np.cos(np.pi * min(1.0, max(0, step - warm) / (steps - warm))))),
    )
    model.train()
    for step in range(steps):
        draw = sampler.draw(config.batch_size, step)
        energies = model(torch.from_numpy(tokens[draw.rows.reshape(-1)])).view(config.batch_size, -1)
        depth = torch.from_numpy(draw.remaining_depth)
        loss = info_nce_loss(energies[:, 0], energies[:, 1:])
        loss = loss + config.depth_loss_weight * depth_regression_loss(energies[:, 0], depth)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()

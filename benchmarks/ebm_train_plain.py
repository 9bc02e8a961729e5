"""A plain training loop, and the part of `ebm_train.py` that compares with it."""

import argparse
import random
from dataclasses import replace

import numpy as np
import polars as pl
import torch
from ebm_train_data import SEED_CONFIG, synthetic_states
from ebm_train_timing import clock, judged, seconds, show
from torch import Tensor, nn
from torch.nn import functional

from ebm.model import EnergyHead, EnergyHeadConfig, embeddings_to_tensor
from ebm.training import (
    ContrastiveIndex,
    ContrastiveSampler,
    EBMTrainingConfig,
    depth_regression_loss,
    info_nce_loss,
    learning_rate_at,
    train,
)

MIN_SPEED_UP = 3.0


class PlainSpectralNormLinear(nn.Module):
    """The layer as first specified: u and v redrawn at every forward, the weight divided, autograd for the rest."""

    def __init__(self, d_input: int, d_output: int, *, bias: bool, n_power_iterations: int = 5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d_output, d_input))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.bias = nn.Parameter(torch.zeros(d_output)) if bias else None
        self.n_power_iterations = n_power_iterations

    def forward(self, x: Tensor) -> Tensor:
        u, v = torch.randn(self.weight.shape[0]), torch.randn(self.weight.shape[1])
        with torch.no_grad():
            for _ in range(self.n_power_iterations):
                v = functional.normalize(self.weight.t() @ u, dim=0)
                u = functional.normalize(self.weight @ v, dim=0)
        sigma = u @ self.weight @ v
        return functional.linear(x, self.weight / sigma, self.bias)


class PlainHead(nn.Module):
    """The energy head over such layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            PlainSpectralNormLinear(width, 512, bias=True),
            nn.SiLU(),
            nn.Dropout(0.1),
            PlainSpectralNormLinear(512, 256, bias=True),
            nn.SiLU(),
            nn.Dropout(0.1),
            PlainSpectralNormLinear(256, 1, bias=False),
        )
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, h: Tensor) -> Tensor:
        return self.layers(h).squeeze(1) / self.log_temperature.exp()


class PlainLoop:
    """A plain training loop. It shares only the losses and the schedule with the package."""

    def __init__(
        self, states: pl.DataFrame, vectors: dict[int, np.ndarray] | dict[int, list[float]], width: int
    ) -> None:
        self.rows = states.select("theorem_name", "label", "remaining_depth").rows()
        self.vectors = vectors
        self.head = PlainHead(width)
        self.optimizer = torch.optim.AdamW(self.head.parameters(), lr=1e-4, weight_decay=0.01)
        self.positives: dict[str, list[int]] = {}
        self.negatives: dict[str, list[int]] = {}
        for row, (name, label, _) in enumerate(self.rows):
            (self.positives if label == "positive" else self.negatives).setdefault(name, []).append(row)
        self.names = [name for name in self.positives if name in self.negatives]
        self.all_negatives = [row for rows in self.negatives.values() for row in rows]
        self.random = random.Random(0)
        self.step = 0

    def example(self, k: int) -> tuple[int, list[int]]:
        name = self.random.choice(self.names)
        positive = self.random.choice(self.positives[name])
        farther = [r for r in self.positives[name] if self.rows[r][2] > self.rows[positive][2]] + self.negatives[name]
        chosen: list[int] = []
        while len(chosen) < k:
            kind = self.random.choices(("hard", "medium", "easy"), (0.5, 0.3, 0.2))[0]
            if kind == "easy":
                row = self.random.choice(self.all_negatives)
                if self.rows[row][0] == name:
                    continue
            else:
                row = self.random.choice(self.negatives[name] if kind == "hard" else farther)
            if row not in chosen:
                chosen.append(row)
        return positive, chosen

    def collect(self, rows: list[int]) -> Tensor:
        return embeddings_to_tensor([self.vectors[row] for row in rows])

    def run(self) -> None:
        config = SEED_CONFIG
        examples = [self.example(config.k_negatives) for _ in range(config.batch_size)]
        positive = self.head(self.collect([row for row, _ in examples]))
        negative = self.head(self.collect([row for _, rows in examples for row in rows]))
        depth = torch.tensor([self.rows[row][2] for row, _ in examples])
        contrastive = info_nce_loss(positive, negative.view(config.batch_size, config.k_negatives))
        loss = contrastive + config.depth_loss_weight * depth_regression_loss(positive, depth)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.head.parameters(), config.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.step, config)
        self.optimizer.step()
        self.step += 1
        if not np.isfinite(loss.item()):
            raise FloatingPointError("the loss is not finite")


def run_plain(arguments: argparse.Namespace) -> None:
    n = 2_000  # 300 MB of Python floats at width 4096
    states = synthetic_states(n)
    table = np.random.default_rng(0).standard_normal((n, arguments.width), dtype=np.float32)
    sampler = ContrastiveSampler(ContrastiveIndex.from_states(states), 4)
    steps = max(arguments.repeats, 16)
    config = replace(SEED_CONFIG, total_steps=10**6)
    rounded = replace(config, matmul_dtype="bfloat16")
    arrays = PlainLoop(states, dict(enumerate(table)), arguments.width)
    lists = PlainLoop(states, dict(enumerate(table.tolist())), arguments.width)

    def trained(config: EBMTrainingConfig) -> float:
        """Seconds per step of `train`, after its first."""
        marks: list[float] = []

        def should_stop() -> bool:
            marks.append(clock())
            return len(marks) > steps

        train(config, EnergyHead(EnergyHeadConfig(arguments.width)), table, sampler, should_stop=should_stop)
        return (marks[-1] - marks[0]) / steps

    times: dict[str, list[float]] = {name: [] for name in ("ours", "rounded", "arrays", "lists")}
    for _ in range(max(3, arguments.rounds // 2)):
        times["ours"].append(trained(config))
        times["rounded"].append(trained(rounded))
        times["arrays"].append(seconds(arrays.run, steps))
        times["lists"].append(seconds(lists.run, steps))
    best = {name: min(values) for name, values in times.items()}
    over = {
        (ours, plain): f"{best[plain] / best[ours]:.2f}"
        for ours in ("ours", "rounded")
        for plain in ("arrays", "lists")
    }
    fastest = best["lists"] / min(best["ours"], best["rounded"])
    show(
        f"Against the plain loop, {torch.get_num_threads()} thread(s), width {arguments.width}, batch 32, K 4",
        [
            ("plain loop, vectors as lists of floats", f"{1 / best['lists']:.1f} steps per second"),
            ("plain loop, vectors as arrays", f"{1 / best['arrays']:.1f} steps per second"),
            (
                "train, float32 products",
                f"{1 / best['ours']:.1f} steps per second: {over['ours', 'lists']} x lists, "
                f"{over['ours', 'arrays']} x arrays",
            ),
            (
                "train, bfloat16 products",
                f"{1 / best['rounded']:.1f} steps per second: {over['rounded', 'lists']} x lists, "
                f"{over['rounded', 'arrays']} x arrays",
            ),
            ("fastest over lists", judged("plain", fastest, MIN_SPEED_UP, f"{fastest:.2f}", at_least=True)),
        ],
    )

"""Does a warm start pay?  Three iterations; each head begins afresh or from the head of the iteration before.

    python benchmarks/warm_start.py --train train.parquet --held-out a.parquet,b.parquet [--iterations 3] [--steps 600]

The theorems of `--train` are dealt into as many parts as there are iterations; iteration i trains on the parts up to i,
as the loop does. Heads: `fresh` with all steps, `warm` with all steps, `warm, a quarter` with a quarter of them, and
`fresh, a quarter` beside it. Prints what each ranks right on held-out theorems: sibling rank-1 and AUC of the energy,
mean and deviation over seeds, and the CPU seconds of training.
"""

import argparse
import copy
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from guidance_heads import BETA, FixedScorer, Rows, load, rank, spread
from rich.console import Console
from rich.table import Table

from ebm.calibration import fit_scales
from ebm.embeddings import EmbeddingCache
from ebm.model import EnergyHead, EnergyHeadConfig
from ebm.training import ContrastiveIndex, ContrastiveSampler, EBMTrainingConfig, train
from ebm.training.records import load_states
from prover.policy import load_policy

KINDS = ("fresh", "warm", "fresh, a quarter", "warm, a quarter")


def windows(frame: pl.DataFrame, parts: int) -> list[np.ndarray]:
    """Rows of the theorems up to each part; theorems are dealt in the order in which they were searched."""
    names = frame["theorem_name"].unique(maintain_order=True).to_list()
    found = []
    for part in range(1, parts + 1):
        known = names[: len(names) * part // parts]
        found.append(frame["theorem_name"].is_in(known).to_numpy().nonzero()[0])
    return found


def fit(states: pl.DataFrame, inputs: np.ndarray, steps: int, seed: int, start: EnergyHead | None) -> EnergyHead:
    """Train on these states (rows of `inputs`); start: a head to begin from, which is left as it is."""
    config = EBMTrainingConfig(
        total_steps=steps, warmup_steps=steps // 10, batch_size=64, lr=1e-3, seed=seed, early_stop_patience=0
    )
    sampler = ContrastiveSampler.of(ContrastiveIndex.from_states(states), config)
    torch.manual_seed(seed)
    head = EnergyHead(EnergyHeadConfig(inputs.shape[1], 256, 128)) if start is None else copy.deepcopy(start).train()
    return train(config, head, inputs, sampler).head


def quality(head: EnergyHead, known: Rows, unseen: Rows) -> tuple[float, float]:
    """Held-out (rank-1, AUC) of the energy."""
    with torch.inference_mode():
        trained, held_out = (head.eval()(torch.from_numpy(rows.vectors)).double().numpy() for rows in (known, unseen))
    scales = fit_scales(known.frame, FixedScorer(known.frame["state_pp"].to_list(), trained))
    ranking = rank(unseen.frame, held_out, replace(scales, beta=BETA))
    return ranking.rank1["all"]["energy"].mean, ranking.auc["energy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=lambda t: t.split(","), required=True, help="trajectory files, comma-separated")
    parser.add_argument("--held-out", type=lambda t: t.split(","), required=True, help="trajectories of other theorems")
    parser.add_argument("--folder", type=Path, default=Path("data/heads"), help="folder of the vectors")
    parser.add_argument("--policy", type=Path, default=None, help="model folder (default: the shipped policy)")
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, last")
    args = parser.parse_args()
    torch.set_num_threads(1)
    policy = load_policy(args.policy, threads=1)
    with EmbeddingCache(
        args.folder / "embeddings", policy.encoder_fingerprint, policy.encoding_width, pooling=policy.pooling
    ) as cache:
        known, unseen = load(args.train, policy, cache), load(args.held_out, policy, cache)
    states = load_states(args.train)
    figures: dict[str, dict[str, Any]] = {}
    begun: dict[tuple[str, int], EnergyHead] = {}
    table = Table(title=f"Held out, {args.steps} steps, {args.seeds} seeds (mean ± deviation over seeds)")
    for column in ("iteration", "head", "steps", "rank-1", "AUC", "train, s"):
        table.add_column(column, justify="left" if column == "head" else "right")
    for iteration, rows in enumerate(windows(known.frame, args.iterations)):
        part = Rows(known.frame[rows], known.vectors[rows], np.arange(len(rows)))
        for kind in KINDS:
            steps = args.steps // 4 if "quarter" in kind else args.steps
            ranks, areas, seconds = [], [], []
            for seed in range(args.seeds):
                began = time.process_time()
                start = begun.get((kind, seed)) if kind.startswith("warm") else None
                begun[kind, seed] = fit(states[rows], part.vectors, steps, seed, start)
                seconds.append(time.process_time() - began)
                ranked, area = quality(begun[kind, seed], part, unseen)
                ranks.append(ranked)
                areas.append(area)
            table.add_row(
                str(iteration), kind, str(steps), spread(ranks), spread(areas), f"{statistics.mean(seconds):.1f}"
            )
            figures[f"{iteration}, {kind}"] = {"rank1": ranks, "auc": areas, "seconds": seconds}
    Console(width=130).print(table)
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()

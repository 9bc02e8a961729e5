"""Which head, which objective, which input: one table, same trajectories, same seeds, same number of steps.

    python benchmarks/guidance_heads.py --train a.parquet --held-out b.parquet,c.parquet [--seeds 3] [--steps 600]

Trains a head per row and seed on the trajectories of `--train`, and ranks the states of `--held-out` with it (both as
`prover search` writes them; the theorems of the two must differ). Prints sibling rank-1 by depth of the parent, of the
energy and of the mix with the policy at beta 1, with 95% bootstrap intervals over sibling sets for the first seed; AUC;
and what training and scoring cost, in CPU seconds of this process. Rows marked `offline` need more than a state's text
at scoring time (its parent, the policy's log-probabilities, vectors of single tokens or of other layers), so they are
ranked here but cannot guide a search yet. Layers are given as a share of the model's depth, by the mean over tokens.
`attention` weighs the last layer's tokens by a query that is trained with the head.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.table import Table
from token_states import AttentionHead, TokenStates, fit_attention

from ebm.calibration import combined_priority, fit_scales, mean_log_prob
from ebm.embeddings import EmbeddingCache
from ebm.evaluation import Ranking
from ebm.model import EnergyHead, EnergyHeadConfig
from ebm.ranking import auc, rank1_by_depth, sibling_groups
from ebm.training import ContrastiveIndex, ContrastiveSampler, EBMTrainingConfig, train
from ebm.training.records import load_states
from prover.policy import load_policy
from prover.search import MixingCalibration
from prover.states import state_key
from prover.trajectory import read_trajectories
from prover.trajectory.labels import merge_labels

BETA = 1.0
BUCKETS = ("0-1", "2-3", "4-7", "8+", "all")


@dataclass(frozen=True)
class Variant:
    """A row of the table."""

    name: str
    training: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    inputs: str = "state"
    pooling: str = "mean+max+early"
    heads: int = 1
    bonus: float = 0.0
    """Of an ensemble: how much the spread of its heads counts for a state, in deviations."""
    offline: bool = False


VARIANTS: tuple[Variant, ...] = (
    Variant("InfoNCE (today)"),
    Variant("InfoNCE, positives by state", {"balance": "state"}),
    Variant("InfoNCE, positives by sqrt", {"balance": "sqrt"}),
    Variant("InfoNCE, no depth loss", {"depth_loss_weight": 0.0}),
    Variant("InfoNCE, medium only", {"hard_ratio": 0.0, "medium_ratio": 1.0, "easy_ratio": 0.0}),
    Variant("distance, 64 bins", {"objective": "distance"}, {"n_bins": 64}),
    Variant("margin", {"objective": "margin", "hard_ratio": 0.4, "medium_ratio": 0.4, "easy_ratio": 0.2}),
    Variant(
        "listwise over siblings (K = 7)", {"hard_ratio": 1.0, "medium_ratio": 0.0, "easy_ratio": 0.0, "k_negatives": 7}
    ),
    Variant("ensemble of 3, mean", heads=3),
    Variant("ensemble of 3, mean + spread", heads=3, bonus=0.5),
    Variant("input: mean of the last layer", pooling="mean"),
    Variant("input: mean of an early layer", pooling="early"),
    Variant("input: last token", pooling="last"),
    Variant("layer .3 of the depth", inputs="layer 0.3", pooling="tokens", offline=True),
    Variant("layer .5 of the depth", inputs="layer 0.5", pooling="tokens", offline=True),
    Variant("layer .7 of the depth", inputs="layer 0.7", pooling="tokens", offline=True),
    Variant("layer 1.0 of the depth", inputs="layer 1.0", pooling="tokens", offline=True),
    Variant("attention over tokens", inputs="attention", pooling="tokens", offline=True),
    Variant("input: child minus parent", inputs="difference", offline=True),
    Variant("input: state and difference", inputs="state+difference", offline=True),
    Variant("input: log-prob and entropy too", inputs="state+policy", offline=True),
)


@dataclass
class Rows:
    """Trajectory rows with merged labels, and the inputs of each row."""

    frame: pl.DataFrame
    vectors: np.ndarray
    """(n, width) of the states; zeros for finished proofs."""
    parents: np.ndarray
    """(n,) row of the parent; a root is its own."""
    tokens: TokenStates | None = None
    """Where single tokens or layers are asked for."""

    def inputs(self, kind: str) -> np.ndarray:
        """(n, width of the kind) float32."""
        if self.tokens is not None:
            return self.tokens.inputs(kind)
        difference = self.vectors - self.vectors[self.parents]
        match kind:
            case "state":
                return self.vectors
            case "difference":
                return difference
            case "state+difference":
                return np.concatenate([self.vectors, difference], axis=1)
        return np.concatenate([self.vectors, self._policy_inputs()], axis=1)

    def _policy_inputs(self) -> np.ndarray:
        """(n, 3): log-prob of the last tactic, mean over the path, entropy over the siblings that were kept."""
        frame = self.frame
        total = frame["llm_log_prob"].to_numpy()
        step = total - total[self.parents]
        keys = ["search_id", "theorem_name", "parent_state_id"]
        shares = frame.select(*keys, share=pl.Series(np.exp(step))).with_columns(
            share=pl.col("share") / pl.col("share").sum().over(keys)
        )
        entropy = shares.select(-(pl.col("share") * pl.col("share").log()).sum().over(keys)).to_series().fill_nan(0.0)
        return np.stack([step, mean_log_prob(frame), entropy.to_numpy()], axis=1).astype(np.float32)


def load(files: Sequence[str], policy: Any, cache: EmbeddingCache) -> Rows:
    """Rows of trajectory files; states that the cache lacks are encoded."""
    frame = merge_labels(read_trajectories(list(files)))
    alive = frame.filter(pl.col("state_pp") != "")
    texts = {state_key(text): text for text in alive["state_pp"].unique().to_list()}
    cache.encode_missing(policy, texts, 32, None)
    vectors = np.zeros((len(frame), cache.width), dtype=np.float32)
    has_text = (frame["state_pp"] != "").to_numpy()
    vectors[has_text] = cache.gather([state_key(text) for text in alive["state_pp"].to_list()])
    node = ["search_id", "theorem_name", "state_id"]
    rows = frame.with_row_index("row")
    found = rows.join(
        rows.select(*node, pl.col("row").alias("parent_row")).unique(node),
        left_on=[*node[:2], "parent_state_id"],
        right_on=node,
        how="left",
        maintain_order="left",
    ).select(pl.coalesce("parent_row", "row"))
    return Rows(frame, vectors, found.to_series().to_numpy().astype(np.int64))


@dataclass
class Trained:
    """Heads of one variant and seed, their inputs standardised by their own statistics."""

    heads: list[EnergyHead] | list[AttentionHead]
    bonus: float

    def energies(self, inputs: np.ndarray) -> np.ndarray:
        """(n,) lower is better. Of several heads: the mean of z-scores, less the bonus times their deviation."""
        with torch.inference_mode():
            each = np.stack([head(torch.from_numpy(inputs)).double().numpy() for head in self.heads])
        if len(each) == 1:
            return each[0]
        z = (each - each.mean(axis=1, keepdims=True)) / each.std(axis=1, keepdims=True)
        return z.mean(axis=0) - self.bonus * z.std(axis=0)


def fit(variant: Variant, index: ContrastiveIndex, inputs: np.ndarray, steps: int, seed: int) -> tuple[Trained, float]:
    """Train the heads of a variant; also CPU seconds."""
    began, heads = time.process_time(), []
    if variant.inputs == "attention":
        head = fit_attention(index, inputs, steps, seed)
        return Trained([head], variant.bonus), time.process_time() - began
    for offset in range(variant.heads):
        config = EBMTrainingConfig(
            **{"total_steps": steps, "warmup_steps": steps // 10, "batch_size": 64, "lr": 1e-3}
            | {"seed": seed + 100 * offset, "early_stop_patience": 0}
            | variant.training
        )
        sampler = ContrastiveSampler.of(index, config)
        torch.manual_seed(config.seed)
        head = EnergyHead(replace(EnergyHeadConfig(inputs.shape[1], 256, 128), **variant.head))
        heads.append(train(config, head, inputs, sampler).head)
    return Trained(heads, variant.bonus), time.process_time() - began


def rank(frame: pl.DataFrame, energies: np.ndarray, mixing: MixingCalibration) -> Ranking:
    """Sibling rank-1 and AUC of rows with labels."""
    kept = ((frame["label"] != "unknown") & ~frame["is_proof_complete"]).to_numpy()
    rows, energies = frame.filter(kept), energies[kept]
    signals = {
        "policy": rows["llm_log_prob"].to_numpy(),
        "energy": -energies,
        "combined": combined_priority(rows, energies, mixing),
    }
    positive, below = (rows["label"] == "positive").to_numpy(), (rows["depth_from_root"] > 0).to_numpy()
    areas = {name: auc(values[below], positive[below]) for name, values in signals.items()}
    return Ranking(rank1_by_depth(sibling_groups(rows), signals), areas, len(rows))


class FixedScorer:
    """Gives known texts the scores that were computed before, as `fit_scales` needs."""

    def __init__(self, texts: list[str], energies: np.ndarray) -> None:
        self.scores = dict(zip(texts, (-energies).tolist(), strict=True))

    def score_state(self, state: str) -> float:
        return self.scores[state]

    def score_states(self, states: Sequence[str]) -> np.ndarray:
        return np.array([self.scores[state] for state in states])


def cost_of_scoring(trained: Trained, inputs: np.ndarray) -> float:
    """CPU microseconds per state, without making its vector."""
    began = time.process_time()
    trained.energies(inputs)
    return 1e6 * (time.process_time() - began) / len(inputs)


def spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=lambda t: t.split(","), required=True, help="trajectory files, comma-separated")
    parser.add_argument("--held-out", type=lambda t: t.split(","), required=True, help="trajectories of other theorems")
    parser.add_argument("--folder", type=Path, default=Path("data/heads"), help="folder of the vectors")
    parser.add_argument("--policy", type=Path, default=None, help="model folder (default: the shipped policy)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", default="", help="comma-separated beginnings of names; the first row is always there")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, last")
    args = parser.parse_args()
    torch.set_num_threads(1)
    policy = load_policy(args.policy, threads=1)
    wanted = tuple(args.only.split(",")) if args.only else ("",)
    chosen = [v for i, v in enumerate(VARIANTS) if i == 0 or v.name.startswith(wanted)]
    index = ContrastiveIndex.from_states(load_states(args.train))
    console = Console(width=150)
    table = Table(title=f"Held-out ranking, {args.steps} steps, {args.seeds} seeds (mean ± deviation over seeds)")
    for column in ("head", "rank-1 energy", "combined", "AUC energy", *BUCKETS[:-1], "train, s", "score, µs"):
        table.add_column(column, justify="left" if column == "head" else "right")
    figures: dict[str, Any] = {}
    data: dict[str, tuple[Rows, Rows]] = {}
    for variant in chosen:
        if variant.pooling == "tokens" and "tokens" not in data:
            plain = data[VARIANTS[0].pooling]
            data["tokens"] = (
                replace(plain[0], tokens=TokenStates.of(policy, args.policy, plain[0].frame["state_pp"].to_list())),
                replace(plain[1], tokens=TokenStates.of(policy, args.policy, plain[1].frame["state_pp"].to_list())),
            )
        elif variant.pooling not in data:
            view = policy.with_pooling(variant.pooling)
            with EmbeddingCache(
                args.folder / "embeddings", view.encoder_fingerprint, view.encoding_width, pooling=view.pooling
            ) as cache:
                data[variant.pooling] = (load(args.train, view, cache), load(args.held_out, view, cache))
        known, unseen = data[variant.pooling]
        overlap = set(known.frame["theorem_name"].unique()) & set(unseen.frame["theorem_name"].unique())
        if overlap:
            parser.error(f"{len(overlap)} theorems are in both --train and --held-out, e.g. {sorted(overlap)[0]}")
        inputs, held_out = known.inputs(variant.inputs), unseen.inputs(variant.inputs)
        rankings, seconds, cost = [], [], 0.0
        for seed in range(args.seeds):
            trained, took = fit(variant, index, inputs, args.steps, seed)
            scales = fit_scales(known.frame, FixedScorer(known.frame["state_pp"].to_list(), trained.energies(inputs)))
            rankings.append(rank(unseen.frame, trained.energies(held_out), replace(scales, beta=BETA)))
            seconds.append(took)
            cost = cost_of_scoring(trained, held_out)
        if variant is chosen[0]:
            console.print(reference(rankings[0]))
        whole = [ranking.rank1["all"] for ranking in rankings]
        table.add_row(
            variant.name + (" (offline)" if variant.offline else ""),
            spread([row["energy"].mean for row in whole]),
            spread([row["combined"].mean for row in whole]),
            spread([ranking.auc["energy"] for ranking in rankings]),
            *(by_bucket(rankings, bucket) for bucket in BUCKETS[:-1]),
            f"{statistics.mean(seconds):.1f}",
            f"{cost:.0f}",
        )
        figures[variant.name] = [ranking.to_dict() for ranking in rankings]
        console.print(f"{variant.name}: rank-1 {spread([row['energy'].mean for row in whole])}", style="dim")
    console.print(table)
    if args.json:
        print(json.dumps(figures))


def by_bucket(rankings: list[Ranking], bucket: str) -> str:
    """Rank-1 of the mix at one depth, mean over seeds."""
    values = [ranking.rank1[bucket]["combined"].mean for ranking in rankings if bucket in ranking.rank1]
    return f"{statistics.mean(values):.3f}" if values else ""


def reference(ranking: Ranking) -> Table:
    """The first row's first seed beside the policy and chance, with intervals."""
    table = Table(title=f"First row, first seed, {ranking.states} labelled rows: rank-1 by depth, 95% intervals")
    signals = ("random", "policy", "energy", "combined")
    for column in ("depth", "sibling sets", *signals):
        table.add_column(column, justify="right")
    for bucket, row in ranking.rank1.items():
        cells = [f"{row[s].mean:.3f} [{row[s].low:.3f}, {row[s].high:.3f}]" for s in signals]
        table.add_row(bucket, str(row["random"].n), *cells)
    table.caption = "AUC: " + ", ".join(f"{name} {value:.3f}" for name, value in ranking.auc.items())
    return table


if __name__ == "__main__":
    main()

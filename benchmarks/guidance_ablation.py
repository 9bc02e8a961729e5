"""What makes guidance work: one table, one change per row, on this project's own trajectories.

    python benchmarks/guidance_ablation.py [--train 240] [--test 120] [--steps 1200] [--seeds 1]

Trains an energy head on trajectories of training theorems for each setting, and ranks the states of held-out theorems:
sibling rank-1 of the energy alone and of the combined priority (by depth of the parent for the first row), and AUC,
with 95% bootstrap intervals or over seeds. Searches are kept in --folder and reused, so that a second run only trains.
"""

import argparse
import json
import statistics
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from ebm.calibration import fit_scales
from ebm.embeddings import EmbeddingCache
from ebm.evaluation import Ranking, rank_states
from ebm.inference import EBMScorer
from ebm.model import EnergyHeadConfig
from ebm.training import EBMTrainingConfig, train_from_files
from prover.environments import open_environment
from prover.policy import load_policy
from prover.search import SearchConfig, SearchMemo, search_to_files
from prover.theorems import TheoremSet
from prover.trajectory import read_trajectories
from prover.trajectory.labels import merge_labels

DEFAULT_POOLING = "mean+max+early"
BETA = 0.5


@dataclass(frozen=True)
class Setting:
    group: str
    name: str
    pooling: str = DEFAULT_POOLING
    training: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)


def settings(steps: int) -> list[Setting]:
    only = {"hard_ratio": 0.0, "medium_ratio": 0.0, "easy_ratio": 0.0}
    return [
        Setting("default", "as shipped"),
        *(Setting("pooling", name, pooling=name) for name in ("mean", "max", "early", "mean+max")),
        Setting("inputs", "raw (not standardised)", training={"standardise_inputs": False}),
        Setting("inputs", "raw, pooling mean", pooling="mean", training={"standardise_inputs": False}),
        Setting("spectral norm", "fresh, 5 iterations a forward", head={"power_iteration": "fresh"}),
        Setting("negatives", "hard only", training=only | {"hard_ratio": 1.0}),
        Setting("negatives", "medium only", training=only | {"medium_ratio": 1.0}),
        Setting("negatives", "easy only", training=only | {"easy_ratio": 1.0}),
        *(Setting("K", str(k), training={"k_negatives": k}) for k in (1, 7, 15)),
        *(Setting("depth loss weight", str(w), training={"depth_loss_weight": w}) for w in (0.0, 1.0)),
        *(Setting("steps", str(n), training={"total_steps": n}) for n in (60, 300, 3 * steps)),
    ]


def collect(folder: Path, n_train: int, n_test: int, expansions: int, policy: Any, widen: int) -> None:
    """Search training and held-out theorems with the policy alone; finished theorems are kept."""
    config = SearchConfig(mode="policy-mean", max_expansions=expansions, widen=widen)
    theorems = TheoremSet.load("propositional")
    with open_environment("embedded") as environment, SearchMemo(folder / "memo.sqlite") as memo:
        for split, n in (("train", n_train), ("test", n_test)):
            some = list(theorems.split(split))[:n]
            output = folder / f"{split}-{n}-{expansions}.parquet"
            search_to_files(some, output, environment, policy, config, memo=memo, resume=True)


def measure(
    setting: Setting, seed: int, train_file: Path, test_rows: pl.DataFrame, policy: Any, folder: Path, steps: int
) -> Ranking:
    view = policy.with_pooling(setting.pooling)
    cache = EmbeddingCache(folder / "embeddings", view.encoder_fingerprint, view.encoding_width, pooling=view.pooling)
    config = replace(
        EBMTrainingConfig(total_steps=steps, warmup_steps=100, batch_size=64, lr=1e-3, seed=seed, eval_interval=100),
        **setting.training,
    )
    head = replace(EnergyHeadConfig(view.encoding_width, 256, 128), **setting.head)
    output = folder / "heads" / f"{setting.group}-{setting.name}-{seed}".replace(" ", "_").replace("/", "_")
    train_from_files([train_file], view, output, config, head_config=head, cache=cache)
    scorer = EBMScorer.load(output, view, cache)
    scales = fit_scales(merge_labels(read_trajectories(train_file)), scorer)
    return rank_states(test_rows, scorer, replace(scales, beta=BETA))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("data/ablation"), help="folder of the searches and heads")
    parser.add_argument("--policy", default=None, help="model folder, or `worlds` (default: the default policy)")
    parser.add_argument(
        "--widen",
        type=int,
        default=4,
        help="ask again at expanded nodes, for up to this many times as many candidates",
    )
    parser.add_argument("--train", type=int, default=240, help="training theorems")
    parser.add_argument("--test", type=int, default=120, help="held-out theorems")
    parser.add_argument("--expansions", type=int, default=64, help="expansions per theorem")
    parser.add_argument("--steps", type=int, default=1200, help="training steps of the default setting")
    parser.add_argument("--seeds", type=int, default=1, help="heads trained per setting")
    parser.add_argument("--only", default="", help="comma-separated groups, e.g. pooling,inputs")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, last")
    args = parser.parse_args()

    args.folder.mkdir(parents=True, exist_ok=True)
    policy = load_policy(args.policy)
    collect(args.folder, args.train, args.test, args.expansions, policy, args.widen)
    train_file = args.folder / f"train-{args.train}-{args.expansions}.parquet"
    test_rows = read_trajectories(args.folder / f"test-{args.test}-{args.expansions}.parquet")
    chosen = [s for s in settings(args.steps) if not args.only or s.group in (*args.only.split(","), "default")]

    console = Console(width=130)
    figures: dict[str, Any] = {}
    table = Table(title=f"Held-out sibling rank-1 and AUC (combined: beta {BETA}), {len(test_rows)} states")
    for column in ("change", "setting", "rank-1 energy", "rank-1 combined", "AUC energy", "AUC combined"):
        table.add_column(column, justify="left" if column in ("change", "setting") else "right")
    for setting in chosen:
        rankings = [
            measure(setting, seed, train_file, test_rows, policy, args.folder, args.steps) for seed in range(args.seeds)
        ]
        whole = [ranking.rank1["all"] for ranking in rankings]
        table.add_row(
            setting.group,
            setting.name,
            spread([row["energy"].mean for row in whole]),
            spread([row["combined"].mean for row in whole]),
            spread([ranking.auc["energy"] for ranking in rankings]),
            spread([ranking.auc["combined"] for ranking in rankings]),
        )
        figures[f"{setting.group}: {setting.name}"] = [ranking.to_dict() for ranking in rankings]
        console.print(f"{setting.group}: {setting.name}: energy {whole[0]['energy'].mean:.3f}", style="dim")
        if setting.group == "default":
            console.print(by_depth(rankings[0]))
    console.print(table)
    if args.json:
        print(json.dumps(figures))


def by_depth(ranking: Ranking) -> Table:
    table = Table(title="As shipped, first seed: rank-1 by depth of the parent, with 95% bootstrap intervals")
    signals = ("random", "policy", "energy", "combined")
    for column in ("depth", "sibling sets", *signals):
        table.add_column(column, justify="right")
    for bucket, row in ranking.rank1.items():
        cells = [f"{row[s].mean:.3f} [{row[s].low:.3f}, {row[s].high:.3f}]" for s in signals]
        table.add_row(bucket, str(row["random"].n), *cells)
    table.caption = "AUC: " + ", ".join(f"{name} {value:.3f}" for name, value in ranking.auc.items())
    return table


def spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


if __name__ == "__main__":
    main()

"""What storing hidden vectors as float16 does to an energy model: size, sibling ranking, energies, in one run.

    python benchmarks/embedding_dtype.py [--train 60] [--test 40] [--steps 300] [--seeds 2]

Searches training and held-out theorems with the policy alone, keeps the vectors of their states in two caches, float32
and float16, trains a head from each with the same settings and seed, and ranks held-out siblings with each head and
its cache. The last row is the float32 head on the float16 vectors. Searches are kept in --folder and reused.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from guidance_ablation import BETA, collect, spread
from rich.console import Console
from rich.table import Table

from ebm.calibration import fit_scales
from ebm.embeddings import EmbeddingCache
from ebm.evaluation import Ranking, rank_states
from ebm.inference import EBMScorer
from ebm.model import EnergyHeadConfig
from ebm.training import EBMTrainingConfig, train_from_files
from prover.policy import HuggingFacePolicy, load_policy
from prover.trajectory import read_trajectories
from prover.trajectory.labels import merge_labels


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("data/embedding_dtype"), help="folder of the searches")
    parser.add_argument("--policy", type=Path, default=None, help="model folder (default: the shipped policy)")
    parser.add_argument("--train", type=int, default=60, help="training theorems")
    parser.add_argument("--test", type=int, default=40, help="held-out theorems")
    parser.add_argument("--expansions", type=int, default=32, help="budget per theorem")
    parser.add_argument("--steps", type=int, default=300, help="training steps")
    parser.add_argument("--seeds", type=int, default=2, help="heads per dtype")
    args = parser.parse_args()

    args.folder.mkdir(parents=True, exist_ok=True)
    policy = load_policy(args.policy)
    collect(args.folder, args.train, args.test, args.expansions, policy)
    train = args.folder / f"train-{args.train}-{args.expansions}.parquet"
    test = args.folder / f"test-{args.test}-{args.expansions}.parquet"
    with tempfile.TemporaryDirectory() as scratch:
        show(train, test, policy, Path(scratch), args.steps, args.seeds)


def show(train: Path, test: Path, policy: HuggingFacePolicy, scratch: Path, steps: int, seeds: int) -> None:
    """Train, rank and print. scratch: an empty folder for caches and heads."""
    caches = {
        dtype: EmbeddingCache(
            scratch / dtype, policy.encoder_fingerprint, policy.encoding_width, pooling=policy.pooling, dtype=dtype
        )
        for dtype in ("float32", "float16")
    }
    rows, labelled = read_trajectories(test), merge_labels(read_trajectories(train))
    texts = sorted(set(rows.filter(~rows["is_proof_complete"])["state_pp"].to_list()))
    found: dict[str, list[Ranking]] = {"float32": [], "float16": [], "float32 head, float16 vectors": []}
    moved: list[float] = []
    for seed in range(seeds):
        scorers = {}
        for dtype, cache in caches.items():
            config = EBMTrainingConfig(total_steps=steps, warmup_steps=30, batch_size=64, lr=1e-3, seed=seed)
            head = EnergyHeadConfig(policy.encoding_width, 256, 128)
            output = scratch / f"head-{dtype}-{seed}"
            train_from_files([train], policy, output, config, head_config=head, cache=cache)
            scorers[dtype] = EBMScorer.load(output, policy, cache)
        crossed = EBMScorer.load(scratch / f"head-float32-{seed}", policy, caches["float16"])
        for name, scorer in zip(found, (*scorers.values(), crossed), strict=True):
            found[name].append(rank_states(rows, scorer, replace(fit_scales(labelled, scorer), beta=BETA)))
        energies = scorers["float32"].energies(texts)
        moved.append(float(np.abs(crossed.energies(texts) - energies).max() / energies.std()))
    table = Table(title=f"Held-out siblings: {found['float32'][0].rank1['all']['random'].n} sets, {seeds} seeds")
    for column in ("vectors", "rank-1 energy", "rank-1 combined", "AUC energy"):
        table.add_column(column, justify="left" if column == "vectors" else "right")
    for name, rankings in found.items():
        whole = [ranking.rank1["all"] for ranking in rankings]
        table.add_row(
            name,
            spread([row["energy"].mean for row in whole]),
            spread([row["combined"].mean for row in whole]),
            spread([ranking.auc["energy"] for ranking in rankings]),
        )
    for cache in caches.values():
        cache.flush()
    size = {dtype: sum(path.stat().st_size for path in cache.folder.glob("*.npy")) for dtype, cache in caches.items()}
    console = Console(width=120)
    console.print(table)
    console.print(
        f"Vector files: {size['float16'] / size['float32']:.2f} of the size with float32 "
        f"({len(caches['float16'])} states). "
        f"Largest change of an energy by rounding: {max(moved):.2g} standard deviations of all energies."
    )


if __name__ == "__main__":
    main()

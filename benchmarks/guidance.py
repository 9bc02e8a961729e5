"""Does the energy pay?  The claim of the project, measured on theorems never trained on.

    python benchmarks/guidance.py [--train 720] [--expansions 32] [--seeds 3] [--iterations 2] [--folder data/guidance]

Searches training theorems with the policy alone, trains energy heads, chooses beta on validation theorems, and searches
the held-out test theorems in every order with the same budget. A second iteration searches the training theorems with
the guidance of the first and trains again. Prints the tables, and each target with the measured figure. Searches are
kept in --folder, so that a run that was stopped continues.
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ebm.calibration import Calibration, calibrate
from ebm.checkpoint import write_calibration
from ebm.cli_eval import calibration_table, evaluation_tables
from ebm.embeddings import EmbeddingCache
from ebm.evaluation import Evaluation, evaluate_modes
from ebm.inference import EBMScorer
from ebm.model import EnergyHeadConfig
from ebm.training import EBMTrainingConfig, train_from_files
from prover.environments import open_environment
from prover.policy import load_policy
from prover.search import SearchConfig, SearchMemo, search_to_files
from prover.theorems import TheoremSet
from prover.trajectory import read_trajectories
from prover.trajectory.labels import merge_labels

ALL_MODES = (
    "policy-mean",
    "calibrated",
    "split-queue",
    "random-energy",
    "policy-cumulative",
    "energy-only",
    "raw-half-half",
    "breadth-first",
)


@dataclass
class Bench:
    args: argparse.Namespace
    environment: Any
    policy: Any
    memo: SearchMemo
    console: Console

    def theorems(self, split: str, limit: int) -> list[Any]:
        return list(TheoremSet.load("propositional").split(split))[:limit]

    def config(self, expansions: int, mode: str) -> SearchConfig:
        return SearchConfig(
            max_expansions=expansions, n_candidates=self.args.candidates, mode=mode, widen=self.args.widen
        )

    def search_training(self, iteration: int, scorer: EBMScorer | None) -> Path:
        output = self.args.folder / f"iteration-{iteration}" / "train.parquet"
        output.parent.mkdir(parents=True, exist_ok=True)
        figures = search_to_files(
            self.theorems("train", self.args.train),
            output,
            self.environment,
            self.policy,
            self.config(self.args.expansions, "policy-mean" if scorer is None else "calibrated"),
            scorer=scorer,
            memo=self.memo,
            iteration=iteration,
            resume=True,
        )
        self.console.print(
            f"iteration {iteration}: {figures['proved']} of {figures['theorems']} training theorems proved"
        )
        return output

    def train(self, iteration: int, files: list[Path], seed: int) -> EBMScorer:
        policy = self.policy
        cache = EmbeddingCache(
            self.args.folder / "embeddings", policy.encoder_fingerprint, policy.encoding_width, pooling=policy.pooling
        )
        output = self.args.folder / f"iteration-{iteration}" / f"ebm-{seed}"
        training = EBMTrainingConfig(
            total_steps=self.args.steps, warmup_steps=100, batch_size=64, lr=1e-3, seed=seed, eval_interval=100
        )
        head = EnergyHeadConfig(policy.encoding_width, 256, 128)
        train_from_files(files, policy, output, training, head_config=head, cache=cache)
        return EBMScorer.load(output, policy, cache)

    def calibrate(self, iteration: int, scorer: EBMScorer, files: list[Path], seed: int) -> Calibration:
        found = calibrate(
            scorer,
            merge_labels(read_trajectories(files)),
            self.theorems("valid", self.args.valid),
            self.environment,
            self.policy,
            self.config(max(self.args.budgets), "calibrated"),
            memo=self.memo,
        )
        write_calibration(self.args.folder / f"iteration-{iteration}" / f"ebm-{seed}", found.mixing, found.evidence())
        scorer.calibration = found.mixing
        return found

    def evaluate(self, iteration: int, scorer: EBMScorer, seed: int, modes: tuple[str, ...]) -> Evaluation:
        return evaluate_modes(
            self.theorems("test", self.args.test),
            self.environment,
            self.policy,
            self.config(max(self.args.budgets), "policy-mean"),
            self.args.folder / f"iteration-{iteration}" / f"test-{seed}",
            modes=modes,
            budgets=self.args.budgets,
            scorer=scorer,
            memo=self.memo,
        )


def run(bench: Bench) -> dict[str, Any]:
    args, console = bench.args, bench.console
    files: list[Path] = []
    scorer: EBMScorer | None = None
    areas: list[float] = []
    first: list[Evaluation] = []
    figures: dict[str, Any] = {"iterations": []}
    for iteration in range(args.iterations):
        files.append(bench.search_training(iteration, scorer))
        seeds = range(args.seeds if iteration == 0 else 1)
        evaluations: list[Evaluation] = []
        scorers: list[EBMScorer] = []
        for seed in seeds:
            candidate = bench.train(iteration, files, seed)
            calibration = bench.calibrate(iteration, candidate, files, seed)
            console.print(f"iteration {iteration}, head seed {seed}:", calibration_table(calibration))
            modes = tuple(args.modes) if iteration == 0 and seed == 0 else ALL_MODES[:2]
            evaluations.append(bench.evaluate(iteration, candidate, seed, modes))
            console.print(*evaluation_tables(evaluations[-1]))
            scorers.append(candidate)
        scorer = scorers[0]
        areas.append(evaluations[0].modes[1].area)
        figures["iterations"].append([evaluation.to_dict() for evaluation in evaluations])
        first = first or evaluations
    console.print(targets(first, areas))
    return figures


def targets(evaluations: list[Evaluation], areas: list[float]) -> Table:
    """Each target of the project with the figure of the first head, and the spread over heads."""
    table = Table(title="Targets (first head; spread over head seeds)")
    for column in ("target", "wanted", "measured", "over heads", "met"):
        table.add_column(column)

    def row(name: str, wanted: str, values: list[float], met: bool, digits: int = 3) -> None:
        spread = (
            f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        )
        table.add_row(name, wanted, f"{values[0]:.{digits}f}", spread, "yes" if met else "NO")

    def gain(evaluation: Evaluation, bucket: str) -> float:
        assert evaluation.ranking is not None
        ranks = evaluation.ranking.rank1[bucket]
        return 100 * (ranks["combined"].mean - ranks["policy"].mean)

    whole = [gain(e, "all") for e in evaluations]
    row("rank-1, combined above policy (points)", ">= 8", whole, whole[0] >= 8, 1)
    assert evaluations[0].ranking is not None
    for bucket in evaluations[0].ranking.rank1:
        if bucket != "all":
            values = [gain(e, bucket) for e in evaluations]
            row(f"  at depth {bucket}", ">= 0", values, values[0] >= 0, 1)
    areas_gained = [e.modes[1].area - e.modes[0].area for e in evaluations]
    row("area, calibrated above policy-mean", ">= .11", areas_gained, areas_gained[0] >= 0.11)
    paired = [e.comparison.paired for e in evaluations if e.comparison is not None]
    row("paired sign test, p", "< .01", [p.p_value for p in paired], paired[0].p_value < 0.01, 5)
    row("ratio of expansions to proof", "<= .68", [p.ratio for p in paired], paired[0].ratio <= 0.68)
    if len(areas) > 1:
        row("held-out area, next iteration minus first", ">= 0", [areas[1] - areas[0]], areas[1] >= areas[0])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("data/guidance"), help="folder of the searches and heads")
    parser.add_argument("--policy", default=None, help="model folder, or `worlds` (default: the default policy)")
    parser.add_argument(
        "--widen",
        type=int,
        default=4,
        help="ask again at expanded nodes, for up to this many times as many candidates",
    )
    parser.add_argument("--train", type=int, default=720, help="training theorems")
    parser.add_argument("--valid", type=int, default=120, help="validation theorems")
    parser.add_argument("--test", type=int, default=180, help="held-out theorems")
    parser.add_argument("--expansions", type=int, default=32, help="budget of a training theorem")
    parser.add_argument("--candidates", type=int, default=8, help="tactics tried at a node")
    parser.add_argument("--budgets", type=lambda text: [int(b) for b in text.split(",")], default=[4, 8, 16, 32, 64])
    parser.add_argument("--steps", type=int, default=1200, help="training steps of a head")
    parser.add_argument("--seeds", type=int, default=3, help="heads trained in the first iteration")
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument(
        "--modes",
        type=lambda text: [*ALL_MODES[:2], *(m for m in text.split(",") if m not in ALL_MODES[:2])],
        default=list(ALL_MODES),
        help="orders to try with the first head, beside policy-mean and calibrated (default: all)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, last")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=130)
    with open_environment("embedded") as environment, SearchMemo(args.folder / "memo.sqlite") as memo:
        figures = run(Bench(args, environment, load_policy(args.policy), memo, console))
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()

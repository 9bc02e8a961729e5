"""Does tuning the policy pay?  Iterations that train the head alone against iterations that tune the policy too.

    python benchmarks/policy_iteration.py [--train 120] [--test 90] [--rounds 2] [--folder data/policy-iteration]

Both arms begin with one search of training theorems by the shipped policy. Head-only: an energy model is trained,
guides the search of the next training theorems, and is trained again. Policy tuning: the policy is fine-tuned on the
certified proofs, searches the next training theorems alone, and is tuned again, from the shipped one, on all proofs so
far; an energy model is trained on all states, embedded with the tuned policy. Every policy and every energy model is
then measured on the same held-out theorems. Weight of the energy: --beta, not calibrated, for speed. Searches are kept
in --folder: a run that was stopped continues.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from ebm.calibration import fit_scales
from ebm.embeddings import EmbeddingCache
from ebm.inference import EBMScorer
from ebm.model import EnergyHeadConfig
from ebm.training import EBMTrainingConfig, train_from_files
from prover.environments import open_environment
from prover.evaluation.comparison import ModeResult, compare_modes, mode_result
from prover.policy import load_policy
from prover.policy.finetune import FineTuneConfig, FineTuneResult, fine_tune_from_files
from prover.policy.separation import Separation
from prover.search import MixingCalibration, SearchConfig, SearchMemo, search_to_files
from prover.theorems import TheoremSet
from prover.trajectory import read_summaries, read_trajectories
from prover.trajectory.labels import merge_labels

ACCEPTED = ("progress", "complete")


class Bench:
    """Searches, trains and tunes in one folder."""

    def __init__(self, args: argparse.Namespace, environment: Any, memo: SearchMemo, console: Console) -> None:
        self.args, self.environment, self.memo, self.console = args, environment, memo, console
        self.rows: list[tuple[str, ModeResult, float, Separation | None]] = []

    def search(
        self,
        name: str,
        theorems: list[Any],
        expansions: int,
        policy: Any,
        guided_by: tuple[EBMScorer, MixingCalibration] | None = None,
    ) -> Path:
        """Search into NAME.parquet; `guided_by`: energy model and its scales."""
        output = self.args.folder / f"{name}.parquet"
        mode = "policy-mean" if guided_by is None else "calibrated"
        figures = search_to_files(
            theorems,
            output,
            self.environment,
            policy,
            SearchConfig(
                max_expansions=expansions,
                n_candidates=self.args.candidates,
                mode=mode,
                widen=self.args.widen,
                time_limit_s=None,
            ),
            scorer=None if guided_by is None else guided_by[0],
            calibration=None if guided_by is None else guided_by[1],
            memo=self.memo,
            resume=True,
        )
        self.console.print(f"{name}: {figures['proved']} of {figures['theorems']} proved, {figures['seconds']:.0f} s")
        return output

    def train_theorems(self, round_: int) -> list[Any]:
        """The training theorems of a round: the next ones, as in the loop."""
        everything = list(TheoremSet.load("propositional:train"))
        return everything[round_ * self.args.train : (round_ + 1) * self.args.train]

    def head(self, name: str, files: list[Path], own: list[Path], policy: Any) -> tuple[EBMScorer, MixingCalibration]:
        """An energy model on the states of `files`, embedded with `policy`; its scales from `own`, the searches that
        this policy made: log-probabilities of another one have another scale."""
        cache = EmbeddingCache(
            self.args.folder / "embeddings", policy.encoder_fingerprint, policy.encoding_width, pooling=policy.pooling
        )
        training = EBMTrainingConfig(total_steps=self.args.head_steps, warmup_steps=100, batch_size=64, lr=1e-3)
        head = EnergyHeadConfig(policy.encoding_width, 256, 128)
        train_from_files(files, policy, self.args.folder / name, training, head_config=head, cache=cache)
        scorer = EBMScorer.load(self.args.folder / name, policy, cache)
        scales = fit_scales(merge_labels(read_trajectories(own)), scorer)
        mixing = MixingCalibration(scales.mu_energy, scales.sigma_energy, scales.sigma_log_prob, self.args.beta)
        return scorer, mixing

    def tune(self, name: str, files: list[Path]) -> FineTuneResult:
        """The shipped policy, tuned on the proofs in `files`."""
        args = self.args
        config = FineTuneConfig(
            steps=args.steps,
            epochs=args.epochs,
            learning_rate=args.learning_rate,
            anchor_weight=args.anchor_weight,
            deduplicate=not args.keep_duplicates,
        )
        found = fine_tune_from_files(files, args.policy, args.folder / name, config)
        self.console.print(
            f"{name}: {found.n_examples} of {found.n_given} steps of {found.n_theorems} theorems, {found.n_steps} "
            f"gradient steps, {found.seconds:.0f} s; loss {found.loss_before:.3f} -> {found.loss_after:.3f}, on those "
            f"kept back {found.held_out_before:.3f} -> {found.held_out_after:.3f} nats a token"
        )
        return found

    def measure(self, name: str, policy: Any, guided_by: Any = None, separation: Separation | None = None) -> None:
        """Search the held-out theorems and remember the result."""
        theorems = list(TheoremSet.load("propositional:test"))[: self.args.test]
        output = self.search(f"test-{name.replace(' ', '-')}", theorems, max(self.args.budgets), policy, guided_by)
        outcomes = pl.read_parquet(output.with_suffix(".attempts.parquet"))["outcome"]
        accepted = outcomes.is_in(ACCEPTED).sum() / outcomes.len()
        self.rows.append((name, mode_result(name, read_summaries(output), self.args.budgets), accepted, separation))


def run(bench: Bench) -> None:
    args = bench.args
    shipped = load_policy(args.policy, threads=1)
    first = bench.search("train-0", bench.train_theorems(0), args.expansions, shipped)
    bench.measure("shipped", shipped)

    files, guided_by = [first], None
    for round_ in range(args.rounds):
        guided_by = bench.head(f"head-{round_}", files, files, shipped)
        bench.measure(f"head only {round_ + 1}", shipped, guided_by)
        if round_ + 1 < args.rounds:
            theorems = bench.train_theorems(round_ + 1)
            files.append(bench.search(f"train-{round_ + 1}-head", theorems, args.expansions, shipped, guided_by))

    files = [first]
    for round_ in range(args.rounds):
        found = bench.tune(f"policy-{round_ + 1}", files)
        if round_ == 0:
            name, result, accepted, _ = bench.rows[0]
            bench.rows[0] = (name, result, accepted, found.separation_before)
        policy = load_policy(found.output, threads=1)
        bench.measure(f"tuned {round_ + 1}", policy, None, found.separation_after)
        theorems = bench.train_theorems(round_ + 1)
        if round_ + 1 < args.rounds:
            files.append(bench.search(f"train-{round_ + 1}-tuned", theorems, args.expansions, policy))
            guided_by = bench.head(f"head-tuned-{round_ + 1}", files, files[-1:], policy)
            bench.measure(f"tuned {round_ + 1} + head", policy, guided_by)


def table(bench: Bench) -> Table:
    """One row per policy, or pair of policy and energy model, each against the shipped policy alone."""
    budgets, rows = bench.args.budgets, bench.rows
    title = f"{bench.args.test} held-out theorems; {bench.args.train} training theorems per round"
    found = Table(title=title)
    for column in (
        "",
        *(f"@{budget}" for budget in budgets),
        "area",
        "faster",
        "slower",
        "p",
        "ratio",
        "accepted",
        "distance",
        "AUC",
    ):
        found.add_column(column, justify="left" if not column else "right")
    for name, result, accepted, separation in rows:
        paired = compare_modes(rows[0][1], result, budgets).paired
        against = (
            ["", "", "", ""]
            if result is rows[0][1]
            else [str(paired.faster), str(paired.slower), f"{paired.p_value:.2g}", f"{paired.ratio:.2f}"]
        )
        probe = (
            ["", ""] if separation is None else [f"{separation.centroid_distance:.2f}", f"{separation.probe_auc:.2f}"]
        )
        solved = [str(result.solved[budget]) for budget in budgets]
        found.add_row(name, *solved, f"{result.area:.3f}", *against, f"{accepted:.1%}", *probe)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("data/policy-iteration"), help="folder of all files")
    parser.add_argument("--train", type=int, default=120, help="training theorems per round")
    parser.add_argument("--test", type=int, default=90, help="held-out theorems")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--expansions", type=int, default=32, help="budget of a training theorem")
    parser.add_argument(
        "--widen",
        type=int,
        default=4,
        help="ask again at expanded nodes, for up to this many times as many candidates",
    )
    parser.add_argument("--policy", default=None, help="model folder, or `worlds` (default: the default policy)")
    parser.add_argument("--candidates", type=int, default=8, help="tactics tried at a node")
    parser.add_argument("--budgets", type=lambda text: [int(b) for b in text.split(",")], default=[4, 8, 16, 32, 64])
    parser.add_argument("--steps", type=int, default=600, help="gradient steps per tuning, at most")
    parser.add_argument("--epochs", type=float, default=8.0, help="passes over the steps of proofs, at most")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--anchor-weight", type=float, default=0.2)
    parser.add_argument("--keep-duplicates", action="store_true", help="learn repeated steps as often as they occur")
    parser.add_argument("--head-steps", type=int, default=1200, help="training steps of an energy model")
    parser.add_argument("--beta", type=float, default=1.0, help="weight of the energy")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, last")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    console, started = Console(width=130, highlight=False), time.perf_counter()
    with open_environment("embedded") as environment, SearchMemo(args.folder / "memo.sqlite") as memo:
        bench = Bench(args, environment, memo, console)
        run(bench)
    console.print(table(bench))
    console.print(
        "Against the first row: theorems proved in fewer and in more expansions, sign test, geometric-mean ratio of "
        "expansions where both prove. accepted: tactics that Lean accepts, of those tried. distance, AUC: positive "
        f"from negative training states in the policy's vectors. {time.perf_counter() - started:.0f} s."
    )
    if args.json:
        print(json.dumps([{"name": name, **result.to_dict(), "accepted": acc} for name, result, acc, _ in bench.rows]))


if __name__ == "__main__":
    main()

"""Does the loop climb?  Rounds of expert iteration on a mix of worlds, with controls, each arm on the same theorems.

    python benchmarks/expert_iteration.py [--rounds 8] [--arms full,frozen] [--worlds propositional,first_order]
                                          [--seeds 0,1,2] [--folder data/expert-iteration]

A round: search of training theorems (chosen by the curriculum, guided by the champion if one reads this policy's
vectors), an energy model on the latest searches, the tuned policy on all certified proofs so far (shortened first), and
the two gates. Then held-out theorems, never trained on, are searched with the policy of the round alone and with its
energy model. --transfer names a set that is never trained on nor chosen by, searched whole in the first and the last
round: `nng` shows whether what was learnt helps elsewhere. Worlds without splits are split by place. Everything is kept
in --folder: a run that was stopped continues.

Arms (`expert_iteration_arms.py`): the whole loop, and the loop with one mechanism off. With more than one arm, a
table compares each with the first one, over the same held-out theorems and seeds, in the last round.
"""

import argparse
import json
import random
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from expert_iteration_arms import ARMS
from expert_iteration_picture import draw
from expert_iteration_tables import Outcome, Row, ablation_table, rounds_table, verdict_lines
from rich.console import Console

from ebm.calibration import CalibrationError, fit_scales
from ebm.embeddings import EmbeddingCache
from ebm.inference import EBMScorer
from ebm.model import EnergyHeadConfig
from ebm.training import EBMTrainingConfig, train_from_files
from prover.environments import open_environment
from prover.evaluation.gate import GateSettings, Measured, measure, pass_gate
from prover.evaluation.statistics import Expansions, area_under_solve_curve
from prover.policy import load_policy
from prover.policy.finetune import FineTuneConfig, FineTuneError, ProvedStep, fine_tune
from prover.search import MixingCalibration, SearchConfig, SearchMemo, search, search_to_files
from prover.search.budgets import Budget, BudgetedSearch
from prover.search.curriculum import plan_round, read_records
from prover.search.curriculum_config import CurriculumSettings
from prover.search.shorten import FoundProof, shorten_proofs
from prover.theorems import Theorem, TheoremSet
from prover.trajectory import read_summaries, read_trajectories
from prover.trajectory.labels import merge_labels
from prover.trajectory.proofs import proof_paths
from prover_assets.steps.lessons import LessonSettings

SPLITS = ("train", "valid", "test")


@dataclass(slots=True)
class State:
    """What one arm carries from round to round."""

    policy: Path | None = None
    """Folder of the adopted policy; None: the one that was given."""
    champion: tuple[Path, MixingCalibration, str] | None = None
    """Energy model, its scales and weight, and the encoder whose vectors it reads."""
    trained: list[Path] = field(default_factory=list)
    """Searches of training theorems so far."""
    lessons: dict[ProvedStep, bool] = field(default_factory=dict)
    """Steps to learn, and whether their theorem was easy."""
    newest: dict[ProvedStep, bool] = field(default_factory=dict)
    """Those of the latest round."""
    policy_gains: list[Measured] = field(default_factory=list)
    energy_gains: list[Measured] = field(default_factory=list)
    proved: set[str] = field(default_factory=set)


class Bench:
    """One arm with one seed."""

    def __init__(self, args: argparse.Namespace, arm: str, seed: int, environment: Any, console: Console) -> None:
        self.args, self.arm, self.seed, self.environment, self.console = args, arm, seed, environment, console
        self.on = ARMS[arm]
        self.folder = args.folder / f"{arm}-{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sets = {split: {world: theorems_of(world, split) for world in args.worlds} for split in SPLITS}
        self.memo = SearchMemo(args.folder / "memo.sqlite")
        self.rows: list[Row] = []
        self.last = Outcome({}, {})
        self.first_policy = load_policy(args.policy, threads=1)

    def search(
        self,
        name: str,
        theorems: Sequence[Theorem],
        expansions: int,
        policy: Any,
        guide: tuple[EBMScorer, MixingCalibration] | None = None,
        budgets: dict[str, Budget] | None = None,
    ) -> Path:
        """Search into NAME.parquet."""
        output = self.folder / f"{name}.parquet"
        search_to_files(
            theorems,
            output,
            self.environment,
            policy,
            SearchConfig(
                max_expansions=expansions,
                n_candidates=self.args.candidates,
                mode="policy-mean" if guide is None else self.on.energy,
                widen=SearchConfig().widen if self.on.widen else 1,
                time_limit_s=None,
                seed=self.seed,
            ),
            scorer=None if guide is None else guide[0],
            calibration=None if guide is None else guide[1],
            memo=self.memo,
            resume=True,
            searcher=search if budgets is None else BudgetedSearch(search, budgets),
        )
        return output

    def mixed(self, split: str, count: int, turn: int) -> list[Theorem]:
        """The next `count` theorems of each world."""
        found = []
        for theorems in self.sets[split].values():
            size = min(count, len(theorems))
            start = turn * size % len(theorems)
            found += (theorems + theorems)[start : start + size]
        return found

    def train_search(self, number: int, state: State, policy: Any, guide: Any) -> Path:
        """The training theorems of a round."""
        args, everything = self.args, [t for world in self.sets["train"].values() for t in world]
        base = Budget(args.expansions, args.candidates)
        settings = CurriculumSettings(
            curriculum=self.on.curriculum,
            largest_budget=CurriculumSettings().largest_budget if self.on.growing_budgets else 1,
            grow_candidates=self.on.growing_budgets,
            curriculum_seed=self.seed,
        )
        if not settings.curriculum or number == 0:
            return self.search(
                f"train-{number}", self.mixed("train", args.train, number), args.expansions, policy, guide
            )
        records = read_records([path.with_suffix(".summary.parquet") for path in state.trained])
        plan = plan_round(
            everything, records, settings, n_theorems=args.train * len(args.worlds), base=base, iteration=number
        )
        return self.search(f"train-{number}", plan.theorems, args.expansions, policy, guide, plan.budgets)

    def learn(self, number: int, path: Path, state: State) -> None:
        """Add the shortened proofs of a search to the lessons, as the asset `policy_checkpoint` does."""
        rows = read_summaries(path).filter("proved").iter_rows(named=True)
        summaries = {row["theorem_name"]: row for row in rows}
        state.proved |= summaries.keys()
        paths = [p for p in proof_paths(read_trajectories([path])) if p.whole and p.theorem in summaries]
        given = []
        for found in paths:
            row = summaries[found.theorem]
            theorem = Theorem(found.theorem, row["statement"], row["header"])
            given.append(FoundProof(theorem, tuple(tactic for _, tactic in found.steps)))
        shorter = shorten_proofs(given, self.environment) if self.on.shorten else [None] * len(given)
        removed, lessons = 0, dict[ProvedStep, bool]()
        for found, short in zip(paths, shorter, strict=True):
            removed += 0 if short is None else short.removed
            easy = summaries[found.theorem]["expansions_to_proof"] <= LessonSettings().easy_expansions
            for step in found.steps if short is None else short.steps:
                lessons[ProvedStep(found.theorem, *step)] = easy
        state.newest = lessons
        if not self.on.replay:
            state.lessons.clear()
        state.lessons |= lessons
        self.console.print(f"  round {number}: {len(given)} proofs, {removed} needless steps removed")

    def spared(self, number: int, lessons: dict[ProvedStep, bool]) -> list[ProvedStep]:
        """The steps to learn in a round: half of those of easy theorems, each round another half."""
        draw = random.Random(f"{self.seed}/{number}")
        share = LessonSettings().easy_share if self.on.spare_easy else 1.0
        return [step for step, easy in lessons.items() if not easy or draw.random() < share]

    def encoder(self, policy: Any) -> Any:
        """Whose vectors the energy model of this policy reads."""
        return policy if self.on.own_vectors else self.first_policy

    def head(self, number: int, state: State, policy: Any) -> tuple[Path, EBMScorer, MixingCalibration] | None:
        """An energy model on the latest searches, with the scales of this policy's own."""
        args, folder, policy = self.args, self.folder / f"head-{number}", self.encoder(policy)
        cache = EmbeddingCache(
            args.folder / "embeddings", policy.encoder_fingerprint, policy.encoding_width, pooling=policy.pooling
        )
        warmup = min(50, args.head_steps // 2)
        training = EBMTrainingConfig(
            total_steps=args.head_steps, warmup_steps=warmup, batch_size=64, lr=1e-3, seed=self.seed
        )
        head = EnergyHeadConfig(policy.encoding_width, 256, 128)
        if not (folder / "config.json").exists():
            train_from_files(state.trained[-args.history :], policy, folder, training, head_config=head, cache=cache)
        scorer = EBMScorer.load(folder, policy, cache)
        try:
            scales = fit_scales(merge_labels(read_trajectories([state.trained[-1]])), scorer)
        except CalibrationError as error:
            self.console.print(f"  no energy: {error}")
            return None
        return (
            folder,
            scorer,
            MixingCalibration(scales.mu_energy, scales.sigma_energy, scales.sigma_log_prob, args.beta),
        )

    def gain(self, first: Expansions, second: Expansions) -> Measured:
        return measure(first, second, lowest=4, highest=self.args.validation_expansions)

    def tune(self, number: int, state: State, policy: Any, before: Expansions, window: list[Theorem]) -> str:
        """The policy of the next round; what the gate said."""
        args, folder = self.args, self.folder / f"policy-{number}"
        config = FineTuneConfig(
            steps=args.steps,
            epochs=args.epochs,
            learning_rate=args.learning_rate,
            anchor_weight=args.anchor_weight,
            deduplicate=self.on.deduplicate,
            replay_share=0.5 if self.on.from_current else 0.0,
            seed=self.seed,
        )
        try:
            if not folder.exists():
                learnt = self.spared(number, state.newest if self.on.from_current else state.lessons)
                older = [step for step in state.lessons if step not in state.newest] if self.on.from_current else ()
                start = (state.policy if self.on.from_current else None) or args.policy
                fine_tune(learnt, start, folder, config, replay=older)
        except FineTuneError as error:
            return f"none: {error}"
        tuned = load_policy(folder, threads=1)
        path = self.search(f"valid-{number}-tuned", window, args.validation_expansions, tuned)
        measured = self.gain(before, expansions_of(path))
        verdict = pass_gate(measured, state.policy_gains, GateSettings())
        state.policy_gains.append(measured)
        adopted = verdict.passed or not self.on.gate
        if adopted:
            state.policy = folder
        return f"{'adopted' if adopted else 'kept'} {measured.gain:+.3f}, wrong {verdict.chance_wrong:.0%}"

    def round(self, number: int, state: State) -> None:
        """One round, and its measurement on held-out theorems."""
        args, began, cpu = self.args, time.monotonic(), cpu_seconds()
        policy = load_policy(state.policy or args.policy, threads=1)
        guide = None
        encoder = self.encoder(policy)
        if state.champion is not None and state.champion[2] == encoder.encoder_fingerprint:
            guide = EBMScorer.load(state.champion[0], encoder), state.champion[1]
        path = self.train_search(number, state, policy, guide)
        state.trained.append(path)
        self.learn(number, path, state)
        made = self.head(number, state, policy) if self.on.energy else None
        window = self.mixed("valid", args.valid, number)
        alone = expansions_of(self.search(f"valid-{number}", window, args.validation_expansions, policy))
        energy = "none"
        if made is not None:
            folder, scorer, mixing = made
            path = self.search(f"valid-{number}-guided", window, args.validation_expansions, policy, (scorer, mixing))
            measured = self.gain(alone, expansions_of(path))
            verdict = pass_gate(measured, state.energy_gains, GateSettings(minimum_gain=0.01))
            state.energy_gains.append(measured)
            energy = f"{'promoted' if verdict.passed else 'kept'} {measured.gain:+.3f}"
            if verdict.passed:
                state.champion = folder, mixing, encoder.encoder_fingerprint
        test = [t for theorems in self.sets["test"].values() for t in theorems[: args.test]]
        by_policy = expansions_of(self.search(f"test-{number}", test, args.test_expansions, policy))
        guided = by_policy
        if made is not None:
            guided = expansions_of(
                self.search(f"test-{number}-guided", test, args.test_expansions, policy, (made[1], made[2]))
            )
        tuning = self.tune(number, state, policy, alone, window) if self.on.tune else "off"
        self.last = Outcome(by_policy, guided)
        tactics = int(read_summaries(state.trained[-1])["tactics"].sum())
        measured_by = {
            world: (by_policy, guided, {t.name for t in these}) for world, these in self.sets["test"].items()
        }
        if args.transfer and number in (0, args.rounds - 1):
            elsewhere = list(TheoremSet.load(args.transfer))
            alone_there = expansions_of(self.search(f"transfer-{number}", elsewhere, args.test_expansions, policy))
            guided_there = alone_there
            if made is not None:
                path = self.search(
                    f"transfer-{number}-guided", elsewhere, args.test_expansions, policy, (made[1], made[2])
                )
                guided_there = expansions_of(path)
            measured_by[args.transfer] = (alone_there, guided_there, set(alone_there))
        measured_by["all"] = (by_policy, guided, {t.name for t in test})
        for world, (by_it_alone, with_energy, names) in measured_by.items():
            first, second = ({n: e for n, e in found.items() if n in names} for found in (by_it_alone, with_energy))
            row = Row(
                arm=self.arm,
                seed=self.seed,
                round=number,
                world=world,
                theorems=len(first),
                policy_solved=sum(e is not None for e in first.values()),
                policy_area=area_under_solve_curve(first, lowest=4, highest=args.test_expansions),
                guided_solved=sum(e is not None for e in second.values()),
                guided_area=area_under_solve_curve(second, lowest=4, highest=args.test_expansions),
                proofs=len(state.proved),
                tactics=tactics,
                seconds=time.monotonic() - began,
                cpu=cpu_seconds() - cpu,
                energy=energy,
                tuning=tuning,
            )
            self.rows.append(row)
        (self.folder / "rows.json").write_text(json.dumps([asdict(row) for row in self.rows], indent=1))
        self.console.print(rounds_table(self.rows, f"{self.arm}, seed {self.seed}"))


def expansions_of(path: Path) -> Expansions:
    """Expansions to proof by theorem, in a search."""
    return dict(read_summaries(path).select("theorem_name", "expansions_to_proof").iter_rows())


def show(args: argparse.Namespace, console: Console) -> None:
    """Print the tables of the arms and seeds that are whole in the folder."""
    outcomes: dict[str, list[Outcome]] = {}
    for arm in args.arms.split(","):
        for seed in args.seeds.split(","):
            folder, last = args.folder / f"{arm}-{seed}", args.rounds - 1
            alone, guided = folder / f"test-{last}.parquet", folder / f"test-{last}-guided.parquet"
            rows = [Row(**row) for row in json.loads((folder / "rows.json").read_text())]
            by_policy = expansions_of(alone)
            outcome = Outcome(by_policy, expansions_of(guided) if guided.exists() else by_policy)
            outcomes.setdefault(arm, []).append(outcome)
            console.print("\n".join(verdict_lines(rows, outcome, f"{arm}, seed {seed}")), soft_wrap=True)
    if len(outcomes) > 1:
        console.print(ablation_table(outcomes, lowest=4, highest=args.test_expansions))


def theorems_of(world: str, split: str) -> list[Theorem]:
    """The theorems of a split; those of a set without splits are dealt out in turn."""
    everything = list(TheoremSet.load(world))
    if any(theorem.split for theorem in everything):
        return [theorem for theorem in everything if theorem.split == split]
    return everything[SPLITS.index(split) :: len(SPLITS)]


def cpu_seconds() -> float:
    """Of this process and of the Leans that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    tuning = FineTuneConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("data/expert-iteration"))
    parser.add_argument("--policy", default=None, help="a folder, or `worlds` (default: the default policy)")
    parser.add_argument(
        "--arms", default="full,frozen", help="; ".join(f"{name}: {arm.what}" for name, arm in ARMS.items())
    )
    parser.add_argument("--seeds", default="0")
    parser.add_argument(
        "--worlds", type=lambda text: text.split(","), default=["propositional", "first_order", "arithmetic"]
    )
    parser.add_argument("--transfer", default="", help="a set searched in the first and last round alone, such as nng")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--train", type=int, default=60, help="training theorems per world and round")
    parser.add_argument("--valid", type=int, default=40, help="validation theorems per world and round")
    parser.add_argument("--test", type=int, default=60, help="held-out theorems per world")
    parser.add_argument("--expansions", type=int, default=32, help="base budget of a training theorem")
    parser.add_argument("--validation-expansions", type=int, default=32)
    parser.add_argument("--test-expansions", type=int, default=64)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--history", type=int, default=3, help="searches that an energy model is trained on")
    parser.add_argument("--head-steps", type=int, default=600)
    parser.add_argument("--beta", type=float, default=1.0, help="weight of the energy; not calibrated here, for speed")
    parser.add_argument("--steps", type=int, default=400, help="most gradient steps of a tuning")
    parser.add_argument("--epochs", type=float, default=tuning.epochs)
    parser.add_argument(
        "--anchor-weight", type=float, default=tuning.anchor_weight, help="how much a tuned policy stays as it was"
    )
    parser.add_argument("--learning-rate", type=float, default=tuning.learning_rate)
    parser.add_argument("--show", action="store_true", help="print what finished arms came to, and search nothing")
    parser.add_argument(
        "--picture", type=Path, default=None, help="draw the areas of the first arm and seed into a PNG"
    )
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=140, highlight=False)
    if args.show:
        show(args, console)
        return
    lines: list[str] = []
    outcomes: dict[str, list[Outcome]] = {}
    with open_environment("embedded") as environment:
        for arm in args.arms.split(","):
            for seed in args.seeds.split(","):
                bench, state = Bench(args, arm, int(seed), environment, console), State()
                with bench.memo:
                    for number in range(args.rounds):
                        bench.round(number, state)
                if args.picture is not None and not lines:
                    draw(bench.rows, args.picture)
                lines += verdict_lines(bench.rows, bench.last, f"{arm}, seed {seed}")
                outcomes.setdefault(arm, []).append(bench.last)
                console.print("\n".join(lines), soft_wrap=True)
    if len(outcomes) > 1:
        console.print(ablation_table(outcomes, lowest=4, highest=args.test_expansions))


if __name__ == "__main__":
    main()

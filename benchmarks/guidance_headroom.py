"""How much a perfect energy could win: the same search, guided by what the decision procedure knows.

    python benchmarks/guidance_headroom.py [--policy DIR] [--test 180] [--expansions 64]

Searches the held-out propositional theorems in policy-mean order, and in calibrated order with three scorers:
`provable` (can this state still be proved?), `size` (how many tactics does its shortest proof take?), and a random one.
The first two know the answer, so no trained model can be better at it. Prints solve counts, area, and the paired
comparison with policy-mean. What a trained energy reaches can be compared with these ceilings.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from prover.environments import open_environment
from prover.evaluation.statistics import area_under_solve_curve, paired_test, solved_by_budget
from prover.logic.formulas import Sequent, parse_state
from prover.logic.g4ip import provable
from prover.logic.proofs import ScriptLimitError, find_script
from prover.policy import load_policy
from prover.search import SearchConfig, SearchMemo, search
from prover.search.guidance import MixingCalibration, standard_normal
from prover.states import state_key
from prover.theorems import TheoremSet

LOWEST = 4
UNKNOWN_SIZE = 25.0
UNPROVABLE_SIZE = 30.0


@dataclass
class Oracle:
    """A scorer that knows: SCORE = -energy, higher is better."""

    energy: Callable[[str], float]
    known: dict[str, float] = field(default_factory=dict)

    def score_state(self, state: str) -> float:
        if state not in self.known:
            self.known[state] = -self.energy(state)
        return self.known[state]

    def score_states(self, states: Sequence[str]) -> np.ndarray:
        return np.array([self.score_state(state) for state in states], dtype=np.float64)


@dataclass
class Sizes:
    """Tactics of the shortest proof of all goals of a state, goal by goal remembered."""

    known: dict[Sequent, float] = field(default_factory=dict)

    def of_goal(self, goal: Sequent) -> float:
        if goal not in self.known:
            try:
                script = find_script(goal, 24, 3_000)
                self.known[goal] = UNPROVABLE_SIZE if script is None else float(len(script))
            except ScriptLimitError:
                self.known[goal] = UNKNOWN_SIZE
        return self.known[goal]

    def of_state(self, state: str) -> float:
        return sum(self.of_goal(goal) for goal in parse_state(state))


def oracles() -> dict[str, Oracle]:
    return {
        "random": Oracle(lambda state: standard_normal(0, state_key(state))),
        "provable": Oracle(lambda state: -1.0 if provable(state) else 1.0),
        "size": Oracle(Sizes().of_state),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("data/headroom"), help="folder of the memo")
    parser.add_argument("--policy", default=None, help="model folder, or `worlds` (default: the default policy)")
    parser.add_argument(
        "--widen",
        type=int,
        default=4,
        help="ask again at expanded nodes, for up to this many times as many candidates",
    )
    parser.add_argument("--test", type=int, default=180, help="held-out theorems")
    parser.add_argument("--expansions", type=int, default=64, help="expansions per theorem")
    parser.add_argument("--candidates", type=int, default=8, help="tactics tried at a node")
    parser.add_argument("--beta", type=float, default=2.0, help="weight of the standardised energy")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, last")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    theorems = list(TheoremSet.load("propositional").split("test"))[: args.test]
    policy = load_policy(args.policy)
    budgets = [b for b in (4, 8, 16, 32, 64, 128, 256) if b < args.expansions] + [args.expansions]
    table = Table(title=f"{len(theorems)} held-out theorems: what a perfect energy could win, beta {args.beta:g}")
    for column in ("guided by", *map(str, budgets), "area", "faster", "slower", "p", "ratio"):
        table.add_column(column, justify="left" if column == "guided by" else "right")
    figures: dict[str, Any] = {}
    with open_environment("embedded") as environment, SearchMemo(args.folder / "memo.sqlite") as memo:

        def config(mode: str) -> SearchConfig:
            return SearchConfig(
                max_expansions=args.expansions, n_candidates=args.candidates, mode=mode, widen=args.widen
            )

        base = search(theorems, environment, policy, config("policy-mean"), memo=memo)
        nodes = [node for result in base.results for node in result.tree.nodes if node.depth > 0 and not node.complete]
        sigma = float(np.std([node.log_prob / node.depth for node in nodes]))
        alone = {result.theorem.name: result.expansions_to_proof for result in base.results}
        for name, oracle in {"the policy alone": None, **oracles()}.items():
            expansions = alone
            if oracle is not None:
                energies = -oracle.score_states([node.state.text for node in nodes])
                scales = MixingCalibration(float(energies.mean()), float(energies.std()), sigma, args.beta)
                report = search(
                    theorems, environment, policy, config("calibrated"), scorer=oracle, calibration=scales, memo=memo
                )
                expansions = {result.theorem.name: result.expansions_to_proof for result in report.results}
            solved = solved_by_budget(expansions, budgets)
            area = area_under_solve_curve(expansions, lowest=LOWEST, highest=args.expansions)
            figures[name] = {"solved": solved, "area": area}
            cells = ["", "", "", ""]
            if oracle is not None:
                paired = paired_test(alone, expansions)
                figures[name]["ratio"] = paired.ratio
                cells = [str(paired.faster), str(paired.slower), f"{paired.p_value:.1e}", f"{paired.ratio:.3f}"]
            table.add_row(name, *(str(solved[b]) for b in budgets), f"{area:.3f}", *cells)
    Console(width=120).print(table)
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()

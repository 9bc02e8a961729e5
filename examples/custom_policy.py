"""Plug in a policy that is no language model, and compare it with the shipped one on the same theorems.

    python examples/custom_policy.py
    python examples/custom_policy.py --theorems 20 --budget 32

A policy proposes tactics for the text of a state, each with a log-probability. This one reads the shape of the goal:
an implication is introduced, a conjunction is split, a hypothesis is used. Lean checks each tactic, as always.
"""

import argparse
import math
import re
from collections.abc import Sequence

import numpy as np

from prover.environments import open_environment
from prover.policy import TacticCandidate, TacticGenerator, load_policy
from prover.search import SearchConfig, search
from prover.theorems import TheoremSet

_HYPOTHESIS = re.compile(r"^([A-Za-z_][\w']*) : (.*)$")


class ShapePolicy(TacticGenerator):
    """Proposes tactics by the outermost connective of the goal and of the hypotheses."""

    hidden_size = 4

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        """Up to `n_candidates` distinct tactics per state, best first."""
        return [self._candidates(state)[:n_candidates] for state in states]

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        """(n, 4) float32: how often each connective occurs. What an energy model for this policy would read."""
        return np.array([[state.count(sign) for sign in "∧∨→¬"] for state in states], np.float32).reshape(-1, 4)

    def _candidates(self, state: str) -> list[TacticCandidate]:
        lines = state.splitlines()
        goal = next((line[2:] for line in lines if line.startswith("⊢ ")), "")
        hypotheses = [found.groups() for line in lines if (found := _HYPOTHESIS.match(line))]
        weights = self._for_goal(goal, used={name for name, _ in hypotheses})
        for name, proposition in hypotheses:
            for tactic, weight in self._for_hypothesis(name, proposition).items():
                weights.setdefault(tactic, weight)
        total = sum(weights.values())
        ranked = sorted(weights, key=lambda tactic: -weights[tactic])
        return [TacticCandidate(tactic, math.log(weights[tactic] / total), 1) for tactic in ranked]

    @staticmethod
    def _for_goal(goal: str, used: set[str]) -> dict[str, float]:
        fresh = next(f"h{i}" for i in range(1, 1000) if f"h{i}" not in used)
        weights = {"assumption": 8.0}
        if "→" in goal or goal.startswith(("¬", "∀")):
            weights[f"intro {fresh}"] = 6.0
        if "∧" in goal or "↔" in goal:
            weights["constructor"] = 5.0
        if "∨" in goal:
            weights |= {"left": 2.0, "right": 2.0}
        return weights

    @staticmethod
    def _for_hypothesis(name: str, proposition: str) -> dict[str, float]:
        weights = {f"exact {name}": 1.0, f"apply {name}": 1.5}
        if "∧" in proposition:
            weights[f"obtain ⟨{name}_1, {name}_2⟩ := {name}"] = 3.0
        if "∨" in proposition:
            weights[f"cases {name}"] = 2.5
        return weights


def main() -> None:
    """Search the same theorems with both policies, and print how many each proves."""
    parser = argparse.ArgumentParser(description="Compare a policy of one's own with the shipped one.")
    parser.add_argument("--theorems", type=int, default=10, help="number of theorems of the built-in set `textbook`")
    parser.add_argument("--budget", type=int, default=16, help="expansions per theorem")
    arguments = parser.parse_args()

    theorems = list(TheoremSet.load("textbook", limit=arguments.theorems))
    config = SearchConfig(max_expansions=arguments.budget, mode="policy-mean")
    policies: dict[str, TacticGenerator] = {"shapes": ShapePolicy(), "shipped": load_policy()}
    with open_environment() as lean:
        for name, policy in policies.items():
            report = search(theorems, lean, policy, config)
            proved = [result for result in report.results if result.proved]
            print(f"{name}: {len(proved)} of {len(theorems)} theorems proved")
            for result in proved[:3]:
                print(f"    {result.theorem.name}: {'; '.join(result.proof or ())}")


if __name__ == "__main__":
    main()

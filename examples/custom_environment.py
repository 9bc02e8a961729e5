"""Plug in an environment that is not Lean: the search needs four methods and two names.

    python examples/custom_environment.py
    python examples/custom_environment.py --start 3 --target 100

The world is a game with numbers. A "theorem" says `2 to 37`; a state is the number reached so far; the tactics are
`double`, `increment` and `halve`. A proof is a way from the start to the target. The search, its budget, its files and
its order are the same as with Lean.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from prover.environments import (
    Certificate,
    Complete,
    Failure,
    Outcome,
    Progress,
    ProofClaim,
    ProofEnvironment,
    ProofState,
    Rejected,
    StepRequest,
)
from prover.policy import TacticCandidate, TacticGenerator
from prover.search import SearchConfig, search
from prover.theorems import Theorem

LARGEST = 1000


def applied(number: int, tactic: str) -> int | None:
    """The number after a tactic; None where the tactic does not apply."""
    if tactic == "double":
        return number * 2 if number * 2 <= LARGEST else None
    if tactic == "increment":
        return number + 1
    if tactic == "halve":
        return number // 2 if number % 2 == 0 else None
    return None


class NumberGame(ProofEnvironment):
    """The game as an environment. Every outcome has a type of its own: a failure is never None or an empty string."""

    name = "number-game"
    fingerprint = "number-game-1"  # changes whenever an outcome can change: remembered answers are kept under it

    def start(self, theorems: Sequence[Theorem]) -> list[ProofState | Failure]:
        """The first state of each theorem, or why it has none."""
        return [self._root(theorem) for theorem in theorems]

    def step(self, requests: Sequence[StepRequest]) -> list[list[Outcome]]:
        """What becomes of each tactic, tried in its state, independently of the others."""
        return [[self._outcome(request.state, tactic) for tactic in request.tactics] for request in requests]

    def certify(self, claims: Sequence[ProofClaim]) -> list[Certificate]:
        """Check each script from the beginning, whatever stepping said."""
        return [self._certificate(claim) for claim in claims]

    def proof_file(self, claim: ProofClaim) -> str:
        """The proof as a text that can be read without this program."""
        return f"{claim.theorem.statement}: {', '.join(claim.tactics)}\n"

    def close(self) -> None:
        """There is nothing to close."""

    def __enter__(self) -> "NumberGame":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @staticmethod
    def _ends(theorem: Theorem) -> tuple[int, int]:
        start, _, target = theorem.statement.partition(" to ")
        return int(start), int(target)

    def _root(self, theorem: Theorem) -> ProofState | Failure:
        start, target = self._ends(theorem)
        if not 0 <= start <= LARGEST or not 0 <= target <= LARGEST:
            return Rejected(f"both numbers must lie between 0 and {LARGEST}", 0.0)
        return ProofState(theorem, (), f"⊢ {start} to {target}")

    def _outcome(self, state: ProofState, tactic: str) -> Outcome:
        start, target = (int(part) for part in state.text.removeprefix("⊢ ").split(" to "))
        number = applied(start, tactic)
        if number is None:
            return Rejected(f"{tactic} does not apply to {start}", 0.0)
        path = (*state.tactics, tactic)
        if number == target:
            return Complete(path, 0.0)
        return Progress(ProofState(state.theorem, path, f"⊢ {number} to {target}"), 0.0)

    def _certificate(self, claim: ProofClaim) -> Certificate:
        number, target = self._ends(claim.theorem)
        for tactic in claim.tactics:
            after = applied(number, tactic)
            if after is None:
                return Certificate(claim, False, f"{tactic} does not apply to {number}", (), 0.0)
            number = after
        reason = "" if number == target else f"the script ends at {number}, not at {target}"
        return Certificate(claim, not reason, reason, (), 0.0)


class Player(TacticGenerator):
    """Prefers to double while the target is far away, and to count when it is near."""

    hidden_size = 2

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        """Three tactics per state, best first, with log-probabilities that sum to one."""
        return [self._candidates(state)[:n_candidates] for state in states]

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        """The two numbers of each state: what an energy model for this game would read."""
        return np.array([self._numbers(state) for state in states], dtype=np.float32).reshape(len(states), 2)

    @staticmethod
    def _numbers(state: str) -> tuple[int, int]:
        start, target = state.removeprefix("⊢ ").split(" to ")
        return int(start), int(target)

    def _candidates(self, state: str) -> list[TacticCandidate]:
        start, target = self._numbers(state)
        shares = {"double": 0.6, "increment": 0.3, "halve": 0.1}
        if 2 * start > target:
            shares = {"double": 0.1, "increment": 0.6 if start < target else 0.1, "halve": 0.3}
        total = sum(shares.values())
        ranked = sorted(shares, key=lambda tactic: -shares[tactic])
        return [TacticCandidate(tactic, float(np.log(shares[tactic] / total)), 1) for tactic in ranked]


def main() -> None:
    """Search for a way from one number to the other, and print it."""
    parser = argparse.ArgumentParser(description="Search in an environment that is not Lean.")
    parser.add_argument("--start", type=int, default=2)
    parser.add_argument("--target", type=int, default=37)
    parser.add_argument("--budget", type=int, default=200, help="expansions")
    arguments = parser.parse_args()

    theorem = Theorem("game", f"{arguments.start} to {arguments.target}")
    config = SearchConfig(max_expansions=arguments.budget, n_candidates=3, mode="policy-cumulative")
    with NumberGame() as game:
        (result,) = search([theorem], game, Player(), config).results
        if result.proof is None:
            print(f"no way found: {result.ended} after {result.expansions} expansions {result.reason}")
        else:
            print(f"found at expansion {result.expansions_to_proof}")
            print(game.proof_file(ProofClaim(theorem, result.proof)), end="")


if __name__ == "__main__":
    main()

"""A fake world to search: states are numbers, tactics lead from one to another, everything is decided by hashes.

All fakes are pure functions of what they are asked, so that two searches can differ only through the search itself.
"""

import hashlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np

from prover.environments.base import (
    Certificate,
    Complete,
    Crashed,
    Failure,
    Outcome,
    Progress,
    ProofClaim,
    ProofState,
    Rejected,
    StepRequest,
    TimedOut,
)
from prover.environments.certify import proof_file
from prover.policy.base import TacticCandidate
from prover.search.guidance import MixingCalibration
from prover.theorems import Theorem


def chance(*parts: object) -> float:
    """A number in [0, 1) that depends on `parts` alone."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class HashWorld:
    """A proof environment: each (statement, state, tactic) has a fixed outcome, drawn with the given shares."""

    name = "hash-world"

    def __init__(
        self,
        *,
        states: int = 40,
        complete: float = 0.02,
        rejected: float = 0.35,
        timed_out: float = 0.0,
        crashed: float = 0.0,
        uncertified: float = 0.0,
        jitter_s: float = 0.0,
    ) -> None:
        self.fingerprint = f"hash-world-{states}-{complete}-{rejected}-{timed_out}-{crashed}-{uncertified}"
        self._states = states
        self._shares = (complete, rejected, timed_out, crashed)
        self._uncertified = uncertified
        self._jitter_s = jitter_s
        self._lock = threading.Lock()
        self.steps: list[list[StepRequest]] = []
        self.starts: list[list[Theorem]] = []
        self.certified: list[list[ProofClaim]] = []

    def start(self, theorems: Sequence[Theorem]) -> list[ProofState | Failure]:
        self._note(self.starts, list(theorems))
        return [self._root(theorem) for theorem in theorems]

    @staticmethod
    def _root(theorem: Theorem) -> ProofState | Failure:
        if "bad" in theorem.statement:
            return Rejected("unknown identifier 'bad'", 1.0)
        if "dead" in theorem.statement:
            return Crashed("the process died", 1.0)
        return ProofState(theorem, (), "⊢ 0")

    def step(self, requests: Sequence[StepRequest]) -> list[list[Outcome]]:
        self._note(self.steps, list(requests))
        return [[self._outcome(request.state, tactic) for tactic in request.tactics] for request in requests]

    def _outcome(self, state: ProofState, tactic: str) -> Outcome:
        complete, rejected, timed_out, crashed = self._shares
        draw = chance(state.theorem.statement, state.text, tactic)
        for share, outcome in (
            (complete, Complete((*state.tactics, tactic), 1.0)),
            (rejected, Rejected(f"{tactic} does not apply", 1.0)),
            (timed_out, TimedOut("out of heartbeats", 1.0)),
            (crashed, Crashed("the process died", 1.0)),
        ):
            if draw < share:
                return outcome
            draw -= share
        there = int(chance("to", state.theorem.statement, state.text, tactic) * self._states)
        return Progress(ProofState(state.theorem, (*state.tactics, tactic), f"⊢ {there}"), 1.0)

    def certify(self, claims: Sequence[ProofClaim]) -> list[Certificate]:
        self._note(self.certified, list(claims))
        return [self._certificate(claim) for claim in claims]

    def proof_file(self, claim: ProofClaim) -> str:
        return proof_file("", claim, 0)

    def _certificate(self, claim: ProofClaim) -> Certificate:
        good = chance("certify", claim.theorem.statement, claim.tactics) >= self._uncertified
        return Certificate(claim, good, "" if good else "the kernel says no", (), 1.0)

    def _note(self, log: list, entry: object) -> None:
        with self._lock:
            log.append(entry)
        if self._jitter_s:
            time.sleep(random.uniform(0, self._jitter_s))

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class HashPolicy:
    """Proposes k of twelve tactics, with log-probs drawn from the state's text."""

    hidden_size = 4
    policy_id = "hash-policy"
    fingerprint = "hash-policy-1"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        self.batches.append(list(states))
        return [self._candidates(state, n_candidates) for state in states]

    @staticmethod
    def _candidates(state: str, k: int) -> list[TacticCandidate]:
        drawn = [(-3 * chance("lp", state, f"t{i}") - 0.05, f"t{i}") for i in range(12)]
        return [TacticCandidate(tactic, log_prob, 2) for log_prob, tactic in sorted(drawn, reverse=True)[:k]]

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        return np.array([[chance("v", state, i) for i in range(4)] for state in states], dtype=np.float32)


class HashScorer:
    """Scores drawn from the text."""

    ebm_id = "hash-ebm"
    calibration = MixingCalibration(mu_energy=0.0, sigma_energy=0.6, sigma_log_prob=0.5, beta=0.5)

    def __init__(self, score: Callable[[str], float] | None = None) -> None:
        self._score = score or (lambda text: 2 * chance("score", text) - 1)
        self.batches: list[list[str]] = []

    def score_state(self, state: str) -> float:
        return self._score(state)

    def score_states(self, states: Sequence[str]) -> np.ndarray:
        self.batches.append(list(states))
        return np.array([self._score(state) for state in states], dtype=np.float64)


class ScriptedWorld(HashWorld):
    """A world given by a table: (state text, tactic) -> next text, "" for complete, anything else is rejected."""

    def __init__(self, table: dict[tuple[str, str], str | Outcome], **shares: float) -> None:
        super().__init__(**shares)
        self._table = table

    @staticmethod
    def _root(theorem: Theorem) -> ProofState | Failure:
        return ProofState(theorem, (), "⊢ root")

    def _outcome(self, state: ProofState, tactic: str) -> Outcome:
        there = self._table.get((state.text.removeprefix("⊢ "), tactic))
        if there is None:
            return Rejected(f"{tactic} does not apply", 1.0)
        if not isinstance(there, str):
            return there
        path = (*state.tactics, tactic)
        return Progress(ProofState(state.theorem, path, f"⊢ {there}"), 1.0) if there else Complete(path, 1.0)


class ScriptedPolicy(HashPolicy):
    """Candidates given by a table: state text -> {tactic: log-prob}."""

    def __init__(self, table: dict[str, dict[str, float]]) -> None:
        super().__init__()
        self._table = table

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        self.batches.append(list(states))
        found = []
        for state in states:
            some = self._table.get(state.removeprefix("⊢ "), {})
            ranked = sorted(some.items(), key=lambda item: -item[1])[:n_candidates]
            found.append([TacticCandidate(tactic, log_prob, 1) for tactic, log_prob in ranked])
        return found


def theorems(n: int, prefix: str = "t") -> list[Theorem]:
    return [Theorem(f"{prefix}{i}", f": statement {i}") for i in range(n)]

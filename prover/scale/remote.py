"""Stand-ins for a policy and an energy model that run in Ray's actors."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prover.environments.base import Certificate, Failure, Outcome, ProofClaim, ProofState, StepRequest
from prover.policy.base import TacticCandidate
from prover.scale.connect import answer, import_ray
from prover.scale.messages import PolicyFacts
from prover.scale.specs import ScorerSpec
from prover.search.guidance import MixingCalibration
from prover.theorems import Theorem

if TYPE_CHECKING:
    from ray.actor import ActorHandle


class RemotePolicy:
    """A `FingerprintedPolicy` whose model is in one of several actors; each call goes to the next of them.

    The actors need `generate` and `encode_only` (`PolicyWorker`). A call whose actor dies is made again by Ray, on the
    restarted actor: generating is free of side effects.
    """

    def __init__(self, actors: "Sequence[ActorHandle]", facts: PolicyFacts) -> None:
        self._actors = list(actors)
        self._facts = facts
        self._turn = 0
        self.policy_id = facts.policy_id
        self.fingerprint = facts.fingerprint
        self.pooling = facts.pooling
        self.encoding_width = facts.encoding_width
        self.encoder_fingerprint = facts.encoder_fingerprint
        self.hidden_size = facts.hidden_size

    def prompt_key(self, state: str) -> str:
        """States with the same key have the same candidates."""
        return self._facts.prompt_key(state)

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        """See `TacticGenerator.generate`; the work is done elsewhere."""
        ray = import_ray()
        parts = [
            actor.generate.remote(some, n_candidates) for actor, some in self._shares(states)
        ]  # all at once: the actors work side by side
        return list(itertools.chain.from_iterable(answer(ray, parts)))

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        """See `TacticGenerator.encode_only`; the work is done elsewhere."""
        ray = import_ray()
        parts = answer(ray, [actor.encode_only.remote(some) for actor, some in self._shares(states)])
        return np.concatenate(parts) if parts else np.empty((0, self.encoding_width), dtype=np.float32)

    def _shares(self, states: Sequence[str]) -> "list[tuple[ActorHandle, list[str]]]":
        """The states in runs, each with the actor that answers it; small requests stay whole, to be batched there."""
        n_runs = min(len(self._actors), -(-len(states) // 16))
        size = -(-len(states) // n_runs) if n_runs else 1
        shares = []
        for start in range(0, len(states), size):
            shares.append((self._actors[self._turn % len(self._actors)], list(states[start : start + size])))
            self._turn += 1
        return shares


class RemoteScorer:
    """A `ValueScorer` whose head is in the search actors. SCORE = -energy: higher is better."""

    def __init__(
        self, actor: "ActorHandle", spec: ScorerSpec, calibration: MixingCalibration | None, ebm_id: str | None
    ) -> None:
        self._actor = actor
        self.spec = spec
        self.calibration = calibration
        self.ebm_id = ebm_id

    def score_state(self, state: str) -> float:
        """SCORE of one state text."""
        return float(self.score_states([state])[0])

    def score_states(self, states: Sequence[str]) -> np.ndarray:
        """SCORES (n,) float64 of state texts, in order."""
        ray = import_ray()
        return np.asarray(answer(ray, self._actor.scores.remote(self.spec, list(states))), dtype=np.float64)


class RemoteEnvironment:
    """What callers ask of a Lean whose processes are in the search actors: who it is, and single questions of it."""

    def __init__(self, actor: "ActorHandle", name: str, fingerprint: str) -> None:
        self._actor = actor
        self.name = name
        self.fingerprint = fingerprint

    def start(self, theorems: Sequence[Theorem]) -> list[ProofState | Failure]:
        """See `ProofEnvironment.start`; the work is done elsewhere."""
        return self._get("start", list(theorems))

    def step(self, requests: Sequence[StepRequest]) -> list[list[Outcome]]:
        """See `ProofEnvironment.step`; the work is done elsewhere."""
        return self._get("step", list(requests))

    def certify(self, claims: Sequence[ProofClaim]) -> list[Certificate]:
        """See `ProofEnvironment.certify`; the work is done elsewhere."""
        return self._get("certify", list(claims))

    def proof_file(self, claim: ProofClaim) -> str:
        """See `ProofEnvironment.proof_file`; the work is done elsewhere."""
        return self._get("proof_file", claim)

    def close(self) -> None:
        """The actors are closed by the cluster."""

    def __enter__(self) -> "RemoteEnvironment":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _get(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - what the method returns
        ray = import_ray()
        return answer(ray, self._actor.lean.remote(method, *arguments))

"""A theorem's search as rows of the three trajectory files."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Self

from prover.environments.base import ProofEnvironment
from prover.policy.base import TacticGenerator
from prover.policy.complete import as_policy
from prover.search.best_first import TheoremResult
from prover.search.config import SearchConfig
from prover.search.guidance import Guidance
from prover.trajectory.labels import NodeLabel
from prover.trajectory.schema import AttemptRecord, SummaryRecord, TheoremRows, TrajectoryRecord

_ID_VERSION = "search-id/1"


@dataclass(frozen=True, slots=True)
class SearchIdentity:
    """Who searched: what every row says, and a digest of all that decides a result."""

    search_id: str
    environment: str
    policy_id: str
    ebm_id: str | None
    iteration: int
    mode: str

    @classmethod
    def of(
        cls,
        environment: ProofEnvironment,
        policy: TacticGenerator,
        config: SearchConfig,
        guidance: Guidance,
        *,
        ebm_id: str | None,
        iteration: int,
    ) -> Self:
        """search_id: 16 hex digits. The same search run again has the same one, and `resume` relies on it."""
        known = as_policy(policy)
        parts = {
            "version": _ID_VERSION,
            "settings": config.result_settings(),
            "mode": guidance.mode,
            "calibration": None if guidance.calibration is None else asdict(guidance.calibration),
            "environment": environment.fingerprint,
            "policy": known.fingerprint or known.policy_id,
            "ebm": ebm_id,
            "iteration": iteration,
        }
        digest = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()
        return cls(digest, environment.name, known.policy_id, ebm_id, iteration, guidance.mode)

    def state_id(self, theorem_name: str, node: int) -> int:
        """63-bit id of a node, unique over theorems and searches; fits signed and unsigned 64-bit columns."""
        digest = hashlib.blake2b(f"{self.search_id}\n{theorem_name}\n{node}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 1


def rows_of(
    result: TheoremResult, labels: list[NodeLabel], identity: SearchIdentity, config: SearchConfig
) -> TheoremRows:
    """labels: of `result`'s nodes, from `label_search`."""
    name = result.theorem.name
    ids = [identity.state_id(name, node.index) for node in result.tree.nodes]
    nodes = [
        TrajectoryRecord(
            theorem_name=name,
            state_id=ids[node.index],
            state_pp=node.state.text,
            tactic_applied=node.tactic,
            parent_state_id=None if node.parent is None else ids[node.parent],
            label=label.label,
            depth_from_root=node.depth,
            remaining_depth=label.remaining_depth,
            llm_log_prob=node.log_prob,
            ebm_score=node.score,
            is_proof_complete=node.complete,
            timestamp_ms=node.created_ms,
            iteration=identity.iteration,
            search_id=identity.search_id,
            state_key=node.key,
            n_goals=node.state.n_goals,
            expanded=node.expansion is not None,
            environment=identity.environment,
            policy_id=identity.policy_id,
            ebm_id=identity.ebm_id,
            seed=config.seed,
        )
        for node, label in zip(result.tree.nodes, labels, strict=True)
    ]
    attempts = [
        AttemptRecord(
            theorem_name=name,
            search_id=identity.search_id,
            parent_state_id=ids[attempt.parent],
            expansion=attempt.expansion,
            rank=attempt.rank,
            tactic=attempt.tactic,
            log_prob=attempt.log_prob,
            outcome=attempt.outcome.value,
            message=attempt.message,
            elapsed_ms=attempt.elapsed_ms,
            child_state_id=None if attempt.child is None else ids[attempt.child],
            new_node=attempt.new_node,
        )
        for attempt in result.tree.attempts
    ]
    return TheoremRows(nodes, attempts, _summary(result, identity, config))


def _summary(result: TheoremResult, identity: SearchIdentity, config: SearchConfig) -> SummaryRecord:
    theorem, meter = result.theorem, result.meter
    return SummaryRecord(
        theorem_name=theorem.name,
        statement=theorem.statement,
        header=theorem.header,
        split=theorem.split,
        difficulty=theorem.difficulty,
        search_id=identity.search_id,
        iteration=identity.iteration,
        proved=result.proved,
        claimed=result.claimed,
        certified=result.proved,
        ended=result.ended.value,
        reason=result.reason,
        proof=None if result.proof is None else list(result.proof),
        expansions_to_proof=result.expansions_to_proof,
        nodes=len(result.tree.nodes),
        expansions=result.expansions,
        tactics=result.tactics,
        claims=result.claims,
        max_expansions=config.max_expansions,
        n_candidates=config.n_candidates,
        mode=identity.mode,
        wall_ms=result.wall_ms,
        model_ms=meter.model_ms,
        lean_ms=meter.lean_ms,
        own_ms=meter.own_ms,
        environment=identity.environment,
        policy_id=identity.policy_id,
        ebm_id=identity.ebm_id,
        seed=config.seed,
        timestamp_ms=result.started_ms,
    )

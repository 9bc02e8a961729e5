"""Best-first search of one theorem, written as a coroutine that asks for what it needs.

`TheoremSearch.run` yields an `Ask` and is sent the answer. It sees nothing else: no clock but its own meter, no other
theorem, no batch. So its result cannot depend on how the asks of many theorems are batched, cached or overlapped, which
is the engine's business (`prover.search.engine`). The seconds budget is the one exception.
"""

import math
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from prover.environments.base import (
    Certificate,
    Complete,
    Crashed,
    Outcome,
    Progress,
    ProofClaim,
    ProofState,
    Rejected,
    TimedOut,
)
from prover.policy.base import TacticCandidate
from prover.search.config import SearchConfig
from prover.search.frontier import Frontier, OpenNodes, RankedFrontier
from prover.search.guidance import Guidance, ScoreError
from prover.search.node import MESSAGE_LIMIT, Attempt, AttemptOutcome, Node, SearchTree
from prover.theorems import Theorem


@dataclass(frozen=True, slots=True)
class AskRoot:
    """Answer: ProofState | Rejected | TimedOut | Crashed."""

    theorem: Theorem


@dataclass(frozen=True, slots=True)
class AskCandidates:
    """Answer: list[TacticCandidate], best first."""

    state: ProofState
    count: int
    """How many at most."""


@dataclass(frozen=True, slots=True)
class AskOutcomes:
    """Answer: list[Outcome], one per tactic, in order."""

    state: ProofState
    tactics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskScores:
    """Answer: list[float], the SCORE (higher is better) of each text."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskCertificate:
    """Answer: Certificate."""

    claim: ProofClaim


Ask = AskRoot | AskCandidates | AskOutcomes | AskScores | AskCertificate

Answer: TypeAlias = Any
"""What a search is sent. Its type is named by the `Ask` before it; a generator has one type for all that it is sent."""


class Ended(StrEnum):
    """Why the search of a theorem ended."""

    PROVED = "proved"
    BUDGET = "budget"
    FRONTIER_EXHAUSTED = "frontier_exhausted"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    INVALID = "invalid"  # Lean does not accept the statement


MOST_CALLS = 150
"""Of one theorem that are noted."""


class Call(NamedTuple):
    """A call to a model or to Lean, as one of the theorems that shared it sees it."""

    kind: str
    """policy | energy | Lean | certificate."""
    started: float
    """Unix time, seconds."""
    seconds: float
    """Of the whole call, whoever shared it."""
    theorems: int
    """That shared it."""


@dataclass(slots=True)
class Meter:
    """Milliseconds charged to one theorem. Kept by the engine, read by the search for its seconds budget."""

    model_ms: float = 0.0
    lean_ms: float = 0.0
    own_ms: float = 0.0
    calls: list[Call] = field(default_factory=list)
    """The first `MOST_CALLS` calls in which this theorem had a part."""

    def took_part(self, kind: str, began: float, theorems: int, seconds: float | None = None) -> None:
        """Note a call. began: `time.perf_counter()` at its start. theorems: that shared it. seconds: else until now."""
        if len(self.calls) < MOST_CALLS:
            ago = time.perf_counter() - began
            self.calls.append(Call(kind, time.time() - ago, ago if seconds is None else seconds, theorems))

    def charge(self, *, model_s: float = 0.0, lean_s: float = 0.0, own_s: float = 0.0) -> None:
        """Add seconds in the models, in Lean, and in the search itself."""
        self.model_ms += 1000 * model_s
        self.lean_ms += 1000 * lean_s
        self.own_ms += 1000 * own_s

    @property
    def seconds(self) -> float:
        """Seconds charged so far."""
        return (self.model_ms + self.lean_ms + self.own_ms) / 1000


@dataclass(slots=True)
class TheoremResult:
    """All that one search of one theorem found."""

    theorem: Theorem
    ended: Ended
    reason: str
    """For people: why it ended or what went wrong; "" where `ended` says it all."""
    tree: SearchTree
    meter: Meter
    started_ms: int
    """Unix time, milliseconds."""
    wall_ms: float = 0.0
    """From admission to the end, with the waiting for the other theorems' turns."""
    expansions: int = 0
    tactics: int = 0
    """Tactics tried, known outcomes included."""
    proof: tuple[str, ...] | None = None
    """The certified script."""
    expansions_to_proof: int | None = None
    """The expansion at which the certified proof was found: the same whatever larger budget was given."""
    claims: int = 0
    """Scripts that stepping called complete and certification was asked about."""
    uncertified: list[str] = field(default_factory=list)
    """What certification said of the claims that it turned down."""

    @property
    def proved(self) -> bool:
        """Whether a proof was certified."""
        return self.proof is not None

    @property
    def claimed(self) -> bool:
        """Whether stepping called a script complete, certified or not."""
        return self.claims > 0


class TheoremSearch:
    """The search of one theorem. `run()` is the algorithm; `upcoming` lets the engine work ahead."""

    def __init__(self, theorem: Theorem, config: SearchConfig, guidance: Guidance) -> None:
        self.theorem = theorem
        self.meter = Meter()
        self._config = config
        self._guidance = guidance
        self._tree = SearchTree()
        n_queues = len(guidance.orders)
        self._frontier: OpenNodes = RankedFrontier(n_queues) if guidance.ranked else Frontier(n_queues)
        self._widths: dict[int, int] = {}  # of the expanded nodes: what n_candidates was multiplied by
        self._tried: dict[str, set[str]] = {}  # tactics by the text of expanded nodes that may be expanded again
        self._started = time.perf_counter()
        self._result = TheoremResult(theorem, Ended.BUDGET, "", self._tree, self.meter, _now_ms())

    def upcoming(self, n: int) -> list[AskCandidates]:
        """What will most likely be asked next, best first; at most what the budget still allows."""
        return [self._ask(self._tree.nodes[index]) for index in self.frontier(n)]

    def frontier(self, n: int) -> list[int]:
        """The same as indices of nodes."""
        left = self._config.max_expansions - self._result.expansions
        return self._frontier.upcoming(min(n, left))

    @property
    def tree(self) -> SearchTree:
        """As far as it has grown; to look at, not to change."""
        return self._tree

    @property
    def expansions(self) -> int:
        """So far."""
        return self._result.expansions

    def run(self) -> Generator[Ask, Answer, TheoremResult]:
        """Ask, be answered, and return the result when proved or out of budget, of frontier or of time."""
        config, result, frontier = self._config, self._result, self._frontier
        root = yield AskRoot(self.theorem)
        if not isinstance(root, ProofState):
            return self._end(_ENDED_AT_ROOT[type(root)], root.message)
        node = self._tree.add_root(root, _now_ms())
        yield from self._open([node])

        silent = 0  # expansions in a row in which every tactic crashed
        last_crash = ""
        while True:
            if silent >= config.max_crashes or (silent and not frontier):  # nothing was refuted: Lean did not answer
                words = "expansion" if silent == 1 else "expansions in a row"
                return self._end(Ended.CRASHED, f"{silent} {words} crashed; the last: {last_crash}")
            if not frontier and not self._reopen():
                return self._end(Ended.FRONTIER_EXHAUSTED)
            if result.expansions >= config.max_expansions:
                return self._end(Ended.BUDGET)
            if config.time_limit_s is not None and self.meter.seconds >= config.time_limit_s:
                return self._end(Ended.TIMEOUT, f"used {self.meter.seconds:.1f} s of {config.time_limit_s:g} s")

            node = self._tree.nodes[frontier.pop()]
            result.expansions += 1
            ask = self._ask(node)
            self._widths[node.index] = self._width(node)
            if node.expansion is None:
                node.expansion = result.expansions
            proposed: list[TacticCandidate] = yield ask
            ranked = self.to_try(node.state, proposed)
            outcomes: list[Outcome] = []
            if ranked:
                outcomes = yield AskOutcomes(node.state, tuple(candidate.tactic for _, candidate in ranked))
            result.tactics += len(outcomes)
            if self._config.widen > 1:
                self._tried.setdefault(node.state.text, set()).update(candidate.tactic for _, candidate in ranked)
            new = yield from self._record(node, ranked, outcomes)
            if result.proof is not None:
                return self._end(Ended.PROVED)
            yield from self._open(new)

            crashes = [outcome.message for outcome in outcomes if isinstance(outcome, Crashed)]
            if outcomes and len(crashes) == len(outcomes):
                silent, last_crash = silent + 1, crashes[-1]
            else:
                silent = 0

    def to_try(self, state: ProofState, proposed: list[TacticCandidate]) -> list[tuple[int, TacticCandidate]]:
        """Distinct candidates with their ranks, best first as the policy gave them, then the probes it did not think
        of; without those that were tried at this state before."""
        seen: set[str] = set()
        candidates: list[TacticCandidate] = []
        probes = (TacticCandidate(tactic, self._config.probe_log_prob, 0) for tactic in self._config.probe_tactics)
        for candidate in (*proposed, *probes):
            if candidate.tactic not in seen:
                seen.add(candidate.tactic)
                candidates.append(candidate)
        tried = self._tried.get(state.text, ())
        return [(rank, candidate) for rank, candidate in enumerate(candidates) if candidate.tactic not in tried]

    def _width(self, node: Node) -> int:
        """What `n_candidates` is multiplied by at the next expansion of the node."""
        before = self._widths.get(node.index)
        return 1 if before is None else min(2 * before, self._config.widen)

    def _ask(self, node: Node) -> AskCandidates:
        return AskCandidates(node.state, self._config.n_candidates * self._width(node))

    def _reopen(self) -> bool:
        """Put the expanded nodes that may have more candidates back on the frontier; whether there are any."""
        for index, width in self._widths.items():
            if width < self._config.widen:
                node = self._tree.nodes[index]
                self._frontier.push(index, self._priorities(node))
        return bool(self._frontier)

    def _record(
        self, node: Node, ranked: list[tuple[int, TacticCandidate]], outcomes: list[Outcome]
    ) -> Generator[Ask, Answer, list[Node]]:
        """Make nodes and attempts of the outcomes; certify claims, best first, until one holds. Returns new nodes.

        ranked: candidates with their places among all that the policy gave.
        """
        new: list[Node] = []
        for (rank, candidate), outcome in zip(ranked, outcomes, strict=True):
            kind, message, child, is_new = _KIND[type(outcome)], "", None, False
            match outcome:
                case Progress(state=state):
                    child, is_new = self._reach(node, candidate, state)
                    if is_new:
                        new.append(child)
                case Complete():
                    if self._result.proof is None:
                        claim = ProofClaim(self.theorem, (*node.state.tactics, candidate.tactic))
                        certificate: Certificate = yield AskCertificate(claim)
                        child, is_new = self._settle(node, candidate, certificate), True
                        if not certificate.certified:
                            kind, message = AttemptOutcome.UNCERTIFIED, certificate.reason
                case Rejected(message=message, refused=refused):
                    kind = AttemptOutcome.REFUSED if refused else AttemptOutcome.REJECTED
                case TimedOut(message=message) | Crashed(message=message):
                    pass
            self._tree.attempts.append(
                Attempt(
                    parent=node.index,
                    expansion=self._result.expansions,
                    rank=rank,
                    tactic=candidate.tactic,
                    log_prob=candidate.log_prob,
                    outcome=kind,
                    message=message[:MESSAGE_LIMIT],
                    elapsed_ms=outcome.elapsed_ms,
                    child=None if child is None else child.index,
                    new_node=is_new,
                )
            )
        return new

    def _reach(self, parent: Node, candidate: TacticCandidate, state: ProofState) -> tuple[Node, bool]:
        """The node of `state`: a new one, or the known one, which takes this path if it is open and the path better."""
        key = state.key
        known = self._tree.find(key)
        if known is None:
            step = (parent, candidate.tactic, candidate.log_prob, state)
            return self._tree.add_child(*step, key=key, created_ms=_now_ms()), True
        is_open = known.expansion is None and known.index in self._frontier  # an expanded node keeps its path
        if is_open and parent.depth + 1 < self._config.max_depth:
            here = self._priorities(known)
            there = self._guidance.priorities(
                log_prob=parent.log_prob + candidate.log_prob, depth=parent.depth + 1, score=known.score, key=known.key
            )
            if there[0] > here[0]:
                self._tree.move(known, parent, candidate.tactic, candidate.log_prob, state)
                self._frontier.push(known.index, there)
        return known, False

    def _settle(self, parent: Node, candidate: TacticCandidate, certificate: Certificate) -> Node:
        """A terminal node for a claim, and what its certificate means for the result."""
        result = self._result
        tactics = certificate.claim.tactics
        done = ProofState(self.theorem, tactics, "")
        step = (parent, candidate.tactic, candidate.log_prob, done)
        node = self._tree.add_child(*step, key=done.key, created_ms=_now_ms())
        node.claimed = True
        node.complete = certificate.certified
        result.claims += 1
        if certificate.certified:
            result.proof = tactics
            result.expansions_to_proof = result.expansions
        else:
            result.uncertified.append(certificate.reason)
        return node

    def _open(self, nodes: list[Node]) -> Generator[Ask, Answer, None]:
        """Score new nodes if the mode asks for it, and put those on the frontier that may be expanded."""
        if not nodes:
            return
        if self._guidance.needs_scores:
            scores: list[float] = yield AskScores(tuple(node.state.text for node in nodes))
            for node, score in zip(nodes, scores, strict=True):
                if not math.isfinite(score):
                    raise ScoreError(
                        f"the energy model scored a state of {self.theorem.name} as {score}; every score must be "
                        f"finite, so the checkpoint is not usable. The state:\n{node.state.text}"
                    )
                node.score = score
        for node in nodes:
            if node.depth < self._config.max_depth:
                self._frontier.push(node.index, self._priorities(node))

    def _priorities(self, node: Node) -> tuple[float, ...]:
        return self._guidance.priorities(log_prob=node.log_prob, depth=node.depth, score=node.score, key=node.key)

    def _end(self, ended: Ended, reason: str = "") -> TheoremResult:
        result = self._result
        result.ended = ended
        result.reason = reason
        if result.uncertified and not result.proved:
            words = f"{len(result.uncertified)} claimed proofs were not certified, the first: {result.uncertified[0]}"
            result.reason = f"{reason}; {words}" if reason else words
        result.wall_ms = (time.perf_counter() - self._started) * 1000
        return result


_ENDED_AT_ROOT = {Rejected: Ended.INVALID, TimedOut: Ended.TIMEOUT, Crashed: Ended.CRASHED}
_KIND = {
    Progress: AttemptOutcome.PROGRESS,
    Complete: AttemptOutcome.COMPLETE,
    Rejected: AttemptOutcome.REJECTED,
    TimedOut: AttemptOutcome.TIMED_OUT,
    Crashed: AttemptOutcome.CRASHED,
}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

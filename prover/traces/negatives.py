"""`prover generate-negatives`: the policy's other tactics along known proofs, judged by Lean.

A known proof says which tactic leads on at each of its states, and nothing of the others. So the policy is asked for
its candidates at each state, Lean steps them, and the rows are those of a search that expanded just the proof's states.
Labels are by the rules of `prover.trajectory.labels`: states from which a certified end is reached are positive, the
others of a proved theorem negative. As there, a negative is not a dead end; it is a state that is not known to lead on.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from prover.environments.base import (
    Complete,
    Crashed,
    Outcome,
    Progress,
    ProofClaim,
    ProofEnvironment,
    ProofState,
    Rejected,
    StepRequest,
    TimedOut,
)
from prover.policy.base import TacticCandidate, TacticGenerator
from prover.policy.complete import as_policy
from prover.search.best_first import Ended, Meter, TheoremResult
from prover.search.config import SearchConfig
from prover.search.node import MESSAGE_LIMIT, Attempt, AttemptOutcome, Node, SearchTree
from prover.search.rows import SearchIdentity, rows_of
from prover.states import state_key
from prover.theorems import Problem
from prover.traces.entries import TraceFileError, file_digest
from prover.traces.imports import read_proofs
from prover.traces.model import Trace
from prover.traces.replay import NotReplayed, ReplayCounts, WholeProof, replay
from prover.trajectory.labels import count_rules, label_search
from prover.trajectory.writer import TrajectoryWriter

_WAVE = 64  # proofs at a time
_POLICY_BATCH = 16  # states in one call of the policy


@dataclass(slots=True)
class NegativesReport:
    """What came of it. `to_dict` is what `--json` prints."""

    output: str
    proofs: int = 0
    states: int = 0
    """States along the proofs at which the policy was asked."""
    candidates: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    """progress | complete | uncertified | rejected | refused | timed_out | crashed -> tactics, known ones included."""
    labels: dict[str, int] = field(default_factory=dict)
    """positive | negative | unknown -> states written."""
    rules: dict[str, int] = field(default_factory=dict)
    invalid: list[Problem] = field(default_factory=list)
    refused: list[Problem] = field(default_factory=list)
    lost: list[Problem] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        """What `--json` prints."""
        return asdict(self)


def known_proofs(source: Path, *, skip_invalid: bool = False) -> tuple[list[WholeProof], list[Problem]]:
    """(proofs, invalid entries) of a theorem file with proofs, or of a trajectory file's certified proofs."""
    if source.suffix == ".parquet":
        from prover.proofs import read_claims

        return [WholeProof(claim.theorem, claim.tactics) for claim in read_claims(source)], []
    if not source.is_file():
        raise TraceFileError(f"no file {str(source)!r}")
    return read_proofs(source, skip_invalid=skip_invalid)


def generate_negatives(
    source: str | Path,
    output: str | Path,
    environment: ProofEnvironment,
    policy: TacticGenerator,
    *,
    n_candidates: int = 8,
    skip_invalid: bool = False,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> NegativesReport:
    """Try the policy's tactics at each state of each known proof, and write the trajectories to `output`.

    source: as for `known_proofs`. n_candidates: tactics asked of the policy at a state. limit: the first N proofs.
    on_progress(done, total): after each batch of proofs.
    Raises `TraceFileError`, `TheoremFileError`, `OutputError`, and what the policy raises.
    """
    path = Path(source)
    proofs, invalid = known_proofs(path, skip_invalid=skip_invalid)
    proofs = proofs[:limit]
    config = SearchConfig(n_candidates=n_candidates, mode="policy-mean")
    identity = _identity(path, environment, policy, n_candidates)
    report = NegativesReport(str(output), invalid=invalid)
    outcomes: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    names = [proof.theorem.name for proof in proofs]
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise TraceFileError(f"{path}: {doubled[0]} has more than one proof; names must be distinct")
    metadata = {"source": path.name, "n_candidates": n_candidates}
    with TrajectoryWriter(output, search_id=identity.search_id, order=names, metadata=metadata) as writer:
        for first in range(0, len(proofs), _WAVE):
            traces = _replayed(proofs[first : first + _WAVE], environment, path, report)
            for result in _try_others(traces, environment, policy, n_candidates):
                found = label_search(result)
                writer.add(rows_of(result, found, identity, config))
                report.proofs += 1
                report.states += result.expansions
                outcomes.update(attempt.outcome.value for attempt in result.tree.attempts)
                labels.update(label.label for label in found)
                rules.update(count_rules(found))
            if on_progress is not None:
                on_progress(min(first + _WAVE, len(proofs)), len(proofs))
        writer.finish()
    report.outcomes, report.labels, report.rules = (dict(sorted(c.items())) for c in (outcomes, labels, rules))
    report.candidates = sum(report.outcomes.values())
    return report


def _identity(path: Path, environment: ProofEnvironment, policy: TacticGenerator, n_candidates: int) -> SearchIdentity:
    known = as_policy(policy)
    policy_id = known.policy_id
    parts = (file_digest(path), environment.fingerprint, known.fingerprint or policy_id, n_candidates)
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()
    return SearchIdentity(f"negatives:{digest}", environment.name, policy_id, None, 0, "policy-mean")


def _replayed(
    proofs: Sequence[WholeProof], environment: ProofEnvironment, path: Path, report: NegativesReport
) -> list[tuple[WholeProof, Trace]]:
    found = []
    for proof, answer in zip(proofs, replay(proofs, environment, ReplayCounts()), strict=True):
        if isinstance(answer, NotReplayed):
            problem = Problem(str(path), answer.line, None, f"{answer.theorem.name}: {answer.message}")
            (report.lost if answer.lost else report.refused).append(problem)
        else:
            found.append((proof, answer))
    return found


def _try_others(
    traces: Sequence[tuple[WholeProof, Trace]], environment: ProofEnvironment, policy: TacticGenerator, k: int
) -> Iterable[TheoremResult]:
    """A search's result for each proof, in order, whose expanded nodes are the states of the proof."""
    began = time.time()
    states: list[ProofState] = []
    for proof, trace in traces:
        tactics = tuple(step.tactic for step in trace.steps)
        states += [ProofState(proof.theorem, tactics[:at], step.before) for at, step in enumerate(trace.steps)]
    texts = list(dict.fromkeys(state.text for state in states))
    by_text: dict[str, list[TacticCandidate]] = {}
    for first in range(0, len(texts), _POLICY_BATCH):
        some = texts[first : first + _POLICY_BATCH]
        by_text.update(zip(some, policy.generate(some, k), strict=True))
    model_ms = (time.time() - began) * 1000 / max(1, len(traces))
    requests = [StepRequest(state, tuple(c.tactic for c in by_text[state.text])) for state in states]
    began = time.time()
    stepped = iter(zip(requests, environment.step(requests), strict=True))
    lean_ms = (time.time() - began) * 1000 / max(1, len(traces))
    results = []
    for proof, trace in traces:
        meter = Meter(model_ms=model_ms, lean_ms=lean_ms)
        mine = [next(stepped) for _ in trace.steps]
        results.append(_result(proof, trace, [(by_text[r.state.text], o) for r, o in mine], meter))
    _certify_others(results, environment)
    return results


def _result(
    proof: WholeProof,
    trace: Trace,
    tried: Sequence[tuple[Sequence[TacticCandidate], Sequence[Outcome]]],
    meter: Meter,
) -> TheoremResult:
    now = int(time.time() * 1000)
    tree = SearchTree()
    theorem = proof.theorem
    node = tree.add_root(ProofState(theorem, (), trace.steps[0].before), now)
    for number, (step, (candidates, outcomes)) in enumerate(zip(trace.steps, tried, strict=True), start=1):
        node.expansion = number
        onward: Node | None = None
        for rank, (candidate, outcome) in enumerate(zip(candidates, outcomes, strict=True)):
            child = _add(tree, node, number, rank, candidate, outcome, now)
            if candidate.tactic == step.tactic and child is not None:
                onward = child
        if onward is None:  # the policy did not think of it: no likelier than the last that it did think of
            log_prob = min((candidate.log_prob for candidate in candidates), default=0.0)
            known = TacticCandidate(step.tactic, log_prob, 0)
            tactics = (*node.state.tactics, step.tactic)
            leads: Outcome = (
                Progress(ProofState(theorem, tactics, step.after), 0.0) if step.after else Complete(tactics, 0.0)
            )
            onward = _add(tree, node, number, len(candidates), known, leads, now)
        assert onward is not None
        if not step.after:
            onward.complete = True
        node = onward
    result = TheoremResult(theorem, Ended.PROVED, "", tree, meter, now)
    result.proof = trace.proof
    result.expansions = result.expansions_to_proof = len(trace.steps)
    result.tactics = len(tree.attempts)
    result.claims = sum(node.claimed for node in tree.nodes)
    return result


def _add(
    tree: SearchTree, node: Node, number: int, rank: int, candidate: TacticCandidate, outcome: Outcome, now: int
) -> Node | None:
    """Note an attempt; the node that it leads to, if Lean took the tactic."""
    child: Node | None = None
    new = False
    kind, message = _kind(outcome)
    if isinstance(outcome, Progress | Complete):
        text = outcome.state.text if isinstance(outcome, Progress) else ""
        child = tree.find(state_key(text)) if text else None
        if child is None:
            state = ProofState(node.state.theorem, (*node.state.tactics, candidate.tactic), text)
            child = tree.add_child(
                node, candidate.tactic, candidate.log_prob, state, key=state_key(text), created_ms=now
            )
            child.claimed = not text
            new = True
    tree.attempts.append(
        Attempt(
            parent=node.index,
            expansion=number,
            rank=rank,
            tactic=candidate.tactic,
            log_prob=candidate.log_prob,
            outcome=kind,
            message=message[:MESSAGE_LIMIT],
            elapsed_ms=outcome.elapsed_ms,
            child=None if child is None else child.index,
            new_node=new,
        )
    )
    return child


def _kind(outcome: Outcome) -> tuple[AttemptOutcome, str]:
    match outcome:
        case Progress():
            return AttemptOutcome.PROGRESS, ""
        case Complete():
            return AttemptOutcome.COMPLETE, ""
        case Rejected(message=message, refused=refused):
            return AttemptOutcome.REFUSED if refused else AttemptOutcome.REJECTED, message
        case TimedOut(message=message):
            return AttemptOutcome.TIMED_OUT, message
        case Crashed(message=message):
            return AttemptOutcome.CRASHED, message


def _certify_others(results: Sequence[TheoremResult], environment: ProofEnvironment) -> None:
    """Certify what closed all goals beside the known proof; what does not hold is unknown, not positive."""
    claims = [(result, node) for result in results for node in result.tree.nodes if node.claimed and not node.complete]
    asked = [ProofClaim(result.theorem, node.state.tactics) for result, node in claims]
    for (result, node), certificate in zip(claims, environment.certify(asked) if asked else [], strict=True):
        node.complete = certificate.certified
        if not certificate.certified:
            result.uncertified.append(certificate.reason)
            result.tree.attempts[:] = [
                replace(attempt, outcome=AttemptOutcome.UNCERTIFIED) if attempt.child == node.index else attempt
                for attempt in result.tree.attempts
            ]

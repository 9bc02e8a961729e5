"""A trace as rows of the three trajectory files."""

import hashlib
from collections import deque

from prover.states import count_goals, state_key
from prover.traces.model import Step, Trace
from prover.trajectory.labels import UNKNOWN_DEPTH
from prover.trajectory.schema import AttemptRecord, SummaryRecord, TheoremRows, TrajectoryRecord

IMPORTED = "imported"
"""`ended` of a theorem that was read from a trace and not certified here."""


def trace_rows(
    trace: Trace, *, search_id: str, environment: str, source: str, timestamp_ms: int, policy_id: str = "trace"
) -> TheoremRows:
    """A trace's states, each once, with its tactics.

    Labels: a state from which the trace reaches the end is positive, with the fewest tactics to it; where the trace
    stops with open goals, its states are unknown. Nothing is negative: a trace shows no tactic that did not lead on.
    Nodes are reached by their shortest path from the root, so that a trace which comes back to a state makes no cycle.
    """
    steps = [step for step in trace.steps if state_key(step.before) != state_key(step.after)]
    texts, edges = _graph(trace, steps)
    parent, order = _tree(edges, len(texts))
    remaining = _remaining(trace, texts, edges)
    ids = [_state_id(search_id, trace.name, number) for number in range(len(texts))]
    expanded = {before for before, _, _ in edges}
    nodes = []
    depth: dict[int, int] = {}
    log_prob: dict[int, float] = {}
    for number in order:
        above = parent.get(number)
        edge = None if above is None else edges[above]
        depth[number] = 0 if edge is None else depth[edge[0]] + 1
        step_log_prob = trace.log_probs[above] if trace.log_probs and above is not None else 0.0
        log_prob[number] = 0.0 if edge is None else log_prob[edge[0]] + step_log_prob
        distance = remaining.get(number, UNKNOWN_DEPTH)
        nodes.append(
            TrajectoryRecord(
                theorem_name=trace.name,
                state_id=ids[number],
                state_pp=texts[number],
                tactic_applied="" if edge is None else edge[1],
                parent_state_id=None if edge is None else ids[edge[0]],
                label="positive" if number in remaining else "unknown",
                depth_from_root=depth[number],
                remaining_depth=distance,
                llm_log_prob=log_prob[number],
                ebm_score=None,
                is_proof_complete=not texts[number],
                timestamp_ms=timestamp_ms,
                iteration=0,
                search_id=search_id,
                state_key=state_key(texts[number]),
                n_goals=count_goals(texts[number]),
                expanded=number in expanded,
                environment=environment,
                policy_id=policy_id,
                ebm_id=None,
                seed=0,
            )
        )
    attempts = [
        AttemptRecord(
            theorem_name=trace.name,
            search_id=search_id,
            parent_state_id=ids[before],
            expansion=place + 1,
            rank=0,
            tactic=tactic,
            log_prob=trace.log_probs[place] if trace.log_probs else 0.0,
            outcome="progress" if texts[after] else "complete",
            message="",
            elapsed_ms=0.0,
            child_state_id=ids[after],
            new_node=parent.get(after) == place,
        )
        for place, (before, tactic, after) in enumerate(edges)
    ]
    finished = any(not text for text in texts)
    summary = _summary(trace, len(nodes), len(attempts), finished, search_id, environment, source, timestamp_ms)
    return TheoremRows(nodes, attempts, summary)


def _graph(trace: Trace, steps: list[Step]) -> tuple[list[str], list[tuple[int, str, int]]]:
    """(state texts, root first; edges (before, tactic, after) in order). States of one key are one."""
    number: dict[str, int] = {}
    texts: list[str] = []

    def node(text: str) -> int:
        key = state_key(text)
        if key not in number:
            number[key] = len(texts)
            texts.append(text)
        return number[key]

    node(trace.steps[0].before)
    return texts, [(node(step.before), step.tactic, node(step.after)) for step in steps]


def _tree(edges: list[tuple[int, str, int]], count: int) -> tuple[dict[int, int], list[int]]:
    """(node -> the edge that first reaches it from the root, by breadth; nodes in that order).

    A node that the root does not reach (steps that do not follow each other) becomes a root of its own.
    """
    below: dict[int, list[int]] = {}
    for place, (before, _, _) in enumerate(edges):
        below.setdefault(before, []).append(place)
    parent: dict[int, int] = {}
    order: list[int] = []
    seen: set[int] = set()
    for start in range(count):
        queue = deque([start] if start not in seen else [])
        seen.add(start)
        while queue:
            number = queue.popleft()
            order.append(number)
            for place in below.get(number, ()):
                child = edges[place][2]
                if child not in seen:
                    seen.add(child)
                    parent[child] = place
                    queue.append(child)
    return parent, order


def _remaining(trace: Trace, texts: list[str], edges: list[tuple[int, str, int]]) -> dict[int, int]:
    """Fewest tactics to the end, of the nodes that reach it; else what the file says of them."""
    parents: dict[int, list[int]] = {}
    for before, _, after in edges:
        parents.setdefault(after, []).append(before)
    distance = {number: 0 for number, text in enumerate(texts) if not text}
    queue = deque(distance)
    while queue:
        number = queue.popleft()
        for above in parents.get(number, ()):
            if above not in distance:
                distance[above] = distance[number] + 1
                queue.append(above)
    number_of = {state_key(text): number for number, text in enumerate(texts)}
    for text, left in trace.remaining:
        distance.setdefault(number_of[state_key(text)], left)
    return distance


def _state_id(search_id: str, name: str, number: int) -> int:
    digest = hashlib.blake2b(f"{search_id}\n{name}\n{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _summary(
    trace: Trace,
    n_nodes: int,
    n_attempts: int,
    finished: bool,
    search_id: str,
    environment: str,
    source: str,
    timestamp_ms: int,
) -> SummaryRecord:
    return SummaryRecord(
        theorem_name=trace.name,
        statement=trace.statement,
        header=trace.header,
        split=None,
        difficulty=None,
        search_id=search_id,
        iteration=0,
        proved=trace.certified,
        claimed=finished,
        certified=trace.certified,
        ended="proved" if trace.certified else IMPORTED,
        reason="" if trace.certified else f"read from {source}, not checked by Lean here",
        proof=list(trace.proof) if trace.certified and trace.proof is not None else None,
        expansions_to_proof=n_attempts if trace.certified else None,
        nodes=n_nodes,
        expansions=n_attempts,
        tactics=n_attempts,
        claims=int(finished),
        max_expansions=n_attempts,
        n_candidates=1,
        mode="trace",
        wall_ms=0.0,
        model_ms=0.0,
        lean_ms=0.0,
        own_ms=0.0,
        environment=environment,
        policy_id="trace",
        ebm_id=None,
        seed=0,
        timestamp_ms=timestamp_ms,
    )

"""Whole proofs replayed by Lean, state by state, many proofs at a time."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

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
from prover.theorems import Theorem
from prover.traces.model import Step, Trace, bare, goals
from prover.traces.structured import Item, SplitError, script_of, split

WAVE = 256
"""Proofs that are replayed together."""


@dataclass(frozen=True, slots=True)
class WholeProof:
    """A theorem with the text of its proof, or its tactics one by one. `origin`: file and line, for messages."""

    theorem: Theorem
    proof: str | tuple[str, ...]
    line: int | None = None


@dataclass(frozen=True, slots=True)
class NotReplayed:
    """Why a proof gave no trace. `lost`: Lean crashed or ran out of time, which says nothing about the proof."""

    theorem: Theorem
    line: int | None
    message: str
    lost: bool = False


@dataclass(slots=True)
class ReplayCounts:
    """What a replay came to."""

    proofs: int = 0
    certified: int = 0
    uncertified: int = 0
    blocks: int = 0
    """Blocks whose inner tactics were stepped one by one."""
    whole_blocks: int = 0
    """Blocks that Lean takes only as they stand: one step each."""


@dataclass(slots=True)
class _Walk:
    steps: list[Step] = field(default_factory=list)
    tactics: tuple[str, ...] = ()
    blocks: int = 0
    whole_blocks: int = 0


class _Refused(Exception):
    def __init__(self, message: str, lost: bool = False) -> None:
        self.lost = lost
        super().__init__(message)


Asking = Generator[tuple[ProofState, str], Outcome, ProofState]
"""Asks for the outcome of a tactic at a state, again and again, and returns the state at the end."""


def replay(
    proofs: Sequence[WholeProof], environment: ProofEnvironment, counts: ReplayCounts
) -> list[Trace | NotReplayed]:
    """A trace for each proof that Lean takes to its end, with the script of its steps certified; else why not."""
    answers: list[Trace | NotReplayed | None] = [None] * len(proofs)
    items: dict[int, tuple[Item, ...]] = {}
    for index, proof in enumerate(proofs):
        counts.proofs += 1
        try:
            items[index] = items_of(proof.proof)
        except SplitError as error:
            answers[index] = NotReplayed(proof.theorem, proof.line, f"the proof {error}")
    walks: dict[int, tuple[Generator[tuple[ProofState, str], Outcome, _Walk], tuple[ProofState, str]]] = {}
    finished: dict[int, _Walk] = {}
    indices = list(items)
    for index, root in zip(indices, environment.start([proofs[i].theorem for i in indices]), strict=True):
        proof = proofs[index]
        if not isinstance(root, ProofState):
            lost = not isinstance(root, Rejected)
            answers[index] = NotReplayed(proof.theorem, proof.line, f"Lean cannot start it: {root.message}", lost)
            continue
        steps = _whole(root, items[index])
        walks[index] = steps, next(steps)
    while walks:
        asked = list(walks.items())
        outcomes = environment.step([StepRequest(ask[0], (ask[1],)) for _, (_, ask) in asked])
        walks = {}
        for (index, (steps, _)), (outcome,) in zip(asked, outcomes, strict=True):
            try:
                walks[index] = steps, steps.send(outcome)
            except StopIteration as end:
                finished[index] = end.value
            except _Refused as refused:
                proof = proofs[index]
                answers[index] = NotReplayed(proof.theorem, proof.line, str(refused), refused.lost)
    _certify(proofs, finished, environment, answers, counts)
    return [answer for answer in answers if answer is not None]


def items_of(proof: str | tuple[str, ...]) -> tuple[Item, ...]:
    """The items of a proof. Tactics that come one by one stay as they are, but for their blocks. Raises SplitError."""
    if isinstance(proof, str):
        return split(script_of(proof))
    found: list[Item] = []
    for tactic in proof:
        found += split(script_of(tactic) if "--" in tactic or "/-" in tactic else tactic.strip("\n"))
    if not found:
        raise SplitError("is empty; expected tactics")
    return tuple(found)


def _whole(root: ProofState, items: tuple[Item, ...]) -> Generator[tuple[ProofState, str], Outcome, _Walk]:
    walk = _Walk()
    end = yield from _run(root, items, walk)
    if end.text:
        raise _Refused(f"the proof leaves {end.n_goals} goals open")
    walk.tactics = end.tactics
    return walk


def _run(state: ProofState, items: tuple[Item, ...], walk: _Walk) -> Asking:
    for number, item in enumerate(items):
        if not state.text:
            raise _Refused(f"no goal is left for `{_short(item.text)}`, {len(items) - number} tactics before the end")
        if item.inner is not None:
            inside = _Walk()
            try:
                after = yield from _flat(state, item, inside)
            except _Refused as refused:
                if refused.lost:
                    raise
            else:
                walk.steps += inside.steps
                walk.blocks += inside.blocks + 1
                walk.whole_blocks += inside.whole_blocks
                state = after
                continue
            walk.whole_blocks += 1
        state = yield from _step(state, item.text, walk)
    return state


def _flat(state: ProofState, item: Item, walk: _Walk) -> Asking:
    """The inner tactics of a block, one by one. Raises _Refused where they do not do what the block does."""
    assert item.inner is not None
    first = state
    if item.opening is not None:
        first = yield from _step(state, item.opening, walk)
    if item.adds_goal and first.n_goals != state.n_goals + 1:
        raise _Refused("the head of the block does not add one goal")
    behind = [bare(goal) for goal in goals((state if item.splits else first).text)[1:]]
    after = yield from _run(first, item.inner, walk)
    if [bare(goal) for goal in goals(after.text)] != behind:
        raise _Refused("the tactics of the block reach beyond their goal")
    return after


def _step(state: ProofState, tactic: str, walk: _Walk) -> Asking:
    outcome = yield state, tactic
    match outcome:
        case Progress(state=after):
            walk.steps.append(Step(state.text, tactic, after.text))
            return after
        case Complete(tactics=tactics):
            walk.steps.append(Step(state.text, tactic, ""))
            return ProofState(state.theorem, tactics, "")
        case Rejected(message=message):
            raise _Refused(f"Lean does not take `{_short(tactic)}`: {_short(message, 200)}")
        case TimedOut(message=message) | Crashed(message=message):
            raise _Refused(f"Lean came to no answer on `{_short(tactic)}`: {_short(message, 200)}", lost=True)


def _certify(
    proofs: Sequence[WholeProof],
    finished: dict[int, _Walk],
    environment: ProofEnvironment,
    answers: list[Trace | NotReplayed | None],
    counts: ReplayCounts,
) -> None:
    claims = [ProofClaim(proofs[index].theorem, walk.tactics) for index, walk in finished.items()]
    for (index, walk), certificate in zip(finished.items(), environment.certify(claims), strict=True):
        theorem = proofs[index].theorem
        if not certificate.certified:
            counts.uncertified += 1
            answers[index] = NotReplayed(theorem, proofs[index].line, f"not certified: {certificate.reason}")
            continue
        counts.certified += 1
        counts.blocks += walk.blocks
        counts.whole_blocks += walk.whole_blocks
        answers[index] = Trace(
            theorem.name,
            tuple(walk.steps),
            statement=theorem.statement,
            header=theorem.header,
            certified=True,
            proof=walk.tactics,
        )


def _short(text: str, limit: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"

"""From what Lean said about a trial to outcomes, and to what has to be tried again. No process, no state."""

from dataclasses import dataclass, field, replace

from prover.environments.base import Complete, Crashed, Outcome, Progress, ProofState, Rejected, TimedOut
from prover.environments.script.process import RunResult
from prover.environments.script.source import HEAD, PREFIX, Slot, Trial, TrialAnswer, hit_limit, left_open

UNEXPLAINED = "Lean did not accept this tactic in this state"
_SHARED_ROUNDS = 3  # after so many tries, candidates that lose their neighbours get a theorem each


@dataclass(slots=True)
class Verdict:
    """Outcomes that are sure, and trials for the candidates that have none yet."""

    sure: list[tuple[Slot, Outcome]] = field(default_factory=list)
    again: list[Trial] = field(default_factory=list)


def for_all(trial: Trial, outcome: Outcome) -> Verdict:
    """The same outcome for every candidate of a trial."""
    return Verdict([(slot, outcome) for slot in trial.slots])


def stopped(run: RunResult, elapsed_ms: float) -> TimedOut | Crashed:
    """The outcome of what Lean was doing when its process ended."""
    if run.ended == "timeout":
        return TimedOut(run.detail, elapsed_ms)
    return Crashed(run.detail or "Lean stopped before the end of its file", elapsed_ms)


def _accepted(trial: Trial, slot: Slot, text: str, elapsed_ms: float) -> Progress | Complete:
    tactics = (*trial.prefix, slot.tactic)
    return Progress(ProofState(trial.theorem, tactics, text), elapsed_ms) if text else Complete(tactics, elapsed_ms)


def read_trial(trial: Trial, answer: TrialAnswer, elapsed_ms: float) -> Verdict:
    """A trial that Lean came to the end of."""
    # A candidate that does not parse also leaves "unsolved goals" at the head: that says nothing of the replay.
    unparsed = max(answer.errors, default=HEAD) >= 0
    # A value that the tactics before left open is nobody's fault: the closing `sorry` gives it none.
    in_prefix, said_at_head = (
        [said for said in answer.errors.get(place, ()) if not left_open(said)] for place in (PREFIX, HEAD)
    )
    at_head = [said for said in said_at_head if hit_limit(said) or not unparsed]
    broken = [*in_prefix, *at_head, ""][0]
    if broken and not hit_limit(broken):
        return for_all(trial, Crashed(f"the replay of the tactics before failed: {broken}", elapsed_ms))
    if broken and len(trial.slots) == 1 and not unparsed:
        return for_all(trial, TimedOut(broken, elapsed_ms))
    verdict = Verdict()
    lost: list[Slot] = []
    exhausted = bool(broken)  # the budget ran out, Lean does not say where
    cut = False  # a candidate that did not parse, or ran out of budget, ends its theorem
    for position, slot in enumerate(trial.slots):
        traces, error = answer.traces.get(position, []), answer.first_error(position)
        if len(traces) > 1:
            verdict.sure.append((slot, Crashed("Lean printed several states for one tactic", elapsed_ms)))
        elif traces and not error:
            verdict.sure.append((slot, _accepted(trial, slot, traces[0], elapsed_ms)))
        elif cut or (exhausted and not error):
            lost.append(slot)
        elif error and hit_limit(error):
            # In company the budget was shared; the verdict is that of a trial of its own.
            exhausted = cut = True
            if len(trial.slots) == 1:
                verdict.sure.append((slot, TimedOut(error, elapsed_ms)))
            else:
                lost.append(slot)
        else:
            cut = bool(error) and not traces
            verdict.sure.append((slot, Rejected(error or UNEXPLAINED, elapsed_ms)))
    later = replace(trial, round=trial.round + 1)
    if lost and not exhausted and later.round < _SHARED_ROUNDS:
        verdict.again.append(replace(later, slots=tuple(lost)))
    else:
        verdict.again += [replace(later, slots=(slot,)) for slot in lost]
    return verdict


def read_stopped(trial: Trial, answer: TrialAnswer, run: RunResult, *, last: bool) -> Verdict:
    """A trial in which Lean stopped: what was printed stands, the rest is tried one by one, each in its own process.

    `last`: the process had nothing but this trial, so that a single candidate is the one that stopped it.
    """
    elapsed_ms = run.wall_s * 1000 / len(trial.slots)
    verdict = Verdict()
    for position, slot in enumerate(trial.slots):
        traces = answer.traces.get(position, [])
        if len(traces) == 1:
            verdict.sure.append((slot, _accepted(trial, slot, traces[0], elapsed_ms)))
        elif last and len(trial.slots) == 1:
            verdict.sure.append((slot, stopped(run, elapsed_ms)))
        else:
            verdict.again.append(replace(trial, slots=(slot,), round=trial.round + 1, alone=True))
    return verdict

"""A proof environment over plain Lean files: one file per wave; each trial replays the tactics that lead to its state.

See `source` for the method, `process` for the processes. Nothing here keeps a state in Lean: a
state is its tactic prefix, so a process may die, be split or be thrown away at any time.
"""

import hashlib
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Self, TypeVar

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
from prover.environments.certify import certify_claims, proof_file
from prover.environments.isolation.refusal import (
    REFUSAL_VERSION,
    REFUSED,
    may_free_a_command,
    refuse_tactic,
    refuse_theorem,
    variables,
)
from prover.environments.isolation.sandbox import ProcessLimits
from prover.environments.script.premises import prelude_module, refuse_imports
from prover.environments.script.process import RunResult, StepRunner
from prover.environments.script.source import (
    COPY_LEMMA,
    TRIAL_NAME,
    Slot,
    Trial,
    WaveText,
    hit_limit,
    may_log_errors,
    may_not_parse,
    wave_head,
)
from prover.environments.script.verdicts import (
    UNEXPLAINED,
    Verdict,
    for_all,
    read_stopped,
    read_trial,
    stopped,
)
from prover.theorems import Theorem

METHOD_VERSION = "prefix-replay/4"
_TRIAL_SIZE = 40  # candidates in one theorem: more are slower each, and take memory
_FILE_SIZE = 2000  # candidates in one process: bounds its memory


_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class LeanLimits:
    """Limits on tactics and on the processes that try them."""

    max_heartbeats: int = 10_000
    """Lean's own work limit for one tactic with its prefix (option `maxHeartbeats`; Lean's default is 200,000)."""
    tactic_s: float = 4.0
    """Wall-clock seconds for a tactic that is tried alone."""
    average_s: float = 0.05
    """Wall-clock seconds that a file of many tactics is given for each, beyond `tactic_s` once."""
    start_s: float = 3.0
    """Wall-clock seconds allowed for starting Lean and importing."""
    process: ProcessLimits = field(default_factory=ProcessLimits)

    def file_s(self, n_tactics: int) -> float:
        """Wall-clock seconds for a file of so many tactics; a proof to certify counts as one long tactic."""
        return self.start_s + self.tactic_s + self.average_s * n_tactics


MATHLIB_LIMITS = LeanLimits(
    max_heartbeats=200_000,
    tactic_s=60.0,
    average_s=1.0,
    start_s=180.0,
    process=ProcessLimits(memory_mib=12_288, cpu_s=3600),
)
"""For an installed Lean with heavy imports."""


class LeanScript:
    """A `ProofEnvironment` that writes Lean files. Methods may be called from several threads at a time.

    `elapsed_ms` of an outcome is its share of its file's wall time.
    """

    def __init__(self, runner: StepRunner, limits: LeanLimits | None = None, *, explain: bool = False) -> None:
        """`explain`: ask Lean once more for the error messages of rejected tactics; else they get a general one."""
        self.explain = explain
        self.limits = limits or LeanLimits()
        self._runner = runner
        self.name = runner.name
        content = (METHOD_VERSION, REFUSAL_VERSION, runner.fingerprint, sorted(asdict(self.limits).items(), key=str))
        self.fingerprint = hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()
        self._pool = ThreadPoolExecutor(runner.workers, thread_name_prefix="lean")
        self._counts: Counter[str] = Counter()
        self._counts_lock = threading.Lock()

    # -- the protocol ---------------------------------------------------------------------------------------------

    def start(self, theorems: Sequence[Theorem]) -> list[ProofState | Failure]:
        """See `ProofEnvironment.start`. Theorems with the same header share a file."""
        results: list[ProofState | Failure | None] = [None] * len(theorems)
        layers: dict[tuple[int, str, int], list[int]] = {}
        seen: Counter[str] = Counter()
        for index, theorem in enumerate(theorems):
            refused = self._refuse_theorem(theorem)
            if refused:
                results[index] = Rejected(refused, 0.0, refused=True)
            else:  # a name can be declared once per file, however it is written
                name = theorem.full_name.removeprefix("_root_.").replace("«", "").replace("»", "")
                apart = index if variables(theorem.statement) else -1  # it may not parse, and free a command
                layers.setdefault((seen[name], theorem.header, apart), []).append(index)
                seen[name] += 1
        groups = [chunk for indices in layers.values() for chunk in self._shares(indices, lambda _: 2)]

        def state_all(indices: list[int]) -> None:
            while indices:
                indices = self._start_file(theorems, indices, results)

        self._each(state_all, groups)
        return [result if result is not None else Crashed("no answer from Lean", 0.0) for result in results]

    def step(self, requests: Sequence[StepRequest]) -> list[list[Outcome]]:
        """See `ProofEnvironment.step`. States with the same header share a file."""
        outcomes: list[list[Outcome | None]] = [[None] * len(request.tactics) for request in requests]
        trials: list[Trial] = []
        for row, request in enumerate(requests):
            slots = []
            if not request.state.text:
                outcomes[row] = [Rejected("the proof is complete: no goal is left", 0.0) for _ in request.tactics]
                continue
            refused_theorem = self._refuse_theorem(request.state.theorem)
            statement = request.state.theorem.statement
            for column, tactic in enumerate(request.tactics):
                refused = refused_theorem or refuse_tactic(tactic.replace("\r\n", "\n"), statement)
                if refused:
                    outcomes[row][column] = Rejected(refused, 0.0, refused=True)
                else:
                    slots.append(Slot(row, column, tactic))
            state = request.state
            loose = bool(variables(statement))
            wild = {slot for slot in slots if loose or may_free_a_command(slot.tactic)}
            tame = sorted((slot for slot in slots if slot not in wild), key=lambda slot: may_not_parse(slot.tactic))
            for first in range(0, len(tame), _TRIAL_SIZE):
                trials.append(Trial(state.theorem, state.tactics, tuple(tame[first : first + _TRIAL_SIZE])))
            trials += [Trial(state.theorem, state.tactics, (slot,), wild=True) for slot in slots if slot in wild]
        while trials:
            files = list(self._files(trials))
            again: list[list[Trial]] = [[] for _ in files]

            def try_file(number: int, files: list[list[Trial]] = files, again: list[list[Trial]] = again) -> None:
                again[number] = self._step_file(files[number], outcomes)

            self._each(try_file, range(len(files)))
            trials = [trial for later in again for trial in later]
        self._confirm(requests, outcomes)
        if self.explain:
            self._explain(requests, outcomes)
        return [[o if o is not None else Crashed("no answer from Lean", 0.0) for o in row] for row in outcomes]

    def certify(self, claims: Sequence[ProofClaim]) -> list[Certificate]:
        """See `ProofEnvironment.certify`. One process per claim."""
        return certify_claims(
            self._runner,
            claims,
            max_heartbeats=self.certified_heartbeats,
            wall_s=self.certify_s,
        )

    @property
    def runner(self) -> StepRunner:
        """The Lean behind it."""
        return self._runner

    @property
    def certify_s(self) -> float:
        """Wall-clock seconds for a whole proof."""
        return self.limits.file_s(1) + 10 * self.limits.tactic_s

    @property
    def certified_heartbeats(self) -> int:
        """A script is elaborated in one go, so it gets the budget of several tactics."""
        return 10 * self.limits.max_heartbeats

    def proof_file(self, claim: ProofClaim) -> str:
        """A Lean file that proves the claim's theorem and is accepted as it stands (`prover export-proofs`)."""
        module = prelude_module(claim.theorem.header)
        return proof_file(self._runner.standalone_preamble(module), claim, self.certified_heartbeats)

    def close(self) -> None:
        """Wait for the calls that are under way, and end Lean's processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def counts(self) -> dict[str, int]:
        """How many files, trials and candidates were tried since the start, and how often something went wrong."""
        with self._counts_lock:
            return dict(self._counts)

    # -- files ----------------------------------------------------------------------------------------------------

    def _refuse_theorem(self, theorem: Theorem) -> str | None:
        refused = refuse_imports(theorem.header, takes_imports=self._runner.takes_imports)
        if refused:
            return f"{REFUSED}{refused}"
        return refuse_theorem(theorem.name, theorem.statement, theorem.header)

    def _each(self, work: Callable[[_Item], None], items: Iterable[_Item]) -> None:
        """Run `work` on every item, on the pool when there are several; the first exception is raised."""
        todo = list(items)
        if len(todo) == 1:
            work(todo[0])
        else:
            for future in [self._pool.submit(work, item) for item in todo]:
                future.result()

    def _shares(self, items: list[_Item], weight: Callable[[_Item], float]) -> list[list[_Item]]:
        """Consecutive shares of `items` for separate processes: about equal, few enough to pay, small enough to fit."""
        total = sum(weight(item) for item in items)
        wanted = int(max(1, min(self._runner.workers, total // self._runner.split_size), -(-total // _FILE_SIZE)))
        bound = total / wanted
        shares: list[list[_Item]] = [[]]
        filled = 0.0
        for item in items:
            if shares[-1] and filled >= bound * len(shares):
                shares.append([])
            shares[-1].append(item)
            filled += weight(item)
        return [share for share in shares if share]

    def _files(self, trials: list[Trial]) -> Iterable[list[Trial]]:
        yield from ([trial] for trial in trials if trial.alone)
        # Trials that may break their file come last in it, so that they cannot change what the others see.
        shared = sorted(
            (trial for trial in trials if not trial.alone), key=lambda trial: (trial.theorem.header, trial.wild)
        )
        for _, group in groupby(shared, key=lambda trial: trial.theorem.header):
            yield from self._shares(list(group), lambda trial: len(trial.slots) + len(trial.prefix) / 2)

    def _run(self, wave: WaveText, n_tactics: int) -> RunResult:
        with self._counts_lock:
            self._counts.update(files=1, trials=wave.trials, tactics=n_tactics)
        return self._runner.run(wave.text, wall_s=self.limits.file_s(n_tactics))

    # -- roots ----------------------------------------------------------------------------------------------------

    def _start_file(
        self, theorems: Sequence[Theorem], indices: list[int], results: list[ProofState | Failure | None]
    ) -> list[int]:
        """State the theorems in one process; the indices of those that have to be asked again."""
        wave = WaveText(wave_head(self._runner.preamble, theorems[indices[0]].header, self.limits.max_heartbeats))
        for index in indices:
            wave.add_root(theorems[index])
        wave.add_names([theorems[index] for index in indices])
        run = self._run(wave, len(indices))
        answers, head_errors = wave.read(run.messages)
        elapsed = run.wall_s * 1000 / len(indices)
        unfinished: list[int] = []
        for index, answer in zip(indices, answers, strict=True):
            theorem = theorems[index]
            errors = [message for slot in answer.errors for message in answer.errors[slot]]
            if head_errors:
                results[index] = Rejected(f"Lean does not accept the header: {head_errors[0]}", elapsed)
            elif errors:
                said = re.sub(rf"`[^`]*{TRIAL_NAME}\d+`", f"`{theorem.name}`", errors[0])
                results[index] = Rejected(f"{theorem.name}: {said}", elapsed)
            elif not answer.finished or len(answer.traces.get(0, ())) != 1:
                unfinished.append(index)
            else:
                results[index] = ProofState(theorem, (), answer.traces[0][0])
        if unfinished:  # Lean stopped at the first of them; the others were never reached
            results[unfinished[0]] = stopped(run, elapsed)
        return unfinished[1:]

    # -- steps ----------------------------------------------------------------------------------------------------

    def _step_file(self, trials: list[Trial], outcomes: list[list[Outcome | None]]) -> list[Trial]:
        """Try the trials in one process, write the outcomes that are sure, return what has to be tried again."""
        wave = WaveText(wave_head(self._runner.preamble, trials[0].theorem.header, self.limits.max_heartbeats))
        for trial in trials:
            wave.add(trial)
        n_tactics = sum(len(trial.slots) for trial in trials)
        run = self._run(wave, n_tactics)
        answers, head_errors = wave.read(run.messages)
        elapsed = run.wall_s * 1000 / n_tactics
        again: list[Trial] = []
        seen_stop = freed = False
        for trial, answer in zip(trials, answers, strict=True):
            if freed:  # what was declared before it may be in its outcome
                verdict = Verdict(again=[replace(trial, round=trial.round + 1, alone=trial.alone or trial.round > 0)])
            elif head_errors:
                verdict = for_all(trial, Crashed(f"Lean does not accept the header: {head_errors[0]}", elapsed))
            elif answer.finished:
                verdict = read_trial(trial, answer, elapsed)
            elif seen_stop:  # never reached; after a timeout each gets its own process, so none waits for another again
                verdict = Verdict(again=[replace(trial, alone=run.ended == "timeout" or trial.alone)])
            else:
                seen_stop = True
                verdict = read_stopped(trial, answer, run, last=len(trials) == 1)
            again += verdict.again
            freed = freed or (trial.wild and bool(answer.errors))
            for slot, outcome in verdict.sure:
                outcomes[slot.row][slot.column] = outcome
        with self._counts_lock:
            self._counts.update(retried=sum(len(trial.slots) for trial in again), **{f"ended_{run.ended}": 1})
        return again

    # -- second looks ---------------------------------------------------------------------------------------------

    def _confirm(self, requests: Sequence[StepRequest], outcomes: list[list[Outcome | None]]) -> None:
        """Turn down accepted candidates that log an error and go on (`rename_i a b` with one name to give).

        The error is lost when Lean backtracks, and would come back in the finished script.
        """
        trials = [
            Trial(request.state.theorem, request.state.tactics, (Slot(row, column, tactic),))
            for row, request in enumerate(requests)
            for column, (tactic, outcome) in enumerate(zip(request.tactics, outcomes[row], strict=True))
            if isinstance(outcome, Progress | Complete)
            and may_log_errors(tactic, complete=isinstance(outcome, Complete))
        ]
        if trials:
            self._each(lambda file: self._confirm_file(file, outcomes), self._files(trials))

    def _confirm_file(self, trials: list[Trial], outcomes: list[list[Outcome | None]]) -> None:
        wave = WaveText(wave_head(self._runner.preamble, trials[0].theorem.header, self.limits.max_heartbeats))
        for trial in trials:
            wave.add_confirmed(trial)
        run = self._run(wave, len(trials))
        for trial, answer in zip(trials, wave.read(run.messages)[0], strict=True):
            if said := answer.first_error(0):
                slot, kind = trial.slots[0], TimedOut if hit_limit(said) else Rejected
                outcomes[slot.row][slot.column] = kind(said.split("\n\n")[0], run.wall_s * 1000 / len(trials))

    def _explain(self, requests: Sequence[StepRequest], outcomes: list[list[Outcome | None]]) -> None:
        """Fill in Lean's messages for candidates that it turned down without one. Best effort: verdicts stand."""
        trials = []
        for row, request in enumerate(requests):
            silent = [
                Slot(row, column, tactic)
                for column, (tactic, outcome) in enumerate(zip(request.tactics, outcomes[row], strict=True))
                if isinstance(outcome, Rejected) and outcome.message == UNEXPLAINED
            ]
            for first in range(0, len(silent), _TRIAL_SIZE):
                chunk = tuple(silent[first : first + _TRIAL_SIZE])
                trials.append(Trial(request.state.theorem, request.state.tactics, chunk))
        if trials:
            self._each(lambda file: self._explain_file(file, outcomes), self._files(trials))

    def _explain_file(self, trials: list[Trial], outcomes: list[list[Outcome | None]]) -> None:
        head = wave_head(self._runner.preamble, trials[0].theorem.header, self.limits.max_heartbeats)
        wave = WaveText([*head, COPY_LEMMA])
        for trial in trials:
            wave.add_explained(trial)
        run = self._run(wave, sum(len(trial.slots) for trial in trials))
        for trial, answer in zip(trials, wave.read(run.messages)[0], strict=True):
            for position, slot in enumerate(trial.slots):
                said = answer.first_error(position).split("\n\n")[0].strip()
                outcome = outcomes[slot.row][slot.column]
                if said and isinstance(outcome, Rejected):
                    outcomes[slot.row][slot.column] = replace(outcome, message=said)


def default_workers() -> int:
    """Lean processes at a time: one per core, at most 8."""
    return max(1, min(8, os.cpu_count() or 1))

"""Runs many theorem searches at once: batches their asks, overlaps the model with Lean, and remembers answers.

The main thread owns the model, the memo and the searches; Lean's calls run in worker threads. A wave is a group of
theorems that go through one round together: outcomes arrive, new nodes are scored, the next nodes get candidates, and
their tactics go to Lean. With `cohorts` waves in flight the model serves one while Lean serves another.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

from prover.environments.base import Outcome, ProofEnvironment, ProofState, StepRequest
from prover.policy.base import Interruptible, PolicyInterrupted, TacticGenerator
from prover.policy.complete import as_policy
from prover.search.acceptance import FirstTactics
from prover.search.best_first import (
    Ask,
    AskCandidates,
    AskCertificate,
    AskOutcomes,
    AskRoot,
    AskScores,
    TheoremResult,
    TheoremSearch,
)
from prover.search.config import SearchConfig
from prover.search.guidance import Guidance, MixingCalibration, ValueScorer, own_calibration
from prover.search.known import Knowledge, Known
from prover.search.memo import SearchMemo
from prover.theorems import Theorem

logger = logging.getLogger(__name__)

_POLL_S = 0.2  # how often a wait for Lean looks at `stop`


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """How far a search is."""

    theorems: int
    done: int
    proved: int
    active: int
    expansions: int
    expansions_left: int
    """At most, by the budgets of the theorems not done: what is proved sooner needs fewer."""
    tactics: int
    elapsed_s: float
    model_s: float
    """Seconds in the policy and the energy model, so far."""
    lean_s: float
    """Seconds in Lean calls, so far, summed over the calls (they overlap)."""


@dataclass(slots=True)
class SearchReport:
    """What a search did. `results` are in the order of the theorems; those not finished (`interrupted`) are absent."""

    results: list[TheoremResult]
    guidance: Guidance
    interrupted: bool
    progress: SearchProgress
    waited_s: float
    """Wall seconds in which the main thread had nothing to do but wait for Lean."""

    @property
    def own_s(self) -> float:
        """Wall seconds in which the main thread was neither in the model nor waiting for Lean."""
        return max(0.0, self.progress.elapsed_s - self.progress.model_s - self.waited_s)


class Searcher(Protocol):
    """What searches: `search` in this process, or `prover.scale.RayCluster.search` on a cluster."""

    def __call__(
        self,
        theorems: Iterable[Theorem],
        environment: ProofEnvironment,
        policy: TacticGenerator,
        config: SearchConfig,
        *,
        scorer: ValueScorer | None = None,
        calibration: MixingCalibration | None = None,
        memo: SearchMemo | None = None,
        on_result: Callable[[Any], None] | None = None,
        on_progress: Callable[[SearchProgress], None] | None = None,
        stop: Callable[[], bool] | None = None,
        keep_results: bool = True,
        reduce: Callable[[TheoremResult], Any] | None = None,
    ) -> SearchReport: ...


def search(
    theorems: Iterable[Theorem],
    environment: ProofEnvironment,
    policy: TacticGenerator,
    config: SearchConfig,
    *,
    scorer: ValueScorer | None = None,
    calibration: MixingCalibration | None = None,
    memo: SearchMemo | None = None,
    on_result: Callable[[Any], None] | None = None,
    on_progress: Callable[[SearchProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    keep_results: bool = True,
    reduce: Callable[[TheoremResult], Any] | None = None,
) -> SearchReport:
    """Search each theorem for a proof that certifies.

    A theorem's result depends on the theorem, the environment, the policy, the scorer and
    `config.result_settings()` alone: not on the other theorems, on timing or on the memo (but see `time_limit_s`).

    calibration: instead of the scorer's own. on_result: called in this thread as each theorem ends, in no fixed order.
    stop: polled; once true, the search returns with what is finished. keep_results: False drops each result after
    `on_result`, for sets that do not fit in memory. reduce: `on_result` gets what this makes of each result.
    Raises `SearchConfigError` for a mode that cannot be had, and whatever the policy or the environment raise.
    """
    if calibration is None:
        calibration = own_calibration(scorer)
    guidance = Guidance.resolve(config, has_scorer=scorer is not None, calibration=calibration)
    if guidance.note:
        logger.info("%s", guidance.note)
    stop = stop or (lambda: False)
    if isinstance(policy, Interruptible):
        policy.stop_when(stop)
    engine = _Engine(environment, policy, config, guidance, scorer, memo, stop, on_progress)
    tell = on_result
    if on_result is not None and reduce is not None:
        tell = partial(_reduced, reduce, on_result)
    return engine.run(list(theorems), tell, keep_results)


def _reduced(reduce: Callable[[TheoremResult], Any], on_result: Callable[[Any], None], result: TheoremResult) -> None:
    on_result(reduce(result))


@dataclass(slots=True)
class _Slot:
    """An open theorem: its search, and what is known ahead of its asking."""

    index: int
    search: TheoremSearch
    steps: Generator[Ask, Any, TheoremResult]
    known: Known = field(default_factory=Known)


@dataclass(slots=True)
class _Asks:
    """Asks of the wave that is being pumped, by kind."""

    candidates: list[tuple[_Slot, AskCandidates]] = field(default_factory=list)
    outcomes: list[tuple[_Slot, AskOutcomes]] = field(default_factory=list)
    scores: list[tuple[_Slot, AskScores]] = field(default_factory=list)
    lean: list[tuple[_Slot, AskOutcomes]] = field(default_factory=list)
    """Asks whose outcomes are not all known."""


class _Engine:
    def __init__(
        self,
        environment: ProofEnvironment,
        policy: TacticGenerator,
        config: SearchConfig,
        guidance: Guidance,
        scorer: ValueScorer | None,
        memo: SearchMemo | None,
        stop: Callable[[], bool],
        on_progress: Callable[[SearchProgress], None] | None,
    ) -> None:
        self._environment = environment
        self._knowledge = Knowledge(environment, policy, memo, config.n_candidates)
        self._config = config
        self._guidance = guidance
        self._scorer = scorer
        self._first_tactics = FirstTactics(as_policy(policy).policy_id)
        self._stop = stop
        self._on_progress = on_progress

        self._waiting: deque[tuple[int, Theorem]] = deque()
        self._ready: deque[tuple[_Slot, Any]] = deque()
        self._claims: list[tuple[_Slot, AskCertificate]] = []
        self._flights: dict[Future[tuple[list[tuple[_Slot, Any]], float]], str] = {}
        self._active = 0
        self._done: dict[int, TheoremResult] = {}
        self._total = self._n_done = self._proved = self._tactics = 0
        self._expansions = self._done_expansions = 0
        self._model_s = self._lean_s = self._waited_s = 0.0

    def run(
        self, theorems: list[Theorem], on_result: Callable[[TheoremResult], None] | None, keep_results: bool
    ) -> SearchReport:
        self._on_result, self._keep = on_result, keep_results
        self._total = len(theorems)
        self._waiting.extend(enumerate(theorems))
        self._began = time.perf_counter()
        stopped = False
        executor = ThreadPoolExecutor(self._config.cohorts, thread_name_prefix="lean")
        self._executor = executor
        try:
            while self._n_done < self._total:
                self._admit()
                self._certify()
                self._land()
                if self._stop():  # after the landing: Lean may have been told to stop as well, and crashed
                    stopped = True
                    break
                if self._ready:
                    share = -(-self._active // self._config.cohorts)
                    self._pump([self._ready.popleft() for _ in range(min(share, len(self._ready)))])
                self._report()
        except PolicyInterrupted:
            stopped = True
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
        results = [self._done[index] for index in sorted(self._done)]
        return SearchReport(results, self._guidance, stopped, self._progress(), waited_s=self._waited_s)

    # -- taking theorems in ---------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Open theorems as places free up, a good part of a wave at a time, and ask for their root states."""
        config = self._config
        free = config.cohorts * config.wave_size - self._active
        if not self._waiting or (self._active and free < max(1, config.wave_size // 4)):
            return
        for _ in range(config.cohorts):
            batch = [self._waiting.popleft() for _ in range(min(free, config.wave_size, len(self._waiting)))]
            free -= len(batch)
            slots = []
            for index, theorem in batch:
                search = TheoremSearch(theorem, config, self._guidance)
                slot = _Slot(index, search, search.run())
                ask = next(slot.steps)
                assert isinstance(ask, AskRoot)
                slots.append(slot)
            self._active += len(slots)
            self._start(slots)

    def _start(self, slots: list[_Slot]) -> None:
        known = self._knowledge.roots([slot.search.theorem for slot in slots])
        self._ready.extend((slot, known[slot.search.theorem]) for slot in slots if slot.search.theorem in known)
        unknown = [slot for slot in slots if slot.search.theorem not in known]
        if unknown:
            self._fly("roots", unknown, lambda: self._environment.start([slot.search.theorem for slot in unknown]))

    # -- Lean's side ----------------------------------------------------------------------------------------------

    def _fly(self, kind: str, slots: Sequence[_Slot], call: Callable[[], Sequence[Any]]) -> None:
        """Run a Lean call in a worker thread; its answers come back, one a slot, through `_land`."""

        def timed() -> tuple[list[tuple[_Slot, Any]], float]:
            began = time.perf_counter()
            answers = call()
            return list(zip(slots, answers, strict=True)), time.perf_counter() - began

        self._flights[self._executor.submit(timed)] = kind

    def _land(self) -> None:
        """Take in the Lean calls that are done; if there is nothing else to do, wait for one."""
        if not self._flights:
            return
        if self._ready:
            landed = [future for future in self._flights if future.done()]
        else:
            began = time.perf_counter()
            landed = list(wait(self._flights, timeout=_POLL_S, return_when=FIRST_COMPLETED).done)
            self._waited_s += time.perf_counter() - began
        for future in landed:
            kind = self._flights.pop(future)
            answers, seconds = future.result()
            self._lean_s += seconds
            for slot, _ in answers:
                slot.search.meter.lean_ms += 1000 * seconds / len(answers)
            if kind == "roots":
                self._knowledge.store_roots(answer for _, answer in answers if isinstance(answer, ProofState))
            if kind == "steps":
                answers = self._take_in_steps(answers)
            self._ready.extend(answers)

    def _certify(self) -> None:
        """Certify claims, in batches: the theorem waits, and nothing else does."""
        if not self._claims:
            return
        others = self._active - len(self._claims) + len(self._waiting)
        if len(self._claims) >= self._config.certify_batch or not (self._ready or self._flights) or others == 0:
            slots = [slot for slot, _ in self._claims]
            claims = [ask.claim for _, ask in self._claims]
            self._claims = []
            self._fly("certificates", slots, lambda: self._environment.certify(claims))

    def _send_steps(self, asks: list[tuple[_Slot, AskOutcomes]], ahead: list[tuple[_Slot, AskOutcomes]]) -> None:
        """One Lean call for the outcomes that are missing, of the asks and of the nodes tried ahead of their turn."""
        requests: list[StepRequest] = []
        places: dict[int, list[int]] = {slot.index: [] for slot, _ in asks}  # of a slot's requests
        for slot, ask in (*asks, *ahead):
            missing = slot.known.missing(ask.state, ask.tactics)
            places[slot.index].append(len(requests))
            requests.append(StepRequest(ask.state, missing))

        def step() -> list[Any]:
            answers = self._environment.step(requests)
            if len(answers) != len(requests):
                raise RuntimeError(f"the environment answered {len(answers)} of {len(requests)} requests")
            return [(ask, [(requests[i], answers[i]) for i in places[slot.index]]) for slot, ask in asks]

        self._fly("steps", [slot for slot, _ in asks], step)

    def _take_in_steps(self, answers: list[tuple[_Slot, Any]]) -> list[tuple[_Slot, Any]]:
        fresh: dict[tuple[ProofState, str], Outcome] = {}
        taken: list[tuple[_Slot, Any]] = []
        for slot, (ask, parts) in answers:
            for request, outcomes in parts:
                ahead = request.state != ask.state
                slot.known.learn(request.state, request.tactics, outcomes, ahead=ahead)
                own = slot.known.candidates.get(request.state.text, [])
                self._first_tactics.see((candidate.tactic for candidate in own), request.tactics, outcomes)
                fresh.update(((request.state, t), o) for t, o in zip(request.tactics, outcomes, strict=True))
            taken.append((slot, slot.known.recall(ask.state, ask.tactics)))
        self._knowledge.store_outcomes(fresh)
        return taken

    # -- the model's side -----------------------------------------------------------------------------------------

    def _pump(self, wave: list[tuple[_Slot, Any]]) -> None:
        """Carry a wave on until each of its theorems is done or needs Lean, in batches as large as can be had."""
        asks = _Asks()
        self._advance(wave, asks)
        while not self._stop():
            if asks.scores:
                some, asks.scores = asks.scores, []
                self._advance(self._score(some), asks)
            elif asks.outcomes:
                some_outcomes, asks.outcomes = asks.outcomes, []
                self._advance(self._known_outcomes(some_outcomes, asks), asks)
            elif asks.candidates:
                some_candidates, asks.candidates = asks.candidates, []
                self._propose([(slot, ask.state) for slot, ask in some_candidates])
                found = [(slot, slot.known.candidates[ask.state.text]) for slot, ask in some_candidates]
                self._advance(found, asks)
            else:
                break
            self._report()
        if asks.lean and not self._stop():
            self._send_steps(asks.lean, self._ahead([slot for slot, _ in asks.lean]))

    def _advance(self, answers: Iterable[tuple[_Slot, Any]], asks: _Asks) -> None:
        """Give searches their answers and sort what they ask next."""
        for slot, answer in answers:
            began = time.perf_counter()
            try:
                ask = slot.steps.send(answer)
            except StopIteration as end:
                self._finish(slot, end.value)
                continue
            slot.search.meter.own_ms += 1000 * (time.perf_counter() - began)
            match ask:
                case AskCandidates():
                    self._expansions += 1
                    asks.candidates.append((slot, ask))
                case AskOutcomes():
                    self._tactics += len(ask.tactics)
                    asks.outcomes.append((slot, ask))
                case AskScores():
                    asks.scores.append((slot, ask))
                case AskCertificate():
                    self._claims.append((slot, ask))
                case AskRoot():
                    raise AssertionError("the root state is asked for once, on admission")

    def _finish(self, slot: _Slot, result: TheoremResult) -> None:
        self._active -= 1
        self._n_done += 1
        self._proved += result.proved
        self._done_expansions += result.expansions
        if self._keep:
            self._done[slot.index] = result
        if self._on_result is not None:
            self._on_result(result)

    def _score(self, asks: list[tuple[_Slot, AskScores]]) -> list[tuple[_Slot, Any]]:
        assert self._scorer is not None, "Guidance.resolve lets no mode through that needs a scorer and has none"
        texts = [text for _, ask in asks for text in ask.texts]
        began = time.perf_counter()
        scores = iter([float(score) for score in self._scorer.score_states(texts)])
        self._charge_model([slot for slot, ask in asks for _ in ask.texts], began)
        return [(slot, list(islice(scores, len(ask.texts)))) for slot, ask in asks]

    def _propose(self, states: Sequence[tuple[_Slot, ProofState]]) -> None:
        """Make the candidates of each state known."""
        began = time.perf_counter()
        asked = self._knowledge.candidates([(slot.known, state) for slot, state in states])
        self._charge_model([slot for (slot, _), was in zip(states, asked, strict=True) if was], began)

    def _known_outcomes(self, asks: list[tuple[_Slot, AskOutcomes]], sorted_asks: _Asks) -> list[tuple[_Slot, Any]]:
        """Answers to the asks whose outcomes are all known; the others go to `sorted_asks.lean`."""
        self._knowledge.outcomes([(slot.known, ask.state, ask.tactics) for slot, ask in asks])
        answers: list[tuple[_Slot, Any]] = []
        for slot, ask in asks:
            if slot.known.missing(ask.state, ask.tactics):
                sorted_asks.lean.append((slot, ask))
            else:
                answers.append((slot, slot.known.recall(ask.state, ask.tactics)))
        return answers

    def _ahead(self, slots: list[_Slot]) -> list[tuple[_Slot, AskOutcomes]]:
        """Nodes to try ahead of their turn, so that a small wave fills the Lean process that is started anyway."""
        spare = self._config.fill_wave_to - len(slots)
        if spare <= 0:
            return []
        states = [(slot, state) for slot in slots for state in slot.search.upcoming(-(-spare // len(slots)))]
        self._propose(states)
        asks = []
        for slot, state in states:
            candidates = slot.search.with_probes(slot.known.candidates[state.text])
            asks.append((slot, AskOutcomes(state, tuple(candidate.tactic for candidate in candidates))))
        self._knowledge.outcomes([(slot.known, ask.state, ask.tactics) for slot, ask in asks])
        return [(slot, ask) for slot, ask in asks if slot.known.missing(ask.state, ask.tactics)]

    def _charge_model(self, slots: Sequence[_Slot], began: float) -> None:
        """Share the seconds since `began` among the slots, once for each time a slot is named."""
        if not slots:
            return
        seconds = time.perf_counter() - began
        self._model_s += seconds
        for slot in slots:
            slot.search.meter.model_ms += 1000 * seconds / len(slots)

    # -- telling --------------------------------------------------------------------------------------------------

    def _progress(self) -> SearchProgress:
        return SearchProgress(
            theorems=self._total,
            done=self._n_done,
            proved=self._proved,
            active=self._active,
            expansions=self._expansions,
            expansions_left=(self._total - self._n_done) * self._config.max_expansions
            - (self._expansions - self._done_expansions),
            tactics=self._tactics,
            elapsed_s=time.perf_counter() - self._began,
            model_s=self._model_s,
            lean_s=self._lean_s,
        )

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._progress())

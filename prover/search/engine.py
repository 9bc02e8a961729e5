"""Runs many theorem searches at once: batches their asks, overlaps the models with Lean, and remembers answers.

The main thread owns the models, the memo and the searches; Lean's calls run in worker threads. A wave is a group of
theorems that go through one round together: outcomes arrive, new nodes are scored, the next nodes get candidates, and
their tactics go to Lean. With `cohorts` waves in flight the models serve one while Lean serves another.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Unpack

from prover.environments.base import Outcome, ProofEnvironment, ProofState
from prover.policy.base import Interruptible, PolicyInterrupted, TacticGenerator
from prover.policy.complete import as_policy
from prover.search.acceptance import FirstTactics
from prover.search.best_first import Answer, AskCandidates, AskCertificate, AskOutcomes, TheoremResult
from prover.search.config import SearchConfig
from prover.search.guidance import Guidance, own_calibration
from prover.search.known import Knowledge
from prover.search.lean_calls import LeanCalls, TriedTactics
from prover.search.model_calls import ModelCalls
from prover.search.searcher import SearchOptions, SearchProgress, SearchReport, check_options
from prover.search.slots import Answers, Asks, Slot
from prover.search.tally import Tally
from prover.theorems import Theorem

logger = logging.getLogger(__name__)

_POLL_S = 0.2  # how often a wait for Lean looks at `stop`
_LATE_SHARE = 0.25
"""Asks for candidates that the policy cannot serve together with the wave's others wait for the next wave if they are
fewer than this share of them: a call for one state takes a third of the time of one for twenty. Such are the asks of a
theorem for which Lean had nothing new to try, and asks for more candidates than usual."""


def search(
    theorems: Iterable[Theorem],
    environment: ProofEnvironment,
    policy: TacticGenerator,
    config: SearchConfig,
    **options: Unpack[SearchOptions],
) -> SearchReport:
    """Search each theorem for a proof that certifies. The keywords are those of `SearchOptions`.

    A theorem's result depends on the theorem, the environment, the policy, the scorer and
    `config.result_settings()` alone: not on the other theorems, on timing or on the memo (but see `time_limit_s`).

    Raises `SearchConfigError` for a mode that cannot be had, TypeError for an unknown keyword, and whatever the policy
    or the environment raise.
    """
    check_options(options)
    scorer, calibration = options.get("scorer"), options.get("calibration")
    if calibration is None:
        calibration = own_calibration(scorer)
    guidance = Guidance.resolve(config, has_scorer=scorer is not None, calibration=calibration)
    if guidance.note:
        logger.info("%s", guidance.note)
    stop = options.get("stop") or _never
    if isinstance(policy, Interruptible):
        policy.stop_when(stop)
    return _Engine(list(theorems), environment, policy, config, guidance, options).run(stop)


def _never() -> bool:
    return False


class _Results:
    """Hands each theorem's result on as it comes, and keeps it unless told not to."""

    def __init__(self, options: SearchOptions) -> None:
        self._on_result, self._reduce = options.get("on_result"), options.get("reduce")
        self._keep = options.get("keep_results", True)
        self._kept: dict[int, TheoremResult] = {}

    def add(self, index: int, result: TheoremResult) -> None:
        """index: place of the theorem among those of the search."""
        if self._keep:
            self._kept[index] = result
        if self._on_result is not None:
            self._on_result(result if self._reduce is None else self._reduce(result))

    def in_order(self) -> list[TheoremResult]:
        return [self._kept[index] for index in sorted(self._kept)]


class _Engine:
    """The schedule of one search: which theorems are open, and what is asked when."""

    def __init__(
        self,
        theorems: list[Theorem],
        environment: ProofEnvironment,
        policy: TacticGenerator,
        config: SearchConfig,
        guidance: Guidance,
        options: SearchOptions,
    ) -> None:
        self._config = config
        self._guidance = guidance
        self._knowledge = Knowledge(environment, policy, options.get("memo"))
        self._first_tactics = FirstTactics(as_policy(policy).policy_id)
        self._models = ModelCalls(self._knowledge, options.get("scorer"))
        self._lean = LeanCalls(environment, config.cohorts, _POLL_S)
        self._tally = Tally(len(theorems), config.max_expansions)
        self._results = _Results(options)
        self._on_progress = options.get("on_progress")
        self._waiting = deque(enumerate(theorems))
        self._ready: deque[tuple[Slot, Answer]] = deque()
        self._claims: list[tuple[Slot, AskCertificate]] = []
        self._open: dict[int, Slot] = {}
        self._late: list[tuple[Slot, AskCandidates]] = []  # put off to the next wave

    def run(self, stop: Callable[[], bool]) -> SearchReport:
        """Search until every theorem is done or `stop` is true."""
        interrupted = False
        try:
            while not self._tally.complete:
                self._admit()
                self._certify()
                self._land()
                if stop():  # after the landing: Lean may have been told to stop as well, and crashed
                    interrupted = True
                    break
                if self._ready:
                    share = -(-self._tally.active // self._config.cohorts)
                    wave = [self._ready.popleft() for _ in range(min(share, len(self._ready)))]
                    self._pump(wave, stop)
                self._report()
        except PolicyInterrupted:
            interrupted = True
        finally:
            self._lean.close()
        results = self._results.in_order()
        return SearchReport(results, self._guidance, interrupted, self._progress(), waited_s=self._lean.waited_s)

    # -- taking theorems in ---------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Open theorems as places free up, a good part of a wave at a time, and ask for their root states."""
        config = self._config
        free = config.cohorts * config.wave_size - self._tally.active
        if not self._waiting or (self._tally.active and free < max(1, config.wave_size // 4)):
            return
        for _ in range(config.cohorts):
            batch = [self._waiting.popleft() for _ in range(min(free, config.wave_size, len(self._waiting)))]
            free -= len(batch)
            self._tally.open(len(batch))
            self._start([Slot.open(index, theorem, config, self._guidance) for index, theorem in batch])

    def _start(self, slots: list[Slot]) -> None:
        self._open.update((slot.index, slot) for slot in slots)
        known = self._knowledge.roots([slot.search.theorem for slot in slots])
        self._ready.extend((slot, known[slot.search.theorem]) for slot in slots if slot.search.theorem in known)
        unknown = [slot for slot in slots if slot.search.theorem not in known]
        if unknown:
            self._lean.start(unknown)

    # -- Lean's answers -------------------------------------------------------------------------------------------

    def _land(self) -> None:
        """Take in what Lean has answered; if there is nothing else to do, wait for an answer."""
        for answers in self._lean.landed(wait_for_one=not self._ready):
            if roots := [answer for _, answer in answers if isinstance(answer, ProofState)]:
                self._knowledge.store_roots(roots)
            tried = [(slot, answer) for slot, answer in answers if isinstance(answer, TriedTactics)]
            self._ready.extend(self._learn(tried) if tried else answers)

    def _learn(self, tried: list[tuple[Slot, TriedTactics]]) -> Answers:
        """Remember outcomes; returns, for each slot, those that it asked for."""
        fresh: dict[tuple[ProofState, str], Outcome] = {}
        answers: Answers = []
        for slot, answer in tried:
            ask = answer.ask
            for request, outcomes in answer.parts:
                slot.known.learn(request.state, request.tactics, outcomes, ahead=request.state != ask.state)
                own = slot.known.candidates.get((request.state.text, self._config.n_candidates), [])
                self._first_tactics.see((candidate.tactic for candidate in own), request.tactics, outcomes)
                fresh.update(((request.state, t), o) for t, o in zip(request.tactics, outcomes, strict=True))
            answers.append((slot, slot.known.recall(ask.state, ask.tactics)))
        self._knowledge.store_outcomes(fresh)
        return answers

    def _certify(self) -> None:
        """Certify claims, in batches: the theorem waits, and nothing else does."""
        if not self._claims:
            return
        others = self._tally.active - len(self._claims) + len(self._waiting)
        idle = not (self._ready or self._lean.in_flight) or others == 0
        if idle or len(self._claims) >= self._config.certify_batch:
            self._lean.certify([slot for slot, _ in self._claims], [ask.claim for _, ask in self._claims])
            self._claims.clear()

    # -- a wave ---------------------------------------------------------------------------------------------------

    def _pump(self, wave: Answers, stop: Callable[[], bool]) -> None:
        """Carry a wave on until each of its theorems is done or needs Lean, in batches as large as can be had."""
        asks = Asks()
        for_lean: list[tuple[Slot, AskOutcomes]] = []
        self._advance(wave, asks)
        asks.candidates += self._late
        self._late = []
        while not stop():
            if asks.scores:
                answers = self._models.score(asks.take_scores())
            elif asks.outcomes:
                answers, unknown = self._known_outcomes(asks.take_outcomes())
                for_lean += unknown
            elif asks.candidates:
                some = asks.take_candidates(at_least=math.ceil(_LATE_SHARE * len(for_lean)), share=_LATE_SHARE)
                if not some:
                    break
                self._models.propose(some)
                answers = [(slot, slot.known.candidates[ask.state.text, ask.count]) for slot, ask in some]
            else:
                break
            self._advance(answers, asks)
            self._report()
        self._late = asks.candidates
        self._claims += asks.claims
        if for_lean and not stop():
            slots = [slot for slot, _ in for_lean]
            self._lean.step(for_lean, _missing(for_lean) + self._ahead(slots))

    def _advance(self, answers: Answers, asks: Asks) -> None:
        """Give searches their answers and sort what they ask next."""
        for slot, answer in answers:
            reply = slot.answer(answer)
            if isinstance(reply, TheoremResult):
                del self._open[slot.index]
                self._tally.finish(reply)
                self._results.add(slot.index, reply)
            else:
                self._tally.asked(reply)
                asks.add(slot, reply)

    def _known_outcomes(self, asks: list[tuple[Slot, AskOutcomes]]) -> tuple[Answers, list[tuple[Slot, AskOutcomes]]]:
        """Answers to the asks whose outcomes are all known, and the other asks."""
        self._knowledge.outcomes([(slot.known, ask.state, ask.tactics) for slot, ask in asks])
        answers: Answers = []
        unknown: list[tuple[Slot, AskOutcomes]] = []
        for slot, ask in asks:
            if slot.known.missing(ask.state, ask.tactics):
                unknown.append((slot, ask))
            else:
                answers.append((slot, slot.known.recall(ask.state, ask.tactics)))
        return answers, unknown

    def _ahead(self, slots: list[Slot]) -> list[tuple[Slot, ProofState, tuple[str, ...]]]:
        """Tactics to try before their turn, so that a small wave fills the Lean process that is started anyway."""
        spare = self._config.fill_wave_to - len(slots)
        if spare <= 0:
            return []
        upcoming = [(slot, ask) for slot in slots for ask in slot.search.upcoming(-(-spare // len(slots)))]
        self._models.propose(upcoming)
        asks = []
        for slot, ask in upcoming:
            ranked = slot.search.to_try(ask.state, slot.known.candidates[ask.state.text, ask.count])
            asks.append((slot, AskOutcomes(ask.state, tuple(candidate.tactic for _, candidate in ranked))))
        self._knowledge.outcomes([(slot.known, ask.state, ask.tactics) for slot, ask in asks])
        return [found for found in _missing(asks) if found[2]]

    # -- telling --------------------------------------------------------------------------------------------------

    def _progress(self) -> SearchProgress:
        counts = self._tally.progress(model_s=self._models.seconds, lean_s=self._lean.seconds)
        return replace(counts, open_searches=lambda: [slot.search for slot in self._open.values()])

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._progress())


def _missing(asks: list[tuple[Slot, AskOutcomes]]) -> list[tuple[Slot, ProofState, tuple[str, ...]]]:
    """The tactics of each ask whose outcomes are not known."""
    return [(slot, ask.state, slot.known.missing(ask.state, ask.tactics)) for slot, ask in asks]

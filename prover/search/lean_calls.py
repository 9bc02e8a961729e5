"""Lean's calls of a search, each in a worker thread, and the seconds they take."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from prover.environments.base import Outcome, ProofClaim, ProofEnvironment, ProofState, StepRequest
from prover.search.best_first import Answer, AskOutcomes
from prover.search.slots import Answers, Slot


@dataclass(frozen=True, slots=True)
class TriedTactics:
    """What Lean said in one call for one slot: first of what the slot asked, then of what was tried before its turn."""

    ask: AskOutcomes
    parts: list[tuple[StepRequest, Sequence[Outcome]]]


@dataclass(frozen=True, slots=True)
class Landing:
    """A call that is done. Its answers are root outcomes, `TriedTactics` or certificates, whichever was called for."""

    answers: Answers
    seconds: float
    kind: str
    """Lean | certificate."""
    began: float
    """`time.perf_counter()` at its start."""


class LeanCalls:
    """Starts Lean's calls and hands over those that are done. Used by one thread; only Lean runs in others."""

    def __init__(self, environment: ProofEnvironment, threads: int, poll_s: float) -> None:
        """threads: calls at a time. poll_s: how long `landed` waits at most, in seconds."""
        self._environment = environment
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="lean")
        self._poll_s = poll_s
        self._flights: list[Future[Landing]] = []
        self.seconds = 0.0
        """In Lean calls, summed over the calls."""
        self.waited_s = 0.0
        """In which the caller had nothing to do but wait."""

    @property
    def in_flight(self) -> bool:
        """Whether a call has not been handed over yet."""
        return bool(self._flights)

    def start(self, slots: list[Slot]) -> None:
        """Ask for the root states of the slots' theorems."""
        theorems = [slot.search.theorem for slot in slots]
        self._fly("Lean", slots, lambda: self._environment.start(theorems))

    def certify(self, slots: list[Slot], claims: list[ProofClaim]) -> None:
        """Ask for certificates: one claim per slot."""
        self._fly("certificate", slots, lambda: self._environment.certify(claims))

    def step(
        self,
        asks: list[tuple[Slot, AskOutcomes]],
        wanted: list[tuple[Slot, ProofState, tuple[str, ...]]],
    ) -> None:
        """Try tactics. asks: what the slots wait for. wanted: (slot of an ask, state, tactics) to send, any number per
        slot; those of the ask itself, and of states that the slot will come to later."""
        requests: list[StepRequest] = []
        places: dict[int, list[int]] = {slot.index: [] for slot, _ in asks}  # of a slot's requests
        for slot, state, tactics in wanted:
            places[slot.index].append(len(requests))
            requests.append(StepRequest(state, tactics))

        def step() -> list[TriedTactics]:
            outcomes = self._environment.step(requests)
            if len(outcomes) != len(requests):
                raise RuntimeError(f"the environment answered {len(outcomes)} of {len(requests)} requests")
            return [TriedTactics(ask, [(requests[i], outcomes[i]) for i in places[slot.index]]) for slot, ask in asks]

        self._fly("Lean", [slot for slot, _ in asks], step)

    def landed(self, *, wait_for_one: bool) -> list[Answers]:
        """Answers of the calls that are done, and their time charged to the slots. wait_for_one: there is nothing else
        to do."""
        if not self._flights:
            return []
        if wait_for_one:
            began = time.perf_counter()
            wait(self._flights, timeout=self._poll_s, return_when=FIRST_COMPLETED)
            self.waited_s += time.perf_counter() - began
        done = [flight for flight in self._flights if flight.done()]
        self._flights = [flight for flight in self._flights if flight not in done]
        return [self._charged(flight.result()) for flight in done]

    def close(self) -> None:
        """Start no further call; the running ones end by themselves."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _fly(self, kind: str, slots: Sequence[Slot], call: Callable[[], Sequence[Answer]]) -> None:
        def timed() -> Landing:
            began = time.perf_counter()
            answers = call()
            seconds = time.perf_counter() - began
            return Landing(list(zip(slots, answers, strict=True)), seconds, kind, began)

        self._flights.append(self._executor.submit(timed))

    def _charged(self, landing: Landing) -> Answers:
        self.seconds += landing.seconds
        for slot, _ in landing.answers:
            slot.search.meter.charge(lean_s=landing.seconds / len(landing.answers))
            slot.search.meter.took_part(landing.kind, landing.began, len(landing.answers), landing.seconds)
        return landing.answers

"""Hands theorems to search actors and takes in what they find, whatever dies in between.

Each actor has one job (a few theorems) and one outstanding question: "what did you find?". A theorem counts once it has
arrived here, and only once: what a dead actor had not handed over is searched again.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING

from prover.environments.base import Crashed
from prover.scale.config import RayConfig, ScaleError
from prover.scale.messages import Found, SearchJob, Taken
from prover.scale.specs import ScorerSpec
from prover.search.best_first import TheoremResult, TheoremSearch
from prover.search.config import SearchConfig
from prover.search.guidance import Guidance, MixingCalibration
from prover.search.searcher import SearchOptions, SearchProgress, SearchReport
from prover.theorems import Theorem

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

_POLL_S = 0.5
"""How long an actor waits for something to hand over; and how often `stop` is looked at."""
_LOOK_EVERY_S = 5.0
"""How often the head is looked at. Ray itself ends this process, without a word to its caller, some time after it lost
the head; until then actors on other nodes go on answering."""
_LOOKS = 2
"""So many looks in a row that find no head mean that it is lost."""
_REVIVE_S = 1.0
"""Pause between two questions to an actor that is being restarted."""


@dataclass(slots=True)
class _Worker:
    """A search actor, and what it is at."""

    handle: "ActorHandle"
    left: dict[str, Theorem] = field(default_factory=dict)
    """Theorems of its job that have not arrived."""
    progress: SearchProgress | None = None
    revive_until: float = 0.0
    """Monotonic time until which a restart is waited for; 0: the actor is up."""


class SearchPool:
    """Runs one search over the actors."""

    def __init__(
        self,
        ray: ModuleType,
        actors: "Sequence[ActorHandle]",
        config: RayConfig,
        head_answers: Callable[[bool], bool] | None = None,
    ) -> None:
        """head_answers: whether the cluster's head can be reached, and, given True, whether it is still the one that
        was joined; None: not asked."""
        self._ray = ray
        self._head_answers = head_answers
        self.head_lost = False
        self._heard_at = self._looked_at = time.monotonic()
        """When an actor last answered, and when the head was last looked at."""
        self._looks_in_vain = 0
        self._config = config
        self._workers = [_Worker(actor) for actor in actors]
        self._asked: dict[ObjectRef, _Worker] = {}
        """What is outstanding: object reference -> the worker that will answer."""
        self._queue: deque[Theorem] = deque()
        self._alone: deque[Theorem] = deque()
        """Theorems whose actor died twice: each gets a job of its own, so that it takes no other along."""
        self._losses: Counter[str] = Counter()
        self._jobs = 0
        self.messages = 0

    def run(
        self,
        theorems: list[Theorem],
        config: SearchConfig,
        scorer: ScorerSpec | None,
        calibration: MixingCalibration | None,
        options: SearchOptions,
    ) -> SearchReport:
        """As `RayCluster.search`; scorer and calibration are taken from the arguments, not from the options."""
        reduce, on_result = options.get("reduce"), options.get("on_result")
        on_progress, stop = options.get("on_progress"), options.get("stop")
        keep_results = options.get("keep_results", True) and reduce is None
        guidance = Guidance.resolve(config, has_scorer=scorer is not None, calibration=calibration)
        tally = _Tally(len(theorems), config)
        template = SearchJob(0, (), config, calibration, scorer if guidance.needs_scores else None, reduce)
        self._queue.extend(theorems)
        kept: dict[str, TheoremResult] = {}
        arrived: set[str] = set()
        interrupted = False

        def deliver(found: Found) -> None:
            if found.name in arrived:  # of an actor that was thought dead
                return
            arrived.add(found.name)
            tally.add(found)
            if keep_results:
                assert isinstance(found.value, TheoremResult)
                kept[found.name] = found.value
            if on_result is not None:
                on_result(found.value)

        try:
            while len(arrived) < len(theorems):
                if stop is not None and stop():
                    interrupted = True
                    break
                self._assign(template)
                for found in self._land(template):
                    deliver(found)
                if on_progress is not None:
                    on_progress(tally.progress([worker.progress for worker in self._workers]))
        finally:
            self._stop_jobs()
        ordered = [kept[theorem.name] for theorem in theorems if theorem.name in kept]
        return SearchReport(ordered, guidance, interrupted, tally.progress([]), waited_s=0.0)

    # -- handing out ----------------------------------------------------------------------------------------------

    def _assign(self, template: SearchJob) -> None:
        busy = {id(worker) for worker in self._asked.values()}
        for worker in self._workers:
            if id(worker) in busy:
                continue
            some = self._next_theorems(template.config)
            if not some:
                return
            self._jobs += 1
            worker.left = {theorem.name: theorem for theorem in some}
            worker.progress = None
            job = replace(template, number=self._jobs, theorems=tuple(some))
            self._await(worker.handle.begin.remote(job, _POLL_S), worker)

    def _next_theorems(self, config: SearchConfig) -> list[Theorem]:
        """Fewer as the end comes nearer, so that the actors end together; at most what an actor keeps open."""
        if not self._queue:
            return [self._alone.popleft()] if self._alone else []
        share = -(-len(self._queue) // (2 * len(self._workers)))
        size = max(1, min(share, config.cohorts * config.wave_size))
        return [self._queue.popleft() for _ in range(min(size, len(self._queue)))]

    def _await(self, reference: "ObjectRef", worker: _Worker) -> None:
        self.messages += 1
        self._asked[reference] = worker

    # -- taking in ------------------------------------------------------------------------------------------------

    def _land(self, template: SearchJob) -> list[Found]:
        ray = self._ray
        found: list[Found] = []
        if not self._asked:
            raise ScaleError(
                "no search actor is left: each died more often than ray.max_restarts allows. What was finished is "
                "kept; look at `ray status`, and go on with --resume"
            )
        ready, _ = ray.wait(list(self._asked), num_returns=1, timeout=_POLL_S)
        self._require_head()
        for reference in ready:
            worker = self._asked.pop(reference)
            try:
                answer = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise (error.cause if isinstance(error.cause, Exception) else error) from None
            except ray.exceptions.RayActorError as error:
                found += self._lost(worker, template, error)
                continue
            except ray.exceptions.RayError as error:
                raise ScaleError(f"Ray was lost ({error}); what was finished is kept, go on with --resume") from error
            self._heard_at = time.monotonic()
            if isinstance(answer, Taken):
                worker.progress = answer.progress
                for some in answer.found:
                    worker.left.pop(some.name, None)
                found += answer.found
                if not answer.finished:
                    self._await(worker.handle.take.remote(_POLL_S), worker)
            else:
                worker.revive_until = 0.0  # it answered: it is up again, and free
        return found

    def _require_head(self) -> None:
        """Look at the head now and then. Where no actor answers it may have been started anew, and is asked."""
        now = time.monotonic()
        if self._head_answers is None or now - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = now
        self._looks_in_vain = 0 if self._head_answers(now - self._heard_at > _LOOK_EVERY_S) else self._looks_in_vain + 1
        if self._looks_in_vain < _LOOKS:
            return
        self.head_lost = True
        raise ScaleError(
            "the head of the Ray cluster does not answer any more. What was finished is kept: start the cluster again, "
            "and go on with --resume"
        )

    def _lost(self, worker: _Worker, template: SearchJob, error: Exception) -> list[Found]:
        """An actor died or cannot be reached: its theorems go back, and it is asked whether it is up again."""
        ray = self._ray
        given_up: list[Found] = []
        alone = len(worker.left) == 1
        for theorem in worker.left.values():
            self._losses[theorem.name] += 1
            losses = self._losses[theorem.name]
            if alone and losses > self._config.max_theorem_losses:
                given_up.append(_given_up(theorem, losses, template))
            elif losses >= 2:
                self._alone.append(theorem)
            else:
                self._queue.appendleft(theorem)
        worker.left = {}
        worker.progress = None
        now = time.monotonic()
        if not worker.revive_until:
            worker.revive_until = now + self._config.start_timeout_s
        dead = isinstance(error, ray.exceptions.ActorDiedError) and not _restarting(error)
        if dead or now > worker.revive_until:
            self._workers.remove(worker)
        else:
            time.sleep(_REVIVE_S if not self._asked else 0.0)
            self._await(worker.handle.facts.remote(), worker)
        return given_up

    def _stop_jobs(self) -> None:
        """Ask every actor to stop; nobody waits for those that cannot."""
        if self.head_lost:
            return
        for worker in self._workers:
            worker.handle.stop.remote()
        self._asked = {}


def _restarting(error: Exception) -> bool:
    return "restart" in str(error).lower()


def _given_up(theorem: Theorem, losses: int, template: SearchJob) -> Found:
    """A theorem that takes its actor along each time, as a search whose Lean crashed at the root."""
    guidance = Guidance.resolve(
        template.config, has_scorer=template.scorer is not None, calibration=template.calibration
    )
    steps = TheoremSearch(theorem, template.config, guidance).run()
    next(steps)
    try:
        steps.send(Crashed(f"the search actor died {losses} times while it searched this theorem", 0.0))
    except StopIteration as end:
        result: TheoremResult = end.value
    value = result if template.reduce is None else template.reduce(result)
    return Found(theorem.name, False, 0, 0, value)


class _Tally:
    """Counts of the theorems that have arrived, and of the jobs at work."""

    def __init__(self, theorems: int, config: SearchConfig) -> None:
        self._theorems, self._budget = theorems, config.max_expansions
        self._done = self._proved = self._expansions = self._tactics = 0
        self._began = time.perf_counter()

    def add(self, found: Found) -> None:
        self._done += 1
        self._proved += found.proved
        self._expansions += found.expansions
        self._tactics += found.tactics

    def progress(self, jobs: Sequence[SearchProgress | None]) -> SearchProgress:
        """All theorems together. Seconds in model and Lean are the actors' own business, and not added up here."""
        active = sum(job.active for job in jobs if job is not None)
        return SearchProgress(
            theorems=self._theorems,
            done=self._done,
            proved=self._proved,
            active=active,
            expansions=self._expansions,
            expansions_left=(self._theorems - self._done) * self._budget,
            tactics=self._tactics,
            elapsed_s=time.perf_counter() - self._began,
            model_s=0.0,
            lean_s=0.0,
        )

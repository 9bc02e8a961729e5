"""What runs in Ray's actors, as plain classes: they know no Ray, so they are tested without it.

A worker's methods are called from several threads at once: one searches, another asks for what was found.
"""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prover.json_types import JsonList
from prover.policy.base import FingerprintedPolicy, TacticCandidate
from prover.policy.complete import as_policy
from prover.policy.prompts import prompt_key
from prover.scale.messages import Found, PolicyFacts, SearchJob, Taken, WorkerFacts
from prover.scale.specs import EnvironmentSpec, PolicySpec, ScorerSpec
from prover.search.best_first import TheoremResult
from prover.search.engine import search
from prover.search.guidance import MixingCalibration, ValueScorer, as_scorer
from prover.search.memo import MemoCounts, SearchMemo
from prover.search.searcher import SearchProgress

if TYPE_CHECKING:
    import numpy as np

_LEAN_METHODS = ("start", "step", "certify", "proof_file")


def describe_policy(policy: FingerprintedPolicy) -> PolicyFacts:
    """The facts that another process needs to stand in for the policy."""
    template = as_policy(policy).template
    return PolicyFacts(
        policy_id=policy.policy_id,
        fingerprint=policy.fingerprint,
        pooling=policy.pooling,
        encoding_width=policy.encoding_width,
        encoder_fingerprint=policy.encoder_fingerprint,
        hidden_size=policy.hidden_size,
        prompt_key=_identity if template is None else partial(prompt_key, template),
    )


def _identity(text: str) -> str:
    return text


class SearchWorker:
    """Searches theorems with a Lean of its own, one job at a time."""

    def __init__(
        self,
        environment: EnvironmentSpec,
        policy: "PolicySpec | FingerprintedPolicy",
        memo: SearchMemo | None = None,
    ) -> None:
        """policy: a recipe, opened here, or a stand-in for a policy that runs elsewhere."""
        self._policy = policy.open() if isinstance(policy, PolicySpec) else policy
        self._environment = environment.open()
        self._memo = memo
        self._scorers: dict[ScorerSpec, ValueScorer] = {}
        self._news = threading.Condition()
        self._job = -1
        self._found: deque[Found] = deque()
        self._progress: SearchProgress | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def facts(self) -> WorkerFacts:
        """What the worker runs on."""
        environment = self._environment
        return WorkerFacts(
            socket.gethostname(), environment.name, environment.fingerprint, describe_policy(self._policy)
        )

    def begin(self, job: SearchJob, wait_s: float) -> Taken:
        """Start a job, and `take`. A job that is still running is stopped first, and what it found is forgotten."""
        self.stop()
        with self._news:
            self._job, self._error, self._progress = job.number, None, None
            self._found.clear()
        self._thread = threading.Thread(target=self._run, args=(job,), name=f"job-{job.number}", daemon=True)
        self._thread.start()
        return self.take(wait_s)

    def take(self, wait_s: float) -> Taken:
        """What was found since the last call; waits up to `wait_s` for something. Raises what the job raised."""
        with self._news:
            self._news.wait_for(lambda: bool(self._found) or not self._running(), timeout=wait_s)
            finished = not self._running()
            found = tuple(self._found)
            self._found.clear()
            if finished and self._error is not None and not found:
                raise self._error
            return Taken(found, self._progress, finished and self._error is None)

    def stop(self) -> None:
        """Ask the job to stop, and wait until it has."""
        with self._news:
            self._job = -1
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def scores(self, scorer: ScorerSpec, texts: Sequence[str]) -> list[float]:
        """SCORES (higher is better) of state texts."""
        return [float(score) for score in self._scorer(scorer).score_states(texts)]

    def scorer_facts(self, scorer: ScorerSpec) -> tuple[MixingCalibration | None, str | None]:
        """(calibration, ebm_id) of an energy model, loaded here."""
        loaded = as_scorer(self._scorer(scorer))
        return loaded.calibration, loaded.ebm_id

    def memo_counts(self) -> MemoCounts:
        """What this worker has asked of the memo."""
        return MemoCounts() if self._memo is None else self._memo.counts

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        """As `TacticGenerator.generate`."""
        return self._policy.generate(states, n_candidates)

    def encode_only(self, states: Sequence[str]) -> "np.ndarray":
        """As `TacticGenerator.encode_only`."""
        return self._policy.encode_only(states)

    def lean(self, method: str, *arguments: object) -> object:
        """A call of the Lean environment by name: start, step, certify or proof_file."""
        if method not in _LEAN_METHODS:
            raise ValueError(f"{method!r} is no call of a Lean environment; expected one of {', '.join(_LEAN_METHODS)}")
        return getattr(self._environment, method)(*arguments)

    def close(self) -> None:
        """Free what the worker holds."""
        self.stop()
        self._environment.close()

    def _running(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and self._job >= 0

    def _scorer(self, spec: ScorerSpec) -> ValueScorer:
        if spec not in self._scorers:
            self._scorers[spec] = spec.open(self._policy)
        return self._scorers[spec]

    def _run(self, job: SearchJob) -> None:
        def keep(result: TheoremResult) -> None:
            value = result if job.reduce is None else job.reduce(result)
            found = Found(result.theorem.name, result.proved, result.expansions, result.tactics, value)
            with self._news:
                self._found.append(found)
                self._news.notify_all()

        def look(progress: SearchProgress) -> None:
            self._progress = replace(progress, open_searches=tuple)  # they stay in this process

        error: BaseException | None = None
        try:
            search(
                job.theorems,
                self._environment,
                self._policy,
                job.config,
                scorer=None if job.scorer is None else self._scorer(job.scorer),
                calibration=job.calibration,
                memo=self._memo,
                on_result=keep,
                on_progress=look,
                stop=lambda: self._job != job.number,
                keep_results=False,
            )
        except BaseException as raised:  # noqa: BLE001 - it is handed to the driver, which raises it
            error = raised
        with self._news:
            if self._job == job.number:
                self._error = error
                self._thread = None
            self._news.notify_all()


class PolicyWorker:
    """Holds the model and joins the requests of many searches into batches.

    Requests that arrive while the model is at work, or within `wait_ms`, are answered together. A batch's size moves
    the last digits of log-probabilities (a matrix product rounds by its size), and nothing else.
    """

    def __init__(self, policy: PolicySpec, batch_states: int = 64, wait_ms: float = 5.0) -> None:
        self._policy = policy.open()
        self._most = batch_states
        self._wait_s = wait_ms / 1000
        self._waiting: deque[tuple[str, int, Sequence[str], Future[Any]]] = deque()
        self._news = threading.Condition()
        self._batches = 0
        self._states = 0
        threading.Thread(target=self._serve, name="policy", daemon=True).start()

    def facts(self) -> PolicyFacts:
        """What the worker runs on."""
        return describe_policy(self._policy)

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        """As `TacticGenerator.generate`."""
        answer: list[list[TacticCandidate]] = self._ask("generate", n_candidates, states)
        return answer

    def encode_only(self, states: Sequence[str]) -> "np.ndarray":
        """As `TacticGenerator.encode_only`."""
        answer: np.ndarray = self._ask("encode", 0, states)
        return answer

    def load(self) -> tuple[int, int]:
        """(batches, states) served so far."""
        return self._batches, self._states

    def waiting(self) -> int:
        """Requests that wait for the model (count)."""
        with self._news:
            return len(self._waiting)

    def _ask(self, kind: str, k: int, states: Sequence[str]) -> Any:  # noqa: ANN401 - candidates or vectors, by kind
        future: Future[Any] = Future()
        with self._news:
            self._waiting.append((kind, k, states, future))
            self._news.notify_all()
        return future.result()

    def _serve(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: bool(self._waiting))
                until = time.monotonic() + self._wait_s
                while self._n_waiting() < self._most and (left := until - time.monotonic()) > 0:
                    self._news.wait(left)
                batch = self._next_batch()
            self._answer(batch)

    def _n_waiting(self) -> int:
        return sum(len(states) for _, _, states, _ in self._waiting)

    def _next_batch(self) -> list[tuple[str, int, Sequence[str], Future[Any]]]:
        """The first request, and those like it (same call, same k) that fit beside it."""
        first = self._waiting.popleft()
        batch, size, others = [first], len(first[2]), deque[tuple[str, int, Sequence[str], Future[Any]]]()
        while self._waiting:
            request = self._waiting.popleft()
            if request[:2] == first[:2] and size + len(request[2]) <= self._most:
                batch.append(request)
                size += len(request[2])
            else:
                others.append(request)
        self._waiting = others
        return batch

    def _answer(self, batch: list[tuple[str, int, Sequence[str], Future[Any]]]) -> None:
        kind, k = batch[0][:2]
        texts = [text for _, _, states, _ in batch for text in states]
        try:
            answers: Any = self._policy.encode_only(texts) if kind == "encode" else self._policy.generate(texts, k)
        except BaseException as error:  # noqa: BLE001 - each asker gets it
            for _, _, _, future in batch:
                future.set_exception(error)
            return
        self._batches += 1
        self._states += len(texts)
        first = 0
        for _, _, states, future in batch:
            future.set_result(answers[first : first + len(states)])
            first += len(states)


class MemoKeeper:
    """The memo's file, held by one process; search actors read and write it through this."""

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path)
        self._memo: SearchMemo | None = None
        self._lock = threading.Lock()

    def read(self, table: str, keys: Sequence[bytes]) -> Mapping[bytes, JsonList]:
        """As `SearchMemo.read_rows`."""
        with self._lock:
            return self._open().read_rows(table, keys)

    def write(self, table: str, rows: Sequence[tuple[bytes, str]]) -> None:
        """Write rows to the memo."""
        with self._lock:
            self._open().write_rows(table, rows)

    def close(self) -> None:
        """Close the memo."""
        with self._lock:
            if self._memo is not None:
                self._memo.close()
                self._memo = None

    def _open(self) -> SearchMemo:
        """SQLite connections belong to the thread that makes them, so this one is opened in the actor's own."""
        if self._memo is None:
            self._memo = SearchMemo(self._path)
        return self._memo


class RemoteMemo(SearchMemo):
    """A memo whose rows lie with a `MemoKeeper`: one message per bulk question."""

    def __init__(
        self,
        read: Callable[[str, Sequence[bytes]], Mapping[bytes, JsonList]],
        write: Callable[[str, Sequence[tuple[bytes, str]]], None],
    ) -> None:
        super().__init__(None)
        self._ask, self._tell = read, write

    def read_rows(self, table: str, keys: Iterable[bytes]) -> dict[bytes, JsonList]:
        distinct = list(dict.fromkeys(keys))
        return dict(self._ask(table, distinct)) if distinct else {}

    def write_rows(self, table: str, rows: Iterable[tuple[bytes, str]]) -> None:
        """Hand rows to the keeper of the memo."""
        some = list(rows)
        if some:
            self._tell(table, some)

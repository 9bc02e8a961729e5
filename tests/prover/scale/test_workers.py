"""The classes behind Ray's actors, without Ray."""

import pickle
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scale_fakes import FullHashPolicy, HashPolicySpec, HashWorldSpec
from search_fakes import theorems

from prover.policy.base import TacticCandidate
from prover.scale.messages import SearchJob
from prover.scale.workers import MemoKeeper, PolicyWorker, RemoteMemo, SearchWorker
from prover.search import SearchConfig, SearchMemo, search

CONFIG = SearchConfig(max_expansions=8, n_candidates=4, mode="policy-mean")


def job(number: int, n: int = 4) -> SearchJob:
    return SearchJob(number, tuple(theorems(n)), CONFIG, None, None, None)


def test_a_job_hands_over_each_theorem_once_and_says_when_it_is_done():
    worker = SearchWorker(HashWorldSpec(), HashPolicySpec())
    taken = [worker.begin(job(1), 5.0)]
    while not taken[-1].finished:
        taken.append(worker.take(5.0))
    assert sorted(found.name for some in taken for found in some.found) == ["t0", "t1", "t2", "t3"]
    assert worker.take(0.01).found == ()


def test_what_is_handed_over_can_leave_the_process():
    worker = SearchWorker(HashWorldSpec(jitter_s=0.02), HashPolicySpec())
    taken = [worker.begin(job(1, 12), 0.05)]
    while not taken[-1].finished:
        taken.append(worker.take(0.05))
    assert any(some.progress is not None for some in taken)
    for some in taken:
        assert pickle.dumps(some)
    assert all(not some.progress.open_searches() for some in taken if some.progress is not None)


def test_a_new_job_forgets_the_one_before():
    worker = SearchWorker(HashWorldSpec(jitter_s=0.05), HashPolicySpec())
    worker.begin(job(1, 200), 0.0)
    taken = worker.begin(job(2, 2), 5.0)
    names = [found.name for found in taken.found]
    while not taken.finished:
        taken = worker.take(5.0)
        names += [found.name for found in taken.found]
    assert sorted(names) == ["t0", "t1"]


def test_an_unknown_call_of_lean_is_refused():
    worker = SearchWorker(HashWorldSpec(), HashPolicySpec())
    assert len(worker.lean("start", theorems(2))) == 2
    with pytest.raises(ValueError, match="'close' is no call of a Lean environment"):
        worker.lean("close")


class SlowPolicy(FullHashPolicy):
    """Waits until it is let go, so that requests gather."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.busy = threading.Event(), threading.Event()

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        self.busy.set()
        self.go.wait(10)
        return super().generate(states, n_candidates)


class OneSlowPolicy(HashPolicySpec):
    policy = SlowPolicy()

    def open(self) -> SlowPolicy:  # type: ignore[override]
        return self.policy


def test_requests_of_many_searches_are_answered_together_and_each_gets_its_own():
    spec = OneSlowPolicy()
    worker = PolicyWorker(spec, batch_states=8, wait_ms=0.0)
    with ThreadPoolExecutor(6) as threads:
        first = threads.submit(worker.generate, ["⊢ 0"], 3)
        assert spec.policy.busy.wait(10)
        rest = [threads.submit(worker.generate, [f"⊢ {i}", f"⊢ {i + 50}"], 3) for i in range(1, 5)]
        other = threads.submit(worker.generate, ["⊢ 9"], 2)
        while worker.waiting() < 5:
            time.sleep(0.001)
        spec.policy.go.set()
        assert first.result() == FullHashPolicy().generate(["⊢ 0"], 3)
        for i, future in enumerate(rest, start=1):
            assert future.result() == FullHashPolicy().generate([f"⊢ {i}", f"⊢ {i + 50}"], 3)
        assert other.result() == FullHashPolicy().generate(["⊢ 9"], 2)
    assert worker.load() == (3, 10), "one alone, four together, and the one with another k"


def test_a_failing_model_fails_those_who_asked_and_serves_the_next():
    class Moody(FullHashPolicy):
        def encode_only(self, states: Sequence[str]) -> np.ndarray:
            if "bad" in states:
                raise RuntimeError("out of memory")
            return super().encode_only(states)

    class MoodySpec(HashPolicySpec):
        def open(self) -> Moody:  # type: ignore[override]
            return Moody()

    worker = PolicyWorker(MoodySpec(), wait_ms=0.0)
    with pytest.raises(RuntimeError, match="out of memory"):
        worker.encode_only(["bad"])
    assert worker.encode_only(["⊢ 1"]).shape == (1, 4)


def test_a_memo_at_a_distance_knows_what_the_file_knows(tmp_path: Path):
    path = tmp_path / "memo.sqlite"
    keeper = MemoKeeper(str(path))
    far = RemoteMemo(keeper.read, keeper.write)
    search(theorems(5), HashWorldSpec().open(), FullHashPolicy(), CONFIG, memo=far)
    keeper.close()
    policy = FullHashPolicy()
    with SearchMemo(path) as near:
        search(theorems(5), HashWorldSpec().open(), policy, CONFIG, memo=near)
        assert near.counts.candidate_misses == 0
        assert near.counts.outcome_hits > 100, "what is missed ran out of time or crashed: it is never remembered"
    assert policy.batches == []

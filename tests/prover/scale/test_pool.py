"""Handing theorems to actors that may die, over a Ray of threads."""

from typing import Any

import pytest
from scale_fakes import SHARES, FullHashPolicy, HashPolicySpec, HashWorldSpec, ThreadActor, ThreadRay
from search_fakes import HashWorld, theorems

from prover.scale import pool
from prover.scale.config import RayConfig, ScaleError
from prover.scale.pool import SearchPool
from prover.scale.workers import SearchWorker
from prover.search import SearchConfig, SearchProgress, search
from prover.search.best_first import Ended, TheoremResult
from prover.search.searcher import SearchOptions, SearchReport

CONFIG = SearchConfig(max_expansions=12, n_candidates=5, wave_size=3, mode="policy-mean")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_REVIVE_S", 0.02)
    monkeypatch.setattr(pool, "_POLL_S", 0.05)


def worker() -> SearchWorker:
    return SearchWorker(HashWorldSpec(), HashPolicySpec())


def run(actors: list[ThreadActor], n: int = 30, config: RayConfig | None = None, **options: Any) -> SearchReport:
    pool = SearchPool(ThreadRay(), actors, config or RayConfig())
    return pool.run(theorems(n), CONFIG, None, None, SearchOptions(**options))


def told(result: TheoremResult) -> tuple[Any, ...]:
    """What a result says, without its times."""
    nodes = [(node.key, node.parent, node.tactic, node.log_prob, node.expansion) for node in result.tree.nodes]
    return result.theorem.name, result.ended, result.proof, result.expansions, nodes


def alone(n: int = 30) -> list[tuple[Any, ...]]:
    return [told(result) for result in search(theorems(n), HashWorld(**SHARES), FullHashPolicy(), CONFIG).results]


@pytest.mark.parametrize("actors", [1, 2, 8])
def test_results_do_not_depend_on_the_number_of_actors(actors: int):
    report = run([ThreadActor(worker) for _ in range(actors)])
    assert [told(result) for result in report.results] == alone()
    assert report.progress.done == 30
    assert report.progress.proved == sum(result[1] is Ended.PROVED for result in alone())


def test_what_a_dead_actor_had_not_handed_over_is_searched_again_and_nothing_arrives_twice():
    names: list[str] = []
    actors = [ThreadActor(worker, deaths=(1, 2, 4)), ThreadActor(worker, deaths=(2,))]
    report = run(actors, on_result=lambda result: names.append(result.theorem.name))
    assert sorted(names) == sorted(theorem.name for theorem in theorems(30))
    assert [told(result) for result in report.results] == alone()


def test_a_theorem_that_kills_its_actor_each_time_ends_as_crashed_and_takes_no_other_along():
    report = run([ThreadActor(worker, poison="t7") for _ in range(2)], config=RayConfig(max_theorem_losses=2))
    by_name = {result.theorem.name: result for result in report.results}
    assert by_name["t7"].ended is Ended.CRASHED
    assert "died 3 times while it searched this theorem" in by_name["t7"].reason
    others = [told(result) for result in report.results if result.theorem.name != "t7"]
    assert others == [result for result in alone() if result[0] != "t7"]


def test_the_search_goes_on_with_the_actors_that_are_left_and_ends_clearly_without_any():
    report = run([ThreadActor(worker, deaths=(1,), for_good=True), ThreadActor(worker)])
    assert len(report.results) == 30
    with pytest.raises(ScaleError, match="no search actor is left"):
        run([ThreadActor(worker, deaths=(1,), for_good=True) for _ in range(2)])


@pytest.mark.parametrize("reach", ["none", "all"])
def test_a_lost_head_ends_the_search_whether_or_not_actors_still_answer(
    monkeypatch: pytest.MonkeyPatch, reach: str
) -> None:
    """Unreachable actors say so at once, each time they are asked; actors on other nodes go on for a minute."""
    monkeypatch.setattr(pool, "_LOOK_EVERY_S", 0.05)
    asked: list[bool] = []

    def head_answers(ask: bool) -> bool:
        asked.append(ask)
        return False

    actor = ThreadActor(lambda: SearchWorker(HashWorldSpec(jitter_s=0.05), HashPolicySpec()))
    if reach == "none":
        actor.dead_until = float("inf")
    with pytest.raises(ScaleError, match="head of the Ray cluster does not answer any more"):
        SearchPool(ThreadRay(), [actor], RayConfig(), head_answers).run(theorems(30), CONFIG, None, None, {})
    assert len(asked) == 2, "one look in vain may fall into a busy moment"
    assert reach == "all" or asked == [True, True], "where nobody answers, the head itself is asked"


def test_an_error_of_the_search_is_raised_as_it_is():
    class Broken(FullHashPolicy):
        def generate(self, states: Any, n_candidates: int) -> Any:
            raise OSError("the model's file is gone")

    with pytest.raises(OSError, match="the model's file is gone"):
        run([ThreadActor(lambda: SearchWorker(HashWorldSpec(), Broken()))])


def test_stop_ends_the_search_with_what_is_finished():
    seen: list[SearchProgress] = []
    report = run([ThreadActor(worker)], on_progress=seen.append, stop=lambda: bool(seen) and seen[-1].done >= 3)
    assert report.interrupted
    assert 3 <= len(report.results) < 30


def test_what_results_are_reduced_to_is_all_that_arrives():
    found: list[int] = []
    report = run(
        [ThreadActor(worker)], reduce=lambda result: result.expansions, on_result=found.append, keep_results=False
    )
    assert report.results == []
    assert sorted(found) == sorted(result[3] for result in alone())

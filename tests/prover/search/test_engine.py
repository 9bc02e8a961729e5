"""What the engine may change (speed) and what it may not (results)."""

from collections.abc import Sequence
from typing import Any

import pytest
from search_fakes import HashPolicy, HashScorer, HashWorld, theorems

from prover.environments.base import StepRequest
from prover.search import SearchConfig, SearchConfigError, SearchMemo, SearchProgress, search
from prover.search.best_first import TheoremResult

SHARES = {"complete": 0.006, "timed_out": 0.02, "crashed": 0.02, "uncertified": 0.3}


def fingerprint(result: TheoremResult) -> dict[str, Any]:
    """Everything about a result but its times."""
    return {
        "name": result.theorem.name,
        "ended": result.ended,
        "reason": result.reason,
        "counts": (result.expansions, result.tactics, result.claims, result.expansions_to_proof),
        "proof": result.proof,
        "nodes": [
            (n.key, n.parent, n.tactic, n.depth, n.log_prob, n.score, n.expansion, n.complete)
            for n in result.tree.nodes
        ],
        "attempts": [
            (a.parent, a.expansion, a.rank, a.tactic, a.outcome, a.message, a.child, a.new_node)
            for a in result.tree.attempts
        ],
    }


def outcome_of(
    world: HashWorld | None = None, memo: SearchMemo | None = None, n: int = 25, **settings: Any
) -> list[dict]:
    world = world or HashWorld(**SHARES)
    config = SearchConfig(n_candidates=5, **settings)
    report = search(theorems(n), world, HashPolicy(), config, scorer=HashScorer(), memo=memo)
    assert not report.interrupted
    return [fingerprint(result) for result in report.results]


@pytest.mark.parametrize("mode", ["calibrated", "policy-mean", "split-queue", "random-energy"])
def test_results_do_not_depend_on_batches_timing_or_working_ahead(mode: str):
    expected = outcome_of(mode=mode, cohorts=1, wave_size=1)
    assert {result["ended"] for result in expected} >= {"proved", "budget"}
    for settings in (
        {"cohorts": 1, "wave_size": 100},
        {"cohorts": 2, "wave_size": 7, "certify_batch": 1},
        {"cohorts": 3, "wave_size": 5, "certify_batch": 100, "fill_wave_to": 40},
        {"cohorts": 2, "wave_size": 64, "fill_wave_to": 200},
    ):
        jittery = HashWorld(**SHARES, jitter_s=0.004)
        assert outcome_of(jittery, mode=mode, **settings) == expected, settings


def test_a_theorem_alone_has_the_same_result_as_in_company():
    together = outcome_of(n=6)
    alone = search(
        theorems(6)[4:5], HashWorld(**SHARES), HashPolicy(), SearchConfig(n_candidates=5), scorer=HashScorer()
    )
    assert fingerprint(alone.results[0]) == together[4]


def test_a_memo_changes_the_cost_and_nothing_else(tmp_path):
    expected = outcome_of()
    world = HashWorld(**SHARES)
    with SearchMemo(tmp_path / "memo.sqlite") as memo:
        assert outcome_of(world, memo) == expected
    first = sum(len(request.tactics) for wave in world.steps for request in wave)
    again, policy = HashWorld(**SHARES), HashPolicy()
    with SearchMemo(tmp_path / "memo.sqlite") as memo:
        config = SearchConfig(n_candidates=5)
        report = search(theorems(25), again, policy, config, scorer=HashScorer(), memo=memo)
        assert [fingerprint(result) for result in report.results] == expected
    asked = [tactic for wave in again.steps for request in wave for tactic in request.tactics]
    assert policy.batches == []
    assert again.starts == []
    unmemorable = sum(attempt[4] in ("timed_out", "crashed") for result in expected for attempt in result["attempts"])
    assert len(asked) == unmemorable < first / 10


def test_working_ahead_fills_small_waves_and_saves_lean_calls():
    plain, filled = HashWorld(complete=0.0), HashWorld(complete=0.0)
    settings: dict[str, Any] = {"cohorts": 1, "max_expansions": 64}
    assert outcome_of(plain, n=2, **settings) == outcome_of(filled, n=2, fill_wave_to=16, **settings)
    assert len(filled.steps) < len(plain.steps) / 2


def test_model_and_lean_are_asked_in_batches():
    world, policy, scorer = HashWorld(complete=0.0), HashPolicy(), HashScorer()
    search(theorems(40), world, policy, SearchConfig(cohorts=1, max_expansions=8), scorer=scorer)
    assert [len(batch) for batch in world.starts] == [40]
    assert len(world.steps) == 8
    assert len(policy.batches) <= 8
    prompts = [prompt for batch in policy.batches for prompt in batch]
    assert len(prompts) == len(set(prompts)), "a prompt is generated once"
    assert len(scorer.batches) == 9  # the roots, and what each expansion made


def test_only_open_theorems_are_held_and_all_are_searched():
    world = HashWorld(complete=0.05)
    most = 0

    def watch(progress: SearchProgress) -> None:
        nonlocal most
        most = max(most, progress.active)

    config = SearchConfig(mode="policy-mean", cohorts=2, wave_size=5)
    report = search(theorems(50), world, HashPolicy(), config, on_progress=watch)
    assert most == 10
    assert [result.theorem.name for result in report.results] == [f"t{i}" for i in range(50)]
    assert report.progress.done == 50
    assert report.progress.expansions == sum(result.expansions for result in report.results)
    assert report.progress.tactics == sum(result.tactics for result in report.results)


def test_stop_returns_what_is_finished():
    finished: list[str] = []
    report = search(
        theorems(40),
        HashWorld(complete=0.05),
        HashPolicy(),
        SearchConfig(mode="policy-mean", wave_size=5),
        on_result=lambda result: finished.append(result.theorem.name),
        stop=lambda: len(finished) >= 10,
    )
    assert report.interrupted
    assert sorted(finished) == sorted(result.theorem.name for result in report.results)
    assert 10 <= len(finished) < 40


def test_trouble_in_lean_reaches_the_caller():
    class Broken(HashWorld):
        def step(self, requests: Sequence[StepRequest]) -> list:
            return []

    with pytest.raises(RuntimeError, match="answered 0 of"):
        search(theorems(3), Broken(), HashPolicy(), SearchConfig(mode="policy-mean"))


def test_calibrated_without_an_energy_model_is_policy_mean_and_says_so():
    plain = search(theorems(8), HashWorld(), HashPolicy(), SearchConfig(mode="policy-mean"))
    report = search(theorems(8), HashWorld(), HashPolicy(), SearchConfig(mode="calibrated"))
    assert report.guidance.mode == "policy-mean"
    assert "no energy model" in report.guidance.note
    assert [fingerprint(a) for a in report.results] == [fingerprint(b) for b in plain.results]


def test_beta_zero_is_policy_mean_without_asking_for_energies():
    scorer = HashScorer()
    report = search(theorems(8), HashWorld(), HashPolicy(), SearchConfig(beta=0.0), scorer=scorer)
    plain = search(theorems(8), HashWorld(), HashPolicy(), SearchConfig(mode="policy-mean"))
    assert scorer.batches == []
    assert "beta is 0" in report.guidance.note
    assert [fingerprint(a) for a in report.results] == [fingerprint(b) for b in plain.results]


@pytest.mark.parametrize("mode", ["energy-only", "raw-half-half", "random-energy"])
def test_modes_that_need_what_is_not_there_say_so(mode: str):
    with pytest.raises(SearchConfigError, match=mode):
        search(theorems(1), HashWorld(), HashPolicy(), SearchConfig(mode=mode))


def test_an_unknown_keyword_is_refused_by_name():
    with pytest.raises(TypeError, match="no keyword 'scorrer'; expected scorer, calibration"):
        search(theorems(1), HashWorld(), HashPolicy(), SearchConfig(), scorrer=HashScorer())  # type: ignore[call-arg]


def test_a_few_that_ask_for_more_candidates_wait_for_company(monkeypatch: pytest.MonkeyPatch):
    """The policy serves one count at a time: theorems that widen are gathered, and their results stay the same."""
    batches, results = [], []
    for share in (0.0, 0.25):
        monkeypatch.setattr("prover.search.engine._LATE_SHARE", share)
        world, policy = HashWorld(complete=0.0, rejected=0.75), HashPolicy()
        report = search(theorems(40), world, policy, SearchConfig(n_candidates=3, cohorts=1, mode="policy-mean"))
        batches.append(policy.batches)
        results.append([fingerprint(result) for result in report.results])
    assert results[0] == results[1]
    assert sorted(p for batch in batches[0] for p in batch) == sorted(p for batch in batches[1] for p in batch)
    assert len(batches[1]) < len(batches[0])

"""Which theorems a round tries, with which budgets, rebuilt from the files of searches alone."""

import shutil

import polars as pl
import pytest
from search_fakes import HashPolicy, HashWorld, theorems

from prover.search import SearchConfig, search, search_to_files
from prover.search.budgets import Budget, BudgetedSearch
from prover.search.curriculum import Record, RoundPlan, negation, plan_round, read_records
from prover.search.curriculum_config import CurriculumSettings
from prover.theorems import Theorem

BASE = Budget(8, 4)
ON = CurriculumSettings(curriculum=True)


def pool(n: int, **options) -> list[Theorem]:
    return [Theorem(f"t{i:05d}", "(p : Prop) : p → p", **{"difficulty": 3, **options}) for i in range(n)]


def plan(given: list[Theorem], records: dict[str, Record], n: int = 20, iteration: int = 1, **settings) -> RoundPlan:
    chosen = CurriculumSettings(curriculum=True, **settings)
    return plan_round(given, records, chosen, n_theorems=n, base=BASE, iteration=iteration)


def test_theorems_at_the_edge_are_tried_more_often_than_solved_and_hopeless_ones():
    given = pool(400)
    records = {}
    for i, theorem in enumerate(given):
        records[theorem.name] = [
            Record(tries=1, proofs=1, expansions=2),
            Record(tries=1, failures=1),
            Record(tries=9, failures=9),
            Record(),
        ][i % 4]
    counts: dict[str, int] = {}
    for iteration in range(12):
        for kind, count in plan(given, records, n=60, iteration=iteration).to_dict()["tried"].items():
            counts[kind] = counts.get(kind, 0) + count
    assert counts["edge"] > 4 * counts["solved"]
    assert counts["new"] > 4 * counts["solved"]
    assert counts["edge"] > 4 * counts.get("hopeless", 0) > 0


def test_budgets_and_candidates_grow_with_tries_up_to_their_limits():
    given = pool(6)
    records = {theorem.name: Record(tries=i, failures=i) for i, theorem in enumerate(given) if i}
    budgets = plan(given, records, n=1000, hopeless_after=100).budgets
    assert [budgets[theorem.name].max_expansions for theorem in given] == [8, 16, 32, 64, 64, 64]
    assert [budgets[theorem.name].n_candidates for theorem in given] == [4, 4, 6, 6, 8, 8]
    fixed = plan(given, records, n=1000, largest_budget=1, grow_candidates=False).budgets
    assert set(fixed.values()) == {BASE}


def test_a_round_may_use_the_budget_of_so_many_new_theorems_and_no_theorem_twice():
    given = pool(300)
    records = {theorem.name: Record(tries=2, failures=1 + i % 4) for i, theorem in enumerate(given)}
    chosen = plan(given, records, n=40).chosen
    spent = sum(item.budget.max_expansions for item in chosen)
    assert 40 * 8 <= spent < 40 * 8 + 64
    names = [item.theorem.name for item in chosen]
    assert len(set(names)) == len(names)
    assert names == sorted(names), "in the order of the set"


@pytest.mark.parametrize("n", [1, 5, 50_000])
def test_any_number_of_theorems_will_do(n: int):
    given = pool(n)
    chosen = plan(given, {given[0].name: Record(tries=1, failures=1)}, n=240).chosen
    assert len(chosen) == min(n, len(chosen)) > 0
    assert len(chosen) <= 240


def test_a_plan_follows_from_the_files_wherever_they_are(tmp_path):
    given = theorems(30)
    config = SearchConfig(max_expansions=6, n_candidates=4, mode="policy-mean")
    search_to_files(given, tmp_path / "a" / "x.parquet", HashWorld(), HashPolicy(), config)
    first = read_records([tmp_path / "a" / "x.summary.parquet", tmp_path / "missing.summary.parquet"])
    shutil.move(tmp_path / "a", tmp_path / "b")
    again = read_records([tmp_path / "b" / "x.summary.parquet"])
    assert first == again
    assert {record.proofs for record in first.values()} == {0, 1}
    assert plan(given, first) == plan(given, again)
    assert plan(given, first) != plan(given, first, curriculum_seed=1)
    twice = read_records([tmp_path / "b" / "x.summary.parquet"] * 2)
    assert all(twice[name].tries == 2 for name in first)


def test_crashes_are_no_tries(tmp_path):
    summary = tmp_path / "x.summary.parquet"
    rows = [("a", False, "crashed", None), ("b", False, "budget", None), ("c", False, "invalid", None)]
    pl.DataFrame(rows, ["theorem_name", "proved", "ended", "expansions_to_proof"], orient="row").write_parquet(summary)
    assert read_records([summary]) == {"b": Record(tries=1, failures=1)}


def test_statements_that_may_be_false_are_tried_negated_and_left_when_disproved():
    false = Theorem("f", "(p q : Prop) (h : p) : q")
    true = Theorem("known", "(p : Prop) : p → p", difficulty=1)
    stuck = {"f": Record(tries=2, failures=2), "known": Record(tries=2, failures=2)}
    found = plan([false, true], stuck, n=1000)
    assert [(item.theorem.name, item.kind) for item in found.chosen] == [
        ("f", "edge"),
        ("f_is_false", "negated"),
        ("known", "edge"),
    ]
    assert found.theorems[1].statement == ": ¬ (∀ (p q : Prop) (h : p), q)"
    assert "f_is_false" not in plan([false, true], stuck, n=1000, negate=False).budgets
    disproved = plan([false, true], {**stuck, "f_is_false": Record(tries=1, proofs=1, expansions=3)}, n=1000)
    assert disproved.disproved == ("f",)
    assert list(disproved.budgets) == ["known"]
    assert negation(Theorem("g", ": 1 = 2")).statement == ": ¬ (1 = 2)"


def test_each_theorem_gets_the_result_of_its_own_budget(tmp_path):
    given = theorems(20)
    budgets = {theorem.name: Budget(4 + 8 * (i % 3), 3 + i % 2) for i, theorem in enumerate(given) if i % 4}
    config = SearchConfig(max_expansions=6, n_candidates=4, mode="policy-mean")
    progress = []
    search_to_files(
        given,
        tmp_path / "x.parquet",
        HashWorld(),
        HashPolicy(),
        config,
        searcher=BudgetedSearch(search, budgets),
        on_progress=progress.append,
    )
    rows = {row["theorem_name"]: row for row in pl.read_parquet(tmp_path / "x.summary.parquet").iter_rows(named=True)}
    assert len(rows) == 20
    for theorem in given:
        budget = budgets.get(theorem.name, Budget(6, 4))
        own = SearchConfig(max_expansions=budget.max_expansions, n_candidates=budget.n_candidates, mode="policy-mean")
        (alone,) = search([theorem], HashWorld(), HashPolicy(), own).results
        row = rows[theorem.name]
        assert (row["max_expansions"], row["n_candidates"]) == (budget.max_expansions, budget.n_candidates)
        assert (row["expansions_to_proof"], row["expansions"]) == (alone.expansions_to_proof, alone.expansions)
    assert progress[-1].theorems == progress[-1].done == 20
    report = BudgetedSearch(search, budgets)(given, HashWorld(), HashPolicy(), config)
    assert [result.theorem.name for result in report.results] == [theorem.name for theorem in given]
    stopped = BudgetedSearch(search, budgets)(given, HashWorld(), HashPolicy(), config, stop=lambda: True)
    assert stopped.interrupted

"""A round whose theorems and budgets the curriculum chooses, over the maze."""

import polars as pl
import pytest

from prover_assets.store.layout import DataFolder
from prover_assets.store.manifest import read_manifest


@pytest.mark.long
def test_the_second_round_gives_unproved_theorems_more_budget_and_says_so(made):
    data = DataFolder(made.data)
    first = pl.read_parquet(data.iteration(0).trajectories.summary)
    assert set(first["max_expansions"]) == {24}
    assert read_manifest(data.iteration(0).trajectories).curriculum is None
    made.config["trajectories"] = {"curriculum": True, "new_theorems": 3, "n_theorems": 200}
    assert made.run("trajectories", partition="iter_001").success
    plan = read_manifest(data.iteration(1).trajectories).curriculum
    second = pl.read_parquet(data.iteration(1).trajectories.summary)
    unproved = set(first.filter(~pl.col("proved"))["theorem_name"]) - {"bad"}
    budgets = dict(second.select("theorem_name", "max_expansions").iter_rows())
    again = unproved & budgets.keys()
    assert again
    assert plan["tried"]["edge"] >= len(again)
    assert {budgets[name] for name in again} == {48}
    assert {budget for name, budget in budgets.items() if name not in unproved} == {24}
    assert "no generator" in plan["new_theorems"]["note"], "a maze is not propositional"
    page = made.metadata("trajectories", "iter_001")
    assert page["curriculum"] == plan
    assert "off" in made.metadata("trajectories", "iter_000")["curriculum"]

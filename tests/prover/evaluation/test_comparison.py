"""Two searches compared from their files."""

from pathlib import Path

import polars as pl
import pytest
from search_fakes import HashPolicy, HashScorer, HashWorld, theorems

from prover.evaluation.comparison import EvaluationError, by_group, compare_runs
from prover.search import SearchConfig, search_to_files


def test_files_of_two_searches_compare_as_the_searches_did(tmp_path: Path) -> None:
    some, policy, config = theorems(30), HashPolicy(), SearchConfig(max_expansions=16, n_candidates=5)
    world = HashWorld(complete=0.03)
    for mode, scorer in (("policy-mean", None), ("calibrated", HashScorer())):
        search_to_files(some, tmp_path / f"{mode}.parquet", world, policy, config, scorer=scorer)
    comparison = compare_runs(tmp_path / "policy-mean.parquet", tmp_path / "calibrated.parquet", (4, 8, 16))
    counts = comparison.paired
    assert counts.faster + counts.slower + counts.tied == 30
    assert comparison.first.solved[16] - comparison.second.solved[16] == counts.only_first - counts.only_second
    with pytest.raises(EvaluationError, match=r"budget of 16 .* up to 64"):
        compare_runs(tmp_path / "policy-mean.parquet", tmp_path / "calibrated.parquet", (4, 64))


def test_theorems_lost_to_crashes_are_left_out_of_both_searches_and_counted(tmp_path: Path) -> None:
    policy, config = HashPolicy(), SearchConfig(max_expansions=16, n_candidates=5)
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    for output in (first, second):
        search_to_files(theorems(30), output, HashWorld(complete=0.03), policy, config)
    summary = second.with_suffix(".summary.parquet")
    frame = pl.read_parquet(summary)
    for lost in (1, 2):  # 2 of 30 are more than 5%
        crashed = pl.when(pl.int_range(pl.len()) < lost).then(pl.lit("crashed")).otherwise("ended")
        frame.with_columns(ended=crashed).write_parquet(summary)
        if lost == 1:
            comparison = compare_runs(first, second, (4, 8, 16))
            assert comparison.crashed == ("t0",)
            assert comparison.first.theorems == comparison.second.theorems == 29
            assert comparison.to_dict()["left_out_crashed"] == 1
        else:
            with pytest.raises(EvaluationError, match="is incomplete: 2 of 30 theorems were lost to crashes"):
                compare_runs(first, second, (4, 8, 16))


def test_groups_of_theorems_add_up_to_the_whole(tmp_path: Path) -> None:
    some, policy, config = theorems(30), HashPolicy(), SearchConfig(max_expansions=16, n_candidates=5)
    world = HashWorld(complete=0.03)
    for mode, scorer in (("policy-mean", None), ("calibrated", HashScorer())):
        search_to_files(some, tmp_path / f"{mode}.parquet", world, policy, config, scorer=scorer)
    whole = compare_runs(tmp_path / "policy-mean.parquet", tmp_path / "calibrated.parquet", (4, 8))
    groups = {theorem.name: "even" if place % 2 == 0 else "odd" for place, theorem in enumerate(some[:24])}
    split = by_group(whole, groups)
    assert list(split) == ["even", "odd"]
    assert [found.theorems for found in split.values()] == [12, 12], "six theorems are of no group"
    everything = by_group(whole, {t.name: "a" if place < 9 else "b" for place, t in enumerate(some)})
    for name, mode in zip(("policy-mean", "calibrated"), (whole.first, whole.second), strict=True):
        for budget in (4, 8):
            assert sum(found.solved[name][budget] for found in everything.values()) == mode.solved[budget]
        weighted = (9 * everything["a"].area[name] + 21 * everything["b"].area[name]) / 30
        assert weighted == pytest.approx(mode.area)
    assert sum(found.paired.faster for found in everything.values()) == whole.paired.faster
    assert by_group(whole, dict.fromkeys(groups, "one")) == {}

import math

import numpy as np
import pytest

from prover.evaluation.statistics import (
    area_under_solve_curve,
    bootstrap_mean,
    paired_test,
    sign_test,
    solved_by_budget,
    wilson_interval,
)


def test_wilson_interval_matches_the_published_formula_at_known_points() -> None:
    # 7 of 20: Wilson's 95% interval, computed by hand from the closed form.
    low, high = wilson_interval(7, 20)
    assert low == pytest.approx(0.18119, abs=1e-4)
    assert high == pytest.approx(0.56714, abs=1e-4)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (1, 1), (0, 1)])
def test_wilson_interval_stays_within_bounds_and_holds_the_share(k: int, n: int) -> None:
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert low < high


def test_wilson_interval_refuses_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match="5 of 4"):
        wilson_interval(5, 4)


def test_solved_by_budget_counts_proofs_at_or_below_each_budget() -> None:
    runs = {"a": 1, "b": 4, "c": 5, "d": None}
    assert solved_by_budget(runs, [1, 4, 8]) == {1: 1, 4: 2, 8: 3}


def test_area_is_the_exact_integral_of_the_step_curve_over_log_budget() -> None:
    # proved at 8 between 4 and 64: the rate is 1 on [8, 64], three of the four doublings
    assert area_under_solve_curve({"a": 8}, lowest=4, highest=64) == pytest.approx(3 / 4)
    assert area_under_solve_curve({"a": 1}, lowest=4, highest=64) == pytest.approx(1)
    assert area_under_solve_curve({"a": 64, "b": None}, lowest=4, highest=64) == 0
    assert area_under_solve_curve({"a": 8, "b": None}, lowest=8, highest=8) == 0.5


def test_area_never_falls_when_a_proof_comes_sooner() -> None:
    areas = [area_under_solve_curve({"a": e, "b": 9}, lowest=2, highest=40) for e in range(41, 0, -1)]
    assert areas == sorted(areas)


def test_paired_test_counts_unproved_as_slower_than_any_proof() -> None:
    first = {"a": 8, "b": 2, "c": None, "d": None, "e": 3}
    second = {"a": 4, "b": 4, "c": 10, "d": None, "e": 3}
    result = paired_test(first, second)
    assert (result.faster, result.slower, result.tied) == (2, 1, 2)
    assert (result.only_first, result.only_second, result.both) == (0, 1, 3)
    assert result.ratio == pytest.approx((4 / 8 * 4 / 2 * 1) ** (1 / 3))
    assert result.ratio_low <= result.ratio <= result.ratio_high


def test_paired_test_says_which_theorems_are_missing() -> None:
    with pytest.raises(ValueError, match=r"same theorems.*b"):
        paired_test({"a": 1, "b": 2}, {"a": 1})


def test_ratio_is_nan_when_nothing_is_proved_by_both() -> None:
    result = paired_test({"a": None}, {"a": 3})
    assert math.isnan(result.ratio)
    assert result.faster == 1


def test_sign_test_is_the_binomial_tail() -> None:
    assert sign_test(0, 0) == 1
    assert sign_test(5, 0) == pytest.approx(2 / 2**5)
    assert sign_test(3, 3) == 1
    assert sign_test(2, 9) == sign_test(9, 2)


def test_bootstrap_interval_holds_the_mean_and_is_seeded() -> None:
    values = np.random.default_rng(1).normal(size=400)
    mean, low, high = bootstrap_mean(values)
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.2)
    assert bootstrap_mean(values) == (mean, low, high)

"""How sure the difference of two searches is."""

import pytest

from prover.evaluation.bootstrap import paired_difference
from prover.evaluation.statistics import area_under_solve_curve

BUDGETS = {"lowest": 4, "highest": 64}


def test_the_difference_is_that_of_the_areas():
    first = {"a": 4, "b": 20, "c": None, "d": 64}
    second = {"a": 8, "b": 5, "c": 30, "d": None}
    found = paired_difference(first, second, **BUDGETS)
    expected = area_under_solve_curve(second, **BUDGETS) - area_under_solve_curve(first, **BUDGETS)
    assert found.difference == pytest.approx(expected)
    assert found.low <= found.difference <= found.high


def test_a_gain_on_every_theorem_is_sure():
    first = {f"t{i}": 32 for i in range(20)}
    second = {f"t{i}": 16 for i in range(20)}
    found = paired_difference(first, second, **BUDGETS)
    assert found.probability == 1.0
    assert found.low == pytest.approx(found.high) == pytest.approx(0.25)
    assert paired_difference(second, first, **BUDGETS).probability == 0.0
    assert paired_difference(first, first, **BUDGETS).probability == 0.5


def test_gains_that_cancel_are_not_sure():
    """Paired: one theorem up and one down by as much; the interval holds 0, and is repeatable."""
    first = {f"t{i}": 16 if i % 2 else 32 for i in range(20)}
    second = {f"t{i}": 32 if i % 2 else 16 for i in range(20)}
    found = paired_difference(first, second, **BUDGETS)
    assert found.low < 0 < found.high
    assert 0.3 < found.probability < 0.7
    assert found == paired_difference(first, second, **BUDGETS)


def test_other_theorems_are_refused():
    for first, second in (({"a": 1}, {"b": 1}), ({}, {})):
        with pytest.raises(ValueError, match="the same theorems"):
            paired_difference(first, second, **BUDGETS)

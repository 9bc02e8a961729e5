"""The gate: simulated against true gains, and its arithmetic."""

import math

import pytest

from prover.evaluation.gate import (
    Belief,
    GateSettings,
    Measured,
    belief_of_all,
    goes_back,
    measure,
    pass_gate,
    prior_from,
)
from prover.evaluation.gate_simulation import Setup, adoption_rates, return_rate

TRIALS = {"trials": 200, "seed": 1}


def test_candidates_that_are_worse_are_hardly_ever_adopted():
    assert adoption_rates(-0.04, Setup(120), **TRIALS).adopted <= 0.02
    assert adoption_rates(-0.02, Setup(120), **TRIALS).adopted <= 0.07
    assert adoption_rates(0.0, Setup(120), **TRIALS).adopted <= 0.25


def test_gains_that_the_earlier_rule_called_chance_are_adopted():
    """The gains of four rounds that were turned down on 40 theorems: .046 to .062."""
    few, many = adoption_rates(0.05, Setup(40), **TRIALS), adoption_rates(0.05, Setup(120), **TRIALS)
    assert few.before <= 0.4
    assert few.adopted >= few.before + 0.25
    assert many.adopted >= 0.93
    assert many.adopted > few.adopted


def test_earlier_rounds_make_gains_easier_to_see():
    alone, pooled = (adoption_rates(0.03, Setup(60, rounds=rounds), **TRIALS) for rounds in (1, 4))
    assert pooled.adopted >= alone.adopted + 0.08
    worse = adoption_rates(-0.03, Setup(60, rounds=4, same_theorems=True), **TRIALS)
    assert worse.adopted <= 0.03


def test_the_chance_of_a_wrong_adoption_is_about_what_the_gate_says():
    """Over true gains drawn from the prior, the share of adoptions that were wrong is near the mean chance stated."""
    settings = GateSettings()
    gains = [settings.prior_spread * z for z in (-1.6, -1.0, -0.5, -0.1, 0.1, 0.5, 1.0, 1.6)]
    found = [adoption_rates(gain, Setup(80), trials=60, seed=2) for gain in gains]
    adopted = sum(rates.adopted for rates in found)
    wrong = sum(rates.adopted for rates in found if rates.gain <= 0) / adopted
    stated = sum(rates.adopted * rates.chance_said for rates in found if rates.adopted) / adopted
    assert abs(wrong - stated) <= 0.06


def test_the_way_back_finds_wrong_adoptions_and_leaves_right_ones():
    _, given_up = return_rate(-0.02, 4, 120, trials=400, seed=3)
    assert given_up >= 0.4
    _, given_up = return_rate(0.04, 4, 120, trials=100, seed=3)
    assert given_up <= 0.02


def test_a_few_equal_theorems_are_no_certainty():
    same = dict.fromkeys("abcde", 4)
    found = measure(same, same, lowest=4, highest=32)
    assert found.gain == 0.0
    assert found.error > 0.05
    assert not pass_gate(found, (), GateSettings()).passed


def test_this_rounds_theorems_can_veto_what_earlier_rounds_say():
    past = [Measured(0.08, 0.01, 400, f"round{i}") for i in range(5)]
    settings = GateSettings(between_rounds=0.5)  # so wide that the round decides, and yet the level is positive
    assert prior_from(past, settings).mean > 0
    worse = Measured(-0.05, 0.02, 120, "now")
    found = pass_gate(worse, past, GateSettings())
    assert found.vetoed
    assert not found.passed
    assert not pass_gate(worse, past, GateSettings(veto_p=0.0)).vetoed


def test_rounds_on_the_same_theorems_count_as_one():
    one = [Measured(0.05, 0.02, 120, "a")]
    again, other = one * 4, [Measured(0.05, 0.02, 120, name) for name in "abcd"]
    settings = GateSettings()
    assert prior_from(again, settings).mean == pytest.approx(prior_from(one, settings).mean)
    assert prior_from(other, settings).mean > prior_from(one, settings).mean
    assert prior_from(other, GateSettings(pool_rounds=False)).mean == 0.0
    assert belief_of_all(again, settings) == belief_of_all(one, settings)
    assert not goes_back([Measured(-0.2, 0.01, 120, "a")] * 3, settings)
    assert goes_back([Measured(0.03, 0.02, 120, "a"), Measured(-0.06, 0.02, 120, "b")], settings)


def test_a_belief_is_the_conjugate_normal():
    belief = Belief(0.0, 0.05).updated(0.06, 0.05)
    assert belief.mean == pytest.approx(0.03)
    assert belief.deviation == pytest.approx(0.05 / math.sqrt(2))
    assert belief.probability_above(0.03) == pytest.approx(0.5)
    z = 0.0  # the mean of max(0, -gain) of a normal around 0 is deviation / sqrt(2 pi)
    assert Belief(z, 0.1).expected_loss == pytest.approx(0.1 / math.sqrt(2 * math.pi))


def test_what_is_no_measurement_is_refused():
    for content in (
        {},
        {"gain": 0.1, "error": 0.0, "theorems": 3, "on": "x"},
        {"gain": "a", "error": 1, "theorems": 3},
    ):
        with pytest.raises(ValueError, match="no measured gain"):
            Measured.from_dict(content)
    found = Measured(0.1, 0.02, 3, "x")
    assert Measured.from_dict(found.to_dict()) == found

import math
from dataclasses import replace
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.search import MODES, Guidance, MixingCalibration, SearchConfig, SearchConfigError
from prover.search.frontier import Frontier
from prover.search.guidance import standard_normal

CALIBRATION = MixingCalibration(mu_energy=1.0, sigma_energy=2.0, sigma_log_prob=0.5, beta=0.5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_expansion": 8}, ["search.max_expansion", "max_expansions"]),
        ({"zzz": 8}, ["search.zzz", "n_candidates"]),
        ({"max_expansions": "8"}, ["search.max_expansions", "'8'", "int"]),
        ({"max_expansions": True}, ["search.max_expansions"]),
        ({"max_expansions": 2.0}, ["search.max_expansions"]),
        ({"max_expansions": 0}, ["search.max_expansions", "at least 1"]),
        ({"mode": "callibrated"}, ["search.mode", "'calibrated'"]),
        ({"time_limit_s": 0}, ["search.time_limit_s"]),
        ({"time_limit_s": math.nan}, ["search.time_limit_s is nan"]),
        ({"beta": math.nan}, ["search.beta is nan"]),
        ({"mode": "policy-mean", "beta": 1.0}, ["search.beta", "policy-mean"]),
        ({"probe_tactics": [1]}, ["search.probe_tactics"]),
        ({"probe_log_prob": 0.5}, ["search.probe_log_prob"]),
        ({"probe_log_prob": math.nan}, ["search.probe_log_prob"]),
        ({"seed": None}, ["search.seed"]),
    ],
)
def test_a_bad_setting_is_named_with_what_was_expected(values, words):
    with pytest.raises(SearchConfigError) as caught:
        SearchConfig.from_dict(values)
    for word in words:
        assert word in str(caught.value)


def test_a_configuration_survives_being_written_down():
    config = SearchConfig(max_expansions=7, time_limit_s=None, probe_tactics=("simp_all",), beta=1.0)
    assert SearchConfig.from_dict(config.to_dict()) == config
    assert SearchConfig.from_dict({"time_limit_s": 30}).time_limit_s == 30.0


def test_settings_of_speed_alone_are_no_part_of_what_a_resumed_run_must_share():
    assert SearchConfig(cohorts=5).result_settings() == SearchConfig().result_settings()
    assert SearchConfig(seed=5).result_settings() != SearchConfig().result_settings()


def test_the_calibrated_formula():
    guidance = Guidance.resolve(SearchConfig(), has_scorer=True, calibration=CALIBRATION)
    # mean log-prob -1 over sigma .5 is -2; energy 3 is one sigma above its mean
    assert guidance.priorities(log_prob=-4.0, depth=4, score=-3.0, key="k") == (-2.0 - 0.5 * 1.0,)


def test_every_mode_has_a_finite_priority_at_the_root():
    for mode in MODES:
        guidance = Guidance.resolve(SearchConfig(mode=mode), has_scorer=True, calibration=CALIBRATION)
        priorities = guidance.priorities(log_prob=0.0, depth=0, score=1.0, key="k")
        assert len(priorities) == len(guidance.orders)
        assert all(math.isfinite(value) for value in priorities)


@pytest.mark.parametrize("mode", ["calibrated", "energy-only", "raw-half-half"])
def test_lower_energy_is_better(mode: str):
    guidance = Guidance.resolve(SearchConfig(mode=mode), has_scorer=True, calibration=CALIBRATION)
    good = guidance.priorities(log_prob=-1.0, depth=1, score=2.0, key="k")
    bad = guidance.priorities(log_prob=-1.0, depth=1, score=-2.0, key="k")
    assert good > bad


def test_a_calibration_without_scale_is_refused():
    flat = MixingCalibration(mu_energy=0.0, sigma_energy=0.0, sigma_log_prob=1.0, beta=1.0)
    with pytest.raises(SearchConfigError, match="sigma_energy"):
        Guidance.resolve(SearchConfig(), has_scorer=True, calibration=flat)


@pytest.mark.parametrize(("name", "value"), [("beta", -1.0), ("beta", math.nan), ("mu_energy", math.nan)])
def test_a_calibration_that_orders_nothing_is_refused(name, value):
    """A negative beta was taken for 0, and NaN made priorities of NaN in the middle of the search."""
    calibration = replace(CALIBRATION, **{name: value})
    with pytest.raises(SearchConfigError, match=f"{name} is {value}"):
        Guidance.resolve(SearchConfig(), has_scorer=True, calibration=calibration)


def test_random_energies_are_standard_normal():
    draws = [standard_normal(3, f"key {i}") for i in range(4000)]
    assert abs(fmean(draws)) < 0.06
    assert abs(pstdev(draws) - 1) < 0.05


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=30), st.integers(1, 2))
def test_the_frontier_pops_what_it_said_was_upcoming(pairs, n_queues):
    frontier = Frontier(n_queues)
    for index, pair in enumerate(pairs):
        frontier.push(index, pair[:n_queues])
    foretold = frontier.upcoming(len(pairs) + 5)
    assert [frontier.pop() for _ in pairs] == foretold
    assert sorted(foretold) == list(range(len(pairs)))
    if n_queues == 1:
        assert foretold == sorted(range(len(pairs)), key=lambda index: (-pairs[index][0], index))
    with pytest.raises(IndexError):
        frontier.pop()


def test_pushing_an_open_node_again_moves_it():
    frontier = Frontier()
    frontier.push(0, (1.0,))
    frontier.push(1, (2.0,))
    frontier.push(0, (3.0,))
    assert [frontier.pop(), frontier.pop()] == [0, 1]
    assert len(frontier) == 0


def test_a_priority_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="not a number"):
        Frontier().push(0, (math.nan,))

import math
from dataclasses import replace
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.search import MODES, Guidance, MixingCalibration, SearchConfig, SearchConfigError
from prover.search.frontier import Frontier, RankedFrontier
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


def priorities_of(mode: str, calibration: MixingCalibration = CALIBRATION, **node) -> tuple[float, ...]:
    guidance = Guidance.resolve(SearchConfig(mode=mode), has_scorer=True, calibration=calibration)
    return guidance.priorities(**{"log_prob": -4.0, "depth": 4, "score": -3.0, "key": "k"} | node)


def test_remaining_distance_adds_what_is_behind_and_what_is_expected():
    """Energy 3 is 1 + 2 * 3 = 7 tactics to go; 4 lie behind, at 1 nat each; a tactic to go costs .5 nats."""
    calibration = replace(CALIBRATION, steps_at_zero=1.0, steps_per_energy=2.0, nats_per_step=0.5)
    assert priorities_of("remaining-steps", calibration) == (-(4 + 7.0),)
    assert priorities_of("remaining-nats", calibration) == (-4.0 - 0.5 * 7.0,)
    assert priorities_of("remaining-steps", calibration, score=50.0) == (-4.0,), "never less than nothing to go"
    assert priorities_of("remaining-nats", calibration, depth=9) == (-4.0 - 3.5,)


@pytest.mark.parametrize(
    ("order", "orders", "ranked"),
    [
        ("mix", ("calibrated",), False),
        ("policy-mean", ("policy-mean",), False),
        ("energy-only", ("energy-only",), False),
        ("rank-mix", ("policy-mean", "energy-only"), True),
        ("remaining-steps", ("remaining-steps",), False),
        ("remaining-nats", ("remaining-nats",), False),
    ],
)
def test_calibrated_search_goes_by_the_order_that_validation_chose(order, orders, ranked):
    calibration = replace(CALIBRATION, order=order)
    guidance = Guidance.resolve(SearchConfig(), has_scorer=True, calibration=calibration)
    assert (guidance.mode, guidance.orders, guidance.ranked) == ("calibrated", orders, ranked)
    assert guidance.needs_scores is (order != "policy-mean")
    assert (order in guidance.note) is (order not in ("mix", "policy-mean"))
    if order != "mix":
        assert priorities_of("calibrated", calibration) == priorities_of(order, calibration)
    mixed = Guidance.resolve(SearchConfig(beta=1.5), has_scorer=True, calibration=calibration)
    assert mixed.orders == ("calibrated",), "a weight that is asked for is that of the mix"
    assert mixed.calibration.beta == 1.5
    split = Guidance.resolve(SearchConfig(mode="split-queue"), has_scorer=True, calibration=calibration)
    assert split.orders == ("calibrated", "policy-mean")


@pytest.mark.parametrize("order", ["mix", "energy-only", "rank-mix", "remaining-steps"])
def test_the_control_draws_energies_for_the_same_order(order):
    calibration = replace(CALIBRATION, order=order)
    guidance = Guidance.resolve(SearchConfig(mode="random-energy", seed=5), has_scorer=False, calibration=calibration)
    assert not guidance.needs_scores
    drawn = -(1.0 + 2.0 * standard_normal(5, "k"))
    node = {"log_prob": -4.0, "depth": 4, "key": "k"}
    expected = priorities_of("calibrated", calibration, score=drawn)
    assert guidance.priorities(**node, score=None) == pytest.approx(expected)
    assert guidance.priorities(**node, score=None) != guidance.priorities(**node | {"key": "other"}, score=None)


def test_the_order_of_the_policy_alone_reads_no_energy_and_says_so():
    for calibration in (replace(CALIBRATION, order="policy-mean"), replace(CALIBRATION, beta=0.0)):
        guidance = Guidance.resolve(SearchConfig(), has_scorer=True, calibration=calibration)
        assert not guidance.needs_scores
        assert "policy alone" in guidance.note
        assert not calibration.reads_energy
    assert replace(CALIBRATION, order="energy-only", beta=0.0).reads_energy


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"order": "best"}, "order is 'best'; it must be one of mix, policy-mean"),
        ({"steps_per_energy": 0.0}, "steps_per_energy is 0.0; it must be finite and above 0"),
        ({"nats_per_step": math.inf}, "nats_per_step is inf"),
        ({"steps_at_zero": math.nan}, "steps_at_zero is nan; it must be finite"),
        ({"sigma_log_prob": -1.0}, "sigma_log_prob is -1.0"),
    ],
)
def test_a_calibration_that_means_nothing_is_refused(change, words):
    with pytest.raises(SearchConfigError) as caught:
        Guidance.resolve(SearchConfig(), has_scorer=True, calibration=replace(CALIBRATION, **change))
    assert words in str(caught.value)


def test_ranks_are_taken_among_the_open_nodes():
    """Node 1 is second in both and first of all together; when it is gone, the others tie, and the older wins."""
    frontier = RankedFrontier(2)
    for index, pair in enumerate([(0.0, -1000.0), (-1.0, -1.5), (-9.0, -1.0), (-2.0, -3.0)]):
        frontier.push(index, pair)
    assert frontier.upcoming(5) == [1, 0, 2, 3]
    assert len(frontier) == 4
    assert [frontier.pop() for _ in range(4)] == [1, 0, 2, 3]
    with pytest.raises(IndexError):
        frontier.pop()


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=20), st.floats(0.1, 50))
def test_ranks_need_no_scale(pairs, factor):
    """Stretching one of the priorities changes nothing, and the best in both comes first."""
    plain, stretched = RankedFrontier(2), RankedFrontier(2)
    for index, (a, b) in enumerate(pairs):
        plain.push(index, (a, b))
        stretched.push(index, (a, b * 2.0 ** round(factor)))
    foretold = plain.upcoming(len(pairs) + 3)
    assert [plain.pop() for _ in pairs] == foretold
    assert [stretched.pop() for _ in pairs] == foretold
    a, b = pairs[foretold[0]]
    assert not any(x > a and y > b for x, y in pairs)


def test_a_ranked_node_can_be_given_other_priorities():
    frontier = RankedFrontier(2)
    frontier.push(0, (0.0, 0.0))
    frontier.push(1, (1.0, 1.0))
    frontier.push(0, (2.0, 2.0))
    assert 0 in frontier
    assert [frontier.pop(), frontier.pop()] == [0, 1]
    for wrong, words in (((1.0,), "2 are ranked"), ((1.0, math.nan), "not a number")):
        with pytest.raises(ValueError, match=words):
            frontier.push(2, wrong)


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

"""Calibration and evaluation over a scripted world in which the policy is misled and a scorer knows better."""

from pathlib import Path

import numpy as np
import pytest
from search_fakes import HashScorer, ScriptedPolicy, ScriptedWorld, theorems

from ebm.calibration import (
    CalibrationError,
    Trial,
    _try_weights,
    calibrate,
    combined_priority,
    fit_scales,
    mean_log_prob,
)
from ebm.evaluation import evaluate_modes, evaluate_seconds, rank_states
from prover.evaluation.comparison import EvaluationError
from prover.search import Guidance, MixingCalibration, SearchConfig, search_to_files
from prover.trajectory import read_summaries, read_trajectories

# The policy prefers the bog: 30 states from which nothing follows. The short way is less likely at its first step.
TABLE = {("root", "dive"): "bog0", ("root", "climb"): "hill1", ("hill1", "climb"): "hill2", ("hill2", "climb"): ""}
TABLE |= {(f"bog{i}", "dive"): f"bog{i + 1}" for i in range(30)}
CANDIDATES = {"root": {"dive": -0.1, "climb": -2.0}, "hill1": {"climb": -0.5}, "hill2": {"climb": -0.5}}
CANDIDATES |= {f"bog{i}": {"dive": -0.1} for i in range(30)}
CONFIG = SearchConfig(max_expansions=24, n_candidates=4)


def knowing(text: str) -> float:
    return 1.0 if "hill" in text else -1.0


def misleading(text: str) -> float:
    return -knowing(text)


@pytest.fixture
def rows(tmp_path: Path):
    search_to_files(
        theorems(3),
        tmp_path / "train.parquet",
        ScriptedWorld(TABLE),
        ScriptedPolicy(CANDIDATES),
        SearchConfig(max_expansions=40, n_candidates=4, mode="policy-mean"),
    )
    return read_trajectories(tmp_path / "train.parquet")


def test_scales_are_those_of_the_training_rows(rows) -> None:
    scales = fit_scales(rows, HashScorer(knowing))
    states = rows.filter((rows["depth_from_root"] > 0) & ~rows["is_proof_complete"]).unique(
        ["theorem_name", "state_key"]
    )
    energies = np.array([-knowing(text) for text in states["state_pp"]])
    assert scales.mu_energy == pytest.approx(energies.mean())
    assert scales.sigma_energy == pytest.approx(energies.std())
    per_step = states["llm_log_prob"].to_numpy() / states["depth_from_root"].to_numpy()
    assert scales.sigma_log_prob == pytest.approx(per_step.std())


def test_a_constant_energy_cannot_be_scaled(rows) -> None:
    with pytest.raises(CalibrationError, match=r"the energy of .* deviation 0"):
        fit_scales(rows, HashScorer(lambda text: 0.25))


def test_nothing_labelled_is_said(rows) -> None:
    with pytest.raises(CalibrationError, match="0 labelled states"):
        fit_scales(rows.head(0), HashScorer(knowing))


@pytest.mark.parametrize(("score", "helps"), [(knowing, True), (misleading, False)])
def test_validation_decides_whether_the_energy_counts(rows, score, helps: bool) -> None:
    world, policy = ScriptedWorld(TABLE), ScriptedPolicy(CANDIDATES)
    calibration = calibrate(HashScorer(score), rows, theorems(4, "v"), world, policy, CONFIG)
    assert (calibration.mixing.beta > 0) is helps
    evidence = calibration.evidence()
    trials = {trial["beta"]: trial for trial in evidence["trials"]}
    assert list(trials)[:5] == [0.0, 0.25, 0.5, 1.0, 2.0]
    assert trials[calibration.mixing.beta]["area"] == max(calibration.areas)
    assert [trial["order"] for trial in evidence["orders"]] == ["rank-mix", "energy-only"], "no distance can be fitted"
    assert (calibration.mixing.order != "policy-mean") is helps
    assert evidence["order"] == calibration.mixing.order
    assert calibration.chosen.area == max(trial.area for trial in calibration.trials)
    assert calibration.mixing.reads_energy is helps
    over = evidence["over_policy"]
    assert over["difference"] == pytest.approx(calibration.chosen.area - calibration.areas[0])
    assert (over["probability"] > 0.95) is helps
    assert over["low"] <= over["difference"] <= over["high"]


OTHERS = ("rank-mix", "remaining-nats", "remaining-steps", "energy-only")


class FakeTrials:
    """Stands for the searches: areas by weight."""

    def __init__(self, areas: dict[float, float]) -> None:
        self.areas, self.tried = areas, []

    def __call__(self, beta: float) -> Trial:
        self.tried.append(beta)
        return Trial("mix", beta, self.areas[beta], 0, {})


@pytest.mark.parametrize(
    ("areas", "tried"),
    [
        ({0: 0.1, 1: 0.3, 2: 0.2}, [0, 1, 2]),
        ({0: 0.1, 1: 0.2, 2: 0.2}, [0, 1, 2]),
        ({0: 0.1, 1: 0.2, 2: 0.3, 4: 0.3}, [0, 1, 2, 4]),
        ({0: 0.1, 1: 0.2, 2: 0.3, 4: 0.4, 8: 0.1}, [0, 1, 2, 4, 8]),
        ({0: 0.0, 1: 0.1, 2: 0.2, 4: 0.3, 8: 0.4, 16: 0.5, 32: 0.6}, [0, 1, 2, 4, 8, 16, 32]),
    ],
)
def test_the_grid_widens_while_its_edge_wins(areas, tried) -> None:
    trials = FakeTrials(areas)
    assert [trial.beta for trial in _try_weights(trials, [0, 1, 2], widen=True)] == tried
    assert trials.tried == tried
    assert [trial.beta for trial in _try_weights(FakeTrials(areas), [0, 1, 2], widen=False)] == [0, 1, 2]


def test_only_orders_that_are_asked_for_are_tried(rows) -> None:
    seen = []
    arguments = (HashScorer(knowing), rows, theorems(2, "v"), ScriptedWorld(TABLE), ScriptedPolicy(CANDIDATES), CONFIG)
    found = calibrate(
        *arguments,
        betas=(0.0, 1.0),
        widen=False,
        orders=("mix", "energy-only"),
        on_progress=lambda name, progress: seen.append(name),
    )
    assert [trial.name for trial in found.trials] == ["policy-mean", "mix, beta 1", "energy-only"]
    assert list(dict.fromkeys(seen)) == ["policy-mean", "mix, beta 1", "energy-only"]
    with pytest.raises(CalibrationError, match="'best' is no order"):
        calibrate(*arguments, orders=("mix", "best"))


def test_an_order_without_weight_is_stored_by_name_and_searched_with(rows, tmp_path) -> None:
    """The mix is misled by a log-prob that outweighs it; the energy alone is not."""
    arguments = (HashScorer(knowing), rows, theorems(4, "v"), ScriptedWorld(TABLE), ScriptedPolicy(CANDIDATES), CONFIG)
    found = calibrate(*arguments, betas=(0.0, 1e-6), widen=False, orders=("mix", "energy-only"))
    assert (found.mixing.order, found.chosen.name) == ("energy-only", "energy-only")
    assert found.mixing.reads_energy
    figures = search_to_files(
        *(theorems(4, "t"), tmp_path / "a.parquet", ScriptedWorld(TABLE), ScriptedPolicy(CANDIDATES), CONFIG),
        scorer=HashScorer(knowing),
        calibration=found.mixing,
    )
    assert figures["proved"] == 4
    assert "energy-only" in figures["note"]


def test_remaining_distance_is_tried_where_it_can_be_fitted(rows) -> None:
    depths = {"hill1": 2, "hill2": 1}
    scorer = HashScorer(lambda text: -float(depths.get(text.split()[-1], 9)))
    arguments = (rows, theorems(3, "v"), ScriptedWorld(TABLE), ScriptedPolicy(CANDIDATES), CONFIG)
    found = calibrate(scorer, *arguments, betas=(0.0,))
    assert [trial.name for trial in found.trials] == ["policy-mean", *OTHERS]
    assert {trial.name: trial.solved for trial in found.trials}["remaining-steps"] == 3


def test_steps_to_go_are_fitted_on_positives(rows) -> None:
    """Energy 2 * steps + 3 on the states of the proof: half a step per unit, and the mean cost of its tactics."""
    depths = {"hill1": 2, "hill2": 1}
    scales = fit_scales(rows, HashScorer(lambda text: -(2.0 * depths.get(text.split()[-1], 9) + 3.0)))
    positives = rows.filter((rows["label"] == "positive") & (rows["depth_from_root"] > 0) & ~rows["is_proof_complete"])
    assert len(positives) == 6
    assert scales.steps_per_energy == pytest.approx(0.5)
    assert scales.steps_at_zero == pytest.approx(-1.5)
    assert scales.steps_to_go(5.0) == pytest.approx(1.0)
    expected = -(positives["llm_log_prob"] / positives["depth_from_root"]).mean()
    assert scales.nats_per_step == pytest.approx(expected)
    upside_down = fit_scales(rows, HashScorer(lambda text: 2.0 * depths.get(text.split()[-1], 9)))
    assert (upside_down.steps_per_energy, upside_down.steps_at_zero) == (1.0, 0.0)


def test_no_validation_theorems_is_an_error(rows) -> None:
    with pytest.raises(CalibrationError, match="no validation theorems"):
        calibrate(HashScorer(knowing), rows, [], ScriptedWorld(TABLE), ScriptedPolicy(CANDIDATES), CONFIG)


@pytest.mark.parametrize("betas", [(0.5, 1.0), (0.0, -1.0), (0.0, float("nan")), ()])
def test_weights_that_cannot_be_tried_are_refused(rows, betas) -> None:
    with pytest.raises(CalibrationError, match="the weights to try are"):
        calibrate(
            *(HashScorer(knowing), rows, theorems(2, "v"), ScriptedWorld(TABLE), ScriptedPolicy(CANDIDATES), CONFIG),
            betas=betas,
        )


@pytest.mark.parametrize(("budget", "lowest"), [(24, 4), (4, 3), (2, 1)])
def test_the_evidence_names_the_budgets_of_the_area(rows, budget, lowest) -> None:
    config = SearchConfig(max_expansions=budget, n_candidates=4)
    calibration = calibrate(
        HashScorer(knowing), rows, theorems(2, "v"), ScriptedWorld(TABLE), ScriptedPolicy(CANDIDATES), config
    )
    assert calibration.evidence()["criterion"].endswith(f"{lowest} to {budget}")


def test_the_combined_priority_is_the_formula_of_the_search(rows) -> None:
    mixing = MixingCalibration(mu_energy=0.2, sigma_energy=0.7, sigma_log_prob=0.4, beta=0.5)
    energies = np.linspace(-1, 1, len(rows))
    row = rows.row(5, named=True)
    expected = row["llm_log_prob"] / row["depth_from_root"] / 0.4 - 0.5 * (energies[5] - 0.2) / 0.7
    assert combined_priority(rows, energies, mixing)[5] == pytest.approx(expected)


def test_calls_are_counted_per_mode(rows, tmp_path: Path) -> None:
    """What was asked for, whoever answered: a second evaluation out of the memo counts the same."""
    world, policy = ScriptedWorld(TABLE), ScriptedPolicy(CANDIDATES)
    settings = {"budgets": (2, 4, 8), "scorer": HashScorer(knowing), "mixing": MixingCalibration(0.0, 1.0, 1.0, 2.0)}
    evaluation = evaluate_modes(theorems(3, "e"), world, policy, CONFIG, tmp_path / "eval", **settings)
    policy_mean, calibrated = evaluation.modes
    for mode in evaluation.modes:
        summaries = read_summaries(tmp_path / "eval" / f"{mode.name}.parquet")
        assert mode.calls.policy == summaries["expansions"].sum()
        assert mode.calls.lean == summaries["tactics"].sum() + summaries["claims"].sum() + 3
        nodes = read_trajectories(tmp_path / "eval" / f"{mode.name}.parquet")
        assert mode.calls.encoder == nodes["ebm_score"].is_not_null().sum()
        assert evaluation.to_dict()["modes"][mode.name]["calls"]["policy"] == mode.calls.policy
    assert policy_mean.calls.encoder == 0
    assert calibrated.calls.encoder > 0
    assert calibrated.calls.lean < policy_mean.calls.lean, "three expansions each instead of eight"


def test_equal_seconds_have_no_budget_of_expansions(rows, tmp_path: Path) -> None:
    evaluation = evaluate_seconds(
        *(theorems(3, "e"), ScriptedWorld(TABLE), ScriptedPolicy(CANDIDATES), CONFIG, tmp_path / "eval"),
        seconds=500.0,
        modes=("policy-mean", "calibrated"),
        scorer=HashScorer(knowing),
        mixing=MixingCalibration(0.0, 1.0, 1.0, 2.0),
    )
    assert [list(mode.solved.values()) for mode in evaluation.modes] == [[3], [3]]
    assert read_summaries(tmp_path / "eval" / "policy-mean.parquet")["expansions"].min() > CONFIG.max_expansions


@pytest.mark.parametrize("order", ["policy-mean", *OTHERS])
def test_the_combined_priority_follows_the_order_chosen(rows, order) -> None:
    mixing = MixingCalibration(0.2, 0.7, 0.4, 0.5, order, steps_at_zero=1.0, steps_per_energy=2.0, nats_per_step=0.3)
    energies = np.linspace(-1, 1, len(rows))
    combined = combined_priority(rows, energies, mixing)
    guidance = Guidance.resolve(SearchConfig(), has_scorer=True, calibration=mixing)
    for i in (5, 40, 90):
        row = rows.row(i, named=True)
        node = {"log_prob": row["llm_log_prob"], "depth": row["depth_from_root"], "key": row["state_key"]}
        found = guidance.priorities(**node, score=-energies[i])
        if order != "rank-mix":
            assert combined[i] == pytest.approx(found[0])
    if order == "rank-mix":
        mean = mean_log_prob(rows)
        ranks = [sum(mean > mean[i]) + sum(energies < energies[i]) for i in range(len(rows))]
        np.testing.assert_array_equal(combined, -np.array(ranks, dtype=float))


def test_evaluation_shows_the_gain_of_an_energy_that_knows(rows, tmp_path: Path) -> None:
    mixing = MixingCalibration(0.0, 1.0, 1.0, beta=2.0)
    evaluation = evaluate_modes(
        theorems(6, "e"),
        ScriptedWorld(TABLE),
        ScriptedPolicy(CANDIDATES),
        CONFIG,
        tmp_path / "eval",
        budgets=(2, 4, 8, 64),
        scorer=HashScorer(knowing),
        mixing=mixing,
    )
    figures = evaluation.to_dict()
    assert figures["theorems"] == 6
    assert figures["modes"]["policy-mean"]["solved"] == {"2": 0, "4": 0, "8": 0, "64": 6}
    assert figures["modes"]["calibrated"]["solved"] == {"2": 0, "4": 6, "8": 6, "64": 6}
    assert figures["paired"]["faster"] == 6
    assert figures["paired"]["p_value"] == pytest.approx(2 / 2**6)
    assert figures["paired"]["ratio"] < 0.2
    assert figures["rank1"]["0-1"]["policy"]["mean"] == 0.0
    assert figures["rank1"]["0-1"]["combined"]["mean"] == 1.0
    assert figures["auc"]["energy"] == 1.0


def test_rows_without_labels_cannot_rank(rows) -> None:
    unknown = rows.with_columns(label=rows["label"].replace({"positive": "unknown", "negative": "unknown"}))
    with pytest.raises(EvaluationError, match="no held-out theorem was proved"):
        rank_states(unknown, HashScorer(knowing), MixingCalibration(0, 1, 1, 1))


@pytest.mark.parametrize("budgets", [(8, 4), (), (0, 4), (4, 4)])
def test_budgets_that_make_no_curve_are_refused(budgets: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="increasing"):
        evaluate_modes(theorems(1), ScriptedWorld(TABLE), ScriptedPolicy(CANDIDATES), CONFIG, tmp_path, budgets=budgets)

"""Each check fails when it should, with its numbers; blocking ones stop the run, the others warn."""

import math
from dataclasses import replace
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest

from prover_assets.defs.assets import state_embeddings, trajectories
from prover_assets.defs.checks import comparison_checks, training_checks
from prover_assets.steps.labels import Noise, length_drift
from prover_assets.steps.train import Trained
from prover_assets.store.files import read_json, write_json
from prover_assets.store.layout import DataFolder


def by_name(checks) -> dict[str, dg.AssetCheckResult]:
    return {found.check_name: found for found in checks}


def numbers(found) -> dict[str, float]:
    return {name: value.value for name, value in found.metadata.items()}


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return by_name(result.get_asset_check_evaluations())


def trained(**metrics: float) -> Trained:
    healthy = {"loss": 0.4, "energy_gap": 1.2, "rank_accuracy": 0.8, "energy_std": 0.9}
    return Trained("ebm-1", {**healthy, **metrics}, pl.DataFrame(), (), 100, 90, 1.0, {})


def test_a_sound_model_passes_and_shows_its_numbers():
    checks = by_name(training_checks(trained()))
    assert all(found.passed for found in checks.values())
    assert numbers(checks["energy_gap"]) == {"energy_gap": 1.2, "rank_accuracy": 0.8, "energy_std": 0.9}
    assert numbers(checks["loss_finite"]) == {"loss": 0.4, "steps": 100}


def test_a_loss_that_is_no_number_and_an_inverted_gap_block():
    checks = by_name(training_checks(trained(loss=math.nan, energy_gap=-0.1)))
    for name in ("loss_finite", "energy_gap"):
        assert not checks[name].passed
        assert checks[name].severity is dg.AssetCheckSeverity.ERROR
    assert "-0.1" in checks["energy_gap"].description
    assert "loss" not in numbers(checks["loss_finite"])  # a page can show no NaN


def test_health_warnings_warn():
    found = by_name(training_checks(replace(trained(), warnings=("energies are all alike",))))["healthy"]
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert "all alike" in found.description
    assert numbers(found) == {"warnings": 1}


@pytest.mark.long
def test_noisy_labels_and_drifting_states_warn_and_the_run_goes_on(project, monkeypatch):
    monkeypatch.setattr(trajectories, "negative_noise", lambda nodes: Noise(decided=20, provable=19))
    monkeypatch.setattr(trajectories, "length_drift", lambda data, iteration: (100.0, 160.0))
    result = project.run("theorems", "trajectories", partition="iter_000")
    assert result.success
    checks = evaluations(result)
    assert not checks["label_noise"].passed
    assert numbers(checks["label_noise"]) == {"provable": 19, "decided": 20}
    assert not checks["states_as_before"].passed
    assert numbers(checks["states_as_before"]) == {"before": 100.0, "now": 160.0}
    assert numbers(checks["claims_hold"])["certified_share"] == 1.0


def test_the_drift_of_states_is_that_of_their_mean_length_from_one_iteration_to_the_next(tmp_path):
    data = DataFolder(tmp_path)

    def searched(key: str, *states: str) -> None:
        nodes = data.iteration(key).trajectories.nodes
        nodes.parent.mkdir(parents=True)
        rows = [*((text, False) for text in states), ("", True)]  # a finished proof has no state
        pl.DataFrame(rows, ["state_pp", "is_proof_complete"], orient="row").write_parquet(nodes)

    searched("iter_000", "⊢ p", "⊢ p ∧ q")
    assert length_drift(data, data.iteration("iter_000")) is None
    searched("iter_001", "⊢ p ∧ q ∧ r", "⊢ p ∧ q")
    assert length_drift(data, data.iteration("iter_001")) == (5.0, 9.0)
    searched("iter_003", "⊢ p")
    assert length_drift(data, data.iteration("iter_003")) is None, "the one before was not searched"


def test_zero_and_broken_vectors_stop_the_run(project, monkeypatch):
    embed = state_embeddings.embed_states
    monkeypatch.setattr(state_embeddings, "embed_states", lambda *a, **k: replace(embed(*a, **k), zero=2, non_finite=1))
    result = project.run(
        "theorems", "trajectories", "state_embeddings", "ebm_checkpoint", partition="iter_000", raises=False
    )
    found = evaluations(result)["vectors_sound"]
    assert numbers(found) == {"zero": 2, "non_finite": 1}
    assert found.blocking
    done = {event.step_key for event in result.all_events if event.event_type_value == "STEP_SUCCESS"}
    assert "ebm_checkpoint" not in done


def compared(*, only_policy: int, only_guided: int, p_value: float, gain: float, noise: float) -> SimpleNamespace:
    paired = SimpleNamespace(only_first=only_policy, only_second=only_guided, mcnemar_p=p_value)
    searches = [SimpleNamespace(area=0.3), SimpleNamespace(area=0.3 + gain)]
    return SimpleNamespace(
        main=SimpleNamespace(first=searches[0], second=searches[1], paired=paired),
        control=SimpleNamespace(first=searches[0], second=SimpleNamespace(area=0.3 + noise)),
    )


def test_a_model_that_loses_theorems_or_gains_no_more_than_chance_is_warned_of():
    good = by_name(comparison_checks(compared(only_policy=1, only_guided=9, p_value=0.02, gain=0.05, noise=0.01)))
    assert all(found.passed for found in good.values())
    bad = by_name(comparison_checks(compared(only_policy=9, only_guided=1, p_value=0.02, gain=0.01, noise=0.02)))
    assert not bad["not_below_policy"].passed
    assert numbers(bad["not_below_policy"]) == {"only_guided": 1, "only_policy": 9, "p_value": 0.02}
    assert not bad["above_random_energy"].passed
    by_chance = compared(only_policy=2, only_guided=1, p_value=1.0, gain=0.05, noise=0.01)
    assert by_name(comparison_checks(by_chance))["not_below_policy"].passed


@pytest.mark.long
def test_a_solve_rate_below_the_champions_interval_is_warned_of(finished_copy):
    path = DataFolder(finished_copy.data).iteration("iter_000").report_file
    raised = read_json(path)
    raised["comparison"]["modes"]["guided"]["interval"]["16"] = [1.01, 1.02]
    usual = evaluations(finished_copy.run("iteration_report", partition="iter_001"))["not_below_champion"]
    assert usual.passed
    write_json(path, raised)
    found = evaluations(finished_copy.run("iteration_report", partition="iter_001"))["not_below_champion"]
    assert not found.passed
    assert numbers(found)["champion_low"] == 1.01


def test_each_iteration_keeps_its_own_verdict(finished):
    keys = [key for key in finished.job.asset_layer.asset_graph.asset_check_keys if key.asset_key == TRAJECTORIES]
    assert len(keys) == 7
    for key in keys:
        found = finished.instance.event_log_storage.get_asset_check_partition_info([key])
        assert {info.partition_key for info in found} == {"iter_000", "iter_001"}
        assert len({info.latest_planned_run_id for info in found}) == 2


TRAJECTORIES = dg.AssetKey("trajectories")


@pytest.mark.parametrize(
    ("expansions", "passed", "said"),
    [(16, True, "is within range"), (1, False, "less than or equal to 0")],
)
def test_a_baseline_that_proves_nothing_leaves_nothing_to_compare_with(project, expansions, passed, said):
    project.config = {"baseline_trajectories": {"max_expansions": expansions}}
    result = project.run("theorems", "baseline_trajectories")
    found = evaluations(result)["solve_rate_bounds_check"]
    assert found.passed == passed
    assert said in found.description
    assert not found.blocking

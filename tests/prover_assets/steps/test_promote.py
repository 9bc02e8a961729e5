"""The rule that decides a promotion, and the record of a champion."""

from dataclasses import replace

import pytest

from prover.evaluation.gate import Measured
from prover_assets.steps.promote import PromotionSettings, crown, decide, gains_of_champion
from prover_assets.store.champion import POLICY_ALONE, ChampionRecord, Evidence, read_champion_of, write_champion
from prover_assets.store.files import DamagedFile, write_json
from prover_assets.store.layout import DataFolder


def evidence(area: float, policy_area: float = 0.5, *, beta: float = 1.0, conditions: str = "same") -> Evidence:
    return Evidence("ebm-new", beta, area, policy_area, conditions)


CHAMPION = ChampionRecord("ebm-old", "champions/ebm-old", "iter_000", "", evidence(0.6))


@pytest.mark.parametrize(
    ("new", "champion", "promoted", "words"),
    [
        (evidence(0.56), POLICY_ALONE, True, "gain of +0.060"),
        (evidence(0.505), POLICY_ALONE, False, "below the least that counts"),
        (evidence(0.5, beta=0.0), POLICY_ALONE, False, "beta = 0"),
        (evidence(0.56), CHAMPION, False, "champion of iter_000 stays"),
        (evidence(0.61), CHAMPION, True, "gain of +0.110"),
        (evidence(0.56, conditions="other theorems"), CHAMPION, True, "gain of +0.060"),
    ],
)
def test_promotion_follows_validation(new, champion, promoted, words):
    decision = decide(new, champion, PromotionSettings())
    assert decision.promoted is promoted
    assert words in decision.reason


def test_promotion_can_be_switched_off():
    assert not decide(evidence(0.9), POLICY_ALONE, PromotionSettings(promote=False)).promoted


def test_a_champion_record_survives_being_written_down(tmp_path):
    iteration = DataFolder(tmp_path).iteration("iter_004")
    write_champion(iteration, CHAMPION)
    assert read_champion_of(iteration) == CHAMPION
    assert read_champion_of(DataFolder(tmp_path).iteration("iter_005")) is None
    write_json(iteration.champion, {"ebm_id": "ebm-old"})
    with pytest.raises(DamagedFile, match=r"no record of a champion .*materialize iteration_report of iter_003 again"):
        read_champion_of(iteration)


def measured(gain: float, error: float = 0.02, on: str = "now") -> dict:
    return Measured(gain, error, 120, on).to_dict()


def paired(gain: float, over_champion: float | None = None, champion_gain: float | None = None, **changes) -> Evidence:
    """Evidence with paired measurements; `over_champion`: against the champion that the iteration searched with."""
    return replace(
        evidence(0.56),
        gain=measured(gain, **changes),
        over_champion=None if over_champion is None else measured(over_champion),
        champion_gain=None if champion_gain is None else measured(champion_gain),
    )


PROMOTED = ChampionRecord(
    "ebm-old", "champions/ebm-old", "iter_000", "", replace(evidence(0.6), gain=measured(0.03, on="then"))
)


@pytest.mark.parametrize(
    ("new", "champion", "promoted", "words"),
    [
        (paired(0.06), POLICY_ALONE, True, "chance that it is no better 0.3%"),
        (paired(0.02), POLICY_ALONE, False, "a gain above 0.01 has probability"),
        (paired(-0.06), POLICY_ALONE, False, "significantly worse"),
        (paired(0.06, over_champion=0.01, champion_gain=0.05), PROMOTED, True, "gain of +0.060"),
        (paired(0.06, over_champion=-0.01, champion_gain=0.07), PROMOTED, False, "the champion of iter_000 stays"),
        (paired(0.06, over_champion=-0.01, champion_gain=-0.08), PROMOTED, True, "champion of iter_000 is given up"),
        (replace(paired(0.0), order="policy-mean"), POLICY_ALONE, False, "beta = 0"),
    ],
)
def test_a_model_is_promoted_when_it_is_probably_better(new, champion, promoted, words):
    decision = decide(new, champion, PromotionSettings())
    assert decision.promoted is promoted
    assert words in decision.reason
    assert decision.gate is not None
    assert decision.chance_wrong == decision.gate["chance_wrong"]


def test_models_of_earlier_rounds_count_as_evidence():
    past = [Measured(0.06, 0.02, 120, f"round {i}") for i in range(4)]
    weak = paired(0.03, error=0.03)
    assert not decide(weak, POLICY_ALONE, PromotionSettings()).promoted
    assert decide(weak, POLICY_ALONE, PromotionSettings(), past).promoted


def test_a_champion_that_later_rounds_find_wrong_leaves_the_policy_alone(tmp_path):
    data = DataFolder(tmp_path)
    (tmp_path / "champion.json").write_text("{}", encoding="utf-8")
    new = paired(0.0, over_champion=0.05, champion_gain=-0.08)
    decision = decide(new, PROMOTED, PromotionSettings())
    assert (decision.promoted, decision.champion_given_up) == (False, True)
    record = crown(data, data.iteration(3), decision, new, PROMOTED)
    assert (record.ebm_id, record.checkpoint) == (None, None)
    assert read_champion_of(data.iteration(4)) == record
    assert not (tmp_path / "champion.json").exists()


def test_a_champion_that_is_carried_on_keeps_what_was_measured_since(tmp_path):
    data = DataFolder(tmp_path)
    new = paired(0.01, over_champion=-0.03, champion_gain=0.04)
    record = crown(data, data.iteration(3), decide(new, PROMOTED, PromotionSettings()), new, PROMOTED)
    assert record.ebm_id == "ebm-old"
    assert gains_of_champion(new, record)[1].gain == 0.04
    assert read_champion_of(data.iteration(4)) == record

"""The rule that decides a promotion, and the record of a champion."""

import pytest

from prover_assets.steps.promote import PromotionSettings, decide
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

"""What the energy model of an iteration begins with: new weights, or the champion's."""

import pytest

from ebm.checkpoint import read_config
from prover_assets.store.champion import read_champion_of
from prover_assets.store.layout import DataFolder

ASSETS = ("trajectories", "state_embeddings", "ebm_checkpoint")


@pytest.mark.long
def test_a_warm_start_begins_with_the_champion(made):
    made.config["ebm_checkpoint"] = {"start": "champion"}
    assert made.run(*ASSETS, partition="iter_001").success
    iteration = DataFolder(made.data).iteration("iter_001")
    champion = read_champion_of(iteration)
    assert champion is not None
    assert champion.ebm_id is not None
    stored = read_config(iteration.checkpoint)
    assert (stored["start"]["kind"], stored["start"]["ebm_id"]) == ("warm", champion.ebm_id)
    assert len(stored["data"]["trajectories"]) == 2, "any data: that of both iterations"
    assert made.metadata("ebm_checkpoint", "iter_001")["start"] == f"the champion {champion.ebm_id}"


@pytest.mark.slow
def test_weights_are_new_without_a_champion_and_by_default(made):
    made.config["ebm_checkpoint"] = {"start": "champion"}
    assert made.run("ebm_checkpoint", partition="iter_000").success
    first = DataFolder(made.data).iteration("iter_000")
    assert read_config(first.checkpoint)["start"] == {"kind": "fresh"}
    assert "the first iteration searches with the policy alone" in made.metadata("ebm_checkpoint", "iter_000")["start"]
    made.config["ebm_checkpoint"] = {}
    assert made.run(*ASSETS, partition="iter_001").success
    assert read_config(DataFolder(made.data).iteration("iter_001").checkpoint)["start"] == {"kind": "fresh"}
    assert made.metadata("ebm_checkpoint", "iter_001")["start"] == "fresh"


def test_the_order_that_validation_chose_is_stored_by_name(made):
    iteration = DataFolder(made.data).iteration("iter_000")
    calibration = read_config(iteration.checkpoint)["calibration"]
    evidence = calibration["evidence"]
    tried = {trial["order"] for trial in evidence["orders"]} | {"mix", "policy-mean"}
    assert calibration["order"] == evidence["order"] == made.metadata("ebm_checkpoint", "iter_000")["order"]
    assert calibration["order"] in tried >= {"rank-mix", "energy-only"}

"""Checkpoints: whole or refused, without code, with a calibration that can be added later."""

import json

import pytest
import torch

from ebm.checkpoint import (
    CheckpointError,
    EncoderDescription,
    checkpoint_id,
    load_head,
    read_calibration,
    read_config,
    write_calibration,
    write_checkpoint,
)
from ebm.model import EnergyHead, EnergyHeadConfig
from prover.search import MixingCalibration


@pytest.fixture
def head() -> EnergyHead:
    torch.manual_seed(0)
    head = EnergyHead(EnergyHeadConfig(16, 8, 4)).eval()
    head.set_feature_statistics(torch.randn(16), torch.rand(16) + 0.5)
    return head


@pytest.fixture
def folder(tmp_path, head):
    config = {"head": head.config.to_dict(), "calibration": None, "training": {"step": 7}}
    write_checkpoint(tmp_path / "ebm", head.state_dict(), config, {})
    return tmp_path / "ebm"


def test_checkpoint_save_load(folder, head):
    x = torch.randn(5, 16)
    loaded = load_head(folder)
    assert not loaded.training
    assert torch.equal(loaded(x), head(x))
    assert loaded.config == head.config


def test_nothing_in_it_is_a_pickle(folder):
    for path in folder.iterdir():
        assert path.suffix in (".safetensors", ".json", ".parquet")
        assert not path.read_bytes().startswith(b"\x80")


def test_calibration_is_added_later(folder, head):
    before = checkpoint_id(folder)
    assert read_calibration(folder) is None
    calibration = MixingCalibration(mu_energy=0.5, sigma_energy=1.5, sigma_log_prob=0.7, beta=0.5)
    write_calibration(folder, calibration, {"areas": {"0": 0.4, "0.5": 0.45}})
    assert read_calibration(folder) == calibration
    assert read_config(folder)["calibration"]["evidence"] == {"areas": {"0": 0.4, "0.5": 0.45}}
    assert checkpoint_id(folder) == before
    x = torch.randn(5, 16)
    assert torch.equal(load_head(folder)(x), head(x))
    write_calibration(folder, MixingCalibration(0.0, 1.0, 1.0, 0.0))
    assert read_calibration(folder).beta == 0.0


def test_ids_follow_the_weights(tmp_path, folder, head):
    with torch.no_grad():
        head.log_temperature += 1
    config = {"head": head.config.to_dict(), "training": {"step": 7}}
    write_checkpoint(tmp_path / "other", head.state_dict(), config, {})
    assert checkpoint_id(folder).startswith("ebm-")
    assert checkpoint_id(folder) != checkpoint_id(tmp_path / "other")


def test_missing_and_foreign_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="not an energy-model checkpoint"):
        load_head(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match="format energy-checkpoint/1"):
        load_head(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        load_head(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("head", None, "`head` should be an object with `d_encoder`"),
        ("head", {"d_encoder": "16"}, "`head` should be an object with `d_encoder`"),
        ("head", {"d_encoder": 16, "d_hidden3": 4}, r"unknown head configuration \['d_hidden3'\]"),
        ("head", {"d_encoder": 16, "d_hidden1": "8"}, "`head` does not describe an energy head"),
        ("training", [], "`training` should be an object with `step`"),
        ("files", {}, r"`files\.model\.safetensors` should be an object with `sha256`"),
        ("files", {"model.safetensors": {"sha256": 3}}, "should be an object with `sha256`"),
    ],
)
def test_an_edited_description_is_refused_by_its_field(folder, name, value, words):
    _edit(folder, name, value)
    with pytest.raises(CheckpointError, match=words):
        load_head(folder)


def test_the_order_chosen_is_stored_by_name(folder):
    calibration = MixingCalibration(0.5, 1.5, 0.7, 0.5, "remaining-nats", -1.0, 2.5, 0.4, measures_distance=True)
    write_calibration(folder, calibration)
    assert read_config(folder)["calibration"]["order"] == "remaining-nats"
    assert read_calibration(folder) == calibration


def test_a_calibration_of_before_there_were_orders_is_a_mix(folder):
    _edit(
        folder, "calibration", {"mu_energy": 0.1, "sigma_energy": 2, "sigma_log_prob": 0.5, "beta": 1, "evidence": {}}
    )
    assert read_calibration(folder) == MixingCalibration(0.1, 2.0, 0.5, 1.0, "mix")


@pytest.mark.parametrize("change", [{"order": "best"}, {"order": 3}, {"nats_per_step": "1"}, {"steps_at_zero": None}])
def test_a_calibration_with_a_foreign_order_is_refused(folder, change):
    _edit(folder, "calibration", {"mu_energy": 0, "sigma_energy": 1, "sigma_log_prob": 1, "beta": 1} | change)
    with pytest.raises(CheckpointError, match="an `order`"):
        read_calibration(folder)


@pytest.mark.parametrize("value", [{"x": 1}, [], {"mu_energy": 0, "sigma_energy": 1, "sigma_log_prob": 1, "beta": "1"}])
def test_a_calibration_without_its_numbers_is_refused(folder, value):
    _edit(folder, "calibration", value)
    with pytest.raises(CheckpointError, match="numbers mu_energy, sigma_energy, sigma_log_prob, beta"):
        read_calibration(folder)


def _edit(folder, name: str, value) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {name: value}))


def test_torn_checkpoints_are_refused(folder, head):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8])
    with pytest.raises(CheckpointError, match="cut off"):
        load_head(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load_head(folder)


def test_weights_of_another_shape_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["head"]["d_hidden1"] = 9
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="does not fit its head configuration"):
        load_head(folder)


def test_encoder_description(policy):
    description = EncoderDescription.of(policy)
    assert description.fingerprint == policy.encoder_fingerprint
    assert (description.width, description.pooling, description.policy_id) == (64, "mean/1", "fake:ffffffff")

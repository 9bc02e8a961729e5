"""The promoted checkpoint of a data folder."""

import json

import pytest
import torch

from ebm.champion import ChampionError, promote, read_champion, resolve_checkpoint
from ebm.checkpoint import checkpoint_id, write_checkpoint
from ebm.model import EnergyHead, EnergyHeadConfig


def write_head(folder, seed=0):
    torch.manual_seed(seed)
    head = EnergyHead(EnergyHeadConfig(4, 4, 4))
    write_checkpoint(folder, head.state_dict(), {"head": head.config.to_dict(), "training": {"step": 1}}, {})
    return folder


def test_nothing_promoted(tmp_path):
    assert read_champion(tmp_path) is None
    with pytest.raises(ChampionError, match="no champion has been promoted"):
        resolve_checkpoint("champion", tmp_path)


def test_promote_and_resolve(tmp_path):
    data = tmp_path / "data"
    inside = write_head(data / "iterations" / "iter_000" / "ebm")
    champion = promote(data, inside, iteration=0, evidence={"area": 0.5})
    assert champion.checkpoint == "iterations/iter_000/ebm"
    assert champion.ebm_id == checkpoint_id(inside)
    assert read_champion(data) == champion
    assert resolve_checkpoint("champion", data) == inside

    outside = write_head(tmp_path / "elsewhere", seed=1)
    promote(data, outside)
    assert resolve_checkpoint("champion", data) == outside


def test_a_moved_data_folder_keeps_its_champion(tmp_path):
    write_head(tmp_path / "old" / "ebm")
    promote(tmp_path / "old", tmp_path / "old" / "ebm")
    (tmp_path / "old").rename(tmp_path / "new")
    assert resolve_checkpoint("champion", tmp_path / "new") == tmp_path / "new" / "ebm"


def test_only_whole_checkpoints_are_promoted(tmp_path):
    with pytest.raises(FileNotFoundError):
        promote(tmp_path, tmp_path / "nothing")
    assert read_champion(tmp_path) is None


def test_paths(tmp_path):
    folder = write_head(tmp_path / "ebm")
    assert resolve_checkpoint(folder, tmp_path) == folder
    with pytest.raises(FileNotFoundError, match="no energy-model checkpoint at"):
        resolve_checkpoint(tmp_path / "nothing", tmp_path)


def test_broken_records_are_refused(tmp_path):
    folder = write_head(tmp_path / "ebm")
    promote(tmp_path, folder)
    folder.rename(tmp_path / "gone")
    with pytest.raises(ChampionError, match="which is gone"):
        resolve_checkpoint("champion", tmp_path)
    for text in ("{", "[]", json.dumps({"path": "x"}), json.dumps({"checkpoint": 5, "ebm_id": "ebm-1"})):
        (tmp_path / "champion.json").write_text(text)
        with pytest.raises(ChampionError, match="not a champion file"):
            read_champion(tmp_path)

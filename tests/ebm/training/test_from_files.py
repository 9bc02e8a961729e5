"""Trajectory files in, checkpoint out."""

import dataclasses
import json
import math

import numpy as np
import polars as pl
import pytest
import torch

from ebm.checkpoint import CheckpointError, checkpoint_id, load_head, read_config
from ebm.embeddings import EmbeddingCache
from ebm.inference import EncoderMismatchError
from ebm.model import EnergyHeadConfig
from ebm.training import EBMTrainingConfig, ResumeError, TrainingDataError, WidthMismatchError, train_from_files


def settings(**changes) -> EBMTrainingConfig:
    return EBMTrainingConfig(**{"total_steps": 60, "lr": 1e-3, "batch_size": 8, "log_interval": 20} | changes)


@pytest.fixture
def files(tmp_path, new_records, write):
    write(tmp_path / "a.parquet", new_records(8))
    write(tmp_path / "b.parquet", new_records(12)[60:])
    return [tmp_path / "a.parquet", tmp_path / "b.parquet"]


def test_train_from_files(tmp_path, files, policy):
    summaries, encoded, seen = [], [], []
    result = train_from_files(
        files,
        policy,
        tmp_path / "ebm",
        settings(),
        valid_fraction=0.25,
        on_summary=summaries.append,
        on_encode=lambda *done: encoded.append(done),
        on_metrics=lambda step, metrics: seen.append((step, metrics.split)),
    )
    assert result.status == "finished"
    assert result.checkpoint == tmp_path / "ebm"
    assert result.summary.rows == 8 * 15 + 8 * 15
    assert (result.summary.positives, result.summary.negatives) == (60, 120)
    assert (result.summary.theorems, result.summary.eligible_theorems, result.summary.valid_theorems) == (12, 12, 3)
    assert summaries == [result.summary]
    assert encoded[-1] == (180, 180)
    assert (result.encoded.requested, result.encoded.encoded) == (180, 180)
    assert len(policy.encoded) == 180, "each state is encoded once, although most are in both files"
    assert (60, "train") in seen
    assert (60, "valid") in seen
    assert result.valid_metrics.split == "valid"
    assert result.metrics.energy_gap > 0
    config = read_config(tmp_path / "ebm")
    assert config["encoder"] == {
        "fingerprint": "f" * 64,
        "source": None,
        "width": 64,
        "pooling": "mean/1",
        "policy_id": "fake:ffffffff",
    }
    assert [entry["name"] for entry in config["data"]["trajectories"]] == ["a.parquet", "b.parquet"]
    assert config["data"]["valid_theorems"] == result.valid_theorems
    assert config["calibration"]["sigma_energy"] > 0, "scales to search with until validation theorems choose"
    assert load_head(tmp_path / "ebm").has_feature_statistics


def test_nothing_is_encoded_twice(tmp_path, files, policy):
    with EmbeddingCache(tmp_path / "cache", policy.encoder_fingerprint, 64) as cache:
        train_from_files(files, policy, tmp_path / "one", settings(), cache=cache)
        policy.encoded.clear()
        result = train_from_files(files, policy, tmp_path / "two", settings(), cache=cache)
    assert policy.encoded == []
    assert result.encoded.cached == 180
    first, second = load_head(tmp_path / "one"), load_head(tmp_path / "two")
    assert torch.equal(first.sn_linear1.weight, second.sn_linear1.weight)


def test_named_theorems_are_held_out(tmp_path, files, policy):
    result = train_from_files(
        files, policy, tmp_path / "ebm", settings(), valid_theorems=["thm_1", "thm_2", "unheard_of"]
    )
    assert result.valid_theorems == ["thm_1", "thm_2"]


@pytest.mark.parametrize("fraction", [0.0, 0.05])
def test_too_few_theorems_to_hold_out(tmp_path, files, policy, fraction, caplog):
    result = train_from_files(files, policy, tmp_path / "ebm", settings(), valid_fraction=fraction)
    assert result.valid_theorems == []
    assert result.valid_metrics is None
    assert ("too few or too many" in caplog.text) == (fraction > 0)


@pytest.mark.long
def test_resume_goes_on_with_the_held_out_theorems(tmp_path, files, policy):
    whole = train_from_files(files, policy, tmp_path / "whole", settings(), valid_fraction=0.25)
    steps = iter(range(1, 1000))
    cut = train_from_files(
        files, policy, tmp_path / "cut", settings(), valid_fraction=0.25, should_stop=lambda: next(steps) == 30
    )
    assert cut.status == "interrupted"
    resumed = train_from_files(files, policy, tmp_path / "cut", resume_from=tmp_path / "cut", valid_fraction=0.0)
    assert resumed.valid_theorems == whole.valid_theorems
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def interrupted(files, policy, output, at=30, **changes):
    steps = iter(range(1, 1000))
    return train_from_files(files, policy, output, settings(**changes), should_stop=lambda: next(steps) == at)


def test_a_finished_run_is_not_resumed(tmp_path, files, policy):
    """It used to train nothing, end well, and write that the head was made from the new file."""
    train_from_files(files[:1], policy, tmp_path / "ebm", settings())
    before = {path.name: path.read_bytes() for path in (tmp_path / "ebm").iterdir()}
    with pytest.raises(ResumeError, match=r"finished after 60 steps: .*new: b\.parquet.*--init-from"):
        train_from_files(files, policy, tmp_path / "ebm", resume_from=tmp_path / "ebm")
    assert {path.name: path.read_bytes() for path in (tmp_path / "ebm").iterdir()} == before


def test_resuming_on_other_data_is_refused(tmp_path, files, policy, new_records, write):
    interrupted(files, policy, tmp_path / "ebm")
    cases = [
        (files[:1], "not among them: b.parquet"),
        ([*files, tmp_path / "c.parquet"], "new: c.parquet"),
        (files[::-1], "the same, in another order"),
    ]
    write(tmp_path / "c.parquet", new_records(3))
    for given, words in cases:
        with pytest.raises(ResumeError, match="other trajectories") as caught:
            train_from_files(given, policy, tmp_path / "ebm", resume_from=tmp_path / "ebm")
        assert words in str(caught.value)
        assert f"--init-from {tmp_path / 'ebm'}" in str(caught.value)
    write(files[1], new_records(12)[75:])
    with pytest.raises(ResumeError, match=r"changed since: b\.parquet"):
        train_from_files(files, policy, tmp_path / "ebm", resume_from=tmp_path / "ebm")


def test_a_moved_trajectory_file_is_the_same_data(tmp_path, files, policy):
    interrupted(files, policy, tmp_path / "ebm")
    moved = files[0].rename(tmp_path / "moved.parquet")
    result = train_from_files([moved, files[1]], policy, tmp_path / "ebm", resume_from=tmp_path / "ebm")
    assert (result.status, result.step) == ("finished", 60)


def test_resuming_with_other_settings_is_refused(tmp_path, files, policy):
    interrupted(files, policy, tmp_path / "ebm")
    with pytest.raises(ResumeError, match=r"other settings: lr is 0\.001 there and 0\.01 here, total_steps is 60"):
        train_from_files(
            files, policy, tmp_path / "ebm", settings(lr=0.01, total_steps=90), resume_from=tmp_path / "ebm"
        )
    free = settings(checkpoint_interval=7, memory_limit_gib=0.5, keep_checkpoints=1)
    assert train_from_files(files, policy, tmp_path / "ebm", free, resume_from=tmp_path / "ebm").status == "finished"


def test_a_run_of_an_earlier_version_is_not_resumed(tmp_path, files, policy):
    """Its examples were drawn in another order: the result would be neither the old run's nor the new one's."""
    cut = interrupted(files, policy, tmp_path / "ebm")
    config = read_config(cut.checkpoint)
    del config["training"]["sampler"]
    (cut.checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"earlier version.*--init-from"):
        train_from_files(files, policy, tmp_path / "ebm", resume_from=tmp_path / "ebm")
    assert load_head(cut.checkpoint) is not None, "its weights can be used"


def test_warm_start(tmp_path, files, policy):
    """Weights and feature statistics of the head, on other files; optimizer, schedule and steps are new."""
    first = train_from_files(files[:1], policy, tmp_path / "one", settings())
    weights = {name: tensor.clone() for name, tensor in first.head.state_dict().items()}
    seen = []
    result = train_from_files(
        files,
        policy,
        tmp_path / "two",
        settings(total_steps=1, lr=1e-9, log_interval=1),
        init_from=tmp_path / "one",
        on_metrics=lambda step, metrics: seen.append((step, metrics)),
    )
    assert (result.status, result.step) == ("finished", 1)
    assert seen[0][1].contrastive_loss < 0.8 * math.log(5), "it begins with what the head had learnt"
    stored = read_config(tmp_path / "two")
    assert stored["start"] == {
        "kind": "warm",
        "ebm_id": checkpoint_id(tmp_path / "one"),
        "folder": f"{tmp_path / 'one'}",
    }
    assert [entry["name"] for entry in stored["data"]["trajectories"]] == ["a.parquet", "b.parquet"]
    for name, tensor in result.head.named_parameters():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-4, atol=1e-6, msg=name)
    assert torch.equal(result.head.feature_mean, weights["feature_mean"]), "not those of the new files"
    assert checkpoint_id(tmp_path / "two") != checkpoint_id(tmp_path / "one")
    assert read_config(tmp_path / "one")["start"] == {"kind": "fresh"}


def test_warm_start_trains_and_is_repeatable(tmp_path, files, policy):
    train_from_files(files[:1], policy, tmp_path / "one", settings())
    heads = [
        train_from_files(files, policy, tmp_path / name, settings(), init_from=tmp_path / "one").head
        for name in ("two", "three")
    ]
    assert torch.equal(heads[0].sn_linear1.weight, heads[1].sn_linear1.weight)
    assert not torch.equal(heads[0].sn_linear1.weight, load_head(tmp_path / "one").sn_linear1.weight)


@pytest.mark.long
def test_warm_start_holds_out_what_its_head_was_not_trained_on(tmp_path, files, policy):
    first = train_from_files(files, policy, tmp_path / "one", settings(), valid_fraction=0.25)
    second = train_from_files(
        files, policy, tmp_path / "two", settings(seed=5), valid_fraction=0.4, init_from=tmp_path / "one"
    )
    assert len(second.valid_theorems) == 5
    assert set(first.valid_theorems) < set(second.valid_theorems)


def test_warm_start_from_another_encoder_or_shape_is_refused(tmp_path, files, policy, new_policy):
    train_from_files(files, policy, tmp_path / "one", settings(), head_config=EnergyHeadConfig(64, 32, 16))
    policy.encoded.clear()
    arguments = (files, policy, tmp_path / "two", settings())
    with pytest.raises(WidthMismatchError, match="64 -> 32 -> 16, and 64 -> 8 -> 8 were asked for"):
        train_from_files(*arguments, head_config=EnergyHeadConfig(64, 8, 8), init_from=tmp_path / "one")
    other = new_policy(fingerprint="e" * 64)
    with pytest.raises(EncoderMismatchError, match="train a head on this one"):
        train_from_files(files, other, tmp_path / "two", settings(), init_from=tmp_path / "one")
    with pytest.raises(ValueError, match="not both"):
        train_from_files(*arguments, init_from=tmp_path / "one", resume_from=tmp_path / "one")
    with pytest.raises(FileNotFoundError):
        train_from_files(*arguments, init_from=tmp_path / "nowhere")
    assert policy.encoded == other.encoded == []
    dropped = train_from_files(
        *arguments, head_config=EnergyHeadConfig(64, 32, 16, dropout=0.0), init_from=tmp_path / "one"
    )
    assert dropped.head.config.dropout == 0.0


def test_width_mismatches_are_said_before_anything_is_encoded(tmp_path, files, policy, new_policy):
    with pytest.raises(WidthMismatchError, match="head_config takes vectors of width 32, the encoder's have width 64"):
        train_from_files(files, policy, tmp_path / "ebm", settings(), head_config=EnergyHeadConfig(32))
    train_from_files(files, policy, tmp_path / "ebm", settings())
    other = new_policy(hidden_size=32)
    with pytest.raises(WidthMismatchError, match=r"the head of .* width 64, the encoder's have width 32"):
        train_from_files(files, other, tmp_path / "ebm", resume_from=tmp_path / "ebm")
    assert other.encoded == []


def test_no_positives(tmp_path, policy, new_records, write):
    rows = [dataclasses.replace(record, label="negative", remaining_depth=-1) for record in new_records()]
    write(tmp_path / "a.parquet", rows)
    with pytest.raises(TrainingDataError, match=f"0 of {len(rows)} states are positive"):
        train_from_files(tmp_path / "a.parquet", policy, tmp_path / "ebm", settings())
    assert policy.encoded == []
    assert not (tmp_path / "ebm").exists()


def test_finished_proofs_are_not_encoded(tmp_path, policy, new_records, write):
    write(tmp_path / "a.parquet", new_records())
    frame = pl.read_parquet(tmp_path / "a.parquet")
    done = frame.filter(pl.col("state_id") == 4).with_columns(
        state_pp=pl.lit(""),
        is_proof_complete=pl.lit(True),
        remaining_depth=pl.lit(0, dtype=pl.Int32),
        parent_state_id=pl.lit(4, dtype=pl.UInt64),
        state_id=pl.lit(500, dtype=pl.UInt64),
    )
    pl.concat([frame, done]).write_parquet(tmp_path / "a.parquet")
    train_from_files(tmp_path / "a.parquet", policy, tmp_path / "ebm", settings())
    assert "" not in policy.encoded


def test_features_larger_than_the_limit_stay_in_the_cache(tmp_path, files, policy):
    with EmbeddingCache(tmp_path / "cache", policy.encoder_fingerprint, 64) as cache:
        in_memory = train_from_files(files, policy, tmp_path / "one", settings(), cache=cache)
        mapped = train_from_files(files, policy, tmp_path / "two", settings(memory_limit_gib=0.0), cache=cache)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32))
    assert torch.equal(in_memory.head(x), mapped.head(x))

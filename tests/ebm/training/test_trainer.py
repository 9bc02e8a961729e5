"""The training loop: schedule, resuming bit for bit, stopping, divergence."""

import logging
import math
import os
import signal
import threading
from itertools import pairwise

import numpy as np
import pytest
import torch

from ebm.checkpoint import latest_step_folder, load_head, read_config, step_folder, step_folders
from ebm.embeddings import EmbeddingCache
from ebm.model import EnergyHead, EnergyHeadConfig
from ebm.training import (
    ContrastiveIndex,
    ContrastiveSampler,
    EBMTrainingConfig,
    MetricsHistory,
    TrainingDivergedError,
    WidthMismatchError,
    learning_rate_at,
    resume_from_checkpoint,
    train,
)


def settings(**changes) -> EBMTrainingConfig:
    return EBMTrainingConfig(
        **{"total_steps": 100, "lr": 1e-3, "batch_size": 4, "log_interval": 10, "checkpoint_interval": 40} | changes
    )


def new_head(**changes) -> EnergyHead:
    torch.manual_seed(0)
    return EnergyHead(EnergyHeadConfig(64, 32, 16, **changes))


@pytest.fixture
def split(records):
    """Samplers over two and two theorems of the same rows."""
    index = ContrastiveIndex.build(records)
    return (
        ContrastiveSampler(index.restricted_to(["thm_0", "thm_1"]), 2),
        ContrastiveSampler(index.restricted_to(["thm_2", "thm_3"]), 2),
    )


def assert_same_head(first: EnergyHead, second: EnergyHead) -> None:
    for (name, a), (_, b) in zip(first.state_dict().items(), second.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def test_defaults_are_those_of_the_specification():
    config = EBMTrainingConfig()
    assert (config.lr, config.weight_decay, config.max_grad_norm) == (1e-4, 0.01, 1.0)
    assert (config.total_steps, config.warmup_steps, config.batch_size) == (50_000, 1_000, 32)
    assert (config.k_negatives, config.hard_ratio, config.medium_ratio, config.easy_ratio) == (4, 0.5, 0.3, 0.2)
    assert (config.depth_loss_weight, config.log_interval, config.checkpoint_interval) == (0.3, 50, 5_000)


def test_lr_schedule():
    config = EBMTrainingConfig()
    assert learning_rate_at(0, config) == pytest.approx(1e-7)
    assert learning_rate_at(499, config) == pytest.approx(5e-5)
    assert learning_rate_at(999, config) == pytest.approx(1e-4)
    assert learning_rate_at(1000, config) == pytest.approx(1e-4)
    assert learning_rate_at(25_500, config) == pytest.approx(5e-5)
    assert 0 < learning_rate_at(49_999, config) < 1e-12
    assert learning_rate_at(50_000, config) == pytest.approx(0.0, abs=1e-20)
    rates = [learning_rate_at(step, config) for step in range(0, 50_000, 10)]
    assert all(a < b for a, b in pairwise(rates[:100]))
    assert all(a > b for a, b in pairwise(rates[100:]))


def test_lr_schedule_of_a_run_shorter_than_the_warm_up():
    config = EBMTrainingConfig(total_steps=200)
    assert learning_rate_at(0, config) == pytest.approx(1e-4 / 20)
    assert learning_rate_at(19, config) == pytest.approx(1e-4)
    assert learning_rate_at(199, config) < 1e-7
    assert learning_rate_at(0, EBMTrainingConfig(total_steps=1)) == pytest.approx(1e-4)
    with pytest.raises(ValueError, match="-1"):
        learning_rate_at(-1, config)


@pytest.mark.parametrize("change", [{"lr": 0.0}, {"total_steps": 0}, {"warmup_steps": -1}, {"depth_loss_weight": -0.1}])
def test_bad_settings_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        EBMTrainingConfig(**change)


def test_unknown_settings_are_named_with_the_nearest():
    with pytest.raises(ValueError, match="'batchsize'; did you mean 'batch_size'"):
        EBMTrainingConfig.from_dict({"batchsize": 3})
    assert EBMTrainingConfig.from_dict(settings().to_dict()) == settings()


def test_the_same_arguments_give_the_same_head(sampler, records, embed):
    first = train(settings(), new_head(), embed(records), sampler, "cpu")
    torch.manual_seed(123)
    torch.rand(5)
    second = train(settings(), new_head(), embed(records), sampler, "cpu")
    assert_same_head(first.head, second.head)
    assert first.history.history == second.history.history
    other = train(settings(seed=1), new_head(), embed(records), sampler, "cpu")
    assert not torch.equal(first.head.sn_linear1.weight, other.head.sn_linear1.weight)


def test_the_callers_random_numbers_are_left_alone(sampler, records, embed):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    head = new_head()
    torch.manual_seed(5)
    train(settings(total_steps=5), head, embed(records), sampler)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("where", ["memory", "mapping by key", "mapping by text", "cache", "mapped cache"])
def test_vectors_may_come_from_anywhere(tmp_path, sampler, records, embed, where):
    table = embed(records)
    expected = train(settings(), new_head(), table, sampler)
    if where == "memory":
        source = torch.from_numpy(table)
    elif where == "mapping by key":
        source = {record.key: vector for record, vector in zip(records, table, strict=True)}
    elif where == "mapping by text":
        source = {record.state_pp: vector.tolist() for record, vector in zip(records, table, strict=True)}
    else:
        source = EmbeddingCache(tmp_path, "f" * 64, 64)
        source.add([record.key for record in records], table)
        source.flush()
    limit = 0.0 if where == "mapped cache" else 1.0
    got = train(settings(memory_limit_gib=limit), new_head(), source, sampler)
    assert_same_head(got.head, expected.head)


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_held_out_theorems_are_read_from_the_cache_too(tmp_path, split, records, embed, limit):
    sampler, valid = split
    config = settings(memory_limit_gib=limit)
    expected = train(config, new_head(), embed(records), sampler, valid_sampler=valid)
    with EmbeddingCache(tmp_path, "f" * 64, 64) as cache:
        cache.add([record.key for record in records], embed(records))
        got = train(config, new_head(), cache, sampler, valid_sampler=valid)
    assert got.history.history == expected.history.history


def test_missing_vectors_and_wrong_tables_are_refused(sampler, records, embed):
    with pytest.raises(ValueError, match=r"60 states of the index, got \(59, 64\)"):
        train(settings(), new_head(), embed(records)[:-1], sampler)
    with pytest.raises(KeyError, match="no embedding"):
        train(settings(), new_head(), {}, sampler)


def test_width_mismatch_is_said_before_training(sampler, records, embed):
    with pytest.raises(WidthMismatchError, match="width 64, the embeddings have width 32"):
        train(settings(), new_head(), embed(records, 32), sampler)


def test_inputs_are_standardised(sampler, records, embed):
    table = embed(records) * 1000 + 500
    head = train(settings(), new_head(), table, sampler).head
    np.testing.assert_allclose(head.feature_mean.numpy(), table.mean(0), rtol=1e-3)
    np.testing.assert_allclose(head.feature_std.numpy(), table.std(0), rtol=1e-3)
    plain = train(settings(standardise_inputs=False), new_head(), table, sampler).head
    assert not plain.has_feature_statistics


def test_bfloat16_products_train_alike(sampler, records, embed):
    table = embed(records)
    exact = train(settings(total_steps=200), new_head(), table, sampler).metrics
    near = train(settings(total_steps=200, matmul_dtype="bfloat16"), new_head(), table, sampler).metrics
    assert near.loss != exact.loss
    assert near.loss == pytest.approx(exact.loss, rel=0.1)
    with pytest.raises(ValueError, match="matmul_dtype"):
        settings(matmul_dtype="float8")


def test_constant_features_do_not_blow_up(sampler, records, embed):
    table = embed(records)
    table[:, 7] = 3.0
    head = train(settings(), new_head(), table, sampler).head
    assert head.feature_std[7] == 1.0


def test_metrics_are_over_all_steps_since_the_last(sampler, records, embed):
    seen = []
    result = train(
        settings(total_steps=25), new_head(), embed(records), sampler, on_metrics=lambda *entry: seen.append(entry)
    )
    assert [step for step, _ in seen] == [10, 20, 25]
    assert [metrics.n_examples for _, metrics in seen] == [40, 40, 20]
    assert seen == result.history.history
    assert seen[0][1].learning_rate == learning_rate_at(9, settings(total_steps=25))
    for _, metrics in seen:
        assert metrics.loss == pytest.approx(metrics.contrastive_loss + 0.3 * metrics.depth_loss)
        assert metrics.grad_norm > 0
        assert metrics.temperature > 0


@pytest.mark.parametrize("stop_at", [40, 80, 33])
def test_resume_is_bit_for_bit(tmp_path, split, records, embed, stop_at):
    """Weights, moments, metrics and the best evaluation are those of a run that was not cut, wherever it was cut."""
    sampler, valid = split
    config, table = settings(eval_interval=20), embed(records)
    whole = train(config, new_head(), table, sampler, valid_sampler=valid, output=tmp_path / "whole")

    steps = iter(range(1, 1000))
    cut = train(
        config,
        new_head(),
        table,
        sampler,
        valid_sampler=valid,
        output=tmp_path / "cut",
        should_stop=lambda: next(steps) == stop_at,
    )
    assert (cut.status, cut.step) == ("interrupted", stop_at)
    state = resume_from_checkpoint(tmp_path / "cut")
    assert state.step == stop_at
    resumed = train(config, new_head(), table, sampler, valid_sampler=valid, output=tmp_path / "cut", resume=state)

    assert resumed.status == "finished"
    assert_same_head(whole.head, resumed.head)
    assert whole.best_step == resumed.best_step
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name
    if stop_at % config.log_interval == 0:  # else the window that was cut has two entries
        assert resumed.history.history == whole.history.history


def test_resume_from_a_periodic_checkpoint_after_a_kill(tmp_path, sampler, records, embed):
    config, table = settings(), embed(records)
    whole = train(config, new_head(), table, sampler)

    class Killed(BaseException):
        pass

    def kill(step, metrics):
        if step == 90:
            raise Killed

    with pytest.raises(Killed):
        train(config, new_head(), table, sampler, output=tmp_path, on_metrics=kill)
    assert [folder.name for folder in step_folders(tmp_path)] == ["step-00000040", "step-00000080"]
    resumed = train(config, new_head(), table, sampler, output=tmp_path, resume=resume_from_checkpoint(tmp_path))
    assert_same_head(whole.head, resumed.head)


def test_a_finished_run_is_resumed_by_doing_nothing(tmp_path, sampler, records, embed):
    done = train(settings(), new_head(), embed(records), sampler, output=tmp_path)
    again = train(settings(), new_head(), embed(records), sampler, resume=resume_from_checkpoint(tmp_path))
    assert again.step == 100
    assert_same_head(done.head, again.head)


def test_resume_refuses_what_is_no_checkpoint(tmp_path, sampler, records, embed):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        resume_from_checkpoint(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        resume_from_checkpoint(tmp_path)
    train(settings(), new_head(), embed(records), sampler, output=tmp_path)
    (tmp_path / "optimizer.safetensors").unlink()
    with pytest.raises(ValueError, match=r"no optimizer\.safetensors"):
        resume_from_checkpoint(tmp_path)


def test_only_the_last_checkpoints_are_kept(tmp_path, sampler, records, embed):
    seen = []
    train(
        settings(checkpoint_interval=10),
        new_head(),
        embed(records),
        sampler,
        output=tmp_path,
        on_metrics=lambda step, _: seen.append(len(step_folders(tmp_path))),
    )
    assert max(seen) == 2
    assert not (tmp_path / "checkpoints").exists(), "a finished run needs none"


def test_an_unfinished_run_is_given_up_when_training_starts_anew(tmp_path, sampler, records, embed, caplog):
    steps = iter(range(1, 1000))
    train(settings(), new_head(), embed(records), sampler, output=tmp_path, should_stop=lambda: next(steps) == 50)
    with caplog.at_level(logging.WARNING):
        train(settings(), new_head(), embed(records), sampler, output=tmp_path)
    assert "starts anew" in caplog.text
    assert read_config(tmp_path)["training"]["status"] == "finished"


def test_early_stop_returns_the_best_head(tmp_path, split, records, embed):
    """Labels of the held-out theorems turned around: their loss only rises, so the first evaluation is the best."""
    sampler, valid = split
    table = embed(records)
    swapped = table.copy()
    for row in np.concatenate([valid.index.positives, valid.index.negatives]):
        swapped[row, [0, 1]] = table[row, [1, 0]]
    config = settings(total_steps=400, eval_interval=20, early_stop_patience=3, lr=3e-3)
    result = train(config, new_head(), swapped, sampler, valid_sampler=valid, output=tmp_path)
    assert result.status == "early_stopped"
    assert result.best_step == 20
    assert result.step == 80
    stored = read_config(tmp_path)["training"]
    assert (stored["step"], stored["best_step"], stored["status"]) == (20, 20, "early_stopped")
    assert_same_head(load_head(tmp_path), result.head)
    valid_losses = [m.contrastive_loss for _, m in result.history.of_split("valid")]
    assert valid_losses[0] == min(valid_losses)
    assert len(valid_losses) == 4


def test_held_out_theorems_are_never_trained_on(split, records, embed):
    """Their vectors are garbage; training does not notice."""
    sampler, valid = split
    table = embed(records)
    expected = train(settings(), new_head(), table, sampler)
    table[np.concatenate([valid.index.positives, valid.index.negatives])] = 1e6
    assert_same_head(train(settings(), new_head(), table, sampler).head, expected.head)


def test_nan_stops_with_what_is_needed_to_find_it(tmp_path, records, embed):
    sampler = ContrastiveSampler(ContrastiveIndex.build(records), 2)
    table = embed(records)
    bad = sampler.index.anchors[7]
    first = next(step for step in range(1000) if bad in batch_of(sampler, step, 4))
    table[bad] = np.nan
    config = settings(total_steps=1000, checkpoint_interval=5, standardise_inputs=False)
    with pytest.raises(TrainingDivergedError) as caught:
        train(config, new_head(), table, sampler, output=tmp_path)
    error = caught.value
    assert error.step == first
    assert records[bad].theorem_name in error.theorems
    assert error.learning_rate == learning_rate_at(first, config)
    for part in (f"step {first}", records[bad].theorem_name, f"{error.learning_rate:.3g}"):
        assert part in str(error)
    if first >= 5:
        assert error.checkpoint == step_folder(tmp_path, first // 5 * 5)
    if error.checkpoint is not None:
        assert all(torch.isfinite(t).all() for t in load_head(error.checkpoint).state_dict().values())


def batch_of(sampler, step, batch_size) -> set[int]:
    block = sampler.draw(64 * batch_size, step // 64)
    return set(block.rows.reshape(64, -1)[step % 64].tolist())


def test_an_infinite_learning_rate_diverges_and_says_so(sampler, records, embed):
    with pytest.raises(TrainingDivergedError, match="Lower the learning rate"):
        train(settings(lr=1e30, warmup_steps=0, weight_decay=1e9), new_head(), embed(records), sampler)


def test_ctrl_c_saves_and_ends_cleanly(tmp_path, sampler, records, embed):
    def interrupt(step, metrics):
        if step == 20:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    result = train(settings(), new_head(), embed(records), sampler, output=tmp_path, on_metrics=interrupt)
    assert (result.status, result.step) == ("interrupted", 20)
    assert result.checkpoint == step_folder(tmp_path, 20)
    assert signal.getsignal(signal.SIGINT) == before
    assert resume_from_checkpoint(tmp_path).step == 20
    assert not (tmp_path / "config.json").exists(), "an unfinished model is not mistaken for a finished one"
    with pytest.raises(FileNotFoundError, match="--resume-from"):
        load_head(tmp_path)


def test_a_second_ctrl_c_interrupts_at_once(sampler, records, embed):
    def interrupt(step, metrics):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(settings(), new_head(), embed(records), sampler, on_metrics=interrupt)


def test_training_in_a_thread_needs_no_signals(sampler, records, embed):
    results = []
    worker = threading.Thread(
        target=lambda: results.append(train(settings(total_steps=5), new_head(), embed(records), sampler))
    )
    worker.start()
    worker.join()
    assert results[0].status == "finished"


def test_checkpoint_folder(tmp_path, sampler, records, embed):
    result = train(
        settings(), new_head(), embed(records), sampler, output=tmp_path, description={"data": {"digest": "d"}}
    )
    assert result.checkpoint == tmp_path
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model.safetensors", "optimizer.safetensors", "metrics.parquet", "config.json"}
    assert MetricsHistory.read_parquet(tmp_path / "metrics.parquet").history == result.history.history
    config = read_config(tmp_path)
    assert config["data"] == {"digest": "d"}
    assert config["training"]["config"]["total_steps"] == 100
    assert config["head"]["d_encoder"] == 64


def test_warnings_are_logged_once(sampler, records, embed, caplog):
    table = np.ones_like(embed(records))  # nothing to tell states apart by
    with caplog.at_level(logging.WARNING):
        result = train(settings(), new_head(dropout=0.0), table, sampler)
    assert any("mode collapse" in warning for warning in result.warnings)
    assert caplog.text.count("mode collapse") == 1


def test_single_valid_loss_is_finite(split, records, embed):
    sampler, valid = split
    result = train(
        settings(eval_interval=50, valid_examples=1), new_head(), embed(records), sampler, valid_sampler=valid
    )
    assert all(math.isfinite(m.loss) for _, m in result.history.of_split("valid"))


@pytest.mark.parametrize(("keep", "left"), [(0, []), (1, [90]), (3, [70, 80, 90]), (-1, list(range(10, 100, 10)))])
def test_checkpoints_that_were_asked_for_stay(tmp_path, sampler, records, embed, keep, left):
    config = settings(checkpoint_interval=10, keep_checkpoints=keep)
    train(config, new_head(), embed(records), sampler, output=tmp_path)
    assert [folder.name for folder in step_folders(tmp_path)] == [f"step-{step:08d}" for step in left]
    assert latest_step_folder(tmp_path) is None, "kept ones are not an unfinished run"
    assert resume_from_checkpoint(tmp_path).step == 100
    for folder in step_folders(tmp_path):
        assert read_config(folder)["training"]["step"] == int(folder.name.removeprefix("step-"))
        assert load_head(folder) is not None


def test_kept_checkpoints_can_be_gone_on_from(tmp_path, sampler, records, embed):
    config, table = settings(keep_checkpoints=-1), embed(records)
    whole = train(config, new_head(), table, sampler, output=tmp_path / "whole")
    state = resume_from_checkpoint(step_folder(tmp_path / "whole", 40))
    again = train(config, new_head(), table, sampler, output=tmp_path / "again", resume=state)
    assert_same_head(whole.head, again.head)
    assert [folder.name for folder in step_folders(tmp_path / "again")] == ["step-00000080"]

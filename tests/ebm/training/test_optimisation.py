"""What the optimizer is really given at each step of `train`, seen by hooks and held against plain arithmetic."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ebm.checkpoint import load_head
from ebm.model import EnergyHead, EnergyHeadConfig
from ebm.training import (
    ContrastiveIndex,
    ContrastiveSampler,
    EBMTrainingConfig,
    train,
    train_from_files,
)
from ebm.training.held_out import VALID_STREAM


@dataclass
class Step:
    """One call of the optimizer."""

    rates: list[float]
    """Learning rate of the weights and of the temperature."""
    decays: list[float]
    gradients: list[Tensor]
    """By parameter, in the order of the groups, as the optimizer is given them."""
    weights: list[Tensor]
    """The same parameters before the step."""
    optimizer: str

    @property
    def gradient_norm(self) -> float:
        return math.sqrt(sum(float(gradient.square().sum()) for gradient in self.gradients))


@dataclass
class Seen:
    steps: list[Step] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    """Of each forward of an energy head in training mode, (batch * (1 + K), width)."""
    states: list[dict[str, Tensor]] = field(default_factory=list)
    """State dict of the head before each of these."""


@pytest.fixture
def seen():
    """Watches every optimizer and every energy head for the length of a test."""
    found = Seen()

    def before_step(optimizer, args, kwargs):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        found.steps.append(
            Step(
                [float(group["lr"]) for group in optimizer.param_groups],
                [float(group["weight_decay"]) for group in optimizer.param_groups],
                [p.grad.detach().clone() for p in parameters],
                [p.detach().clone() for p in parameters],
                type(optimizer).__name__,
            )
        )

    def before_forward(module, inputs):
        if isinstance(module, EnergyHead) and module.training:
            found.inputs.append(inputs[0].detach().clone())
            found.states.append({name: tensor.clone() for name, tensor in module.state_dict().items()})

    hooks = [register_optimizer_step_pre_hook(before_step), register_module_forward_pre_hook(before_forward)]
    yield found
    for hook in hooks:
        hook.remove()


def settings(**changes) -> EBMTrainingConfig:
    return EBMTrainingConfig(**{"total_steps": 60, "warmup_steps": 10, "lr": 1e-3, "batch_size": 4} | changes)


def new_head(**changes) -> EnergyHead:
    torch.manual_seed(0)
    return EnergyHead(EnergyHeadConfig(64, 32, 16, **changes))


def test_the_learning_rate_of_every_step(seen, sampler, records, embed):
    """Linear over the warm-up, a cosine to 0 after it; the temperature has ten times as much."""
    train(settings(), new_head(), embed(records), sampler)
    expected = [1e-3 * (s + 1) / 10 for s in range(10)]
    expected += [1e-3 * 0.5 * (1 + math.cos(math.pi * s / 50)) for s in range(50)]
    assert [step.rates[0] for step in seen.steps] == pytest.approx(expected)
    assert [step.rates[1] for step in seen.steps] == pytest.approx([10 * rate for rate in expected])
    assert {step.optimizer for step in seen.steps} == {"AdamW"}


def test_the_gradient_is_clipped_as_a_whole(seen, sampler, records, embed):
    free, clipped = settings(max_grad_norm=1e9, log_interval=1), settings(max_grad_norm=0.01, log_interval=1)
    first = train(free, new_head(), embed(records), sampler).history.history[0][1]
    raw = seen.steps[0]
    seen.steps.clear()
    metrics = [m for _, m in train(clipped, new_head(), embed(records), sampler).history]
    assert raw.gradient_norm == pytest.approx(first.grad_norm, rel=1e-5)
    assert raw.gradient_norm > 0.1
    assert all(step.gradient_norm == pytest.approx(0.01, rel=1e-3) for step in seen.steps)
    assert metrics[0].grad_norm == pytest.approx(first.grad_norm, rel=1e-5), "reported before clipping"
    for short, long in zip(seen.steps[0].gradients, raw.gradients, strict=True):
        torch.testing.assert_close(short, long * (0.01 / raw.gradient_norm), rtol=1e-3, atol=1e-8)


def test_small_gradients_are_left_alone(seen, sampler, records, embed):
    train(settings(max_grad_norm=1e9, total_steps=3), new_head(dropout=0.0), embed(records), sampler)
    free = [step.gradient_norm for step in seen.steps]
    seen.steps.clear()
    limit = 1.01 * max(free)
    train(settings(max_grad_norm=limit, total_steps=3), new_head(dropout=0.0), embed(records), sampler)
    assert [step.gradient_norm for step in seen.steps] == pytest.approx(free)


def test_weights_decay_by_lr_times_weight_decay(seen, sampler, records, embed):
    """AdamW: w <- (1 - lr * decay) w, apart from the gradient's step, which is the same with and without."""
    table = embed(records)
    plain = train(settings(total_steps=1, weight_decay=0.0), new_head(), table, sampler).head
    decayed = train(settings(total_steps=1, weight_decay=0.5), new_head(), table, sampler).head
    start = dict(new_head().named_parameters())
    rate = seen.steps[-1].rates[0]
    assert [step.decays for step in seen.steps] == [[0.0, 0.0], [0.5, 0.0]]
    for name in start:
        difference = decayed.get_parameter(name) - plain.get_parameter(name)
        expected = torch.zeros(()) if name == "log_temperature" else -rate * 0.5 * start[name]
        torch.testing.assert_close(difference, expected.expand_as(difference), rtol=1e-2, atol=1e-7, msg=name)


def test_the_gradient_is_that_of_the_losses_on_these_examples(seen, new_records, embed):
    """InfoNCE and .3 of the depth loss, computed again from the inputs: each positive with its own remaining depth."""
    records = new_records(n_theorems=3, n_positive=7)
    table = embed(records)
    row_of = {tuple(vector.tolist()): i for i, vector in enumerate(table)}
    sampler = ContrastiveSampler(ContrastiveIndex.build(records), k_negatives=3)
    train(settings(total_steps=5, max_grad_norm=1e9), new_head(dropout=0.0), table, sampler)
    depths_met = set()
    for inputs, state, step in zip(list(seen.inputs), list(seen.states), seen.steps, strict=True):
        rows = [row_of[tuple(vector.tolist())] for vector in inputs]
        head = new_head(dropout=0.0).train()
        head.load_state_dict(state)
        energies = head(inputs).view(4, 4)
        depth = torch.tensor([float(records[row].remaining_depth) for row in rows[::4]])
        depths_met.add(tuple(depth.tolist()))
        contrastive = functional.cross_entropy(-energies, torch.zeros(4, dtype=torch.long))
        loss = contrastive + 0.3 * functional.mse_loss(energies[:, 0], depth / depth.max())
        weights = [p for name, p in head.named_parameters() if name != "log_temperature"]
        expected = torch.autograd.grad(loss, [*weights, head.log_temperature])
        for got, wanted in zip(step.gradients, expected, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)
        for row, vectors in zip(rows[::4], inputs.view(4, 4, -1), strict=True):
            assert records[row].label == "positive"
            others = [records[row_of[tuple(vector.tolist())]] for vector in vectors[1:]]
            assert all(o.label == "negative" or o.remaining_depth > records[row].remaining_depth for o in others)
    assert len(depths_met) == 5
    assert any(len(set(depths)) > 1 and list(depths) != list(depths)[::-1] for depths in depths_met)


def test_the_margin_objective_is_a_hinge_over_pairs(seen, sampler, records, embed):
    config = settings(total_steps=1, objective="margin", margin=2.0, max_grad_norm=1e9, depth_loss_weight=0.0)
    train(config, new_head(dropout=0.0), embed(records), sampler)
    head = new_head(dropout=0.0).train()
    head.load_state_dict(seen.states[0])
    energies = head(seen.inputs[0]).view(4, 3)
    loss = torch.clamp(2.0 + energies[:, :1] - energies[:, 1:], min=0).mean()
    (expected,) = torch.autograd.grad(loss, [head.sn_linear1.weight])
    torch.testing.assert_close(seen.steps[0].gradients[0], expected, rtol=1e-4, atol=1e-6)


def test_the_distance_objective_is_cross_entropy_over_steps(seen, sampler, records, embed):
    """Positives in the bin of their steps to QED, dead ends in the last; the energy is the mean bin."""
    table = embed(records)
    row_of = {tuple(vector.tolist()): i for i, vector in enumerate(table)}
    result = train(
        settings(total_steps=300, lr=1e-2, objective="distance", max_grad_norm=1e9),
        new_head(dropout=0.0, n_bins=8),
        table,
        sampler,
    )
    head = new_head(dropout=0.0, n_bins=8).train()
    head.load_state_dict(seen.states[0])
    inputs = seen.inputs[0]
    found = [records[row_of[tuple(vector.tolist())]] for vector in inputs]
    bins = torch.tensor([7 if record.label == "negative" else record.remaining_depth for record in found])
    loss = functional.cross_entropy(head(inputs, raw=True), bins)
    (expected,) = torch.autograd.grad(loss, [head.sn_linear3.weight])
    torch.testing.assert_close(seen.steps[0].gradients[4], expected, rtol=1e-4, atol=1e-6)
    with torch.inference_mode():
        energies = result.head(torch.from_numpy(table)).numpy()
    negative = np.array([record.label == "negative" for record in records])
    assert energies[negative].mean() > energies[~negative].mean() + 1
    assert energies.min() >= 0
    assert energies.max() <= 7


@pytest.mark.parametrize(("objective", "bins"), [("distance", 0), ("infonce", 8), ("margin", 8)])
def test_objective_and_head_must_fit(sampler, records, embed, objective, bins):
    with pytest.raises(ValueError, match=f"objective is '{objective}' and the head has {bins} bins"):
        train(settings(objective=objective), new_head(n_bins=bins), embed(records), sampler)


def test_a_head_for_distances_is_made_from_files(tmp_path, policy, records, write, embed):
    write(tmp_path / "a.parquet", records)
    config = settings(total_steps=5, objective="distance", valid_fraction=0.0)
    result = train_from_files(tmp_path / "a.parquet", policy, tmp_path / "ebm", config)
    assert result.head.config.n_bins == 64
    loaded = load_head(tmp_path / "ebm")
    x = torch.from_numpy(embed(records[:1]))
    assert torch.equal(loaded(x), result.head(x))
    assert loaded(x, raw=True).shape == (1, 64)


def test_without_depth_loss_no_depth_counts(seen, sampler, records, embed):
    train(
        settings(total_steps=1, depth_loss_weight=0.0, max_grad_norm=1e9),
        new_head(dropout=0.0),
        embed(records),
        sampler,
    )
    head = new_head(dropout=0.0).train()
    head.load_state_dict(seen.states[0])
    energies = head(seen.inputs[0]).view(4, 3)
    loss = functional.cross_entropy(-energies, torch.zeros(4, dtype=torch.long))
    (expected,) = torch.autograd.grad(loss, [head.sn_linear1.weight])
    torch.testing.assert_close(seen.steps[0].gradients[0], expected, rtol=1e-4, atol=1e-6)


def test_held_out_evaluation_has_no_dropout(records, embed):
    """The figures are those of the head in eval mode, whatever its dropout."""
    index = ContrastiveIndex.build(records)
    valid = ContrastiveSampler(index.restricted_to(["thm_2", "thm_3"]), 2)
    sampler = ContrastiveSampler(index.restricted_to(["thm_0", "thm_1"]), 2)
    table = embed(records)
    config = settings(total_steps=1)
    result = train(config, new_head(dropout=0.9), table, sampler, valid_sampler=valid)
    draw = valid.draw(config.valid_examples, VALID_STREAM)
    with torch.inference_mode():
        energies = result.head(torch.from_numpy(table[draw.rows.ravel()])).view(draw.rows.shape)
    [(_, metrics)] = result.history.of_split("valid")
    expected = functional.cross_entropy(-energies, torch.zeros(len(energies), dtype=torch.long))
    assert metrics.contrastive_loss == pytest.approx(float(expected), rel=1e-5)
    assert metrics.n_examples == 512
    depth = torch.from_numpy(draw.remaining_depth).float()
    assert metrics.depth_loss == pytest.approx(
        float(functional.mse_loss(energies[:, 0], depth / depth.max())), rel=1e-5
    )
    assert metrics.loss == pytest.approx(metrics.contrastive_loss + 0.3 * metrics.depth_loss)


def test_evaluating_changes_nothing_in_training(seen, records, embed):
    """Dropout is on again afterwards, and its random numbers are those of a run that evaluates nothing."""
    index = ContrastiveIndex.build(records)
    valid = ContrastiveSampler(index.restricted_to(["thm_2", "thm_3"]), 2)
    sampler = ContrastiveSampler(index.restricted_to(["thm_0", "thm_1"]), 2)
    config = settings(total_steps=30, eval_interval=3, early_stop_patience=0)
    train(config, new_head(dropout=0.5), embed(records), sampler)
    alone, seen.steps = seen.steps, []
    train(config, new_head(dropout=0.5), embed(records), sampler, valid_sampler=valid)
    assert len(alone) == len(seen.steps) == 30
    for first, second in zip(alone, seen.steps, strict=True):
        for a, b in zip(first.gradients, second.gradients, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["hard", "medium", "easy"])
def test_the_ratios_of_the_config_reach_the_examples(tmp_path, seen, policy, new_records, embed, write, kind):
    """With all negatives of one kind, the states that the head is shown are of that kind."""
    records = new_records(n_theorems=4, n_positive=8)
    write(tmp_path / "a.parquet", records)
    by_vector = {tuple(v.tolist()): record for v, record in zip(embed(records), records, strict=True)}
    shares = {f"{name}_ratio": float(name == kind) for name in ("hard", "medium", "easy")}
    config = settings(total_steps=10, k_negatives=2, valid_fraction=0.0, **shares)
    train_from_files(tmp_path / "a.parquet", policy, tmp_path / "ebm", config)
    of_medium = []
    for inputs in seen.inputs:
        for vectors in inputs.view(4, 3, -1):
            positive, *negatives = [by_vector[tuple(vector.tolist())] for vector in vectors]
            same = [negative.theorem_name == positive.theorem_name for negative in negatives]
            assert all(same) if kind != "easy" else not any(same)
            if kind in ("hard", "easy"):
                assert {negative.label for negative in negatives} == {"negative"}
            of_medium += [negative.label for negative in negatives]
    if kind == "medium":
        assert of_medium.count("positive") > of_medium.count("negative")


def test_batch_size_and_k_of_the_config_reach_the_steps(tmp_path, seen, policy, records, write):
    write(tmp_path / "a.parquet", records)
    config = settings(total_steps=2, batch_size=5, k_negatives=3, valid_fraction=0.0)
    train_from_files(tmp_path / "a.parquet", policy, tmp_path / "ebm", config)
    assert [inputs.shape for inputs in seen.inputs] == [(20, 64), (20, 64)]


@pytest.mark.parametrize("balance", ["theorem", "state"])
def test_the_balance_of_the_config_reaches_the_examples(tmp_path, seen, policy, new_records, embed, write, balance):
    records = [
        *new_records(2, n_positive=1)[:11],
        *[r for r in new_records(2, n_positive=19) if r.theorem_name == "thm_1"],
    ]
    write(tmp_path / "a.parquet", records)
    small = {tuple(v.tolist()) for v in embed(records[:1])}
    config = settings(total_steps=64, valid_fraction=0.0, balance=balance)
    train_from_files(tmp_path / "a.parquet", policy, tmp_path / "ebm", config)
    positives = [tuple(v.tolist()) for inputs in seen.inputs for v in inputs.view(4, 5, -1)[:, 0]]
    share = np.mean([positive in small for positive in positives])
    assert share == pytest.approx(0.5 if balance == "theorem" else 0.05, abs=0.1)


def test_the_specification_to_the_letter(seen, sampler, records, embed):
    """One learning rate and one decay for all parameters; value by value, and as the optimizer is given it."""
    config = EBMTrainingConfig.specification()
    assert config.to_dict() | {"memory_limit_gib": 1.0} == {
        "lr": 1e-4,
        "weight_decay": 0.01,
        "temperature_weight_decay": 0.01,
        "temperature_lr_scale": 1.0,
        "max_grad_norm": 1.0,
        "total_steps": 50_000,
        "warmup_steps": 1_000,
        "batch_size": 32,
        "k_negatives": 4,
        "hard_ratio": 0.5,
        "medium_ratio": 0.3,
        "easy_ratio": 0.2,
        "balance": "theorem",
        "objective": "infonce",
        "margin": 1.0,
        "depth_loss_weight": 0.3,
        "standardise_inputs": True,
        "log_interval": 50,
        "checkpoint_interval": 5_000,
        "keep_checkpoints": -1,
        "valid_fraction": 0.0,
        "eval_interval": 0,
        "early_stop_patience": 0,
        "valid_examples": 512,
        "seed": 0,
        "memory_limit_gib": 1.0,
        "matmul_dtype": "float32",
        "cuda_graph": False,
    }
    default = EBMTrainingConfig()
    different = [name for name, value in config.to_dict().items() if getattr(default, name) != value]
    for name in different:
        assert f"`{name}`" in EBMTrainingConfig.__doc__, "the docstring says where the defaults differ, and why"
    assert len(different) == EBMTrainingConfig.__doc__.count(", not ") == 5
    train(EBMTrainingConfig.specification(total_steps=3, batch_size=4), new_head(), embed(records), sampler)
    assert seen.steps[0].decays == [0.01, 0.01]
    assert all(step.rates[0] == step.rates[1] for step in seen.steps)

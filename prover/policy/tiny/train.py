"""Trains the shipped policy on the CPU, from nothing:  python -m prover.policy.tiny.train [--output DIR]

Seeded: the same versions on the same kind of machine give the same weights. Takes about a quarter of an hour on two
cores; the theorems are made first and kept in a temporary folder.
"""

import argparse
import logging
import math
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaForCausalLM

from prover.logic.generate import EASY
from prover.policy import DEFAULT_POOLING
from prover.policy.pooling import early_layer, parse_pooling, pool
from prover.policy.tiny.architecture import model_config, save_checkpoint
from prover.policy.tiny.data import Example, NameShuffler, batches, load_pairs, tokenize_pairs
from prover.policy.tiny.sizes import N_CLASSES, SizedExample, load_sizes, size_batches, tokenize_states
from prover.policy.weights import TINY_CHECKPOINT

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TinyTrainingConfig:
    """How the shipped checkpoint is trained."""

    seed: int = 20261122
    """Of the theorems, the initial weights and the order of the examples."""
    n_theorems: int = 30_000
    """Easy theorems to make."""
    n_valid: int = 600
    """The last of them, kept for the validation loss."""
    steps: int = 4_000
    """Optimizer steps."""
    batch_size: int = 96
    """Examples a step."""
    learning_rate: float = 3e-3
    """Peak, after a linear warm-up; falls to zero along a cosine."""
    warmup: int = 200
    """Steps of the warm-up."""
    weight_decay: float = 0.05
    """AdamW's, on matrices."""
    legal_share: float = 0.30
    """Share of the states that also occur with a random tactic that Lean accepts there."""
    shuffle_share: float = 0.5
    """Share of the examples whose names are permuted at random."""
    whole_state_share: float = 0.25
    """Share of the states with several goals that are shown whole."""
    max_steps: int = 5
    """Longest proof to learn from, in tactics."""
    size_weight: float = 0.5
    """Weight of the proof-size loss (see `sizes`) beside that of the tactics; 0 leaves it out."""
    size_batch_size: int = 64
    """States a step for it."""
    astray_share: float = 0.8
    """Share of the states of proofs that bring one that lies astray with them."""
    hidden_size: int = 128
    layers: int = 3
    intermediate: int = 256
    threads: int = 1


def completion_loss(model: LlamaForCausalLM, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy (nats a token) of the completions' tokens. ids, targets: (B, L), see `data.batches`."""
    hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state  # (B, L, H)
    wanted = targets != -100
    logits = model.lm_head(hidden[wanted])  # (number of tokens to learn, V)
    return torch.nn.functional.cross_entropy(logits.float(), targets[wanted])


class SizeHead(torch.nn.Module):
    """Classes of proof size from the pooled vectors that `encode_only` would give, (B, width) -> (B, N_CLASSES)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.parts = parse_pooling(DEFAULT_POOLING)
        self.linear = torch.nn.Linear(len(self.parts) * hidden_size, N_CLASSES)

    def loss(
        self, model: LlamaForCausalLM, ids: torch.Tensor, lengths: torch.Tensor, sizes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean cross-entropy (nats) and accuracy. ids (B, L) right-padded, lengths (B,), sizes (B,) classes."""
        output = model.get_decoder()(input_ids=ids, use_cache=False, output_hidden_states=True)
        early = output.hidden_states[early_layer(model.config.num_hidden_layers)]
        logits = self.linear(pool(self.parts, output.last_hidden_state, early, lengths))
        return torch.nn.functional.cross_entropy(logits, sizes), (logits.argmax(dim=1) == sizes).float().mean()


def learning_rate(step: int, config: TinyTrainingConfig) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@torch.inference_mode()
def validation_loss(model: LlamaForCausalLM, examples: list[Example], *, worlds: bool = False) -> float:
    """Mean loss (nats a token) over examples in their canonical names."""
    model.eval()
    still = NameShuffler(np.random.default_rng(0), share=0.0, worlds=worlds)
    n_batches = math.ceil(len(examples) / 256)
    total = tokens = 0.0
    for ids, targets in batches(examples, 256, n_batches, still, np.random.default_rng(0)):
        n = int((targets != -100).sum())
        total += float(completion_loss(model, ids, targets)) * n
        tokens += n
    model.train()
    return total / tokens


@torch.inference_mode()
def size_validation(model: LlamaForCausalLM, head: SizeHead, examples: list[SizedExample]) -> tuple[float, float]:
    """Mean loss (nats) and accuracy of the proof-size classes, in canonical names."""
    model.eval()
    still = NameShuffler(np.random.default_rng(0), share=0.0)
    n_batches = math.ceil(len(examples) / 256)
    losses = [
        [float(value) for value in head.loss(model, *batch)]
        for batch in size_batches(examples, 256, n_batches, still, np.random.default_rng(0))
    ]
    model.train()
    loss, accuracy = np.mean(losses, axis=0)
    return float(loss), float(accuracy)


def _validate(
    model: LlamaForCausalLM, head: SizeHead, valid: list[Example], sizes: list[SizedExample]
) -> dict[str, float]:
    figures = {"validation_loss": validation_loss(model, valid)}
    if sizes:
        figures["size_loss"], figures["size_accuracy"] = size_validation(model, head, sizes)
    return {name: round(value, 4) for name, value in figures.items()}


def train(config: TinyTrainingConfig, cache: Path) -> tuple[LlamaForCausalLM, dict[str, float]]:
    """The trained model and its figures."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    easy = replace(EASY, max_steps=config.max_steps)
    pairs = load_pairs(config.seed, config.n_theorems, config.legal_share, cache, easy)
    split = config.n_theorems - config.n_valid
    sized = load_sizes(config.seed, config.n_theorems, config.astray_share, cache, easy) if config.size_weight else []
    size_learn = tokenize_states([s for s in sized if s.theorem < split])
    size_valid = tokenize_states([s for s in sized if s.theorem >= split])
    learn = tokenize_pairs([p for p in pairs if p.theorem < split], config.whole_state_share, config.seed)
    valid = tokenize_pairs([p for p in pairs if p.theorem >= split], 0.0, config.seed)
    model = LlamaForCausalLM(
        model_config(hidden_size=config.hidden_size, layers=config.layers, intermediate=config.intermediate)
    )
    log.info("%d parameters, %d pairs to learn, %d to validate", model.num_parameters(), len(learn), len(valid))
    head = SizeHead(config.hidden_size)
    parameters = [*model.parameters(), *head.parameters()]
    matrices = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
    )
    shuffler = NameShuffler(rng, config.shuffle_share)
    started, running = time.perf_counter(), 0.0
    model.train()
    size_rng = np.random.default_rng(config.seed + 1)
    size_stream = size_batches(size_learn, config.size_batch_size, config.steps, shuffler, size_rng)
    for step, (ids, targets) in enumerate(batches(learn, config.batch_size, config.steps, shuffler, rng)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        loss = completion_loss(model, ids, targets)
        loss.backward()
        if config.size_weight:
            (config.size_weight * head.loss(model, *next(size_stream))[0]).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 200 == 0 or step == config.steps - 1:
            log.info("step %5d  loss %.4f  %.0f s", step, running, time.perf_counter() - started)
        if step and step % 1000 == 0:
            log.info("step %5d  validation %s", step, _validate(model, head, valid, size_valid))
    figures = _validate(model, head, valid, size_valid) | {"seconds": time.perf_counter() - started}
    log.info("validation %s", figures)
    return model.eval(), figures


def main() -> None:
    """Train and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=TINY_CHECKPOINT, help="folder of the checkpoint")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "prover-tiny-training")
    for name, value in asdict(TinyTrainingConfig()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    output, cache = arguments.pop("output"), arguments.pop("cache")
    config = TinyTrainingConfig(**arguments)
    model, _ = train(config, cache)
    save_checkpoint(model, output)
    log.info("wrote %s", output)


if __name__ == "__main__":
    main()

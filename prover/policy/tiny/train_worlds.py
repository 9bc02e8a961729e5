"""Teaches a policy of `prover.policy.tiny.train` the other worlds, on the CPU:

    python -m prover.policy.tiny.train_worlds [--start DIR] [--output DIR]

The start is the propositional policy; its words keep their vectors, new ones (order, numerals, the prelude's lemmas)
begin at random. It learns from first-order logic, arithmetic and propositional logic together, so that nothing is lost.
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
from prover.policy.tiny.architecture import model_config, save_checkpoint, vocabulary
from prover.policy.tiny.data import Example, NameShuffler, batches, load_pairs, tokenize_pairs
from prover.policy.tiny.sizes import (
    LARGEST_SIZE,
    SizedExample,
    SizedState,
    load_sizes,
    size_batches,
    tokenize_states,
)
from prover.policy.tiny.train import SizeHead, completion_loss, validation_loss
from prover.policy.tiny.worlds import as_training_pairs, load_world_pairs
from prover.policy.weights import TINY_CHECKPOINT, WORLDS_CHECKPOINT

log = logging.getLogger(__name__)
_LETTERS = "phx"


@dataclass(frozen=True, slots=True)
class WorldTrainingConfig:
    """How the policy learns the worlds."""

    seed: int = 20261129
    """Of the theorems, the new words' vectors and the order of the examples."""
    propositional: int = 7_000
    """Propositional theorems to make."""
    first_order: int = 4_000
    """First-order theorems to make."""
    arithmetic: int = 2_000
    """Theorems of arithmetic to make."""
    sized: int = 1_500
    """Propositional theorems for the proof-size loss."""
    valid_share: float = 0.03
    """Share of each world's theorems kept for the validation loss."""
    steps: int = 1_000
    """Optimizer steps."""
    batch_size: int = 48
    """Examples per step."""
    learning_rate: float = 2e-3
    """Peak, after a linear warm-up; falls to zero along a cosine."""
    warmup: int = 100
    """Steps of the warm-up."""
    weight_decay: float = 0.05
    """AdamW's, on matrices."""
    legal_share: float = 0.2
    """Share of the propositional states that also occur with a random tactic that Lean accepts there."""
    shuffle_share: float = 0.3
    """Share of the examples whose names are permuted at random."""
    whole_state_share: float = 0.1
    """Share of the states with several goals that are shown whole."""
    propositional_steps: int = 6
    """Longest propositional proof to learn from, in tactics."""
    world_steps: int = 4
    """Longest other proof to learn from, in tactics. Longer ones are left for search to find and to learn from."""
    size_weight: float = 0.3
    """Weight of the proof-size loss beside that of the tactics."""
    size_batch_size: int = 32
    """States per step for it."""
    size_every: int = 4
    """Steps from one batch of it to the next."""
    threads: int = 1


def with_more_words(start: Path, seed: int) -> LlamaForCausalLM:
    """The model of a checkpoint with the vocabulary of all worlds. Words that it knows keep their vectors."""
    old = LlamaForCausalLM.from_pretrained(start)
    shape = old.config
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        model_config(
            hidden_size=shape.hidden_size,
            layers=shape.num_hidden_layers,
            intermediate=shape.intermediate_size,
            heads=shape.num_attention_heads,
            worlds=True,
        )
    )
    words = vocabulary(worlds=True)
    known = {word: number for number, word in enumerate(vocabulary(worlds=shape.vocab_size == len(words)))}
    known_vectors = _embedding(old).weight.detach()
    vectors = _embedding(model).weight.detach().clone()
    vectors *= known_vectors.std() / vectors.std()
    for number, word in enumerate(words):
        if word in known:
            vectors[number] = known_vectors[known[word]]
    weights = {
        name: value for name, value in old.state_dict().items() if "embed_tokens" not in name and "lm_head" not in name
    }
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any("layers" in name for name in missing):
        raise ValueError(f"{start} has another shape: {unexpected} {missing}")
    with torch.no_grad():
        _embedding(model).weight.copy_(vectors)
    return model


def _embedding(model: LlamaForCausalLM) -> torch.nn.Embedding:
    embedding = model.get_input_embeddings()
    assert isinstance(embedding, torch.nn.Embedding)
    return embedding


@dataclass(slots=True)
class Lessons:
    """What is learnt, and what is kept for validation, by world."""

    learn: list[Example]
    sizes: list[SizedExample]
    valid: dict[str, list[Example]]


def lessons(config: WorldTrainingConfig, cache: Path) -> Lessons:
    """Examples of all worlds, made or read from `cache`."""
    easy = replace(EASY, max_steps=config.propositional_steps)
    made = {"propositional": load_pairs(config.seed, config.propositional, config.legal_share, cache, easy)}
    sized = load_sizes(config.seed, config.sized, 0.8, cache, easy)
    for name, n in (("first_order", config.first_order), ("arithmetic", config.arithmetic)):
        pairs = load_world_pairs(name, config.seed, n, config.world_steps, cache)
        made[name] = as_training_pairs(pairs, 0)
        sized += [SizedState(p.theorem, p.state, min(p.left, LARGEST_SIZE)) for p in pairs[::3]]
    learn: list[Example] = []
    valid: dict[str, list[Example]] = {}
    for name, training_pairs in made.items():
        split = int((1 - config.valid_share) * (1 + max(pair.theorem for pair in training_pairs)))
        some = [pair for pair in training_pairs if pair.theorem < split]
        learn += tokenize_pairs(some, config.whole_state_share, config.seed, worlds=True)
        rest = [pair for pair in training_pairs if pair.theorem >= split]
        valid[name] = tokenize_pairs(rest, 0.0, config.seed, worlds=True)
        log.info("%s: %d pairs to learn, %d to validate", name, len(some), len(rest))
    return Lessons(learn, tokenize_states(sized, worlds=True), valid)


def learning_rate(step: int, config: WorldTrainingConfig) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def train(config: WorldTrainingConfig, start: Path, cache: Path, output: Path) -> dict[str, float]:
    """Train, writing the checkpoint to `output` every 400 steps; validation losses in nats per token, by world."""
    torch.set_num_threads(config.threads)
    what = lessons(config, cache)
    model = with_more_words(start, config.seed)
    head = SizeHead(model.config.hidden_size)
    log.info("%d parameters, %d examples", model.num_parameters(), len(what.learn))
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
    )
    rng = np.random.default_rng(config.seed)
    shuffler = NameShuffler(rng, config.shuffle_share, _LETTERS, worlds=True)
    n_sized = math.ceil(config.steps / config.size_every)
    sized = size_batches(what.sizes, config.size_batch_size, n_sized, shuffler, np.random.default_rng(config.seed + 1))
    started, running = time.perf_counter(), 0.0
    model.train()
    for step, (ids, targets) in enumerate(batches(what.learn, config.batch_size, config.steps, shuffler, rng)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        loss = completion_loss(model, ids, targets)
        loss.backward()
        if config.size_weight and step % config.size_every == 0:
            (config.size_weight * head.loss(model, *next(sized))[0]).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0:
            log.info(
                "step %5d  loss %.4f  %.0f s, %.0f CPU s",
                step,
                running,
                time.perf_counter() - started,
                time.process_time(),
            )
        if step and step % 400 == 0:
            save_checkpoint(model, output, worlds=True)
            log.info("step %5d  validation %s", step, _validate(model, what.valid))
    figures = _validate(model, what.valid)
    save_checkpoint(model.eval(), output, worlds=True)
    log.info("validation %s, %.0f s", figures, time.perf_counter() - started)
    return figures


def _validate(model: LlamaForCausalLM, valid: dict[str, list[Example]]) -> dict[str, float]:
    return {name: round(validation_loss(model, examples[:1500], worlds=True), 4) for name, examples in valid.items()}


def main() -> None:
    """Train and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, default=TINY_CHECKPOINT, help="the checkpoint to start from")
    parser.add_argument("--output", type=Path, default=WORLDS_CHECKPOINT, help="folder of the new checkpoint")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "prover-tiny-training")
    for name, value in asdict(WorldTrainingConfig()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start, output, cache = (arguments.pop(name) for name in ("start", "output", "cache"))
    train(WorldTrainingConfig(**arguments), start, cache, output)
    log.info("wrote %s", output)


if __name__ == "__main__":
    main()

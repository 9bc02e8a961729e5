"""The optimisation behind `prover.policy.finetune`: examples, batches, the loss with its anchor, LoRA, the curve."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from prover.policy.finetune_config import FineTuneConfig, ProvedStep

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from prover.policy.huggingface import HuggingFacePolicy

Example = tuple[tuple[int, ...], int]
"""Token ids of prompt, completion and end; and the length of the prompt."""
_AT_A_TIME = 16
"""Batches that are drawn together."""
OnMetrics = Callable[[int, dict[str, float]], None]


class DivergedError(ArithmeticError):
    """The loss is no number any more; the message says at which step."""


def make_examples(policy: "HuggingFacePolicy", steps: Sequence[ProvedStep], max_tokens: int) -> list[Example]:
    """What the policy would read and should say, as token ids, in the order of `steps`.

    Left out are steps without a state or with a tactic of several lines (a candidate is one line), and those longer
    than `max_tokens`.
    """
    template, tokenizer = policy.template, policy._loaded.tokenizer
    usable = [step for step in steps if step.state and step.tactic.strip() and "\n" not in step.tactic.strip()]
    if not usable:
        return []
    prompts = policy._tokenize([template.prompt(step.state) for step in usable])
    ending = [tokenizer.eos_token_id] if template.end is None else []
    texts = [template.completion(step.tactic.strip(), step.state) + (template.end or "") for step in usable]
    completions = tokenizer(texts, add_special_tokens=False)["input_ids"]
    examples = [((*p, *c, *ending), len(p)) for p, c in zip(prompts, completions, strict=True)]
    return [example for example in examples if len(example[0]) <= max_tokens]


def _batch(examples: Sequence[Example], pad_id: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """ids (B, L) right-padded; targets (B, L), -100 where nothing is learnt; targets[i, j] follows ids[i, j]."""
    longest = max(len(ids) for ids, _ in examples) - 1
    ids = torch.full((len(examples), longest), pad_id, dtype=torch.int64)
    targets = torch.full((len(examples), longest), -100, dtype=torch.int64)
    for row, (tokens, start) in enumerate(examples):
        ids[row, : len(tokens) - 1] = torch.tensor(tokens[:-1])
        targets[row, start - 1 : len(tokens) - 1] = torch.tensor(tokens[start:])
    return ids.to(device), targets.to(device)


def _log_probs(model: "PreTrainedModel | PeftModel", ids: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """(tokens to learn, V) float32 log-probabilities."""
    return torch.log_softmax(model(input_ids=ids, use_cache=False).logits[wanted].float(), dim=-1)


def mean_loss(model: "PreTrainedModel | PeftModel", examples: Sequence[Example], pad_id: int, batch_size: int) -> float:
    """Nats a token over the completions of all examples; NaN without any. The model is left in the mode it was in."""
    if not examples:
        return math.nan
    ordered = sorted(examples, key=lambda example: len(example[0]))
    total, tokens, training = 0.0, 0, model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(ordered), batch_size):
            ids, targets = _batch(ordered[start : start + batch_size], pad_id, model.device)
            wanted = targets != -100
            found = _log_probs(model, ids, wanted).gather(1, targets[wanted][:, None])
            total -= float(found.sum())
            tokens += int(wanted.sum())
    model.train(training)
    return total / tokens


def with_lora(model: "PreTrainedModel", rank: int, alpha: int) -> "PeftModel":
    """The model behind low-rank adapters on all its linear layers but the head. Raises ImportError without peft."""
    from peft import LoraConfig, get_peft_model

    adapter = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, adapter)


class _Draws:
    """Examples in random order, round and round: every example once before any comes a second time."""

    def __init__(self, examples: Sequence[Example], rng: np.random.Generator) -> None:
        self._examples, self._rng = examples, rng
        self._order: list[int] = []

    def take(self, count: int) -> list[Example]:
        while len(self._order) < count:
            self._order += self._rng.permutation(len(self._examples)).tolist()
        chosen, self._order = self._order[:count], self._order[count:]
        return [self._examples[i] for i in chosen]


def _batches(
    sources: Sequence[tuple[Sequence[Example], float]], n_steps: int, batch_size: int, rng: np.random.Generator
) -> Iterator[list[Example]]:
    """`n_steps` batches of examples of like length: padding is work, and examples differ tenfold in length.

    sources: examples and their share, with a sum of 1. Shares hold over `_AT_A_TIME` batches, which are drawn together
    and then cut by length.
    """
    draws = [(_Draws(examples, rng), share) for examples, share in sources]
    for first in range(0, n_steps, _AT_A_TIME):
        n_batches = min(_AT_A_TIME, n_steps - first)
        wanted = [round(share * n_batches * batch_size) for _, share in draws]
        wanted[0] += n_batches * batch_size - sum(wanted)
        drawn = [example for (draw, _), count in zip(draws, wanted, strict=True) for example in draw.take(count)]
        drawn.sort(key=lambda example: len(example[0]))
        for batch in rng.permutation(n_batches):
            yield drawn[batch * batch_size : (batch + 1) * batch_size]


def optimize(
    model: "PreTrainedModel | PeftModel",
    anchor: "PreTrainedModel | None",
    examples: Sequence[Example],
    n_steps: int,
    config: FineTuneConfig,
    pad_id: int,
    *,
    replay: Sequence[Example] = (),
    held_out: Sequence[Example] = (),
    on_metrics: OnMetrics | None = None,
) -> None:
    """Tune `model` in place.

    anchor: the model as it was; None with adapters, which are switched off to see it. replay: older examples, which
    make up `config.replay_share` of what is learnt. held_out: examples whose loss is measured when metrics are due.
    on_metrics(step, {loss, divergence, held_out_loss}): losses in nats a token; held_out_loss where there is any.
    Raises DivergedError.
    """
    rng = np.random.default_rng(config.seed)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    without_adapters = getattr(model, "disable_adapter", None) if anchor is None else None
    of_replay = config.replay_share if replay else 0.0
    sources = [(some, share) for some, share in ((examples, 1.0 - of_replay), (replay, of_replay)) if share > 0]
    model.train()
    for step, batch in enumerate(_batches(sources, n_steps, config.batch_size, rng)):
        ids, targets = _batch(batch, pad_id, model.device)
        wanted = targets != -100
        log_probs = _log_probs(model, ids, wanted)
        loss = torch.nn.functional.nll_loss(log_probs, targets[wanted])
        divergence = log_probs.new_zeros(())
        if config.anchor_weight > 0 and (anchor is not None or without_adapters is not None):
            with torch.no_grad(), contextlib.nullcontext() if without_adapters is None else without_adapters():
                reference = _log_probs(model if anchor is None else anchor, ids, wanted)
            divergence = torch.nn.functional.kl_div(log_probs, reference, reduction="batchmean", log_target=True)
        total = loss + config.anchor_weight * divergence
        if not bool(torch.isfinite(total)):
            raise DivergedError(f"the loss is {float(total)} at step {step}")
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * schedule(step, n_steps)
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_metrics and (step % config.log_interval == 0 or step == n_steps - 1):
            metrics = {"loss": loss.item(), "divergence": divergence.item()}
            if held_out:
                metrics["held_out_loss"] = mean_loss(model, held_out, pad_id, config.batch_size)
            on_metrics(step, metrics)
    model.eval()


def schedule(step: int, n_steps: int) -> float:
    """Share of the peak learning rate: linear over the first tenth, then a cosine to zero."""
    warmup = max(1, n_steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, n_steps - warmup)))

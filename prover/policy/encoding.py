"""Hidden states of whole texts, pooled layer by layer as they are made, so that no layer outlives its turn."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from prover.policy.decoder import TreeCache, decoder_of, padded
from prover.policy.pooling import Pooled, early_layer
from prover.policy.prefixes import shared_prefixes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def encode_batch(
    model: "PreTrainedModel", tokens: Sequence[Sequence[int]], parts: tuple[str, ...], pad_id: int, *, share: bool
) -> torch.Tensor:
    """Pooled vectors, (B, len(parts) * H) float32.

    tokens: ids of each text, at least one each. share: read prefixes that texts have in common once; only for models
    whose attention masks are honoured (`prover.policy.faithful`).
    """
    plan = shared_prefixes(tokens) if share else None
    if plan is None:
        return _read(model, tokens, parts, pad_id, None).vectors(parts)
    cache = TreeCache(model, max(map(len, tokens)))
    group = torch.tensor(plan.group, device=model.device)
    pooled = _read(model, plan.prefixes, parts, pad_id, cache).rows(group)
    cache.keep(group)
    rests = plan.rests(tokens)
    if max(map(len, rests)):
        pooled = pooled.joined(_read(model, rests, parts, pad_id, cache))
    return pooled.vectors(parts)


def _read(
    model: "PreTrainedModel",
    tokens: Sequence[Sequence[int]],
    parts: tuple[str, ...],
    pad_id: int,
    cache: TreeCache | None,
) -> Pooled:
    """One forward pass, pooled. With a cache, tokens go on where its rows end."""
    lengths = torch.tensor([len(row) for row in tokens], device=model.device)
    with _early(model, lengths, wanted="early" in parts) as early:
        if cache is None:
            # Right padding under a causal mask cannot reach a real token.
            ids = padded(tokens, pad_id).to(model.device)
            hidden = decoder_of(model)(input_ids=ids, use_cache=False, **early.arguments)
            last = hidden.last_hidden_state
            if early.arguments:
                early.take(hidden.hidden_states[early.layer])
        else:
            last = cache.read(tokens, pad_id) if cache.length.numel() == 0 else cache.read_on(tokens, pad_id)
    pooled = Pooled.of(last, lengths)
    if early.total is not None:
        pooled.early = early.total
    return pooled


class _Early:
    """The early layer's sum over real tokens, taken while the model runs."""

    def __init__(self, layer: int, lengths: torch.Tensor) -> None:
        self.layer = layer
        self.lengths = lengths
        self.total: torch.Tensor | None = None  # (B, H) float32
        self.arguments: dict[str, object] = {}

    def take(self, hidden: torch.Tensor) -> None:
        self.total = Pooled.sums(hidden, self.lengths.to(hidden.device)).to(self.lengths.device)


@contextmanager
def _early(model: "PreTrainedModel", lengths: torch.Tensor, *, wanted: bool) -> Iterator[_Early]:
    """Catch the output of the early layer. A model whose layers cannot be found gives all hidden states instead."""
    total = model.config.get_text_config().num_hidden_layers
    early = _Early(early_layer(total), lengths)
    if not wanted:
        yield early
        return
    layers = layers_of(model)
    if layers is None or early.layer == total:  # the last hidden state has gone through the final norm
        early.arguments = {"output_hidden_states": True}
        yield early
        return

    def hook(module: nn.Module, inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        early.take(output[0] if isinstance(output, tuple) else output)

    handle = layers[early.layer - 1].register_forward_hook(hook)
    try:
        yield early
    finally:
        handle.remove()


def layers_of(model: "PreTrainedModel") -> nn.ModuleList | None:
    """The list of transformer layers; None where there is not exactly one list of that length."""
    total = model.config.get_text_config().num_hidden_layers
    found = [
        child for child in decoder_of(model).children() if isinstance(child, nn.ModuleList) and len(child) == total
    ]
    return found[0] if len(found) == 1 else None

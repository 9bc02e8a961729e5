"""Does tree decoding give a model's own log-probabilities? Tried before it is relied on.

Two questions, because half precision hides the answer to the first behind rounding:

1. The loaded model, in its own dtype, on two short prompts and a few steps of beams. In float32 differences must stay
   below 1e-3 nats. In half precision a model differs from itself in another batch by tenths of a nat, so there the
   measure is the model's own noise: the same sequences alone, in a padded batch, and token by token through its own
   cache.
2. The logic of mask, positions and windows, in float32, on a shrunken copy: the same class and configuration with few
   small layers, random weights, and windows so short that the prompts reach beyond them. This is what is exact, and
   what sees a sliding window of thousands of tokens.
"""

import copy
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch

from prover.policy.decoder import PlainDecoder, TreeDecoder, padded, reaches
from prover.policy.fused import FusedLlama, can_be_fused
from prover.policy.prefixes import SharedPrefixes

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

log = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""Nats, in float32."""
NOISE_FACTOR = 4.0
"""In half precision tree decoding may be this many times farther off than the model is from itself."""
_SHORT_WINDOW = 6
_COMPARED = 20  # likeliest tokens of each step
_UNABLE = (
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    NotImplementedError,
    IndexError,
    KeyError,
    AssertionError,
    ImportError,
    ZeroDivisionError,
)
"""What a signature, a configuration or a cache of its own kind ends in."""


def tree_attention_is_faithful(model: "PreTrainedModel", pad_id: int) -> bool:
    """Whether `TreeDecoder` is right for this model; see the module's text. Runs a few short forward passes."""
    half = model.dtype != torch.float32
    try:
        differences = [
            (tree - plain, plain, sequences) for tree, plain, sequences in _both(model, pad_id, share=not half)
        ]
    except _UNABLE as error:
        log.debug("tree decoding of %s ends in %s: %s", type(model).__name__, type(error).__name__, error)
        return False
    if half:
        if not _within_noise(model, pad_id, differences):
            return False
    elif not all(bool((difference.abs() <= TOLERANCE).all()) for difference, _, _ in differences):
        return False
    # A short prompt says nothing about a long window.
    limited = any(reach.window or reach.chunk for reach in reaches(model.config.get_text_config()).values())
    if not half and not limited and not _windows(model.config.get_text_config()):
        return True
    small = shrunken_copy(model)
    if small is None:
        log.debug("%s has no shrunken copy; tree decoding was tried on the model alone", type(model).__name__)
        return not (limited or _windows(model.config.get_text_config()))
    return all(bool(((tree - plain).abs() <= TOLERANCE).all()) for tree, plain, _ in _both(small, 0, share=True))


def fused_copy(model: "PreTrainedModel", pad_id: int) -> FusedLlama | None:
    """A faster forward pass with the same numbers, for `TreeDecoder`; None where there is none for this model.

    model: one whose tree decoding is faithful.
    """
    if not can_be_fused(model):
        return None
    try:
        fused = FusedLlama(model)
        steps = list(_both(model, pad_id, share=True, fused=fused))
    except _UNABLE as error:
        log.warning("the fused forward pass of %s ends in %s: %s", type(model).__name__, type(error).__name__, error)
        return None
    worst = max(float((tree - plain).abs().max()) for tree, plain, _ in steps)
    if not worst <= TOLERANCE:
        log.warning("the fused forward pass is off by %.4f nats, so transformers' own is used, which is slower", worst)
        return None
    return fused


def _both(
    model: "PreTrainedModel", pad_id: int, *, share: bool, fused: FusedLlama | None = None
) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[list[int]]]]:
    """(tree, plain, sequences) per step: log-probabilities of the likeliest tokens, (beams, 20) float32.

    share: a second pass over prompts with a common prefix that is read once.
    """
    size = cast(torch.Tensor, model.get_input_embeddings().weight).shape[0]
    first = [(7 * i + 3) % size for i in range(9)]
    prompts = [first, [(5 * i + 1) % size for i in range(5)]]
    yield from _compare(model, prompts, size, TreeDecoder(model, prompts, pad_id, fused=fused))
    if share:
        prompts = [first, [*first[:4], 2 % size, 5 % size], first[:5]]
        plan = SharedPrefixes([first[:4]], [0, 0, 0], 8)
        yield from _compare(model, prompts, size, TreeDecoder(model, prompts, pad_id, shared=plan, fused=fused))


def _compare(
    model: "PreTrainedModel", prompts: list[list[int]], size: int, tree: TreeDecoder
) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[list[int]]]]:
    plain = PlainDecoder(model, prompts)
    rows = len(prompts)
    steps = [
        (torch.tensor([[prompt[-1]] for prompt in prompts]), torch.zeros(rows, 1, dtype=torch.int64)),
        (torch.tensor([[2, 11], [4, 9], [3, 7]])[:rows] % size, torch.zeros(rows, 2, dtype=torch.int64)),
        (torch.tensor([[6, 8], [3, 5], [1, 2]])[:rows] % size, torch.tensor([[1, 0], [1, 1], [0, 1]])[:rows]),
    ]
    for tokens, parents in steps:
        got = tree.step(tokens.to(model.device), parents.to(model.device))
        expected = plain.step(tokens.to(model.device), parents.to(model.device))
        likeliest = expected.topk(min(_COMPARED, expected.shape[-1]), dim=-1)
        sequences = [sequence for row in plain.sequences for sequence in row]
        yield got.gather(-1, likeliest.indices).flatten(0, 1), likeliest.values.flatten(0, 1), sequences


def _within_noise(
    model: "PreTrainedModel", pad_id: int, steps: Sequence[tuple[torch.Tensor, torch.Tensor, list[list[int]]]]
) -> bool:
    """Whether tree decoding is about as far from plain decoding as the model is from itself."""
    error, batched, cached, scale = [], [], [], []
    for difference, _, sequences in steps:
        alone = torch.cat([_last(model, torch.tensor([sequence])) for sequence in sequences])
        likeliest = alone.topk(difference.shape[1], dim=-1)
        error.append(difference)
        batched.append(_padded(model, sequences, pad_id).gather(-1, likeliest.indices) - likeliest.values)
        cached.append(_cached(model, sequences).gather(-1, likeliest.indices) - likeliest.values)
        scale.append(alone.std(dim=-1))
    rounding = torch.finfo(model.dtype).eps * float(torch.cat(scale).mean())
    noise = max(_rms(batched), _rms(cached), rounding)
    log.debug("tree decoding is off by %.4f nats, the model itself by %.4f", _rms(error), noise)
    return _rms(error) <= NOISE_FACTOR * noise


def _rms(parts: Sequence[torch.Tensor]) -> float:
    return float(torch.cat([part.float().flatten() for part in parts]).square().mean().sqrt())


def _last(model: "PreTrainedModel", ids: torch.Tensor) -> torch.Tensor:
    """Log-probabilities (nats) after the last token of each row, (B, V) float32."""
    return torch.log_softmax(model(input_ids=ids.to(model.device), use_cache=False).logits[:, -1].float(), dim=-1)


def _padded(model: "PreTrainedModel", sequences: list[list[int]], pad_id: int) -> torch.Tensor:
    """The same in one batch, with a row beside them that makes all of them padded."""
    longer = [*sequences[0], *sequences[0][:4]]
    ids = padded([*sequences, longer], pad_id).to(model.device)
    ends = torch.tensor([len(sequence) - 1 for sequence in sequences], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits
    return torch.log_softmax(logits[torch.arange(len(sequences), device=model.device), ends].float(), dim=-1)


def _cached(model: "PreTrainedModel", sequences: list[list[int]]) -> torch.Tensor:
    """The same, the last three tokens one by one through the model's own cache."""
    rows = []
    for sequence in sequences:
        ids = torch.tensor([sequence], device=model.device)
        output = model(input_ids=ids[:, :-3], use_cache=True)
        for place in range(ids.shape[1] - 3, ids.shape[1]):
            output = model(input_ids=ids[:, place : place + 1], past_key_values=output.past_key_values, use_cache=True)
        rows.append(torch.log_softmax(output.logits[:, -1].float(), dim=-1))
    return torch.cat(rows)


# ---- the shrunken copy


def shrunken_copy(model: "PreTrainedModel") -> "PreTrainedModel | None":
    """A small float32 model of the same class and attention, with random weights; None where none can be made.

    Windows become 6 tokens. Sizes that do not change which token sees which (heads, widths, experts, vocabulary) are
    cut as far as the class allows.
    """
    for smaller in (("heads", "experts"), ("experts",), ("heads",), ()):
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                small = type(model)(_small_config(model, smaller))
        except _UNABLE as error:
            log.debug("no copy of %s with smaller %s: %s", type(model).__name__, smaller, error)
            continue
        small = cast(Any, small).to(device=model.device, dtype=torch.float32).eval()  # transformers wraps `to`
        _sharpen(small)
        try:
            with torch.inference_mode():
                logits = small(input_ids=torch.arange(8, device=model.device)[None]).logits
        except _UNABLE as error:
            log.debug("a copy of %s with smaller %s does not run: %s", type(model).__name__, smaller, error)
            continue
        if bool(torch.isfinite(logits).all()):
            return small
    return None


def _windows(config: "PretrainedConfig") -> list[str]:
    """Names of settings that limit how far back a layer sees, whatever the family calls them."""
    names = [name for name in vars(config) if "window" in name or name in ("attention_chunk_size", "local_attention")]
    return [name for name in names if type(getattr(config, name)) is int and getattr(config, name) > 0]


def _small_config(model: "PreTrainedModel", smaller: Sequence[str]) -> "PretrainedConfig":
    config = copy.deepcopy(model.config)
    text = config.get_text_config()
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._attn_implementation = text._attn_implementation = model.config.get_text_config()._attn_implementation
    total = text.num_hidden_layers
    kinds = list(getattr(text, "layer_types", None) or ())
    layers = min(total, max(2, *(kinds.index(kind) + 1 for kind in set(kinds)))) if kinds else min(total, 2)
    for name, value in list(vars(text).items()):  # settings per layer
        if isinstance(value, list) and len(value) == total:
            setattr(text, name, value[:layers])
    text.num_hidden_layers = layers
    for name in _windows(text):
        if name.startswith("use_") or name.startswith("max_window"):
            continue
        setattr(text, name, min(getattr(text, name), _SHORT_WINDOW))
    text.vocab_size = min(text.vocab_size, 64)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(text, name, None)
    _cut(text, {"intermediate_size": 64, "moe_intermediate_size": 64, "n_inner": 64})
    if "heads" in smaller:
        heads = text.num_attention_heads
        width = getattr(text, "head_dim", None) or text.hidden_size // heads
        grouped = (getattr(text, "num_key_value_heads", None) or heads) < heads
        text.num_attention_heads = min(heads, 2)
        if hasattr(text, "num_key_value_heads"):
            text.num_key_value_heads = 1 if grouped else text.num_attention_heads
        text.hidden_size = width * text.num_attention_heads
    if "experts" in smaller:
        _cut(text, {"num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2})
    return config


def _cut(config: "PretrainedConfig", limits: dict[str, int]) -> None:
    for name, most in limits.items():
        value = getattr(config, name, None)
        if isinstance(value, int) and value > most:
            setattr(config, name, most)


def _sharpen(model: "PreTrainedModel") -> None:
    """Weights of the size at which each layer keeps its input's scale: a mask that is wrong then shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                values = torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5
                parameter.copy_(values)

"""Next-token log-probabilities for many beams of many prompts, over any causal language model of transformers.

`TreeDecoder` never copies a prompt's keys and values. The beams of one prompt are not rows of the batch but query
positions of one row: all tokens ever tried form a tree behind the prompt, one cache slot each, and a 4D attention mask
lets a token see its prompt and its own ancestors, as far back as the layer's window reaches. Choosing beams is then
bookkeeping on the mask; the cache only grows. A prefix that several prompts share is read once.

`PlainDecoder` runs whole sequences without any cache. It is right for every causal model, slow, and is used where a
model turns out not to honour 4D masks and position ids (`prover.policy.faithful` tries it).
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from transformers.cache_utils import Cache, DynamicLayer

from prover.policy.fused import FusedLlama
from prover.policy.prefixes import SharedPrefixes, shared_prefixes

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

PLAIN_TOKENS = 4096
"""Tokens that `PlainDecoder` puts through the model at once."""


class Decoder(Protocol):
    """A batch of prompts in the middle of decoding."""

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (nats) of the token after each beam, (B, Q, V) float32.

        tokens: (B, Q) int64, the last token of each beam; parents: (B, Q) int64, the column of the step before that
        each beam continues. The first step has one column, the prompt's last token, and its parents are ignored.
        """
        ...

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows of the batch alone; rows: (B',) int64, ascending."""
        ...


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a layer sees. `window`: this many tokens, its own among them. `chunk`: the tokens whose position
    divided by `chunk` is the same. None: no such limit."""

    window: int | None = None
    chunk: int | None = None

    def limit(self, visible: torch.Tensor, slots: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """`visible` (B, Q, S) bool without what is out of reach. slots: (B, S) positions; position: (B, Q)."""
        if self.window is not None:
            visible = visible & (slots[:, None, :] > position[:, :, None] - self.window)
        if self.chunk is not None:
            visible = visible & (slots[:, None, :] // self.chunk == position[:, :, None] // self.chunk)
        return visible

    def within(self, n_tokens: int) -> bool:
        """Whether a sequence of that many tokens is seen whole from everywhere."""
        return n_tokens <= min(self.window or n_tokens, self.chunk or n_tokens)


def reaches(config: "PretrainedConfig") -> dict[str, Reach]:
    """Layer kind -> reach, from a model's text configuration. One entry: all layers are alike."""
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    kinds = set(getattr(config, "layer_types", None) or ())
    if not kinds:
        return {"all": Reach(window=window)}
    special = {
        "sliding_attention": Reach(window=window),
        "chunked_attention": Reach(chunk=getattr(config, "attention_chunk_size", None)),
    }
    return {kind: special.get(kind, Reach()) for kind in sorted(kinds)}


class _GrowingLayer(DynamicLayer):
    """Keys and values in one buffer with room for what will come, so that a step appends without copying."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.length = 0
        self.key_buffer = self.value_buffer = torch.empty(0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        batch, heads, new, width = key_states.shape
        end = self.length + new
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.key_buffer = key_states.new_empty(batch, heads, max(self.room, end), width)
            self.value_buffer = value_states.new_empty(batch, heads, max(self.room, end), value_states.shape[-1])
        elif end > self.key_buffer.shape[2]:
            grow = max(end, self.key_buffer.shape[2] * 3 // 2) - self.key_buffer.shape[2]
            self.key_buffer = torch.nn.functional.pad(self.key_buffer, (0, 0, 0, grow))
            self.value_buffer = torch.nn.functional.pad(self.value_buffer, (0, 0, 0, grow))
        self.key_buffer[:, :, self.length : end] = key_states
        self.value_buffer[:, :, self.length : end] = value_states
        self.length = end
        self.keys = self.key_buffer[:, :, :end]
        self.values = self.value_buffer[:, :, :end]
        return self.keys, self.values

    def keep(self, rows: torch.Tensor) -> None:
        """Choose rows of the batch; a row may be chosen several times."""
        if not self.is_initialized:  # a layer that keeps no keys of its own
            return
        self.key_buffer = self.key_buffer.index_select(0, rows.to(self.key_buffer.device))
        self.value_buffer = self.value_buffer.index_select(0, rows.to(self.value_buffer.device))
        self.keys = self.key_buffer[:, :, : self.length]
        self.values = self.value_buffer[:, :, : self.length]


class TreeCache:
    """Keys and values of a batch of rows, with the mask that says which slot each new token may see.

    `visible`: (B, 1, slots) bool, what the row's next token sees; `slots`: (B, slots) int64 positions; `length`: (B,)
    int64 tokens of each row so far.
    """

    def __init__(self, model: "PreTrainedModel", room: int, fused: FusedLlama | None = None) -> None:
        """fused: reads instead of `model`, from the same weights."""
        self.model = model
        self.fused = fused
        self.config = model.config.get_text_config()
        self.reaches = reaches(self.config)
        self.layers = [_GrowingLayer(room) for _ in range(self.config.num_hidden_layers)]
        self.cache = Cache(layers=list(self.layers))
        self.longest = 0  # tokens of the longest row
        self.visible = self.slots = self.length = torch.empty(0)

    def read(self, rows: Sequence[Sequence[int]], pad_id: int) -> torch.Tensor | None:
        """Read the first tokens of each row. Returns their hidden states, (B, L, H), right-padded; None for no tokens.

        Plain causal attention never shows the padding on the right to a real token, so that no mask is needed and the
        fastest attention is used.
        """
        device = self.model.device
        self.longest = max(map(len, rows))
        self.length = torch.tensor([len(row) for row in rows], device=device)
        places = torch.arange(self.longest, device=device)[None, :]
        self.visible = (places < self.length[:, None])[:, None, :]
        self.slots = places.expand(len(rows), -1)
        if not self.longest:
            return None
        ids = padded(rows, pad_id).to(device)
        if self.fused is not None:
            return self.fused.read(ids, places, self.layers, None)
        output = decoder_of(self.model)(input_ids=ids, past_key_values=self.cache, use_cache=True)
        return output.last_hidden_state

    def read_on(self, rows: Sequence[Sequence[int]], pad_id: int) -> torch.Tensor | None:
        """Read further tokens of each row, those of one row one after the other. As `read`."""
        n_new = max(map(len, rows))
        if not n_new:
            return None
        device = self.model.device
        count = torch.tensor([len(row) for row in rows], device=device)
        places = torch.arange(n_new, device=device)
        real = places[None, :] < count[:, None]  # (B, S)
        # Padding gets a position that the model surely has.
        position = torch.where(real, self.length[:, None] + places[None, :], 0)
        triangle = (places[:, None] >= places[None, :]).expand(len(rows), -1, -1)
        visible = torch.cat([self.visible.expand(-1, n_new, -1), triangle], dim=2)
        self.longest = max(self.longest, int((self.length + count).max()))
        self.slots = torch.cat([self.slots, position], dim=1)
        ids, mask = padded(rows, pad_id).to(device), self.mask(visible, position)
        if self.fused is not None and isinstance(mask, torch.Tensor):
            hidden = self.fused.read(ids, position, self.layers, mask)
        else:
            hidden = decoder_of(self.model)(
                input_ids=ids,
                attention_mask=mask,
                position_ids=position,
                past_key_values=self.cache,
                use_cache=True,
            ).last_hidden_state
        self.visible = torch.cat([self.visible, real[:, None, :]], dim=2)
        self.length = self.length + count
        return hidden

    def logits(self, tokens: torch.Tensor, visible: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Read one more token per beam, (B, Q) int64, at `position` (B, Q). Returns the logits after each, (B, Q, V).

        visible: (B, Q, slots + Q) bool, what each may see, itself included.
        """
        self.slots = torch.cat([self.slots, position], dim=1)
        self.longest += 1
        mask = self.mask(visible, position)
        if self.fused is not None and isinstance(mask, torch.Tensor):
            return self.fused.logits(self.fused.read(tokens, position, self.layers, mask))
        found: torch.Tensor = self.model(
            input_ids=tokens, attention_mask=mask, position_ids=position, past_key_values=self.cache, use_cache=True
        ).logits
        return found

    def mask(self, visible: torch.Tensor, position: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """What `attention_mask` takes: (B, 1, Q, slots) additive, one per kind of layer where they differ."""
        masks: dict[str, torch.Tensor] = {}
        whole: torch.Tensor | None = None
        for kind, reach in self.reaches.items():
            if reach.within(self.longest):
                whole = self._additive(visible) if whole is None else whole
                masks[kind] = whole
            else:
                masks[kind] = self._additive(reach.limit(visible, self.slots, position))
        return next(iter(masks.values())) if len(masks) == 1 else masks

    def _additive(self, visible: torch.Tensor) -> torch.Tensor:
        dtype = self.model.dtype
        mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
        return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]

    def keep(self, rows: torch.Tensor) -> None:
        """Choose rows of the batch; a row may be chosen several times."""
        for layer in self.layers:
            layer.keep(rows)
        self.visible, self.slots = self.visible.index_select(0, rows), self.slots.index_select(0, rows)
        self.length = self.length.index_select(0, rows)


class TreeDecoder:
    """See the module's text. `prompts` are token ids, each at least one long; `room`: tree slots to make room for.

    `shared`: the prefixes of the prompts without their last tokens that are read once; None: found here. `fused`: reads
    instead of the model, from the same weights.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        prompts: Sequence[Sequence[int]],
        pad_id: int,
        room: int = 64,
        shared: SharedPrefixes | None = None,
        fused: FusedLlama | None = None,
    ) -> None:
        self.model = model
        # All tokens of a prompt but the last are read here, without the language-model head; the last is step one.
        bodies = [list(prompt[:-1]) for prompt in prompts]
        plan = shared or shared_prefixes(bodies)
        self.cache = TreeCache(model, max(map(len, bodies)) + room, fused)
        if plan is None:
            self.cache.read(bodies, pad_id)
        else:
            self.cache.read(plan.prefixes, pad_id)
            self.cache.keep(torch.tensor(plan.group, device=model.device))
            self.cache.read_on(plan.rests(bodies), pad_id)
        self.visible = self.cache.visible  # (B, Q, slots) bool: what each beam of the last step may see
        self.position = self.cache.length[:, None]  # (B, 1) position of the next token

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the next token; the branches of a prompt share its key-value cache."""
        batch, width = tokens.shape
        if self.visible.shape[1] == 1:
            seen = self.visible.expand(-1, width, -1)
        else:
            seen = self.visible.gather(1, parents[:, :, None].expand(-1, -1, self.visible.shape[2]))
        own = torch.eye(width, dtype=torch.bool, device=tokens.device).expand(batch, -1, -1)
        self.visible = torch.cat([seen, own], dim=2)
        position = self.position.expand(-1, width)
        logits = self.cache.logits(tokens, self.visible, position)
        self.position = self.position + 1
        return torch.log_softmax(logits.float(), dim=-1)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows of the batch, in this order."""
        self.cache.keep(rows)
        self.visible = self.visible.index_select(0, rows)
        self.position = self.position.index_select(0, rows)


class PlainDecoder:
    """Recomputes every sequence from its first token at every step: no cache, no mask, any causal model.

    Sequences of one length go through the model together, so that there is no padding either, and logits are made of
    their last position alone.
    """

    def __init__(self, model: "PreTrainedModel", prompts: Sequence[Sequence[int]]) -> None:
        self.model = model
        self.sequences = [[list(prompt[:-1])] for prompt in prompts]  # [row][column] -> token ids so far
        # Models that lack the argument make the logits of all positions.
        self.last_only = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the next token; every branch is computed from its whole text."""
        batch, width = tokens.shape
        chosen, columns = tokens.tolist(), parents.tolist()
        grown = []
        for row, known in enumerate(self.sequences):
            origins = [known[0 if len(known) == 1 else columns[row][column]] for column in range(width)]
            grown.append([[*origin, token] for origin, token in zip(origins, chosen[row], strict=True)])
        self.sequences = grown
        flat = [sequence for row in self.sequences for sequence in row]
        by_length: dict[int, list[int]] = {}
        for place, sequence in enumerate(flat):
            by_length.setdefault(len(sequence), []).append(place)
        result: torch.Tensor | None = None
        for length, places in by_length.items():
            at_once = max(1, PLAIN_TOKENS // length)
            for start in range(0, len(places), at_once):
                some = places[start : start + at_once]
                ids = torch.tensor([flat[place] for place in some], device=tokens.device)
                logits = self.model(input_ids=ids, use_cache=False, **self.last_only).logits[:, -1].float()
                if result is None:
                    result = logits.new_empty(len(flat), logits.shape[-1])
                result[torch.tensor(some, device=result.device)] = torch.log_softmax(logits, dim=-1)
        assert result is not None  # there is at least one prompt
        return result.view(batch, width, -1)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows of the batch, in this order."""
        self.sequences = [self.sequences[row] for row in rows.tolist()]


def decoder_of(model: "PreTrainedModel") -> torch.nn.Module:
    """The model without its language-model head."""
    decoder = model.get_decoder()
    return getattr(model, "model", decoder) if decoder is model else decoder


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> torch.Tensor:
    """(B, L) int64 token ids, right-padded."""
    ids = torch.full((len(rows), max(map(len, rows))), pad_id, dtype=torch.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return ids


def takes(model: "PreTrainedModel", argument: str) -> bool:
    """Whether a model's forward pass names that argument."""
    return argument in inspect.signature(type(model).forward).parameters

"""Next-token log-probabilities for many beams of many prompts, over any causal language model of transformers.

`TreeDecoder` never copies a prompt's keys and values. The beams of one prompt are not rows of the batch but query
positions of one row: all tokens ever tried form a tree behind the prompt, one cache slot each, and a 4D attention mask
lets a token see its prompt and its own ancestors. Choosing beams is then bookkeeping on the mask; the cache only grows.

`PlainDecoder` runs whole sequences without any cache. It is right for every causal model, slow, and is used where a
model turns out not to honour 4D masks and position ids (`tree_attention_is_faithful` tries it on a small example).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers.cache_utils import Cache, DynamicLayer


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


class _GrowingLayer(DynamicLayer):
    """Keys and values in one buffer with room for what will come, so that a step appends without copying."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.length = 0
        self.key_buffer = self.value_buffer = torch.empty(0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
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
        self.key_buffer = self.key_buffer.index_select(0, rows)
        self.value_buffer = self.value_buffer.index_select(0, rows)
        self.keys = self.key_buffer[:, :, : self.length]
        self.values = self.value_buffer[:, :, : self.length]


class TreeDecoder:
    """See the module's text. `prompts` are token ids, each at least one long; `room`: tree slots to make room for."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], pad_id: int, room: int = 64) -> None:
        self.model = model
        device = model.device
        # All tokens of a prompt but the last are read here, without the language-model head; the last is step one.
        longest = max(len(prompt) for prompt in prompts) - 1
        ids = torch.full((len(prompts), longest), pad_id, dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt) - 1] = torch.tensor(prompt[:-1], dtype=torch.int64)
        read = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device)
        n_layers = model.config.get_text_config().num_hidden_layers
        self.layers = [_GrowingLayer(longest + room) for _ in range(n_layers)]
        self.cache = Cache(layers=list(self.layers))
        if longest:
            # Right-padded, so that plain causal attention never shows padding to a real token: no mask is needed.
            model.get_decoder()(input_ids=ids.to(device), past_key_values=self.cache, use_cache=True)
        prompt_slots = torch.arange(longest, device=device)[None, :] < read[:, None]
        self.visible = prompt_slots[:, None, :]  # (B, Q, slots) bool: what each beam of the last step may see
        self.position = read[:, None]  # (B, 1) position of the next token

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the next token; the branches of a prompt share its key-value cache."""
        batch, width = tokens.shape
        if self.visible.shape[1] == 1:
            seen = self.visible.expand(-1, width, -1)
        else:
            seen = self.visible.gather(1, parents[:, :, None].expand(-1, -1, self.visible.shape[2]))
        own = torch.eye(width, dtype=torch.bool, device=tokens.device).expand(batch, -1, -1)
        self.visible = torch.cat([seen, own], dim=2)
        dtype = self.model.dtype
        mask = torch.zeros(self.visible.shape, dtype=dtype, device=tokens.device)
        mask.masked_fill_(~self.visible, torch.finfo(dtype).min)
        output = self.model(
            input_ids=tokens,
            attention_mask=mask[:, None],
            position_ids=self.position.expand(-1, width),
            past_key_values=self.cache,
            use_cache=True,
        )
        self.position = self.position + 1
        return torch.log_softmax(output.logits.float(), dim=-1)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows of the batch, in this order."""
        for layer in self.layers:
            layer.keep(rows)
        self.visible = self.visible.index_select(0, rows)
        self.position = self.position.index_select(0, rows)


class PlainDecoder:
    """Recomputes every sequence from its first token at every step: no cache, no mask, any causal model."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], pad_id: int) -> None:
        self.model, self.pad_id = model, pad_id
        self.sequences = [[list(prompt[:-1])] for prompt in prompts]  # [row][column] -> token ids so far

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
        longest = max(map(len, flat))
        ids = torch.tensor([sequence + [self.pad_id] * (longest - len(sequence)) for sequence in flat])
        logits = self.model(input_ids=ids.to(tokens.device)).logits  # (B * Q, L, V)
        ends = torch.tensor([len(sequence) - 1 for sequence in flat], device=tokens.device)
        last = logits[torch.arange(len(flat), device=tokens.device), ends]
        return torch.log_softmax(last.float(), dim=-1).view(batch, width, -1)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows of the batch, in this order."""
        self.sequences = [self.sequences[row] for row in rows.tolist()]


def tree_attention_is_faithful(model: Any, pad_id: int) -> bool:
    """Whether tree decoding gives this model's own log-probabilities, on two short prompts and two steps of beams.

    Differences are compared over each step's 20 likeliest tokens: 1e-3 nats in float32, 0.25 in half precision.
    """
    vocabulary = model.get_input_embeddings().weight.shape[0]
    prompts = [[(7 * i + 3) % vocabulary for i in range(9)], [(5 * i + 1) % vocabulary for i in range(5)]]
    steps = [
        (torch.tensor([[prompt[-1]] for prompt in prompts]), torch.zeros(2, 1, dtype=torch.int64)),
        (torch.tensor([[2, 11], [4, 9]]) % vocabulary, torch.zeros(2, 2, dtype=torch.int64)),
        (torch.tensor([[6, 8], [3, 5]]) % vocabulary, torch.tensor([[1, 0], [1, 1]])),
    ]
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.25
    try:
        tree = TreeDecoder(model, prompts, pad_id)
        plain = PlainDecoder(model, prompts, pad_id)
        for tokens, parents in steps:
            got = tree.step(tokens.to(model.device), parents.to(model.device))
            expected = plain.step(tokens.to(model.device), parents.to(model.device))
            likeliest = expected.topk(min(20, expected.shape[-1]), dim=-1)
            if not torch.allclose(got.gather(-1, likeliest.indices), likeliest.values, rtol=0, atol=tolerance):
                return False
    except (TypeError, ValueError, AttributeError, RuntimeError, NotImplementedError, IndexError):
        return False  # a signature or a cache of its own kind: the caller takes PlainDecoder, and says so
    return True

"""The forward pass of a small Llama on the CPU, with few and large operations.

A small model spends most of its time between its matrix products: transformers runs some sixty operations per layer,
this some twenty. The numbers are the same but for rounding; `prover.policy.faithful` compares them before this is used.

What is joined: the projections of queries, keys and values are one product, those of gate and up another; the scales
of the norms are part of the products that follow them; positions turn queries and keys together, as complex numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LARGEST = 50_000_000
"""Parameters. The joined matrices are copies, and in a larger model the products take the time anyway."""


class KeyValues(Protocol):
    """The keys and values of one layer."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (B, heads, L, width) of both; returns all of both."""
        ...


@dataclass(frozen=True, slots=True)
class _Layer:
    """Weights of one layer, as `linear` takes them; D: width of the model, I: of its inner layer."""

    query_key_value: torch.Tensor  # (3 D, D)
    output: torch.Tensor  # (D, D)
    gate_up: torch.Tensor  # (2 I, D)
    down: torch.Tensor  # (D, I)


class FusedLlama:
    """Weights of a `LlamaForCausalLM`, joined. They are copies: what is done to the model later is not seen here."""

    def __init__(self, model: "PreTrainedModel") -> None:
        """model: one that `can_be_fused`."""
        config: Any = model.config
        inner: Any = model.get_decoder()
        self.heads = config.num_attention_heads
        self.width = config.hidden_size // self.heads
        self.epsilon = config.rms_norm_eps
        # Queries and keys keep their products when their numbers are reordered alike. Pairs that turn together
        # are then neighbours.
        half = self.width // 2
        pairs = torch.arange(self.width).view(2, half).T.flatten()
        order = torch.cat([pairs + head * self.width for head in range(self.heads)])
        with torch.no_grad():
            self.embedding = inner.embed_tokens.weight
            self.head = model.get_output_embeddings().weight * inner.norm.weight
            self.layers = [
                _Layer(
                    torch.cat(
                        [
                            layer.self_attn.q_proj.weight[order],
                            layer.self_attn.k_proj.weight[order],
                            layer.self_attn.v_proj.weight,
                        ]
                    )
                    * layer.input_layernorm.weight,
                    layer.self_attn.o_proj.weight,
                    torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight])
                    * layer.post_attention_layernorm.weight,
                    layer.mlp.down_proj.weight,
                )
                for layer in inner.layers
            ]
            angles = torch.outer(torch.arange(config.max_position_embeddings), inner.rotary_emb.inv_freq.float())
            self.turns = torch.polar(torch.ones_like(angles), angles)  # (positions, width / 2) complex64

    def read(
        self,
        ids: torch.Tensor,
        position: torch.Tensor,
        layers: Sequence[KeyValues],
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Hidden states after the last layer, before its norm, (B, L, D) float32.

        ids: (B, L) int64. position: (B, L) or (1, L) int64. layers: get the tokens' keys and values. mask: additive,
        (B, 1, L, slots); None: each token sees those before it, and `layers` are empty.
        """
        batch, length = ids.shape
        hidden = self.embedding[ids]
        model_width = hidden.shape[-1]
        turn = self.turns[position][:, :, None, :]
        for weights, kept in zip(self.layers, layers, strict=True):
            joined = linear(rms_norm(hidden, (model_width,), None, self.epsilon), weights.query_key_value)
            joined = joined.view(batch, length, 3 * self.heads, self.width)
            both, values = joined.split((2 * self.heads, self.heads), dim=2)
            turned = torch.view_as_complex(both.unflatten(-1, (-1, 2))) * turn
            queries, keys = torch.view_as_real(turned).flatten(-2).transpose(1, 2).split(self.heads, dim=1)
            keys, values = kept.update(keys, values.transpose(1, 2))
            seen = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=mask is None)
            hidden = hidden + linear(seen.transpose(1, 2).reshape(batch, length, model_width), weights.output)
            gate, up = linear(rms_norm(hidden, (model_width,), None, self.epsilon), weights.gate_up).chunk(2, dim=-1)
            hidden = hidden + linear(silu(gate) * up, weights.down)
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, L, V) float32 of what `read` returned."""
        return linear(rms_norm(hidden, (hidden.shape[-1],), None, self.epsilon), self.head)


def can_be_fused(model: "PreTrainedModel") -> bool:
    """Whether it is a small Llama in float32 on the CPU, without what `FusedLlama` does not know: biases, shared heads,
    scaled positions."""
    from transformers import LlamaForCausalLM

    config: Any = model.config
    if type(model) is not LlamaForCausalLM or model.dtype != torch.float32 or model.device.type != "cpu":
        return False
    rope = config.rope_parameters or {}
    plain = not config.attention_bias and not config.mlp_bias and config.hidden_act == "silu"
    return (
        plain
        and config.num_key_value_heads == config.num_attention_heads
        and config.head_dim * config.num_attention_heads == config.hidden_size
        and config.head_dim % 2 == 0
        and rope.get("rope_type", "default") == "default"
        and getattr(config, "sliding_window", None) is None
        and all(type(module) is torch.nn.Linear for module in model.modules() if hasattr(module, "in_features"))
        and model.num_parameters() <= LARGEST
    )

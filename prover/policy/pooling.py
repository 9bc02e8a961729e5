"""Poolings: how the token vectors of one forward pass become one vector a state. Named and versioned.

A pooling is a `+`-joined list of parts, each `hidden_size` wide, in the order written:

    mean    mean over the state's tokens of the last layer (after the final norm)
    max     maximum over the state's tokens of the last layer
    last    the last token of the last layer, which alone has read the whole state
    early   mean over the state's tokens of an early layer (a third of the depth: the first of three, the tenth of 30)

All sums are in float32 whatever the model's dtype, and padding never takes part.
"""

import torch

POOLING_VERSION = 1
DEFAULT_POOLING = "mean+max+early"
_PARTS = ("mean", "max", "last", "early")


def parse_pooling(name: str) -> tuple[str, ...]:
    """The parts of a pooling, `mean+max` or `mean+max/1`; ValueError that says what is known."""
    base, _, version = name.partition("/")
    if version not in ("", str(POOLING_VERSION)):
        raise ValueError(f"pooling {name!r} has version {version}; this code computes version {POOLING_VERSION}")
    parts = tuple(base.split("+"))
    if len(set(parts)) != len(parts) or not set(parts) <= set(_PARTS):
        raise ValueError(f"unknown pooling {name!r}: a pooling is a `+`-joined choice of {', '.join(_PARTS)}")
    return parts


def pooling_name(parts: tuple[str, ...]) -> str:
    """Name with version, e.g. `mean+max+early/1`."""
    return f"{'+'.join(parts)}/{POOLING_VERSION}"


def early_layer(n_layers: int) -> int:
    """Index into `hidden_states` (0 = embeddings) of the early layer: a third of the depth, at least the first."""
    return max(1, round(n_layers / 3))


def pool(parts: tuple[str, ...], last: torch.Tensor, early: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
    """Pooled vectors, (B, len(parts) * H) float32.

    last, early: (B, L, H) hidden states, right-padded; early may be None when no part needs it.
    lengths: (B,) number of real tokens, at least 1.
    """
    real = torch.arange(last.shape[1], device=last.device)[None, :] < lengths[:, None]  # (B, L)
    vectors = []
    for part in parts:
        if part == "max":
            vectors.append(last.float().masked_fill(~real[:, :, None], float("-inf")).amax(dim=1))
            continue
        if part == "last":
            vectors.append(last[torch.arange(len(last), device=last.device), lengths - 1].float())
            continue
        layer = last if part == "mean" else early
        assert layer is not None
        total = torch.einsum("blh,bl->bh", layer.float(), real.float())
        vectors.append(total / lengths[:, None])
    return torch.cat(vectors, dim=1)

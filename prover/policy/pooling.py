"""Poolings: how the token vectors of one forward pass become one vector per state. Named and versioned.

A pooling is a `+`-joined list of parts, each `hidden_size` wide, in the order written:

    mean    mean over the state's tokens of the last layer (after the final norm)
    max     maximum over the state's tokens of the last layer
    last    the last token of the last layer, which alone has read the whole state
    early   mean over the state's tokens of an early layer (a third of the depth: the first of three, the tenth of 30)

All sums are in float32 whatever the model's dtype, and padding never takes part.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch

POOLING_VERSION = 1
_PARTS = ("mean", "max", "last", "early")
_COPY_NUMBERS = 2**24


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


@dataclass
class Pooled:
    """What a pooling needs of texts that are read in one piece or in several. All (B, H) float32 but `count`.

    `early` is the sum over an early layer, None where no part needs it.
    """

    total: torch.Tensor
    most: torch.Tensor
    last: torch.Tensor
    count: torch.Tensor  # (B,) int64 real tokens
    early: torch.Tensor | None = None

    @classmethod
    def of(cls, hidden: torch.Tensor, lengths: torch.Tensor) -> Self:
        """From hidden states of the last layer, (B, L, H), right-padded. lengths: (B,) int64; 0 for no token."""
        n_rows, longest, _ = hidden.shape
        most = []
        for rows in _slices(hidden):
            real = torch.arange(longest, device=hidden.device)[None, :] < lengths[rows, None]
            most.append(hidden[rows].float().masked_fill(~real[:, :, None], float("-inf")).amax(dim=1))
        last = hidden[torch.arange(n_rows, device=hidden.device), (lengths - 1).clamp(min=0)].float()
        return cls(cls.sums(hidden, lengths), torch.cat(most), last, lengths)

    @staticmethod
    def sums(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Sums over real tokens, (B, H) float32."""
        sums = []
        for rows in _slices(hidden):
            real = torch.arange(hidden.shape[1], device=hidden.device)[None, :] < lengths[rows, None]
            sums.append(torch.einsum("blh,bl->bh", hidden[rows].float(), real.float()))
        return torch.cat(sums)

    def rows(self, chosen: torch.Tensor) -> "Pooled":
        """These rows; one may be chosen several times."""
        early = None if self.early is None else self.early[chosen]
        return Pooled(self.total[chosen], self.most[chosen], self.last[chosen], self.count[chosen], early)

    def joined(self, rest: "Pooled") -> "Pooled":
        """The texts with what comes behind them, which may be nothing in some rows."""
        early = None if self.early is None or rest.early is None else self.early + rest.early
        last = torch.where((rest.count > 0)[:, None], rest.last, self.last)
        return Pooled(
            self.total + rest.total, torch.maximum(self.most, rest.most), last, self.count + rest.count, early
        )

    def vectors(self, parts: tuple[str, ...]) -> torch.Tensor:
        """(B, len(parts) * H) float32, in the order of `parts`."""
        made = {"max": self.most, "last": self.last, "mean": self.total / self.count[:, None]}
        if self.early is not None:
            made["early"] = self.early / self.count[:, None]
        return torch.cat([made[part] for part in parts], dim=1)


def pool(parts: tuple[str, ...], last: torch.Tensor, early: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
    """Pooled vectors, (B, len(parts) * H) float32.

    last, early: (B, L, H) hidden states, right-padded; early may be None when no part needs it.
    lengths: (B,) number of real tokens, at least 1.
    """
    pooled = Pooled.of(last, lengths)
    if early is not None:
        pooled.early = Pooled.sums(early, lengths)
    return pooled.vectors(parts)


def _slices(hidden: torch.Tensor) -> Iterator[slice]:
    """Rows at a time of which a float32 copy stays below 64 MiB, or one row."""
    at_once = max(1, _COPY_NUMBERS // max(1, hidden.shape[1] * hidden.shape[2]))
    for start in range(0, len(hidden), at_once):
        yield slice(start, start + at_once)

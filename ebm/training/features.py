"""Where a training step gets its input vectors from: a table in memory, on the device, or a memory-mapped cache."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ebm.embeddings import EmbeddingCache
from ebm.training.data import ContrastiveIndex

_CHUNK_ROWS = 4096
_MAX_STATISTICS_ROWS = 65_536


class WidthMismatchError(ValueError):
    """The head and the embeddings have different widths."""


class VectorSource(Protocol):
    """(n, width) float32 vectors by row number; `ebm.embeddings.EmbeddingCache` is one."""

    width: int

    def gather(self, rows: np.ndarray, /, out: np.ndarray | None = None) -> np.ndarray:
        """Rows `rows` as (n, width) float32, written to `out` if one is given."""
        ...


class ArraySource:
    """A table in memory, (n, width) float32."""

    def __init__(self, vectors: np.ndarray) -> None:
        if vectors.ndim != 2:
            raise ValueError(f"embeddings must be a table (states, width), got shape {vectors.shape}")
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.width = vectors.shape[1]

    def gather(self, rows: np.ndarray, /, out: np.ndarray | None = None) -> np.ndarray:
        """Rows `rows` as (n, width) float32, written to `out` if one is given."""
        return np.take(self.vectors, rows, axis=0, out=out, mode="raise" if out is None else "clip")


class StateFeatures:
    """Vectors of the rows of a `ContrastiveIndex`."""

    def __init__(self, source: VectorSource, source_row: np.ndarray) -> None:
        """`source_row`: (rows of the index,) int64, the row of the source; -1 where the state is never used."""
        self.source = source
        self.source_row = source_row
        self.width = source.width

    def gather(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(n,) rows of the index -> (n, width) float32."""
        return self.source.gather(self.source_row[rows], out)

    def in_memory(self, rows: np.ndarray, limit_bytes: float) -> "StateFeatures":
        """The same features with those of `rows` (of the index) copied into one table, if they fit into the limit."""
        if isinstance(self.source, ArraySource):
            return self
        distinct, position = np.unique(self.source_row[rows], return_inverse=True)
        if len(distinct) * self.width * 4 > limit_bytes:
            return self
        place = np.full(len(self.source_row), -1, dtype=np.int64)
        place[rows] = position
        table = np.empty((len(distinct), self.width), dtype=np.float32)
        for start in range(0, len(distinct), _CHUNK_ROWS):
            self.source.gather(distinct[start : start + _CHUNK_ROWS], table[start : start + _CHUNK_ROWS])
        return StateFeatures(ArraySource(table), place)


Vector: TypeAlias = np.ndarray | Tensor | Sequence[float]
"""The embedding of one state, (width,)."""
Embeddings: TypeAlias = (
    StateFeatures
    | EmbeddingCache
    | np.ndarray
    | Tensor
    | Sequence[Vector]
    | Mapping[str, Vector]
    | Mapping[str, np.ndarray]
    | Mapping[str, Tensor]
    | Mapping[int, Vector]
)
"""What can hold the embeddings of an index's states; `features_of` says how each is read."""


def features_of(embeddings: Embeddings, index: ContrastiveIndex, rows: np.ndarray | None = None) -> StateFeatures:
    """Features of the index's rows from whatever holds them.

    Args:
        rows: those that will be read; default, all that the index may draw.
        embeddings: `StateFeatures`; an `EmbeddingCache`; a table (rows of the index, width), array or tensor; or a
            mapping from state key, state text or state number to vector.

    Raises:
        KeyError: a state that training may draw has no vector.
        ValueError: a table with another number of rows.
    """
    if isinstance(embeddings, StateFeatures):
        return embeddings
    used = index.used_rows if rows is None else rows
    if isinstance(embeddings, EmbeddingCache):
        source_row = np.full(len(index), -1, dtype=np.int64)
        source_row[used] = embeddings.rows_of(index.states["state_key"].gather(used).to_list())
        return StateFeatures(embeddings, source_row)
    if isinstance(embeddings, Mapping):
        return _features_of_mapping(embeddings, index, used)
    if isinstance(embeddings, Tensor):
        embeddings = embeddings.detach().cpu().numpy()
    table = np.asarray(embeddings)
    if table.ndim != 2 or len(table) != len(index):
        raise ValueError(
            f"a table of embeddings needs a row for each of the {len(index)} states of the index, got {table.shape}"
        )
    return StateFeatures(ArraySource(table), np.arange(len(index)))


def _features_of_mapping(embeddings: Mapping, index: ContrastiveIndex, used: np.ndarray) -> StateFeatures:
    source_row = np.full(len(index), -1, dtype=np.int64)
    vectors: list[np.ndarray] = []
    states = index.states
    for row in used.tolist():
        names = (states["state_key"][row], states["state_pp"][row], states["state_id"][row])
        found = next((name for name in names if name in embeddings), None)
        if found is None:
            raise KeyError(f"state {names[0]} ({names[1]!r}) has no embedding in the mapping given")
        source_row[row] = len(vectors)
        vectors.append(np.asarray(embeddings[found], dtype=np.float32))
    return StateFeatures(ArraySource(np.stack(vectors)), source_row)


def feature_statistics(features: StateFeatures, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean and standard deviation of each feature over states, (width,) float32 each, and how many states were used.

    Beyond 65,536 states an evenly spaced selection is used. A constant feature gets a deviation of 1.
    """
    if len(rows) > _MAX_STATISTICS_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, _MAX_STATISTICS_ROWS).astype(np.int64)]
    total = np.zeros(features.width)
    squares = np.zeros(features.width)
    shift = features.gather(rows[:1])[0].astype(np.float64)  # keeps the difference of squares from cancelling
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = features.gather(rows[start : start + _CHUNK_ROWS]).astype(np.float64) - shift
        total += chunk.sum(axis=0)
        squares += np.square(chunk).sum(axis=0)
    mean = total / len(rows)
    std = np.sqrt(np.maximum(squares / len(rows) - np.square(mean), 0.0))
    mean += shift
    std[std <= 1e-6 * np.maximum(1.0, np.abs(mean))] = 1.0
    return mean.astype(np.float32), std.astype(np.float32), len(rows)


class BatchFeeder:
    """The input batches of a block of steps, on the device."""

    def __init__(self, features: StateFeatures, device: torch.device) -> None:
        self.features = features
        self.device = device
        self._table: Tensor | None = None
        if isinstance(features.source, ArraySource):
            table = torch.from_numpy(features.source.vectors)
            if device.type == "cpu":
                self._table = table
            elif device.type == "cuda":
                free, _ = torch.cuda.mem_get_info(device)
                if table.numel() * 4 < free // 2:
                    self._table = table.to(device)
        self._rows: Tensor | np.ndarray = np.empty(0)

    def load(self, rows: np.ndarray) -> None:
        """(steps, n) rows of the index for the steps to come; one transfer for all of them."""
        source_rows = self.features.source_row[rows]
        self._rows = source_rows if self._table is None else torch.from_numpy(source_rows).to(self.device)

    def batch(self, step: int, out: Tensor) -> None:
        """Fill `out`, (n, width) float32 on the device, with the vectors of the block's step."""
        if self._table is not None:
            assert isinstance(self._rows, Tensor)
            torch.index_select(self._table, 0, self._rows[step], out=out)
        elif self.device.type == "cpu":
            self.features.source.gather(np.asarray(self._rows[step]), out.numpy())
        else:
            out.copy_(torch.from_numpy(self.features.source.gather(np.asarray(self._rows[step]))))

"""Between plain numbers (lists, NumPy) and tensors, with errors that say what was given."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Vector = Sequence[float] | np.ndarray


def embeddings_to_tensor(
    embeddings: Sequence[Vector] | np.ndarray, device: torch.device | str = "cpu", *, width: int | None = None
) -> Tensor:
    """n vectors of equal width -> (n, width) float32 on `device`.

    An empty batch gives (0, `width`), where a list cannot say its own width; with `width` None that is (0, 0).

    Raises:
        ValueError: rows of different widths, entries that are not numbers, or a width other than `width`.
    """
    if not isinstance(embeddings, np.ndarray):
        rows = list(embeddings)
        if not rows:
            return torch.empty((0, width or 0), dtype=torch.float32, device=device)
        lengths = [_length(row, position) for position, row in enumerate(rows)]
        for position, length in enumerate(lengths):
            if length != lengths[0]:
                raise ValueError(
                    f"embeddings must all have one width: row 0 has {lengths[0]} numbers, row {position} has {length}"
                )
        try:
            embeddings = np.array(rows)
        except (TypeError, ValueError) as error:
            raise ValueError(f"embeddings must be rows of numbers: {error}") from error
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings must be a batch of vectors (n, width), got shape {embeddings.shape}")
    if embeddings.dtype.kind not in "fiu":
        raise ValueError(f"embeddings must be real numbers, got {embeddings.dtype} entries")
    if width is not None and embeddings.shape[1] != width:
        raise ValueError(f"embeddings have width {embeddings.shape[1]}, expected {width}")
    # A copy: NumPy views of tables and memory maps may be read-only or change later.
    return torch.tensor(embeddings.astype(np.float32, copy=False), dtype=torch.float32, device=device)


def embedding_to_tensor(embedding: Vector, device: torch.device | str = "cpu") -> Tensor:
    """One vector -> (1, width) float32 on `device`. Errors as `embeddings_to_tensor`."""
    _length(embedding, 0)
    return embeddings_to_tensor([embedding], device)


def tensor_to_list(tensor: Tensor) -> list:
    """Numbers of a tensor, nested as its dimensions are: (n,) -> n floats, (n, width) -> n lists."""
    if tensor.ndim == 0:
        raise ValueError("tensor_to_list takes a tensor with at least one dimension; use tensor_to_float for a scalar")
    return tensor.detach().cpu().tolist()


def tensor_to_float(tensor: Tensor) -> float:
    """The number in a tensor of exactly one entry."""
    if tensor.numel() != 1:
        raise ValueError(f"tensor_to_float takes a tensor of one entry, got shape {tuple(tensor.shape)}")
    return float(tensor.detach().cpu().item())


def _length(row: object, position: int) -> int:
    if isinstance(row, str | bytes) or not isinstance(row, Sequence | np.ndarray | Tensor):
        raise ValueError(f"an embedding must be a vector of numbers, got {type(row).__name__} at row {position}")
    return len(row)

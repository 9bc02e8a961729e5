"""The part files of the embedding cache: written whole or not at all, checked when they are read.

A part is three files: `NAME.npy`, (n, width) float32 or float16, `NAME.keys`, n lines, and `NAME.sums`, the CRC-32 of
both (older parts have none). The keys file is written last and makes the part count, so a killed process leaves at
most files that nobody reads.
"""

import logging
import mmap
import os
import secrets
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np

from prover.files import write_atomic
from prover.json_digest import json_text, parse_json

logger = logging.getLogger(__name__)

DTYPES = ("float32", "float16")
"""How vectors may be stored."""

_CHECKED_AT_ONCE_BYTES = 64 * 2**20

_UNREADABLE = (OSError, ValueError, SyntaxError, TokenError, MemoryError, RecursionError)
"""What numpy raises on a damaged header, which it reads as a Python expression."""


class EmbeddingError(ValueError):
    """Vectors that must not be stored, or a cache that was made by another encoder."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a part's rows lie: from byte `offset` of a vector file, as `dtype`."""

    path: Path
    offset: int
    dtype: np.dtype


@dataclass(slots=True)
class Part:
    """Rows of a cache that lie together."""

    first_row: int
    n_rows: int
    width: int
    vectors: np.ndarray | None
    """(n_rows, width) float32 or float16, read-only; a view of `map` for rows on disk, None while unmapped."""
    stored: Stored | None = None
    """None for rows that are only in memory."""
    map: mmap.mmap | None = None
    unchecked: bool = False
    """Whether the vector file is still to be compared with its checksum."""

    def open(self) -> np.ndarray:
        """The vectors, mapped if they are on disk. Raises EmbeddingError where their file cannot be opened."""
        if self.vectors is None:
            assert self.stored is not None, "rows in memory are there"
            path, count = self.stored.path, self.n_rows * self.width
            try:
                with open(path, "rb") as handle:
                    self.map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
                found = np.frombuffer(self.map, dtype=self.stored.dtype, count=count, offset=self.stored.offset)
            except (OSError, ValueError) as error:
                raise EmbeddingError(
                    f"{path} cannot be opened ({error}); if the cache was pruned meanwhile, run this again"
                ) from error
            self.vectors = found.reshape(self.n_rows, self.width)
        return self.vectors

    def close(self) -> None:
        """Unmap rows that are on disk. A map holds a file open, and a process may have few of those."""
        if self.stored is not None:
            self.vectors = self.map = None


def stored_as(vectors: np.ndarray, dtype: str) -> np.ndarray:
    """Vectors (n, width) as a cache of that dtype stores them.

    float16 reaches to 65504 and has 11 significant bits. Where one of the vectors has a larger component, or would
    become zero, all of them stay float32, and a warning says so: none is changed beyond rounding.
    """
    if dtype == "float32" or vectors.dtype == np.float16:
        return vectors
    with np.errstate(over="ignore", under="ignore"):
        small = vectors.astype(np.float16)
    unfit = ~np.isfinite(small).all(axis=1) | ~small.any(axis=1)
    if unfit.any():
        logger.warning(
            "%d of %d vectors do not fit float16 (largest component %.3g): these %d are stored as float32",
            int(unfit.sum()),
            len(vectors),
            float(np.abs(vectors).max()),
            len(vectors),
        )
        return vectors
    return small


def read(keys_path: Path, width: int) -> tuple[list[str], Stored, bool]:
    """Keys, where their vectors (n, width) lie, and whether these are yet to be compared with a checksum.

    Raises EmbeddingError for a part that is damaged or of another width.
    """
    vectors_path = keys_path.with_suffix(".npy")
    try:
        raw = keys_path.read_bytes()
        sums = _read_sums(vectors_path)
        keys = raw.decode("utf-8").splitlines()
        with open(vectors_path, "rb") as handle:
            version = np.lib.format.read_magic(handle)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read_header(handle)
            if shape != (len(keys), width) or fortran or dtype not in (np.float32, np.float16):
                raise ValueError(f"holds {shape} {dtype}, expected ({len(keys)}, {width}) {' or '.join(DTYPES)}")
            if sums is not None and zlib.crc32(raw) != sums.get("keys"):
                raise ValueError(f"{keys_path.name} is not what was written")
            offset = handle.tell()
            size = os.fstat(handle.fileno()).st_size
            if size < offset + len(keys) * width * dtype.itemsize:
                raise ValueError(f"has {size} bytes, too few for {len(keys)} vectors: it was cut off")
    except _UNREADABLE as error:
        raise EmbeddingError(
            f"{vectors_path} cannot be used ({error}); delete it and {keys_path.name}: missing states are encoded again"
        ) from error
    return keys, Stored(vectors_path, offset, dtype), sums is not None


def write(folder: Path, keys: Sequence[str], rows: np.ndarray) -> str:
    """Write (len(keys), width) vectors, as they are, as a part of a cache's folder; returns its name."""
    name = f"part-{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(3)}"

    def write_vectors(path: Path) -> None:
        with open(path, "wb") as handle:
            np.save(handle, rows, allow_pickle=False)

    text = "".join(f"{key}\n" for key in keys)
    write_atomic(folder / f"{name}.npy", write_vectors)
    write_atomic(folder / f"{name}.sums", lambda path: _write_sums(path, rows, text))
    write_atomic(folder / f"{name}.keys", lambda path: path.write_text(text, encoding="utf-8"))
    return name


def _write_sums(path: Path, rows: np.ndarray, keys: str) -> None:
    """CRC-32 of a part's vectors and of its keys, as JSON."""
    sums = {"vectors": zlib.crc32(np.ascontiguousarray(rows).data), "keys": zlib.crc32(keys.encode())}
    path.write_text(json_text(sums), encoding="utf-8")


def _read_sums(vectors_path: Path) -> dict[str, int] | None:
    """What `_write_sums` wrote beside a part; None for a part of an older version. Raises ValueError for damage."""
    try:
        return dict(parse_json(vectors_path.with_suffix(".sums").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except TypeError as error:
        raise ValueError(f"its checksums are damaged: {error}") from error


def check(part: Part) -> None:
    """Compare a part's vectors with their checksum, once. Raises EmbeddingError."""
    if not part.unchecked:
        return
    assert part.stored is not None, "rows in memory need no check"
    path = part.stored.path
    sums = _read_sums(path)
    if sums is None or _crc(part) != sums.get("vectors"):
        raise EmbeddingError(
            f"{path} is damaged: its vectors are not those that were written; delete it and {path.stem}.keys: missing "
            "states are encoded again"
        )
    part.unchecked = False


def _crc(part: Part) -> int:
    """CRC-32 of a part's vectors. Pages that were read are given back as it goes: they would count as our memory."""
    vectors, crc = part.open(), 0
    rows = max(1, _CHECKED_AT_ONCE_BYTES // max(1, vectors[:1].nbytes))
    for first in range(0, part.n_rows, rows):
        crc = zlib.crc32(vectors[first : first + rows].data, crc)
        if part.map is not None and hasattr(mmap, "MADV_DONTNEED"):
            part.map.madvise(mmap.MADV_DONTNEED)
    return crc

"""The embedding cache: hidden vectors of proof states, encoded once, addressed by content, read through memory maps.

Layout of `root`: a folder per encoder fingerprint with `meta.json` and append-only parts (`ebm.embedding_parts`).
Several processes may append at once. Keys are checked when a part is opened, vectors before the first of them is used.

Vectors are stored as float32, or as float16 at half the size; `meta.json` says which, so that all who open a cache
agree. They are always read as float32.
"""

import logging
import mmap
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np

from ebm import embedding_parts as parts
from ebm.embedding_parts import EmbeddingError, Part
from prover.files import write_json_atomic
from prover.json_digest import parse_json
from prover.policy.base import TacticGenerator

logger = logging.getLogger(__name__)

FORMAT = "embedding-cache/1"
_RESIDENT_BYTES = 2**30
"""Mapped pages that gathering may leave in this process before they are given back to the page cache."""
_MAPPED_AT_ONCE_BYTES = 2 * 2**20
"""What the kernel may map where one page is touched: a file's pages are kept in blocks of up to this size."""


_MOST_MAPPED = 2048
"""Parts that are mapped at a time. Each map holds a file open."""


def _most_mapped() -> int:
    """Less where the process may open few files: a quarter of them."""
    return max(4, min(_MOST_MAPPED, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))


@runtime_checkable
class BatchEncoder(Protocol):
    """What encodes texts in batches; `ebm.model.EncoderBackend` does, and checks the shape of the answer."""

    def encode_batch(self, states: Sequence[str]) -> np.ndarray:
        """n texts -> (n, width) float32, in order."""
        ...


@dataclass(frozen=True, slots=True)
class EncodeCounts:
    """What `encode_missing` did, in states."""

    requested: int
    cached: int
    encoded: int


class EmbeddingCache:
    """Vectors of one encoder, read as (n, width) float32, by state key. Rows are numbered as they became known.

    Added vectors can be read at once; they reach the disk when `flush_rows` have gathered, at `flush` and at `close`.
    """

    def __init__(
        self,
        root: str | Path,
        encoder_fingerprint: str,
        width: int,
        *,
        pooling: str = "",
        dtype: str | None = None,
        flush_rows: int = 4096,
    ) -> None:
        """Open or create the cache of this encoder below `root`.

        dtype: how a new cache stores vectors, "float32" or "float16"; None: float32. A cache that is there keeps its
        own, whatever is asked for; a warning says so. A vector that is added is rounded at once, so it reads the same
        from memory and from the file.

        Raises:
            EmbeddingError: the folder holds vectors of another width, pooling or encoder, or damaged files.
        """
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        if dtype not in (None, *parts.DTYPES):
            raise ValueError(f"dtype {dtype!r} is not known; expected one of {', '.join(parts.DTYPES)}")
        if not encoder_fingerprint:
            raise ValueError("encoder_fingerprint must not be empty: vectors of unknown origin cannot be addressed")
        self.encoder_fingerprint = encoder_fingerprint
        self.width = width
        self.pooling = pooling
        self.flush_rows = flush_rows
        self.folder = Path(root) / encoder_fingerprint[:16]
        self._lock = threading.RLock()
        self._row_of: dict[str, int] = {}
        self._parts: list[Part] = []
        self._known_names: set[str] = set()
        self._pending_keys: list[str] = []
        self._pending: list[np.ndarray] = []
        self._resident: dict[int, int] = {}  # first row of a part -> bytes of it that may be in this process
        self._mapped: OrderedDict[int, Part] = OrderedDict()  # by first row, those used last at the end
        self.dtype = self._agreed_dtype(dtype)
        self.refresh()

    def _agreed_dtype(self, asked: str | None) -> str:
        """The dtype of the cache that is there, after checking that it is this encoder's; else it is described now."""
        path = self.folder / "meta.json"
        ours = {
            "format": FORMAT,
            "encoder_fingerprint": self.encoder_fingerprint,
            "pooling": self.pooling,
            "width": self.width,
        }
        if not path.exists():
            chosen = asked or "float32"
            write_json_atomic(path, {**ours, "dtype": chosen})
            return chosen
        try:
            stored: dict[str, object] = parse_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise EmbeddingError(
                f"{path} is not JSON, or not as it was written ({error}): delete the folder {self.folder}, and its "
                "states are encoded again"
            ) from error
        for name, value in ours.items():
            if stored.get(name) != value:
                raise EmbeddingError(
                    f"the embedding cache {self.folder} has {name} {stored.get(name)!r}, this encoder {value!r}; "
                    "use another folder, or delete that one"
                )
        dtype = stored.get("dtype")
        if dtype not in parts.DTYPES:
            raise EmbeddingError(
                f"the embedding cache {self.folder} has dtype {dtype!r}, expected one of {', '.join(parts.DTYPES)}; "
                "use another folder, or delete that one"
            )
        if asked not in (None, dtype):
            logger.warning(
                "the embedding cache %s stores %s and goes on doing so; for %s, delete that folder: its states are "
                "encoded again",
                self.folder,
                dtype,
                asked,
            )
        return str(dtype)

    def refresh(self) -> int:
        """Take in the parts that other processes have written since; returns the number of new rows."""
        with self._lock:
            before = self.n_rows
            for keys_path in sorted(self.folder.glob("*.keys")):
                if keys_path.stem not in self._known_names:
                    self._known_names.add(keys_path.stem)
                    self._open_part(keys_path)
            return self.n_rows - before

    def _open_part(self, keys_path: Path) -> None:
        keys, stored, unchecked = parts.read(keys_path, self.width)
        self._append(keys, Part(self.n_rows, len(keys), self.width, None, stored, unchecked=unchecked))

    def _append(self, keys: Sequence[str], part: Part) -> None:
        first = part.first_row
        self._parts.append(part)
        if self._row_of.keys().isdisjoint(keys):
            self._row_of.update(zip(keys, range(first, first + len(keys)), strict=True))
            return
        for position, key in enumerate(keys):
            self._row_of.setdefault(key, first + position)

    @property
    def n_rows(self) -> int:
        """Rows, with those of keys that two processes encoded at the same time counted twice."""
        return self._parts[-1].first_row + self._parts[-1].n_rows if self._parts else 0

    def __len__(self) -> int:
        """Number of distinct keys."""
        return len(self._row_of)

    def __contains__(self, key: object) -> bool:
        return key in self._row_of

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that have no vector, each once, in order."""
        self.refresh()
        return [key for key in dict.fromkeys(keys) if key not in self._row_of]

    def add(self, keys: Sequence[str], vectors: np.ndarray) -> int:
        """Store (len(keys), width) vectors; keys that are known already are skipped. Returns the number stored.

        Raises:
            EmbeddingError: a wrong shape, or a zero or non-finite vector; then nothing of the call is stored.
        """
        vectors = np.asarray(vectors)
        if vectors.shape != (len(keys), self.width):
            raise EmbeddingError(
                f"refused vectors of shape {vectors.shape} for {len(keys)} keys; expected ({len(keys)}, {self.width})"
            )
        if vectors.dtype.kind not in "fiu":
            raise EmbeddingError(f"refused vectors of type {vectors.dtype}; expected real numbers")
        with np.errstate(over="ignore"):
            vectors = vectors.astype(np.float32)  # a copy, also where nothing is converted
        finite = np.isfinite(vectors).all(axis=1)
        zero = ~vectors.any(axis=1)
        for bad, what in ((~finite, "non-finite"), (zero, "zero")):
            if bad.any():
                names = ", ".join(repr(keys[i]) for i in np.flatnonzero(bad)[:3])
                raise EmbeddingError(
                    f"refused {int(bad.sum())} {what} vector(s) of {len(keys)}, e.g. of {names}: check the encoder's "
                    "dtype and pooling; nothing of this batch was stored"
                )
        if any(not key or "\n" in key or "\r" in key for key in keys):
            raise EmbeddingError("refused an empty key or one with a line break")
        with self._lock:
            fresh = {key: i for i, key in reversed(list(enumerate(keys))) if key not in self._row_of}
            if not fresh:
                return 0
            order = sorted(fresh.values())
            new_keys = [keys[i] for i in order]
            block = parts.stored_as(vectors if len(order) == len(keys) else vectors[order], self.dtype)
            block.flags.writeable = False
            self._append(new_keys, Part(self.n_rows, len(new_keys), self.width, block))
            self._pending_keys += new_keys
            self._pending.append(block)
            if len(self._pending_keys) >= self.flush_rows:
                self.flush()
            return len(new_keys)

    def flush(self) -> None:
        """Write rows that are only in memory as a part."""
        with self._lock:
            if not self._pending_keys:
                return
            rows = np.concatenate(self._pending)
            name = parts.write(self.folder, self._pending_keys, rows)
            self._known_names.add(name)
            # From here on the rows are read from the file; their numbers stay.
            kept = [part for part in self._parts if part.stored is not None]
            in_memory = [part for part in self._parts if part.stored is None]
            assert sum(part.n_rows for part in in_memory) == len(rows)
            self._pending_keys, self._pending = [], []
            self._parts = self._with_written_rows(kept, in_memory, self.folder / f"{name}.npy", rows.dtype)

    def write_part(self, keys: Sequence[str], rows: np.ndarray) -> str:
        """Write (len(keys), width) vectors as a part, in the cache's dtype; returns its name. `refresh` takes it in."""
        return parts.write(self.folder, keys, parts.stored_as(rows, self.dtype))

    def all_keys(self) -> list[str]:
        """All keys that have a vector, in the order they became known."""
        return list(self._row_of)

    def _with_written_rows(self, kept: list[Part], written: list[Part], path: Path, dtype: np.dtype) -> list[Part]:
        row_bytes = self.width * dtype.itemsize
        offset = path.stat().st_size - sum(part.n_rows for part in written) * row_bytes
        joined = list(kept)
        merged: Part | None = None
        for part in written:  # neighbours become one part again
            if merged is not None and merged.first_row + merged.n_rows == part.first_row:
                merged.n_rows += part.n_rows
            else:
                merged = Part(part.first_row, part.n_rows, self.width, None, parts.Stored(path, offset, dtype))
                joined.append(merged)
            offset += part.n_rows * row_bytes
        return sorted(joined, key=lambda part: part.first_row)

    def _opened(self, part: Part) -> np.ndarray:
        """A part's vectors, after they were checked. Few parts on disk are mapped at a time: those used last."""
        if part.stored is not None:
            self._mapped[part.first_row] = part
            self._mapped.move_to_end(part.first_row)
            while len(self._mapped) > _most_mapped():
                self._mapped.popitem(last=False)[1].close()
        vectors = part.open()
        parts.check(part)
        return vectors

    def rows_of(self, keys: Sequence[str]) -> np.ndarray:
        """(n,) int64 row numbers of keys.

        Raises:
            KeyError: a key has no vector; the message counts them.
        """
        rows = np.fromiter((self._row_of.get(key, -1) for key in keys), dtype=np.int64, count=len(keys))
        if (rows < 0).any():
            absent = np.flatnonzero(rows < 0)
            raise KeyError(
                f"{len(absent)} of {len(keys)} states have no cached embedding, e.g. {keys[absent[0]]!r}; "
                "encode them first (EmbeddingCache.encode_missing)"
            )
        return rows

    def gather(self, keys_or_rows: Sequence[str] | np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Vectors of keys, or of row numbers: (n, width) float32, a copy, in order; into `out` where given.

        Raises EmbeddingError for a part whose vectors are not those that were written.
        """
        if isinstance(keys_or_rows, np.ndarray) and keys_or_rows.dtype.kind in "iu":
            rows = keys_or_rows
        else:
            rows = self.rows_of(list(keys_or_rows))
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.n_rows):
            raise IndexError(f"row numbers must be in [0, {self.n_rows}), got {rows.min()} to {rows.max()}")
        if out is None:
            out = np.empty((len(rows), self.width), dtype=np.float32)
        with self._lock:
            if len(self._parts) == 1:
                at_once = max(1, _RESIDENT_BYTES // _MAPPED_AT_ONCE_BYTES)
                for start in range(0, len(rows), at_once):
                    self._read(0, rows[start : start + at_once], out[start : start + at_once])
            elif len(rows):
                starts = np.array([part.first_row for part in self._parts])
                of_row = np.searchsorted(starts, rows, side="right") - 1
                for number in np.unique(of_row):
                    here = np.flatnonzero(of_row == number)
                    out[here] = self._opened(self._parts[number])[rows[here] - starts[number]]
                    self._release_pages(self._parts[number], len(here))
        return out

    def _read(self, number: int, rows: np.ndarray, out: np.ndarray) -> None:
        """Rows of one part, from 0, into `out`."""
        vectors = self._opened(self._parts[number])
        if vectors.dtype == np.float32:
            np.take(vectors, rows, axis=0, out=out, mode="clip")
        else:
            out[...] = vectors[rows]
        self._release_pages(self._parts[number], len(rows))

    def _release_pages(self, part: Part, n_rows: int) -> None:
        """Keep resident memory bounded after `n_rows` of a part were read.

        Pages of a mapped file count as this process's until they are given back.
        """
        if part.map is None:
            return
        touched = self._resident.get(part.first_row, 0) + n_rows * (_MAPPED_AT_ONCE_BYTES + self.width * 4)
        self._resident[part.first_row] = min(touched, len(part.map))
        if sum(self._resident.values()) > _RESIDENT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._mapped.values():
                if mapped.map is not None and mapped.first_row in self._resident:
                    mapped.map.madvise(mmap.MADV_DONTNEED)
            self._resident.clear()

    def encode_missing(
        self,
        encoder: BatchEncoder | TacticGenerator,
        texts: Mapping[str, str],
        batch_size: int = 16,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> EncodeCounts:
        """Encode the states of `texts` (key -> text) that have no vector yet, and store them.

        `encoder` has `encode_only(texts)` (a policy) or `encode_batch(texts)` (an `EncoderBackend`). Texts are batched
        by length, so that little is padded. `on_progress(done, total)` counts the missing ones.

        Raises:
            EmbeddingError: the encoder answered with vectors that must not be stored. Earlier batches are kept.
        """
        encode = encoder.encode_batch if isinstance(encoder, BatchEncoder) else encoder.encode_only
        absent = sorted(self.missing(texts), key=lambda key: len(texts[key]))
        try:
            for start in range(0, len(absent), batch_size):
                batch = absent[start : start + batch_size]
                self.add(batch, np.asarray(encode([texts[key] for key in batch])))
                if on_progress is not None:
                    on_progress(start + len(batch), len(absent))
        finally:
            self.flush()
        return EncodeCounts(requested=len(texts), cached=len(texts) - len(absent), encoded=len(absent))

    def close(self) -> None:
        """Write what is still in memory."""
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

"""Looking after an embedding cache: what is in it, whether it is whole, and removing what nobody needs.

Works on the folders of all encoders below one root, without knowing the encoders.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ebm.embeddings import EmbeddingCache, EmbeddingError
from prover.json_digest import parse_json

ENDINGS = (".npy", ".sums", ".keys")
PART_BYTES = 256 * 2**20
"""Vectors are read, and written into new parts, this many bytes (as float32) at a time."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What lies in the folder of one encoder."""

    folder: str
    encoder: str
    """First 16 characters of its fingerprint, in hex."""
    width: int
    dtype: str
    """How vectors are stored: float32 or float16."""
    vectors: int
    """Distinct keys."""
    rows: int
    """Stored rows: more than `vectors` where two processes encoded the same states."""
    parts: int
    bytes: int

    def to_dict(self) -> dict[str, object]:
        """The figures by name, as JSON takes them."""
        return asdict(self)


def encoder_folders(root: Path) -> list[Path]:
    """The folders of a cache, one per encoder."""
    return sorted(path.parent for path in root.glob("*/meta.json")) if root.is_dir() else []


def open_folder(folder: Path) -> EmbeddingCache:
    """The cache in the folder of one encoder, as its own description says. Raises EmbeddingError."""
    path = folder / "meta.json"
    try:
        meta = parse_json(path.read_text(encoding="utf-8"))
        fingerprint, width, pooling = meta["encoder_fingerprint"], int(meta["width"]), meta["pooling"]
        return EmbeddingCache(folder.parent, fingerprint, width, pooling=pooling)
    except EmbeddingError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EmbeddingError(
            f"{path} is damaged ({error}): delete the folder {folder}, and its states are encoded again"
        ) from error


def stats(folder: Path) -> CacheStats:
    """Raises EmbeddingError for a damaged folder."""
    cache = open_folder(folder)
    files = [path for path in folder.iterdir() if path.is_file()]
    return CacheStats(
        folder=str(folder),
        encoder=cache.encoder_fingerprint[:16],
        width=cache.width,
        dtype=cache.dtype,
        vectors=len(cache),
        rows=cache.n_rows,
        parts=sum(path.suffix == ".keys" for path in files),
        bytes=sum(path.stat().st_size for path in files),
    )


def _rows_at_once(cache: EmbeddingCache) -> int:
    return max(1, PART_BYTES // (4 * cache.width))


def verify(folder: Path) -> int:
    """Read every vector: checksums, and none that is zero or non-finite. Returns the rows. Raises EmbeddingError."""
    cache = open_folder(folder)
    rows_at_once = _rows_at_once(cache)
    for first in range(0, cache.n_rows, rows_at_once):
        vectors = cache.gather(np.arange(first, min(first + rows_at_once, cache.n_rows)))
        bad = ~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1)
        if bad.any():
            raise EmbeddingError(
                f"{folder} holds {int(bad.sum())} zero or non-finite vectors from row {first + int(bad.argmax())} on: "
                "delete the folder, and its states are encoded again"
            )
    return cache.n_rows


def compact(folder: Path, *, keep: Collection[str] | None = None, rows_at_once: int | None = None) -> tuple[int, int]:
    """Write the parts anew as few large ones, each key once. keep: leave out all other keys.

    rows_at_once: rows of a new part; None: as many as `PART_BYTES` hold. Where nothing is to be removed and there are
    no more parts than that makes, nothing is written.

    The new parts are whole before an old one is removed: a kill in between leaves some keys stored twice, which is
    harmless. Parts that others add meanwhile stay. Returns (parts before, rows removed). Raises EmbeddingError.
    """
    cache = open_folder(folder)
    old = sorted(path.stem for path in folder.glob("*.keys"))
    keys = [key for key in cache.all_keys() if keep is None or key in keep]
    removed = cache.n_rows - len(keys)
    rows_at_once = rows_at_once or _rows_at_once(cache)
    if len(old) <= max(1, -(-len(keys) // rows_at_once)) and not removed:
        return len(old), 0
    for first in range(0, len(keys), rows_at_once):
        some = keys[first : first + rows_at_once]
        cache.write_part(some, cache.gather(some))
    del cache
    remove_parts(folder, old)
    return len(old), removed


def remove_parts(folder: Path, names: Sequence[str]) -> None:
    """Remove parts by name, the keys first: without them a part does not count."""
    for name in names:
        for ending in reversed(ENDINGS):
            (folder / f"{name}{ending}").unlink(missing_ok=True)


def orphans(folder: Path) -> list[Path]:
    """Files that a killed process left: vectors without keys, and temporary files."""
    found = [path for path in folder.iterdir() if path.name.endswith(".tmp")]
    for ending in ENDINGS[:-1]:
        found += [path for path in folder.glob(f"*{ending}") if not path.with_suffix(".keys").exists()]
    return sorted(found)

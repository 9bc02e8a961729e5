"""Synthetic states and vectors for `ebm_train.py`."""

from pathlib import Path

import numpy as np
import polars as pl

from ebm.embeddings import EmbeddingCache
from ebm.training import EBMTrainingConfig
from ebm.training.records import STATE_SCHEMA

FINGERPRINT = "be" * 32
SEED_CONFIG = EBMTrainingConfig()  # batch 32, K 4, 50,000 steps


def synthetic_states(n: int, per_theorem: int = 100, positives: int = 10) -> pl.DataFrame:
    """A table of n states in theorems of `per_theorem`: `positives` in a line to QED, the others hung below them."""
    number = np.arange(n)
    place = number % per_theorem
    positive = place < positives
    parent = np.where(positive, place - 1, place % positives)
    columns = {
        "theorem_name": [f"t{i}" for i in (number // per_theorem).tolist()],
        "state_pp": [f"⊢ s{i}" for i in number.tolist()],
        "label": np.where(positive, "positive", "negative").tolist(),
        "depth_from_root": np.where(positive, place, parent + 1),
        "remaining_depth": np.where(positive, positives - place, -1),
        "llm_log_prob": -place.astype(float),
        "state_id": place,
        "parent_state_id": pl.Series(parent).replace(-1, None),
        "is_proof_complete": np.zeros(n, dtype=bool),
        "state_key": [f"{i:032x}" for i in number.tolist()],
        "search_id": ["s"] * n,
    }
    return pl.DataFrame(columns).cast(pl.Schema(STATE_SCHEMA))


def write_cache(root: Path, n: int, width: int, *, sparse: bool) -> EmbeddingCache:
    """A cache of n vectors for `synthetic_states`: random ones, or a sparse file of zeros that takes no disk space."""
    cache = EmbeddingCache(root, FINGERPRINT, width)
    path = cache.folder / "part-0"
    block = np.random.default_rng(0).standard_normal((min(n, 2048), width), dtype=np.float32)
    with open(path.with_suffix(".npy"), "wb") as handle:
        header = {"descr": np.lib.format.dtype_to_descr(block.dtype), "fortran_order": False, "shape": (n, width)}
        np.lib.format.write_array_header_1_0(handle, header)
        if sparse:
            handle.truncate(handle.tell() + n * width * 4)
        else:
            for start in range(0, n, len(block)):
                handle.write(block[: n - start].tobytes())
    path.with_suffix(".keys").write_text("".join(f"{i:032x}\n" for i in range(n)))
    cache.refresh()
    return cache

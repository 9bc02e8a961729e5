"""Hidden vectors of the states that training needs, into the cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prover.policy.complete import as_policy
from prover.settings import setting
from prover_assets.protocols import PolicySource, Update
from prover_assets.store.files import digest_of
from prover_assets.store.layout import DataFolder, IterationFolder

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from ebm.embeddings import EmbeddingCache, EncodeCounts
    from prover.policy.base import FingerprintedPolicy
    from prover.scale import RayConfig

CHUNK = 4096
SAMPLE = 500
"""Vectors of a label that are drawn."""
SHOWN = 4
"""States of a label in the preview."""


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """How the states that the cache lacks are encoded."""

    batch_size: int = setting(32, unit="states", ge=1, le=4096)
    """States encoded at once."""
    cache_dtype: str = setting("float32", choices=("float32", "float16"))
    """How a new embedding cache stores vectors; float16 halves it. A cache that is there keeps its own."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What was done, in states; `zero` and `non_finite` count bad vectors among those that training will read."""

    requested: int
    cached: int
    encoded: int
    zero: int
    non_finite: int
    truncated: int
    """States encoded now by their first tokens alone, since they are longer than the encoder's limit."""
    width: int
    norm_mean: float
    encoder_fingerprint: str
    policy_id: str
    pooling: str
    folder: str
    cache_dtype: str
    """How the cache stores vectors."""
    labels: dict[str, int]
    """Distinct states by merged label."""
    states_digest: str
    """Digest of the labelled states, whatever their order."""
    plane: Mapping[str, Sequence[tuple[float, float]]]
    """A sample of the vectors by label, on the two directions along which they differ most."""
    preview: Sequence[tuple[str, str, str, float]]
    """(theorem, state, label, norm of its vector) of the first states of each label."""


def open_cache(data: DataFolder, model: "FingerprintedPolicy", dtype: str | None = None) -> "EmbeddingCache":
    """The embedding cache of a policy's encoder. dtype: as `EmbeddingCache`; None: as the cache is."""
    from ebm.embeddings import EmbeddingCache

    return EmbeddingCache(
        data.embeddings, model.encoder_fingerprint, model.encoding_width, pooling=model.pooling, dtype=dtype
    )


def labelled_states(iterations: Sequence[IterationFolder]) -> "pl.DataFrame":
    """Distinct unfinished states of the iterations' trajectories, with one label each: theorem, key, text, label."""
    import polars as pl

    from prover.trajectory import read_trajectories
    from prover.trajectory.labels import merge_labels

    frame = merge_labels(read_trajectories([iteration.trajectories.nodes for iteration in iterations]))
    return (
        frame.filter(~pl.col("is_proof_complete"))
        .unique(["theorem_name", "state_key"], maintain_order=True)
        .select("theorem_name", "state_key", "state_pp", "label", "remaining_depth")
    )


def embed_states(
    iterations: Sequence[IterationFolder],
    data: DataFolder,
    policy: PolicySource,
    *,
    batch_size: int,
    update: Update,
    cache_dtype: str | None = None,
    cluster: "RayConfig | None" = None,
) -> Embedded:
    """Encode what the cache lacks of the labelled states (training reads no others), and look at every vector.

    cache_dtype: how a new cache stores vectors; None: float32. cluster: the Ray cluster that encodes; None: this
    process.
    """
    import numpy as np
    import polars as pl

    states = labelled_states(iterations)
    wanted = states.filter(pl.col("label") != "unknown")
    texts = dict(zip(wanted["state_key"].to_list(), wanted["state_pp"].to_list(), strict=True))
    model = policy.load()
    counters = as_policy(model).counters
    before = counters.encodings_truncated if counters is not None else 0
    with open_cache(data, model, cache_dtype) as cache:
        counts = _encode(cache, data, policy, texts, batch_size, update, cluster)
        zero = non_finite = 0
        norms = 0.0
        keys = list(texts)
        for start in range(0, len(keys), CHUNK):
            vectors = cache.gather(keys[start : start + CHUNK])
            finite = np.isfinite(vectors).all(axis=1)
            non_finite += int((~finite).sum())
            zero += int((~vectors.any(axis=1)).sum())
            norms += float(np.linalg.norm(vectors[finite], axis=1).sum())
        sampled = {
            label: wanted.filter(pl.col("label") == label).unique("state_key", maintain_order=True).head(SAMPLE)
            for label in ("positive", "negative")
        }
        vectors_of = {label: cache.gather(rows["state_key"].to_list()) for label, rows in sampled.items()}
        folder, dtype = str(cache.folder), cache.dtype
    preview = [
        (name, text, label, float(np.linalg.norm(vector)))
        for label, rows in sampled.items()
        for (name, text), vector in zip(
            rows.select("theorem_name", "state_pp").head(SHOWN).iter_rows(), vectors_of[label], strict=False
        )
    ]
    return Embedded(
        requested=counts.requested,
        cached=counts.cached,
        encoded=counts.encoded,
        zero=zero,
        non_finite=non_finite,
        truncated=counters.encodings_truncated - before if counters is not None else 0,
        width=model.encoding_width,
        norm_mean=norms / max(len(keys) - non_finite, 1),
        encoder_fingerprint=model.encoder_fingerprint,
        policy_id=model.policy_id,
        pooling=model.pooling,
        folder=folder,
        cache_dtype=dtype,
        labels={label: states.filter(pl.col("label") == label).height for label in ("positive", "negative", "unknown")},
        states_digest=digest_of(sorted(texts)),
        plane=principal_plane(vectors_of),
        preview=preview,
    )


def _encode(
    cache: "EmbeddingCache",
    data: DataFolder,
    policy: PolicySource,
    texts: Mapping[str, str],
    batch_size: int,
    update: Update,
    cluster: "RayConfig | None",
) -> "EncodeCounts":
    def tell(done: int, total: int) -> None:
        update(done, total, "states encoded")

    if cluster is None:
        return cache.encode_missing(policy.load(), texts, batch_size, on_progress=tell)
    from ebm.embeddings_ray import encode_missing_on_ray

    return encode_missing_on_ray(
        cache, data.embeddings, policy.recipe(), texts, cluster, batch_size=batch_size, on_progress=tell
    )


def principal_plane(groups: Mapping[str, "np.ndarray"]) -> dict[str, list[tuple[float, float]]]:
    """Each group's vectors on the two principal directions of all of them together; nothing for fewer than three."""
    import numpy as np

    everything = np.concatenate(list(groups.values())).astype(np.float64)
    everything = everything[np.isfinite(everything).all(axis=1)]
    if len(everything) < 3:
        return {}
    centre = everything.mean(axis=0)
    directions = np.linalg.svd(everything - centre, full_matrices=False)[2][:2]
    return {
        name: [(float(x), float(y)) for x, y in (np.nan_to_num(vectors.astype(np.float64)) - centre) @ directions.T]
        for name, vectors in groups.items()
    }

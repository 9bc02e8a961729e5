"""Encoding many states with Ray Data: a pool of actors, each with the encoder, writes the cache's own part files.

Keys go out and keys come back; the vectors stay where they are made, on the data folder that all nodes share.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from ebm.embeddings import EmbeddingCache, EncodeCounts
from prover.scale.config import RayConfig, ScaleError
from prover.scale.connect import Needs, code_digest, connected, require_nodes, shared_token
from prover.scale.specs import PolicySpec

_STATES_PER_PART = 2048
"""States of one task, and so of one part file: enough for long batches, few enough to lose little with a node."""


class _Encoder:
    """An actor: the policy, and the cache that it writes to."""

    def __init__(self, policy: PolicySpec, root: str, batch_size: int) -> None:
        self._policy = policy.open()
        self._batch_size = batch_size
        self._root = root

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Encode a batch of (key, text); the answer is the keys."""
        policy = self._policy
        texts = dict(zip(batch["key"].tolist(), batch["text"].tolist(), strict=True))
        with EmbeddingCache(
            self._root, policy.encoder_fingerprint, policy.encoding_width, pooling=policy.pooling
        ) as cache:
            cache.encode_missing(policy, texts, self._batch_size)
        return {"key": batch["key"]}


def encode_missing_on_ray(
    cache: EmbeddingCache,
    root: Path,
    policy: PolicySpec,
    texts: Mapping[str, str],
    config: RayConfig,
    *,
    batch_size: int = 32,
    on_progress: Callable[[int, int], None] | None = None,
) -> EncodeCounts:
    """As `EmbeddingCache.encode_missing`, on the actors of a Ray cluster.

    cache: open on `root`, the cache folder, which all nodes must share; it has the new vectors afterwards. policy: the
    encoder, opened on each actor. Its fingerprint must be the cache's. config: `policy_actors` encoders (0: one per
    CPU), each with the CPUs and GPUs of a policy actor. Raises ScaleError for a cluster that is not ready or was lost,
    and whatever encoding raises on an actor. Parts that were written before an error are kept.
    """
    absent = sorted(cache.missing(texts), key=lambda key: len(texts[key]))
    if absent:
        with connected(config) as ray, shared_token(root) as token:
            folders = (policy.where,) if policy.folder is not None and policy.where is not None else ()
            require_nodes(ray, Needs(code_digest(), "", folders, token), config.start_timeout_s)
            _run(ray, root, policy, {key: texts[key] for key in absent}, config, batch_size, on_progress)
        cache.refresh()
        if left := cache.missing(absent):
            raise ScaleError(
                f"{len(left)} of {len(absent)} states came back without a vector in {cache.folder}: the nodes write to "
                "another folder or with another encoder; share the data folder, and install the same model on all nodes"
            )
    return EncodeCounts(requested=len(texts), cached=len(texts) - len(absent), encoded=len(absent))


def _run(
    ray: ModuleType,
    root: Path,
    policy: PolicySpec,
    texts: Mapping[str, str],
    config: RayConfig,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    from ray.data import ActorPoolStrategy, DataContext

    DataContext.get_current().enable_progress_bars = False
    encoders = config.policy_actors or max(1, int(ray.cluster_resources().get("CPU", 1) / config.cpus_per_policy_actor))
    per_task = max(1, min(_STATES_PER_PART, -(-len(texts) // encoders)))
    items = [{"key": key, "text": text} for key, text in texts.items()]
    done = 0
    try:
        encoded = ray.data.from_items(items, override_num_blocks=-(-len(items) // per_task)).map_batches(
            _Encoder,
            fn_constructor_args=(policy, str(root.resolve()), batch_size),
            batch_size=per_task,
            compute=ActorPoolStrategy(size=encoders),
            num_cpus=config.cpus_per_policy_actor,
            num_gpus=config.gpus_per_policy_actor,
        )
        for batch in encoded.iter_batches(batch_size=None, batch_format="numpy"):
            done += len(batch["key"])
            if on_progress is not None:
                on_progress(done, len(texts))
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except ray.exceptions.RayError as error:
        raise ScaleError(f"Ray was lost while states were encoded ({error}); what was written is kept") from error

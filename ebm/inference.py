"""The energy model as search sees it. SCORE = -ENERGY: higher is better."""

import logging
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch

from ebm.champion import ChampionError, policy_of_checkpoint, resolve_checkpoint
from ebm.checkpoint import (
    CheckpointError,
    EncoderDescription,
    checkpoint_id,
    load_energy,
    read_calibration,
    read_encoder,
)
from ebm.embeddings import EmbeddingCache
from ebm.model.encoder import EncoderBackend
from ebm.model.energy_head import EnergyHead
from ebm.model.ensemble import EnergyEnsemble
from ebm.training.features import WidthMismatchError
from prover.policy.base import ENCODER_ADVICE, Repooling, TacticGenerator, TakesEncoder
from prover.search.guidance import MixingCalibration, ScoreError
from prover.states import state_key

logger = logging.getLogger(__name__)

_MAX_REMEMBERED = 1_000_000


class EncoderMismatchError(ValueError):
    """The head was trained on another encoder's vectors: its energies would mean nothing."""


def require_same_encoder(path: str | Path, encoder: TacticGenerator | EncoderBackend) -> None:
    """Raise unless the vectors of `encoder` are those that the head of a checkpoint was trained on.

    encoder: a policy, or an `EncoderBackend` over one. A side without a fingerprint is only compared in width.

    Raises:
        WidthMismatchError: the widths differ.
        EncoderMismatchError: the fingerprints differ.
        FileNotFoundError, CheckpointError: as `ebm.checkpoint.read_encoder`.
    """
    trained_on = read_encoder(path)
    given = EncoderDescription.of(encoder)
    if trained_on.width != given.width:
        raise WidthMismatchError(
            f"the head of {path} takes vectors of width {trained_on.width} (pooling {trained_on.pooling}), "
            f"the encoder's have width {given.width} (pooling {given.pooling}): use the policy and pooling that "
            "it was trained with"
        )
    if trained_on.fingerprint and given.fingerprint and trained_on.fingerprint != given.fingerprint:
        raise EncoderMismatchError(
            f"the head of {path} was trained on vectors of encoder {trained_on.fingerprint[:16]} "
            f"({trained_on.policy_id}, {trained_on.pooling}), not of {given.fingerprint[:16]} "
            f"({given.policy_id}, {given.pooling}): load that policy, or train a head on this one"
        )


def fitted_encoder(path: str | Path, policy: TacticGenerator) -> TacticGenerator:
    """The policy with the pooling that the head of a checkpoint was trained with, where it can pool so.

    A server without an encoder borrows the model that the checkpoint names, if that is a folder here: the name alone
    sends nothing anywhere and downloads nothing. Whether the vectors are the right ones is not looked at.

    Raises:
        EncoderMismatchError: there is no encoder, or it cannot pool so.
        FileNotFoundError, CheckpointError: as `ebm.checkpoint.read_encoder`.
        PolicyError, ValueError: the encoder cannot be opened.
    """
    trained_on = read_encoder(path)
    if isinstance(policy, TakesEncoder) and not policy.hidden_size:
        _borrow_encoder(path, policy, trained_on)
    if not trained_on.pooling or not isinstance(policy, Repooling) or policy.pooling == trained_on.pooling:
        return policy
    try:
        return policy.with_pooling(trained_on.pooling)
    except ValueError as error:
        raise EncoderMismatchError(f"the head of {path} was trained on vectors of another pooling: {error}") from error


def _borrow_encoder(path: str | Path, policy: TakesEncoder, trained_on: EncoderDescription) -> None:
    source = trained_on.source
    if source is None or not Path(source).is_dir():
        named = f" (the head of {path} was trained with {source})" if source else ""
        raise EncoderMismatchError(
            f"the policy is a server, which has no hidden vectors for the energy model: {ENCODER_ADVICE}{named}"
        )
    logger.warning("encoder: %s, with which the energy model was trained", source)
    policy.use_encoder(source, trained_on.pooling)


class EBMScorer:
    """Scores proof states; a `prover.search.ValueScorer`. May be called from several threads.

    The head is in eval mode and runs without autograd. Vectors come from the embedding cache where it has them, and
    new ones go there; scores of states seen before come from memory.
    """

    def __init__(
        self,
        head: EnergyHead | EnergyEnsemble,
        encoder: TacticGenerator | EncoderBackend,
        *,
        cache: EmbeddingCache | None = None,
        calibration: MixingCalibration | None = None,
        ebm_id: str = "ebm-unsaved",
        device: torch.device | str = "cpu",
        batch_size: int = 64,
    ) -> None:
        """`encoder`: a policy, or an `EncoderBackend` over one. `batch_size`: states encoded at once."""
        self.encoder = encoder if isinstance(encoder, EncoderBackend) else EncoderBackend(encoder)
        width = self.encoder.hidden_dim
        if width != head.config.d_encoder:
            raise WidthMismatchError(
                f"the head takes vectors of width {head.config.d_encoder}, the encoder's have width {width}: use the "
                "policy and pooling that it was trained with"
            )
        if cache is not None and cache.width != width:
            raise WidthMismatchError(f"the embedding cache has width {cache.width}, the encoder {width}")
        self.head = head.to(device).eval()
        self.cache = cache
        self.calibration = calibration
        self.ebm_id = ebm_id
        self.device = torch.device(device)
        self.batch_size = batch_size
        self._energies: dict[str, float] = {}
        self._lock = threading.Lock()
        if cache is not None:
            weakref.finalize(self, cache.flush)

    @classmethod
    def load(
        cls,
        path: str | Path,
        encoder: TacticGenerator | EncoderBackend,
        cache: EmbeddingCache | None = None,
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 64,
    ) -> Self:
        """From a checkpoint folder.

        Raises:
            FileNotFoundError, CheckpointError: no whole checkpoint there.
            EncoderMismatchError: it was trained on another encoder's vectors.
            WidthMismatchError: the widths differ.
        """
        require_same_encoder(path, encoder)
        return cls(
            load_energy(path, device),
            encoder,
            cache=cache,
            calibration=read_calibration(path),
            ebm_id=checkpoint_id(path),
            device=device,
            batch_size=batch_size,
        )

    def score_state(self, state: str) -> float:
        """SCORE (= -energy) of one state text: higher is better."""
        return float(self.score_states([state])[0])

    def score_states(self, states: Sequence[str]) -> np.ndarray:
        """SCOREs (n,) float64 of state texts, in order: higher is better. Each distinct state is computed once."""
        return -self.energies(states)

    def energies(self, states: Sequence[str]) -> np.ndarray:
        """ENERGIES (n,) float64 of state texts, in order: lower is better."""
        keys = [state_key(state) for state in states]
        with self._lock:
            new = {key: state for key, state in zip(keys, states, strict=True) if key not in self._energies}
            if new:
                if len(self._energies) + len(new) > _MAX_REMEMBERED:
                    self._energies = {key: self._energies[key] for key in keys if key in self._energies}
                vectors = self._vectors(list(new), list(new.values()))
                self._energies |= zip(new, self.energies_of_vectors(vectors).tolist(), strict=True)
            return np.array([self._energies[key] for key in keys], dtype=np.float64)

    def energies_of_vectors(self, vectors: np.ndarray) -> np.ndarray:
        """ENERGIES (n,) float64 of embeddings (n, width): lower is better. Raises ScoreError if one is not finite."""
        energies = np.empty(len(vectors), dtype=np.float64)
        with torch.inference_mode():
            for start in range(0, len(vectors), 1024):
                chunk = torch.tensor(vectors[start : start + 1024], dtype=torch.float32, device=self.device)
                energies[start : start + 1024] = self.head(chunk).double().cpu().numpy()
        if not np.isfinite(energies).all():
            n_bad = int((~np.isfinite(energies)).sum())
            raise ScoreError(
                f"the energy model {self.ebm_id} gave {n_bad} of {len(energies)} states an energy that is not "
                "finite, so it cannot guide a search: train it again, or search without it"
            )
        return energies

    def _vectors(self, keys: list[str], texts: list[str]) -> np.ndarray:
        """(n, width) float32; encodes what the cache lacks, and leaves it there."""
        absent = [i for i, key in enumerate(keys) if self.cache is None or key not in self.cache]
        absent.sort(key=lambda i: len(texts[i]))  # neighbours in length pad least
        encoded = np.empty((len(absent), self.encoder.hidden_dim), dtype=np.float32)
        for start in range(0, len(absent), self.batch_size):
            batch = absent[start : start + self.batch_size]
            encoded[start : start + len(batch)] = self.encoder.encode_batch([texts[i] for i in batch])
        if self.cache is None:
            vectors = np.empty_like(encoded)
            vectors[absent] = encoded
            return vectors
        if absent:
            self.cache.add([keys[i] for i in absent], encoded)
        return self.cache.gather(keys)

    def flush(self) -> None:
        """Write new vectors to the cache's files; done at exit too."""
        if self.cache is not None:
            self.cache.flush()


class ScorerLoader:
    """What the entry point group `prover.scorers` names: opens an energy model, and knows the policy it belongs to."""

    def __call__(self, path: str | Path, policy: TacticGenerator, data_dir: str | Path = "data") -> EBMScorer:
        """Scorer of a checkpoint folder, or of `champion`, with the data folder's embedding cache.

        The vectors are pooled as the head was trained, whatever the policy's own pooling is. Raises: as
        `ebm.champion.resolve_checkpoint`, `fitted_encoder` and `EBMScorer.load`.
        """
        folder = resolve_checkpoint(path, data_dir)
        policy = fitted_encoder(folder, policy)
        backend = EncoderBackend(policy)
        cache = None
        if backend.fingerprint is not None:
            cache = EmbeddingCache(
                Path(data_dir) / "embeddings",
                backend.fingerprint,
                backend.hidden_dim,
                pooling=backend.policy.pooling or "",
            )
        return EBMScorer.load(folder, policy, cache)

    def policy_of(self, path: str | Path, data_dir: str | Path = "data") -> Path | None:
        """Folder of the tuned policy that a checkpoint was trained with; None where there is none in the data folder.

        None also where there is no such checkpoint: opening it says what is wrong.
        """
        try:
            return policy_of_checkpoint(path, data_dir)
        except (OSError, ChampionError, CheckpointError):
            return None


load_scorer = ScorerLoader()

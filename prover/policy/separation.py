"""How well a policy's vectors tell states on the way to a proof from other states: a probe, before and after tuning.

Fine-tuning a policy on its own proofs can make all its vectors alike, and an energy model on such vectors learns
nothing. The probe measures that before anything is built on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Encoder(Protocol):
    """What the probe needs of a policy."""

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        """(n, width) float32."""
        ...


@dataclass(frozen=True, slots=True)
class Separation:
    """The probe's figures."""

    centroid_distance: float
    """Distance of the two means over the root mean square spread within the groups; 0 = the same place."""
    probe_auc: float
    """Area under the ROC curve of a linear probe, cross-validated over theorems; 0.5 = chance."""
    n_positive: int
    n_negative: int


def centroid_distance(positive: np.ndarray, negative: np.ndarray) -> float:
    """|mean difference| / sqrt(mean within-group variance, summed over dimensions). Inputs (n, d)."""
    difference = np.linalg.norm(positive.mean(axis=0) - negative.mean(axis=0))
    spread = (positive.var(axis=0).sum() * len(positive) + negative.var(axis=0).sum() * len(negative)) / (
        len(positive) + len(negative)
    )
    return float(difference / np.sqrt(spread)) if spread > 0 else 0.0


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties counting half. labels: bool."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # mean rank of each distinct score, from 1
    n_positive = int(labels.sum())
    n_negative = len(labels) - n_positive
    total = float(ranks[inverse][labels].sum())
    return (total - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def probe_auc(vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int = 5) -> float:
    """AUC of ridge regression on standardised vectors, each group (theorem) scored by a fit that has not seen it.

    Areas of the folds are averaged, weighted by their numbers of pairs: scores of different fits are not compared.
    """
    ridge = 10.0  # in states: the weight of the penalty on a standardised feature
    fold_of = {group: number % folds for number, group in enumerate(sorted(set(groups.tolist())))}
    fold = np.array([fold_of[group] for group in groups.tolist()])
    total, pairs = 0.0, 0
    for number in range(folds):
        held_out = fold == number
        fit = ~held_out
        n_pairs = int(labels[held_out].sum()) * int((~labels[held_out]).sum())
        if n_pairs == 0 or labels[fit].all() or not labels[fit].any():
            continue
        mean, scale = vectors[fit].mean(axis=0), vectors[fit].std(axis=0) + 1e-6
        known = (vectors[fit] - mean) / scale
        target = labels[fit] - labels[fit].mean()
        weights = np.linalg.solve(known.T @ known + ridge * np.eye(known.shape[1]), known.T @ target)
        total += n_pairs * auc(((vectors[held_out] - mean) / scale) @ weights, labels[held_out])
        pairs += n_pairs
    return total / pairs if pairs else 0.5


def measure_separation(
    encoder: Encoder, states: Sequence[str], labels: Sequence[bool], theorems: Sequence[str]
) -> Separation:
    """Encode labelled states and measure. labels: True = on the way to a proof; theorems: the theorem of each state.

    Raises ValueError unless there are at least 10 states of each label from at least 5 theorems.
    """
    positive = np.asarray(labels, dtype=bool)
    n_positive, n_negative, n_theorems = int(positive.sum()), int((~positive).sum()), len(set(theorems))
    if n_positive < 10 or n_negative < 10 or n_theorems < 5:
        raise ValueError(
            f"the separation probe needs 10 states of each label from 5 theorems; given {n_positive} positive and "
            f"{n_negative} negative states from {n_theorems} theorems"
        )
    vectors = encoder.encode_only(states).astype(np.float64)
    return Separation(
        centroid_distance(vectors[positive], vectors[~positive]),
        probe_auc(vectors, positive, np.asarray(theorems)),
        n_positive,
        n_negative,
    )


def separation_warnings(before: Separation, after: Separation) -> list[str]:
    """What to tell the user when tuning has cost half of the separation, or more."""
    warnings = []
    if after.centroid_distance < before.centroid_distance / 2:
        warnings.append(
            f"the distance between positive and negative states fell from {before.centroid_distance:.3f} to "
            f"{after.centroid_distance:.3f}, by more than half: an energy model on these vectors will learn less. Tune "
            "for fewer steps, at a lower learning rate, or with a larger anchor_weight."
        )
    if after.probe_auc - 0.5 < (before.probe_auc - 0.5) / 2:
        warnings.append(
            f"the linear probe's AUC fell from {before.probe_auc:.3f} to {after.probe_auc:.3f}, by more than half of "
            "what it had above chance: keep the old policy as the encoder, or tune more gently."
        )
    return warnings

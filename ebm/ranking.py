"""How well a score orders proof states: sibling rank-1 by depth, and AUC.

Siblings are the new states that the candidates of one expansion lead to. Rank-1 asks, where at least one sibling is
positive and at least one is not, whether the best-scored one is positive: the question that search puts at every
expansion. A finished proof is no sibling: search takes it without asking any score.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from prover.evaluation.statistics import bootstrap_mean

DEPTH_BUCKETS: tuple[tuple[str, int, int], ...] = (("0-1", 0, 1), ("2-3", 2, 3), ("4-7", 4, 7), ("8+", 8, 2**31 - 1))
"""Name, first and last depth of the parent (tactic steps from the root)."""


@dataclass(frozen=True, slots=True)
class SiblingGroups:
    """Sibling sets with a choice to make, as flat arrays over rows.

    rows: (n,) positions in the frame that the groups were made from; group: (n,) which set; positive: (n,) bool;
    parent_depth: (n_groups,).
    """

    rows: np.ndarray
    group: np.ndarray
    positive: np.ndarray
    parent_depth: np.ndarray

    @property
    def n_groups(self) -> int:
        """How many parents have children to rank."""
        return len(self.parent_depth)


def sibling_groups(frame: pl.DataFrame) -> SiblingGroups:
    """The sibling sets of trajectory rows that hold both a positive state and one that is not.

    frame: trajectory rows (prover.trajectory.schema) with final labels; `unknown` rows are left out, as are finished
    proofs and roots. Siblings share search_id, theorem_name and parent_state_id. A state of a theorem that several
    searches expanded counts once, with the search that has the most labelled siblings there (the first of equals).
    """
    keys = ["search_id", "theorem_name", "parent_state_id"]
    parents = frame.select("search_id", "theorem_name", "state_id", pl.col("state_key").alias("parent_key")).rename(
        {"state_id": "parent_state_id"}
    )
    chosen = (
        frame.with_row_index("row")
        .filter(pl.col("parent_state_id").is_not_null() & ~pl.col("is_proof_complete") & (pl.col("label") != "unknown"))
        .with_columns((pl.col("label") == "positive").alias("positive"))
        .with_columns(
            pl.col("positive").sum().over(keys).alias("n_positive"),
            pl.len().over(keys).alias("n_siblings"),
            pl.col("row").min().over(keys).alias("first_row"),
        )
        .filter((pl.col("n_positive") > 0) & (pl.col("n_positive") < pl.col("n_siblings")))
        .join(parents, on=keys, how="left")
        .with_columns(pl.coalesce("parent_key", pl.format("row {}", "first_row")).alias("parent_key"))
        .sort(pl.col("n_siblings"), descending=True, maintain_order=True)
        .filter(pl.col("first_row") == pl.col("first_row").first().over("theorem_name", "parent_key"))
        .with_columns(pl.col("first_row").rank("dense").alias("group"))
        .sort("group", "row")
    )
    group = chosen["group"].to_numpy().astype(np.int64) - 1
    depth = chosen.group_by("group", maintain_order=True).agg(pl.col("depth_from_root").first() - 1)
    return SiblingGroups(
        rows=chosen["row"].to_numpy().astype(np.int64),
        group=group,
        positive=chosen["positive"].to_numpy(),
        parent_depth=depth["depth_from_root"].to_numpy().astype(np.int64),
    )


def rank1_hits(groups: SiblingGroups, scores: np.ndarray) -> np.ndarray:
    """For each sibling set, the share of its best-scored members that are positive, (n_groups,) in [0, 1].

    scores: (n_rows of the frame,), higher is better. Ties share: two equal best states, one of them positive, count .5.
    """
    values = np.asarray(scores, dtype=np.float64)[groups.rows]
    if not np.isfinite(values).all():
        raise ValueError("scores of sibling states must be finite; got NaN or infinity")
    best = np.full(groups.n_groups, -np.inf)
    np.maximum.at(best, groups.group, values)
    top = values == best[groups.group]
    n_top = np.bincount(groups.group[top], minlength=groups.n_groups)
    n_hit = np.bincount(groups.group[top & groups.positive], minlength=groups.n_groups)
    return n_hit / np.maximum(n_top, 1)


def random_hits(groups: SiblingGroups) -> np.ndarray:
    """Expected rank-1 of a random order: the positive share of each set, (n_groups,)."""
    size = np.bincount(groups.group, minlength=groups.n_groups)
    positive = np.bincount(groups.group[groups.positive], minlength=groups.n_groups)
    return positive / np.maximum(size, 1)


@dataclass(frozen=True, slots=True)
class Rank1:
    """Mean rank-1 over `n` sibling sets with a 95% bootstrap interval."""

    n: int
    mean: float
    low: float
    high: float


def rank1_by_depth(groups: SiblingGroups, scores: Mapping[str, np.ndarray]) -> dict[str, dict[str, Rank1]]:
    """Rank-1 of each named score, and of `random`, by depth bucket of the parent and under `all`.

    Returns bucket -> score name -> Rank1; a bucket without sibling sets is left out.
    """
    hits = {"random": random_hits(groups)} | {name: rank1_hits(groups, values) for name, values in scores.items()}
    masks = {name: (groups.parent_depth >= low) & (groups.parent_depth <= high) for name, low, high in DEPTH_BUCKETS}
    masks["all"] = np.ones(groups.n_groups, dtype=bool)
    return {
        bucket: {name: Rank1(int(mask.sum()), *bootstrap_mean(h[mask])) for name, h in hits.items()}
        for bucket, mask in masks.items()
        if mask.any()
    }


def rank1_to_dict(table: Mapping[str, Mapping[str, Rank1]]) -> dict[str, dict[str, dict[str, float]]]:
    """`rank1_by_depth` as plain numbers, for JSON."""
    return {bucket: {name: asdict(value) for name, value in row.items()} for bucket, row in table.items()}


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: how often a random positive outscores a random negative (ties count half).

    scores, positive: (n,). Raises ValueError without both labels.
    """
    from scipy.stats import rankdata

    positive = np.asarray(positive, dtype=bool)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        raise ValueError(f"AUC needs both labels; got {n_positive} positive and {n_negative} negative states")
    ranks = rankdata(np.asarray(scores, dtype=np.float64))
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))

import numpy as np
import polars as pl
import pytest

from ebm.ranking import auc, random_hits, rank1_by_depth, rank1_hits, sibling_groups


def frame(rows: list[tuple[str, int | None, str, int, bool]]) -> pl.DataFrame:
    """Rows of (theorem, parent id, label, depth, finished)."""
    return pl.DataFrame(
        {
            "search_id": ["s"] * len(rows),
            "state_id": pl.Series(range(len(rows)), dtype=pl.UInt64),
            "state_key": [f"{r[0]}-{i}" for i, r in enumerate(rows)],
            "theorem_name": [r[0] for r in rows],
            "parent_state_id": pl.Series([r[1] for r in rows], dtype=pl.UInt64),
            "label": [r[2] for r in rows],
            "depth_from_root": pl.Series([r[3] for r in rows], dtype=pl.UInt32),
            "is_proof_complete": [r[4] for r in rows],
        }
    )


ROWS = frame(
    [
        ("t", None, "positive", 0, False),  # 0: root, nobody's sibling
        ("t", 0, "positive", 1, False),  # 1
        ("t", 0, "negative", 1, False),  # 2
        ("t", 0, "negative", 1, False),  # 3
        ("t", 1, "positive", 2, False),  # 4: only child
        ("t", 4, "positive", 3, False),  # 5
        ("t", 4, "negative", 3, False),  # 6
        ("t", 4, "positive", 3, True),  # 7: a finished proof is taken unasked
        ("u", 0, "negative", 1, False),  # 8: same parent id, another theorem
        ("u", 0, "unknown", 1, False),  # 9
    ]
)


def test_groups_hold_both_labels_and_never_mix_theorems() -> None:
    groups = sibling_groups(ROWS)
    members = {tuple(groups.rows[groups.group == g]) for g in range(groups.n_groups)}
    assert members == {(1, 2, 3), (5, 6)}
    assert sorted(groups.parent_depth) == [0, 2]


def test_a_state_that_two_searches_expanded_counts_once_with_its_larger_sibling_set() -> None:
    again = ROWS.with_columns(search_id=pl.lit("s2"))
    smaller = again.filter(pl.col("state_id") != 3)
    for frames in ([ROWS, smaller], [smaller, ROWS]):
        both = pl.concat(frames)
        groups = sibling_groups(both)
        assert groups.n_groups == 2
        sizes = sorted(np.bincount(groups.group).tolist())
        assert sizes == [2, 3]
        assert both["search_id"].gather(groups.rows[groups.parent_depth[groups.group] == 0]).unique().to_list() == ["s"]


def test_rank1_takes_the_best_scored_sibling() -> None:
    groups = sibling_groups(ROWS)
    scores = np.zeros(len(ROWS))
    scores[1], scores[2] = 1, 2  # the first set puts a negative on top
    scores[5] = 5  # the second set puts its positive on top
    by_depth = dict(zip(groups.parent_depth, rank1_hits(groups, scores), strict=True))
    assert by_depth == {0: 0.0, 2: 1.0}


def test_a_constant_score_is_exactly_as_good_as_chance() -> None:
    groups = sibling_groups(ROWS)
    np.testing.assert_allclose(rank1_hits(groups, np.ones(len(ROWS))), random_hits(groups))


def test_buckets_name_the_depth_of_the_parent() -> None:
    table = rank1_by_depth(sibling_groups(ROWS), {"policy": np.arange(len(ROWS), dtype=float)})
    assert set(table) == {"0-1", "2-3", "all"}
    assert table["all"]["policy"].n == 2
    assert table["0-1"]["random"].mean == pytest.approx(1 / 3)


def test_a_nan_score_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        rank1_hits(sibling_groups(ROWS), np.full(len(ROWS), np.nan))


def test_auc_counts_ordered_pairs_with_ties_as_half() -> None:
    scores = np.array([3.0, 2.0, 2.0, 1.0])
    positive = np.array([True, True, False, False])
    assert auc(scores, positive) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    with pytest.raises(ValueError, match="both labels"):
        auc(scores, np.ones(4, dtype=bool))

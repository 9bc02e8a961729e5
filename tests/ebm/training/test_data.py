"""Which negatives are drawn for which positives."""

import warnings

import numpy as np
import polars as pl
import pytest

from ebm.training import (
    ContrastiveIndex,
    ContrastiveSampler,
    ProofStateRecord,
    TrainingDataError,
    TrajectorySchemaError,
    load_records_from_parquet,
)
from ebm.training.data import NEVER, NegativeKind
from ebm.training.records import load_states


def state(theorem, name, label, remaining=-1, parent=None, state_id=0, **more) -> ProofStateRecord:
    return ProofStateRecord(
        theorem, f"⊢ {name}", label, remaining_depth=remaining, parent_state_id=parent, state_id=state_id, **more
    )


def names(samples) -> list[set[str]]:
    return [{negative.state_pp.removeprefix("⊢ ") for negative in sample.negatives} for sample in samples]


# -- index ---------------------------------------------------------------------------------------------------------


def test_build_index(new_records):
    index = ContrastiveIndex.build(new_records(n_theorems=2, n_positive=5, n_negative=7))
    assert {name: len(rows) for name, rows in index.pos_by_theorem.items()} == {"thm_0": 5, "thm_1": 5}
    assert {name: len(rows) for name, rows in index.neg_by_theorem.items()} == {"thm_0": 7, "thm_1": 7}
    assert len(index.all_negatives) == 14
    assert len(index) == len(index.records) == 24


def test_eligible_theorems():
    index = ContrastiveIndex.build(
        [
            state("both", "a", "positive", 1),
            state("both", "b", "negative"),
            state("only_positive", "c", "positive", 1),
            state("only_negative", "d", "negative"),
            state("unknown", "e", "unknown"),
        ]
    )
    assert index.eligible_theorems == ["both"]
    assert [index.records[row].state_pp for row in index.anchors] == ["⊢ a"]


def test_rows_are_the_positions_of_the_records(records):
    index = ContrastiveIndex.build(records)
    assert [record.state_pp for record in index.records] == [record.state_pp for record in records]
    for row in index.positives:
        assert records[row].label == "positive"


def test_labels_of_one_state_are_merged():
    """Ever positive is positive, with the shortest depth; the state is drawn once however often it was met."""
    index = ContrastiveIndex.build(
        [
            state("t", "a", "negative", search_id="1"),
            state("t", "a", "positive", 5, search_id="2"),
            state("t", "a", "positive", 3, search_id="3"),
            state("t", "b", "negative", search_id="1", state_id=1),
        ]
    )
    assert index.positives.tolist() == [0]
    assert index.negatives.tolist() == [3]
    assert index.remaining_depth[:3].tolist() == [3, 3, 3]


def test_case_tags_and_blanks_do_not_make_another_state():
    index = ContrastiveIndex.build(
        [
            ProofStateRecord("t", "case left\n⊢ p", "positive", remaining_depth=1),
            ProofStateRecord("t", "⊢ p  ", "negative"),
            ProofStateRecord("t", "⊢ q", "negative", state_id=1),
        ]
    )
    assert len(index.positives) == 1
    assert len(index.negatives) == 1


def test_finished_proofs_are_not_trained_on():
    index = ContrastiveIndex.build(
        [
            state("t", "a", "positive", 1),
            ProofStateRecord("t", "", "positive", remaining_depth=0, is_proof_complete=True),
            state("t", "b", "negative"),
        ]
    )
    assert index.positives.tolist() == [0]


def test_restricted_to_keeps_the_rows(records):
    index = ContrastiveIndex.build(records)
    part = index.restricted_to(["thm_1", "thm_3"])
    assert part.eligible_theorems == ["thm_1", "thm_3"]
    assert {part.records[row].theorem_name for row in part.used_rows} == {"thm_1", "thm_3"}
    assert len(part) == len(index)


# -- sampler -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 4, 7, 40])
def test_sample_returns_correct_k(records, k):
    sample = ContrastiveSampler(ContrastiveIndex.build(records), k_negatives=k).sample()
    assert len(sample.negatives) == len(sample.kinds) == k
    assert sample.positive.label == "positive"
    assert sample.remaining_depth == sample.positive.remaining_depth


def test_hard_negatives_from_same_theorem(records):
    sampler = ContrastiveSampler(ContrastiveIndex.build(records), 4, hard_ratio=1.0, medium_ratio=0.0, easy_ratio=0.0)
    for sample in sampler.sample_batch(200):
        for negative in sample.negatives:
            assert negative.theorem_name == sample.positive.theorem_name
            assert negative.label == "negative"


def test_easy_negatives_from_other_theorems(records):
    sampler = ContrastiveSampler(ContrastiveIndex.build(records), 4, hard_ratio=0.0, medium_ratio=0.0, easy_ratio=1.0)
    seen = set()
    for sample in sampler.sample_batch(200):
        for negative in sample.negatives:
            assert negative.theorem_name != sample.positive.theorem_name
            seen.add(negative.state_pp)
    assert len(seen) == 40, "every dead end of every theorem can be drawn"


def test_medium_negatives_are_any_farther_states_of_the_theorem(records):
    sampler = ContrastiveSampler(ContrastiveIndex.build(records), 4, hard_ratio=0.0, medium_ratio=1.0, easy_ratio=0.0)
    labels = set()
    for sample in sampler.sample_batch(300):
        for negative in sample.negatives:
            assert negative.theorem_name == sample.positive.theorem_name
            labels.add(negative.label)
    assert labels == {"positive", "negative"}


def test_sample_batch_size(sampler):
    assert len(sampler.sample_batch(8)) == 8


def test_siblings_come_first():
    """One dead end is the positive's sibling, nine are not: it is in every example, and the rest fill up."""
    records = [
        state("t", "root", "positive", 2, state_id=0),
        state("t", "child", "positive", 1, parent=0, state_id=1),
        state("t", "sibling", "negative", parent=0, state_id=2),
        *[state("t", f"other{i}", "negative", parent=1, state_id=3 + i) for i in range(9)],
    ]
    sampler = ContrastiveSampler(ContrastiveIndex.build(records), 2, hard_ratio=1.0, medium_ratio=0.0, easy_ratio=0.0)
    samples = [s for s in sampler.sample_batch(200) if s.positive.state_pp == "⊢ child"]
    assert samples
    assert all("sibling" in found for found in names(samples))
    assert len(set.union(*names(samples))) == 10


def test_siblings_are_those_of_the_same_search():
    """Two searches number their nodes alike; a dead end below node 0 of the one is no sibling in the other."""
    records = [
        state("t", "root", "positive", 2, state_id=0, search_id="one"),
        state("t", "child", "positive", 1, parent=0, state_id=1, search_id="one"),
        state("t", "elsewhere", "negative", state_id=0, search_id="two"),
        state("t", "far", "negative", parent=0, state_id=1, search_id="two"),
    ]
    index = ContrastiveIndex.build(records)
    assert index.sibling_count.tolist() == [0, 0]


def test_a_negative_is_never_as_near_to_qed_as_its_positive(records):
    sampler = ContrastiveSampler(ContrastiveIndex.build(records), 4)
    for sample in sampler.sample_batch(1000):
        keys = {negative.key for negative in sample.negatives}
        assert sample.positive.key not in keys
        for negative in sample.negatives:
            assert negative.label == "negative" or negative.remaining_depth > sample.remaining_depth


def test_a_state_that_another_theorem_proved_is_no_dead_end():
    """The same state is negative in `u`, but one step from QED in `t`: so no negative for positives at 1 or more."""
    records = [
        state("t", "near", "positive", 1),
        state("t", "bad", "negative"),
        state("u", "far", "positive", 3),
        state("u", "near", "negative"),
        state("u", "worse", "negative"),
    ]
    index = ContrastiveIndex.build(records)
    assert index.distance.tolist() == [1, NEVER, 3, 1, NEVER]
    for ratios in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        sampler = ContrastiveSampler(index, 2, *ratios)
        assert all("near" not in found for found in names(sampler.sample_batch(100)))


def test_positives_of_unknown_depth_meet_dead_ends_only():
    records = [
        state("t", "unmeasured", "positive", -1),
        state("t", "far", "positive", 9),
        state("t", "bad", "negative"),
    ]
    sampler = ContrastiveSampler(ContrastiveIndex.build(records), 3, 0, 1, 0)
    for sample in sampler.sample_batch(100):
        others = {negative.state_pp for negative in sample.negatives}
        if sample.positive.state_pp == "⊢ unmeasured":
            assert sample.remaining_depth == -1
            assert others == {"⊢ bad"}
        else:
            assert "⊢ unmeasured" not in others


def test_negatives_repeat_only_where_there_are_too_few(records):
    sampler = ContrastiveSampler(ContrastiveIndex.build(records), 4)
    assert all(len(found) == 4 for found in names(sampler.sample_batch(500)))
    few = ContrastiveSampler(
        ContrastiveIndex.build([state("t", "a", "positive", 1), state("t", "b", "negative")]), 4, 1, 0, 0
    )
    assert names([few.sample()]) == [{"b"}]


def test_one_theorem_falls_back_with_a_warning(new_records):
    index = ContrastiveIndex.build(new_records(n_theorems=1))
    with pytest.warns(UserWarning, match="easy negatives are drawn from the positive's own theorem"):
        sampler = ContrastiveSampler(index, 4, 0.0, 0.0, 1.0)
    assert all(kind == NegativeKind.MEDIUM for kind in sampler.sample().kinds)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ContrastiveSampler(index, 4, 0.5, 0.5, 0.0)


@pytest.mark.parametrize("k", [1, 3, 4, 5])
def test_mix_over_many_draws(records, k):
    """Within 2 points of .5 / .3 / .2 over 10,000 draws, also where the shares do not divide K."""
    draw = ContrastiveSampler(ContrastiveIndex.build(records), k).draw(10_000 // k, stream=0)
    shares = np.bincount(draw.kinds.ravel(), minlength=3) / draw.kinds.size
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.02)


def lopsided() -> list[ProofStateRecord]:
    """Forty positives in one theorem, four in another, one in a third; a dead end in each."""
    counts = {"forty": 40, "four": 4, "one": 1}
    return [
        record
        for theorem, n in counts.items()
        for record in (
            *(state(theorem, f"{theorem} {i}", "positive", i + 1, state_id=i) for i in range(n)),
            state(theorem, f"{theorem} bad", "negative", state_id=n),
        )
    ]


@pytest.mark.parametrize(
    ("balance", "weights"), [("theorem", (1, 1, 1)), ("state", (1, 4, 40)), ("sqrt", (1, 2, 40**0.5))]
)
def test_balance_says_how_often_a_theorem_is_drawn(balance, weights):
    """`one`, `four` and `forty`; within a theorem, every positive is as likely as another."""
    index = ContrastiveIndex.build(lopsided())
    draw = ContrastiveSampler(index, 1, balance=balance).draw(60_000, stream=0)
    names = np.array(index.theorem_names)[index.theorem[draw.positives]]
    shares = np.array([(names == name).mean() for name in ("one", "four", "forty")])
    np.testing.assert_allclose(shares, np.array(weights) / sum(weights), atol=0.01)
    within = np.bincount(draw.positives)[index.anchors[:40]]
    assert within.min() > 0.7 * within.mean()


def test_the_default_draws_theorems_uniformly():
    index = ContrastiveIndex.build(lopsided())
    np.testing.assert_array_equal(
        ContrastiveSampler(index, 2).draw(50, 3).rows, ContrastiveSampler(index, 2, balance="theorem").draw(50, 3).rows
    )
    with pytest.raises(ValueError, match="balance must be one of theorem, state, sqrt, got 'even'"):
        ContrastiveSampler(index, balance="even")


def medium_only(records, k) -> ContrastiveSampler:
    return ContrastiveSampler(ContrastiveIndex.build(records), k, hard_ratio=0.0, medium_ratio=1.0, easy_ratio=0.0)


def test_medium_negatives_lead_to_a_proof_from_farther_away():
    """The sibling off the path first, then farther positives; no dead end while there are enough of them."""
    records = [
        state("t", "root", "positive", 3, state_id=0),
        state("t", "near", "positive", 1, parent=0, state_id=1),
        state("t", "detour", "positive", 5, parent=0, state_id=2),
        state("t", "shortcut", "positive", 1, parent=0, state_id=3),
        state("t", "elsewhere", "positive", 7, parent=2, state_id=4),
        *[state("t", f"bad{i}", "negative", parent=0, state_id=5 + i) for i in range(20)],
    ]
    one = [s for s in medium_only(records, 1).sample_batch(300) if s.positive.state_pp == "⊢ near"]
    assert one
    assert all(found == {"detour"} for found in names(one)), "the one farther sibling, before root and elsewhere"
    three = [s for s in medium_only(records, 3).sample_batch(300) if s.positive.state_pp == "⊢ near"]
    assert {frozenset(found) for found in names(three)} == {frozenset({"detour", "root", "elsewhere"})}


def test_dead_ends_pad_medium_negatives():
    """The farthest positive has nothing proved beyond it; the next has one state, and two dead ends fill up."""
    records = [
        state("t", "far", "positive", 4, state_id=0),
        state("t", "near", "positive", 1, parent=0, state_id=1),
        *[state("t", f"bad{i}", "negative", parent=1, state_id=2 + i) for i in range(5)],
    ]
    for sample in medium_only(records, 3).sample_batch(200):
        labels = [negative.label for negative in sample.negatives]
        proved = 1 if sample.positive.state_pp == "⊢ near" else 0
        assert labels.count("positive") == proved
        assert labels.count("negative") == 3 - proved
        assert len({negative.key for negative in sample.negatives}) == 3


def test_medium_and_hard_negatives_of_one_example_do_not_repeat(records):
    sampler = ContrastiveSampler(ContrastiveIndex.build(records), 6, 0.5, 0.5, 0.0)
    assert all(len(found) == 6 for found in names(sampler.sample_batch(500)))


def test_positives_are_drawn_uniformly(records):
    index = ContrastiveIndex.build(records)
    draw = ContrastiveSampler(index, 4).draw(20_000, stream=0)
    counts = np.bincount(draw.positives, minlength=len(index))
    assert (counts[index.anchors] > 800).all()
    assert counts.sum() == counts[index.anchors].sum()


def test_draws_are_seeded(records):
    index = ContrastiveIndex.build(records)
    first, second = ContrastiveSampler(index, 4, seed=3), ContrastiveSampler(index, 4, seed=3)
    assert first.sample_batch(16) == second.sample_batch(16)
    assert first.sample_batch(16) != ContrastiveSampler(index, 4, seed=3).sample_batch(16), "the next batch is another"
    np.testing.assert_array_equal(first.draw(8, 5).rows, second.draw(8, 5).rows)
    assert (first.draw(8, 5).rows != ContrastiveSampler(index, 4, seed=4).draw(8, 5).rows).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k_negatives": 0}, "k_negatives"),
        ({"hard_ratio": 0.9}, "add up to 1"),
        ({"hard_ratio": -0.5, "medium_ratio": 1.3}, "non-negative"),
    ],
)
def test_bad_settings_are_refused(records, arguments, message):
    with pytest.raises(ValueError, match=message):
        ContrastiveSampler(ContrastiveIndex.build(records), **arguments)


def test_no_positives_says_what_to_do():
    records = [state("t", f"s{i}", "negative", state_id=i) for i in range(812)]
    with pytest.raises(TrainingDataError, match="0 of 812 states are positive: prove at least one theorem first"):
        ContrastiveSampler(ContrastiveIndex.build(records))
    with pytest.raises(TrainingDataError, match="0 of 1 states are negative"):
        ContrastiveSampler(ContrastiveIndex.build([state("t", "a", "positive", 1)]))
    apart = [state("t", "a", "positive", 1), state("u", "b", "negative")]
    with pytest.raises(TrainingDataError, match="no theorem has both"):
        ContrastiveSampler(ContrastiveIndex.build(apart))


# -- files ---------------------------------------------------------------------------------------------------------


def test_load_records_reads_twelve_column_files(tmp_path, records, write):
    write(tmp_path / "a.parquet", [*records, state("thm_0", "open", "unknown", state_id=99)])
    loaded = load_records_from_parquet(tmp_path / "a.parquet")
    assert len(loaded) == len(records), "unknown labels are skipped"
    assert [r.state_pp for r in loaded] == [r.state_pp for r in records]
    assert [r.remaining_depth for r in loaded] == [r.remaining_depth for r in records]
    assert {r.state_key for r in loaded} == {r.key for r in records}, "keys are computed where the file has none"
    assert ContrastiveSampler.from_parquet(tmp_path / "a.parquet", k_negatives=2).sample().negatives


def test_load_records_merges_over_files(tmp_path, write):
    write(tmp_path / "a.parquet", [state("t", "a", "negative"), state("t", "b", "negative", state_id=1)])
    write(tmp_path / "b.parquet", [state("t", "a", "positive", 2)])
    index = ContrastiveIndex.from_states(load_states([tmp_path / "a.parquet", tmp_path / "b.parquet"]))
    assert index.label.tolist() == ["positive", "negative", "positive"]
    assert index.remaining_depth.tolist() == [2, -1, 2]


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.parquet"):
        load_records_from_parquet(tmp_path / "nowhere.parquet")
    with pytest.raises(TrainingDataError, match="no trajectory files"):
        load_records_from_parquet([])


@pytest.mark.parametrize("column", ["theorem_name", "state_pp", "label", "remaining_depth"])
def test_missing_column_is_named(tmp_path, records, write, column):
    write(tmp_path / "a.parquet", records)
    pl.read_parquet(tmp_path / "a.parquet").drop(column).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(TrajectorySchemaError, match=rf"b\.parquet.*'{column}'"):
        load_records_from_parquet(tmp_path / "b.parquet")


def test_wrong_types_and_labels_are_named(tmp_path, records, write):
    write(tmp_path / "a.parquet", records, extra={"label": pl.Series([1] * len(records))})
    with pytest.raises(TrajectorySchemaError, match="'label'"):
        load_records_from_parquet(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", records, extra={"label": pl.Series(["good"] * len(records))})
    with pytest.raises(TrajectorySchemaError, match="'good'"):
        load_records_from_parquet(tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_text("no Parquet, but as long as one might be")
    with pytest.raises(TrajectorySchemaError, match=r"c\.parquet.*as a Parquet file does"):
        load_records_from_parquet(tmp_path / "c.parquet")

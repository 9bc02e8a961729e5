"""Which training theorems an iteration searches."""

from hypothesis import given
from hypothesis import strategies as st

from prover.theorems import Theorem, TheoremSet
from prover_assets.steps.theorem_sets import (
    TheoremSettings,
    load_written,
    training_window,
    worlds_of,
    write_theorem_sets,
)
from prover_assets.store.layout import DataFolder


@given(st.integers(1, 60), st.integers(0, 8), st.integers(1, 40))
def test_windows_of_training_theorems_go_round(n, iteration, size):
    theorems = TheoremSet("t", tuple(Theorem(f"t{i}", ": p") for i in range(size)))
    window = [theorem.name for theorem in training_window(theorems, n, iteration, rotate=True)]
    assert len(window) == len(set(window)) == min(n, size)
    if n < size:
        assert window[0] == f"t{iteration * n % size}"
    assert training_window(theorems, n, iteration, rotate=False) == list(theorems)[:n]


def test_a_mix_keeps_the_world_of_each_theorem(tmp_path):
    data = DataFolder(tmp_path)
    data.prepare()
    config = TheoremSettings(
        train="propositional:train + first_order:train",
        valid="propositional:valid",
        test="first_order:test + arithmetic:test",
        test_limit=10,
    )
    written = write_theorem_sets(config, data)
    worlds = worlds_of(data.theorems("test"))
    assert sorted(worlds.values()) == ["arithmetic"] * 5 + ["first_order"] * 5
    assert set(worlds_of(data.theorems("valid")).values()) == {"propositional"}
    assert load_written(data, "train").digest == written.digests["train"]
    assert worlds_of(tmp_path / "nothing.jsonl") == {}

"""Which training theorems an iteration searches."""

from hypothesis import given
from hypothesis import strategies as st

from prover.theorems import Theorem, TheoremSet
from prover_assets.steps.theorem_sets import training_window


@given(st.integers(1, 60), st.integers(0, 8), st.integers(1, 40))
def test_windows_of_training_theorems_go_round(n, iteration, size):
    theorems = TheoremSet("t", tuple(Theorem(f"t{i}", ": p") for i in range(size)))
    window = [theorem.name for theorem in training_window(theorems, n, iteration, rotate=True)]
    assert len(window) == len(set(window)) == min(n, size)
    if n < size:
        assert window[0] == f"t{iteration * n % size}"
    assert training_window(theorems, n, iteration, rotate=False) == list(theorems)[:n]

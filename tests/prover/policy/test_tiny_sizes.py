from pathlib import Path

import numpy as np
import pytest
import torch

from prover.logic.formulas import parse_state
from prover.logic.g4ip import provable
from prover.policy.tiny import sizes
from prover.policy.tiny.data import NameShuffler
from prover.policy.tiny.sizes import LARGEST_SIZE, SizedState


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> list[SizedState]:
    return sizes.load_sizes(5, 60, 0.8, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    ("state", "size"),
    [
        ("p : Prop\nh1 : p\n⊢ p", 1),
        ("p q : Prop\nh1 : p\nh2 : q\n⊢ p ∧ q", 3),
        ("p q : Prop\nh1 : p\n⊢ p\n\np q : Prop\nh1 : q\n⊢ q", 2),
        ("p q : Prop\nh1 : p\n⊢ q", 0),
        ("p q : Prop\nh1 : p\n⊢ p\n\np q : Prop\n⊢ q", 0),  # one goal that cannot be proved spoils the state
        ("p : Prop\n⊢ p ∨ ¬p", 0),  # by_cases is not among the elementary tactics
    ],
)
def test_sizes_that_a_person_can_check(state: str, size: int) -> None:
    assert sizes.size_of(parse_state(state)) == size


def test_sizes_agree_with_the_decision_procedure(states: list[SizedState]) -> None:
    assert {state.size for state in states} >= {0, 1, 2, 3, 4}
    for state in states:
        assert 0 <= state.size <= LARGEST_SIZE
        assert provable(state.state) == (state.size > 0)


def test_states_are_seeded_and_cached(states: list[SizedState], tmp_path: Path) -> None:
    assert sizes.load_sizes(5, 60, 0.8, tmp_path) == states
    assert sizes.load_sizes(5, 60, 0.8, tmp_path) == states  # from the file


def test_batches_hold_every_state_with_its_own_size(states: list[SizedState]) -> None:
    examples = sizes.tokenize_states(states)
    assert len(examples) == len(states)
    still = NameShuffler(np.random.default_rng(0), share=0.0)
    n_steps = -(-len(examples) // 16)
    found = []
    for ids, lengths, classes in sizes.size_batches(examples, 16, n_steps, still, np.random.default_rng(1)):
        for row, length, size in zip(ids, lengths.tolist(), classes.tolist(), strict=True):
            found.append((tuple(row[:length].tolist()), size))
            assert not row[length:].any()
    assert sorted(found) == sorted((tuple(e.ids), e.size) for e in examples)


@pytest.mark.slow  # trains two policies
def test_the_objective_reaches_the_pooled_vectors(tmp_path: Path) -> None:
    """Training with the proof-size loss tells sizes apart that training without it does not."""
    from prover.policy.tiny.train import TinyTrainingConfig, train

    threads = torch.get_num_threads()
    config = {"n_theorems": 200, "n_valid": 40, "steps": 120, "warmup": 5, "batch_size": 16, "size_batch_size": 64}
    small = {"hidden_size": 32, "intermediate": 32, "threads": 1}
    _, learnt = train(TinyTrainingConfig(**config, **small, size_weight=1.0), tmp_path)
    _, without = train(TinyTrainingConfig(**config, **small, size_weight=0.0), tmp_path)
    torch.set_num_threads(threads)
    assert learnt["size_accuracy"] > 0.5  # the most frequent class has less than 0.22
    assert "size_accuracy" not in without

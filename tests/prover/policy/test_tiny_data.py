import json
from pathlib import Path

import numpy as np
import pytest
import torch

from prover.logic.formulas import parse_statement
from prover.logic.generate import SHIPPED_FILE
from prover.logic.tactics import apply_tactic
from prover.policy.tiny import data
from prover.policy.tiny.architecture import make_tokenizer
from prover.policy.tiny.data import NameShuffler, SplitError, TrainingPair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingPair]:
    return data.load_pairs(5, 60, 0.5, tmp_path_factory.mktemp("cache"))


def test_pairs_are_seeded_and_cached(pairs: list[TrainingPair], tmp_path: Path) -> None:
    assert data.load_pairs(5, 60, 0.5, tmp_path) == pairs
    assert data.load_pairs(5, 60, 0.5, tmp_path) == pairs  # from the file
    assert {pair.theorem for pair in pairs} == set(range(60))


def test_a_shipped_theorem_is_refused_up_to_renaming() -> None:
    statement = json.loads(SHIPPED_FILE.read_text(encoding="utf-8").split("\n", 1)[0])["statement"]
    renamed = statement.replace("p", "zz").replace("Pro" + "zz", "Prop").replace("h1", "hyp")
    assert renamed != statement
    with pytest.raises(SplitError, match="zz"):
        data.check_split(renamed, data.shipped_forms())


def test_legal_tactics_apply() -> None:
    goal = parse_statement("(p q r : Prop) (h1 : p ∧ q) (h2 : q → r) (h3 : ¬r ∨ False) : r ∨ p")
    tactics = data.legal_tactics(goal)
    assert {"left", "right", "exfalso", "rcases h1 with ⟨h4, h5⟩", "rcases h3 with h4 | h4"} <= set(tactics)
    assert "constructor" not in tactics
    for tactic in tactics:
        apply_tactic((goal,), tactic)


def test_examples_have_no_unknown_word(pairs: list[TrainingPair]) -> None:
    unknown = make_tokenizer().unk_token_id
    for example in data.tokenize_pairs(pairs, 0.5, seed=1):
        assert unknown not in example.prompt
        assert unknown not in example.completion


def test_batches_learn_the_completion_alone(pairs: list[TrainingPair]) -> None:
    examples = data.tokenize_pairs(pairs, 0.0, seed=1)
    still = NameShuffler(np.random.default_rng(0), share=0.0)
    seen = 0
    n_steps = -(-len(examples) // 16)
    for ids, targets in data.batches(examples, 16, n_steps, still, np.random.default_rng(1)):
        for row_ids, row_targets in zip(ids.tolist(), targets.tolist(), strict=True):
            learnt = [token for token in row_targets if token != -100]
            start = row_targets.index(learnt[0])
            assert any(e.prompt == row_ids[: start + 1] and e.completion == learnt for e in examples)
            seen += 1
    assert seen == len(examples)


def test_shuffling_permutes_names_within_their_class() -> None:
    shuffler = NameShuffler(np.random.default_rng(0), share=1.0)
    words = data.vocabulary()
    for new_ids in shuffler.maps(5):
        assert sorted(new_ids) == list(range(len(words)))
        changed = [(words[i], words[j]) for i, j in enumerate(new_ids) if i != j]
        assert len(changed) > 20
        assert all(a[0] == b[0] and a[0] in "ph" for a, b in changed)


@pytest.mark.long
def test_training_learns(tmp_path: Path) -> None:
    from prover.policy.tiny.train import TinyTrainingConfig, train

    threads = torch.get_num_threads()
    config = TinyTrainingConfig(
        n_theorems=40, n_valid=10, steps=40, warmup=5, batch_size=16, hidden_size=32, intermediate=32, threads=1
    )
    _, figures = train(config, tmp_path)
    _, again = train(config, tmp_path)
    torch.set_num_threads(threads)
    assert figures["validation_loss"] < 3.5  # the uniform distribution has 5.2
    assert figures["validation_loss"] == again["validation_loss"]

"""Training pairs of the other worlds, and the vocabulary that they need."""

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from prover.policy.tiny.architecture import make_tokenizer, vocabulary
from prover.policy.tiny.data import tokenize_pairs
from prover.policy.tiny.train_worlds import with_more_words
from prover.policy.tiny.worlds import as_training_pairs, load_world_pairs, varied, world_pairs
from prover.policy.weights import TINY_CHECKPOINT
from prover.worlds.canonical import canonical_statement
from prover.worlds.check import LEMMAS
from prover.worlds.draft import Made
from prover.worlds.generate import WORLDS
from prover.worlds.parse import read_formula

SPOKEN = {"intro", "intros", "exact", "apply", "refine", "constructor", "cases", "rcases", "obtain", "induction"}
SPOKEN |= {"rw", "have", "exists", "left", "right", "exfalso", "contradiction", "rfl", "symm", "unfold"}


def test_old_words_keep_their_places_and_all_lemmas_have_one() -> None:
    old, new = vocabulary(), vocabulary(worlds=True)
    assert new[: len(old)] == old
    assert len(set(new)) == len(new)
    tokenizer = make_tokenizer(worlds=True)
    words = tokenizer.get_vocab()
    for lemma in LEMMAS:
        ids = tokenizer(f"rw [← Nat.{lemma} x1 (x2 + 1)]", add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids, lemma
        assert words["["] in ids


def test_a_wider_vocabulary_changes_nothing_that_was_known() -> None:
    old = LlamaForCausalLM.from_pretrained(TINY_CHECKPOINT)
    new = with_more_words(TINY_CHECKPOINT, seed=1)
    ids = torch.tensor([[7, 30, 12, 150, 8, 3]])
    with torch.inference_mode():
        before, after = old(input_ids=ids).logits, new(input_ids=ids).logits
    known = old.config.vocab_size
    assert after.shape[-1] == len(vocabulary(worlds=True)) > known
    assert torch.allclose(before, after[..., :known], atol=1e-5)


@pytest.mark.long
def test_pairs_are_made_again_and_kept_from_the_shipped_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known_forms: Callable[..., set[str]]
) -> None:
    monkeypatch.setattr("prover.policy.tiny.worlds.other_forms", known_forms)
    monkeypatch.setattr("prover.policy.tiny.worlds._BATCH", 12)  # the same draws, fewer at a time

    pairs = list(world_pairs(WORLDS["arithmetic"], 3, 5, 5))
    assert {pair.theorem for pair in pairs} == set(range(5))
    assert not {canonical_statement(pair.statement) for pair in pairs} & known_forms()
    assert all(pair.left == 1 or after.left == pair.left - 1 for pair, after in pairwise(pairs))
    examples = tokenize_pairs(as_training_pairs(pairs, 10), 0.5, 1, worlds=True)
    assert len(examples) == len(pairs)
    assert (
        load_world_pairs("arithmetic", 3, 5, 5, tmp_path) == pairs == load_world_pairs("arithmetic", 3, 5, 5, tmp_path)
    )


@pytest.mark.parametrize("n", [200, pytest.param(1500, marks=pytest.mark.slow)])
def test_everything_that_the_policy_should_say_is_said(n: int) -> None:
    said: set[str] = set()
    for world in WORLDS.values():
        rng = random.Random(2)
        for _ in range(n):
            made = world.make(rng, 6)
            if made is not None:
                said.update(tactic.split()[0] for tactic in varied(made, rng).script)
    assert said >= SPOKEN
    assert not said & {"simp", "omega", "decide", "sorry"}


def test_other_words_for_the_same_proof() -> None:
    script = ("intro k1", "intro k2", "obtain ⟨u1, k3⟩ := k1", "refine ⟨u1, ?_⟩", "exact k3")
    made = Made("(a : Nat)", (), read_formula("a = a"), script)
    texts = {"; ".join(varied(made, random.Random(seed)).script) for seed in range(60)}
    assert any("intros k1 k2" in text for text in texts)
    assert any("rcases k1 with ⟨u1, k3⟩" in text for text in texts)
    assert any("exists u1" in text for text in texts)
    assert "; ".join(script) in texts

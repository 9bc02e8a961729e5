"""New training theorems where the training set is exhausted."""

from pathlib import Path

import pytest
from search_fakes import HashPolicy, HashWorld, theorems

from prover.logic.canonical import canonical_statement
from prover.logic.formulas import parse_statement
from prover.logic.g4ip import decide
from prover.logic.harder import forms_of, harder_theorems
from prover.search import SearchConfig, search_to_files
from prover.search.curriculum import Record
from prover.theorems import Theorem, TheoremSet, mixed
from prover.worlds.canonical import known_forms
from prover_assets.steps.grow import training_pool
from prover_assets.steps.theorem_sets import worlds_of, write_set
from prover_assets.store.layout import DataFolder

TRAIN = list(TheoremSet.load("propositional:train"))[:6]
PROVED = {theorem.name: Record(tries=1, proofs=1, expansions=5) for theorem in TRAIN[:5]}


def folder_of(path: Path, train: list[Theorem]) -> DataFolder:
    data = DataFolder(path)
    data.theorems("train").parent.mkdir(parents=True)
    held_out = list(TheoremSet.load("propositional:test"))
    for split, some in {"train": train, "valid": held_out[:3], "test": held_out[3:6]}.items():
        write_set(TheoremSet(split, tuple(some)), data.theorems(split))
    for number in range(3):
        data.iteration(number).root.mkdir(parents=True)
    return data


@pytest.mark.long
def test_an_exhausted_set_gets_harder_true_theorems_that_stay_in_the_pool(tmp_path):
    data = folder_of(tmp_path, TRAIN)
    assert training_pool(0, 4, PROVED, data, data.iteration(1)).theorems == tuple(TRAIN), "not wanted"
    assert training_pool(3, 1, PROVED, data, data.iteration(1)).theorems == tuple(TRAIN), "not needed"
    pool = training_pool(3, 4, PROVED, data, data.iteration(1))
    assert (pool.generated, pool.note) == (3, "")
    new = pool.theorems[6:]
    middle = sorted(theorem.difficulty for theorem in TRAIN[:5])[2]
    assert all(decide(parse_statement(theorem.statement)) for theorem in new)
    assert all(theorem.difficulty > middle for theorem in new)
    held_out = [theorem for split in ("valid", "test") for theorem in TheoremSet.load(str(data.theorems(split)))]
    forms = [canonical_statement(theorem.statement) for theorem in (*TRAIN, *held_out, *new)]
    assert len(set(forms)) == len(forms)
    assert TheoremSet.load(str(data.iteration(1).new_theorems)).digest == pool.digest
    assert training_pool(3, 4, PROVED, data, data.iteration(1)) == pool, "taken up again, it has the same"


@pytest.mark.long
def test_theorems_that_were_made_are_tried_in_later_rounds_too(tmp_path):
    data = folder_of(tmp_path, TRAIN)
    made = training_pool(2, 4, PROVED, data, data.iteration(1)).theorems[6:]
    config = SearchConfig(max_expansions=2, mode="policy-mean")
    search_to_files(theorems(2), data.iteration(1).trajectories.nodes, HashWorld(), HashPolicy(), config)
    later = training_pool(2, 3, PROVED, data, data.iteration(2))
    assert later.theorems[6:] == made
    assert later.generated == 0, "three are left: the one of the set, and the two new ones"


def test_a_set_without_a_generator_says_so(tmp_path):
    data = folder_of(tmp_path / "a", [*TRAIN, Theorem("f", "(n : Nat) : n = n")])
    pool = training_pool(3, 100, PROVED, data, data.iteration(1))
    assert pool.generated == 0
    assert "not all propositional" in pool.note
    assert not data.iteration(1).new_theorems.exists()
    data = folder_of(tmp_path / "b", [Theorem(t.name, t.statement) for t in TRAIN])
    assert "no proved theorem has a known difficulty" in training_pool(3, 100, PROVED, data, data.iteration(1)).note


@pytest.mark.long
def test_the_same_arguments_give_the_same_theorems():
    first = harder_theorems(2, above=7, exclude=(), seed=3, prefix="x")
    assert first == harder_theorems(2, above=7, exclude=(), seed=3, prefix="x")
    assert [theorem.name for theorem in first] == ["x_001", "x_002"]
    forms = forms_of(first)
    assert forms is not None
    assert not forms & forms_of(harder_theorems(2, above=7, exclude=forms, seed=3, prefix="y"))


@pytest.mark.slow
def test_a_mix_grows_in_each_of_its_worlds(tmp_path):
    sets = [TheoremSet.load(f"{world}:train").limit(6) for world in ("propositional", "first_order")]
    train = mixed(sets)
    data = folder_of(tmp_path, TRAIN)
    write_set(train, data.theorems("train"))
    write_set(TheoremSet.load("first_order:test").limit(4), data.theorems("test"))
    proved = {theorem.name: Record(tries=1, proofs=1, expansions=5) for theorem in train}
    pool = training_pool(5, 20, proved, data, data.iteration(1))
    assert (pool.generated, pool.note) == (5, "")
    new = pool.theorems[len(train) :]
    worlds = worlds_of(data.iteration(1).new_theorems)
    assert sorted(worlds[theorem.name] for theorem in new) == ["first_order"] * 2 + ["propositional"] * 3
    easy = sorted(t.difficulty for t in sets[1])[3]
    first_order = [t for t in new if worlds[t.name] == "first_order"]
    assert all(t.difficulty > easy for t in first_order)
    held_out = list(TheoremSet.load("first_order"))
    assert not known_forms(t.statement for t in first_order) & known_forms(t.statement for t in held_out)
    assert training_pool(5, 20, proved, data, data.iteration(1)) == pool, "taken up again, it has the same"

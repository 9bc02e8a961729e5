import json
import os
import subprocess
import sys
from itertools import islice

import pytest

from prover.logic.canonical import canonical_form, canonical_statement
from prover.logic.formulas import parse_statement, print_statement
from prover.logic.g4ip import decide
from prover.logic.generate import (
    DEMO,
    EASY,
    SHIPPED_FILE,
    GeneratorConfig,
    ShippedConfig,
    easy_proofs,
    is_interesting,
    main,
    sequents,
    shipped_forms,
    shipped_theorems,
    waste,
)
from prover.theorems import TheoremSet


@pytest.fixture(scope="module")
def shipped() -> TheoremSet:
    return TheoremSet.load("propositional")


def test_the_shipped_set_is_what_it_should_be(shipped: TheoremSet) -> None:
    assert shipped.splits == dict(ShippedConfig().sizes)
    assert shipped.splits["train"] >= 200
    assert shipped.splits["valid"] >= 100
    assert shipped.splits["test"] >= 150
    for theorem in shipped:
        sequent = parse_statement(theorem.statement)
        assert theorem.difficulty is not None
        assert DEMO.min_steps <= theorem.difficulty <= DEMO.max_steps
        assert DEMO.min_variables <= len(sequent.variables) <= DEMO.max_variables
        assert print_statement(sequent) == theorem.statement
        assert decide(sequent)


def test_no_two_theorems_are_the_same_up_to_names(shipped: TheoremSet) -> None:
    forms = [canonical_statement(theorem.statement) for theorem in shipped]
    textbook = {canonical_statement(theorem.statement) for theorem in TheoremSet.load("textbook")}
    assert len(set(forms)) == len(forms)
    assert not textbook.intersection(forms)


def test_every_stretch_of_a_split_has_all_difficulties(shipped: TheoremSet) -> None:
    for split in ("train", "valid", "test"):
        assert {theorem.difficulty for theorem in shipped.split(split).limit(33)} == set(range(6, 17))


@pytest.mark.long
def test_the_shipped_file_begins_as_the_generator_does(shipped: TheoremSet) -> None:
    """The first theorems that the generator draws all have a place; `--check` compares the whole file."""
    forms = {canonical_statement(theorem.statement) for theorem in TheoremSet.load("textbook")}
    drawn = [print_statement(s) for s, _, _ in islice(sequents(DEMO, ShippedConfig().seed, forms), 25)]
    assert set(drawn) <= {theorem.statement for theorem in shipped}


@pytest.mark.slow
def test_the_shipped_file_is_written_again_byte_for_byte() -> None:
    assert main(["--check"]) == 0


def test_a_small_set_is_filled_as_asked() -> None:
    config = ShippedConfig(seed=5, sizes=(("train", 6), ("test", 3)), weights=((6, 2.0), (7, 1.0)))
    theorems = shipped_theorems(config)
    assert [(t.name, t.split, t.difficulty) for t in theorems][:4] == [
        ("prop_train_001", "train", 6),
        ("prop_train_002", "train", 7),
        ("prop_train_003", "train", 6),
        ("prop_train_004", "train", 6),
    ]
    assert len({canonical_statement(t.statement) for t in theorems}) == 9


def test_easy_proofs_are_easy_distinct_and_never_shipped() -> None:
    held_out = shipped_forms()
    assert len(held_out) >= 600
    forms = set()
    for theorem, script in easy_proofs(1, 120):
        form = canonical_statement(theorem.statement)
        assert form not in held_out
        assert form not in forms
        assert EASY.min_steps <= len(script) <= EASY.max_steps
        assert theorem.difficulty == len(script)
        forms.add(form)


def test_what_is_excluded_does_not_come() -> None:
    first = [theorem for theorem, _ in easy_proofs(1, 20)]
    excluded = shipped_forms() | {canonical_statement(theorem.statement) for theorem in first[:10]}
    again = [theorem.statement for theorem, _ in easy_proofs(1, 10, exclude=excluded)]
    assert again == [theorem.statement for theorem in first[10:]]


def test_streams_do_not_depend_on_the_process() -> None:
    """Python's hashes of text differ between processes; the theorems must not."""
    code = (
        "import json; from prover.logic.generate import easy_proofs;"
        "print(json.dumps([[t.statement, s] for t, s in easy_proofs(3, 40)]))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(json.loads(outputs.pop())) == 40


@pytest.mark.parametrize(
    ("statement", "interesting"),
    [
        ("(p q r : Prop) (h1 : p ∧ (q ∨ r)) : p ∧ q ∨ p ∧ r", True),
        ("(p q : Prop) : p ∨ ¬p", False),  # not provable without classical axioms
        ("(p q : Prop) (h1 : p ∧ p) : p", False),  # p ∧ p
        ("(p q : Prop) (h1 : p) (h2 : q) : p ∨ q", False),  # either hypothesis will do
        ("(p q r : Prop) (h1 : p) (h2 : ¬p) : q ∧ r", False),  # contradictory hypotheses
        ("(p q r : Prop) (h1 : p ∧ q → r) : p ∧ q → p ∧ q", False),  # the goal is an antecedent
        ("(p q r s : Prop) (h1 : p ∧ q) : p ∨ r ∨ s", False),  # most of it could be anything
    ],
)
def test_what_is_interesting(statement: str, interesting: bool) -> None:
    assert is_interesting(parse_statement(statement)) == interesting


def test_waste_counts_parts_that_could_be_anything() -> None:
    assert waste(parse_statement("(p q r : Prop) : p ∧ (q → r) → p"), 9) == 1
    assert waste(parse_statement("(p q r : Prop) : (p → q) → p → q"), 9) == 0


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="min_steps = 9 and max_steps = 7"):
        GeneratorConfig(min_steps=9, max_steps=7)
    with pytest.raises(ValueError, match="max_variables = 6"):
        GeneratorConfig(max_variables=6)


def test_canonical_form_forgets_names_order_and_shape_only() -> None:
    same = [
        "(p q : Prop) (h1 : p → q) (h2 : p ∧ p) : q",
        "(q p : Prop) (h : q ∧ q) (k : q → p) : p",
        "(a b c : Prop) : (a → b) → a ∧ a → b",
        ": ∀ x y : Prop, (y → x) → y ∧ y → x",
    ]
    other = ["(p q : Prop) (h1 : p → q) (h2 : p) : q", "(p q : Prop) (h1 : q → p) (h2 : p ∧ p) : q"]
    assert len({canonical_statement(statement) for statement in same}) == 1
    assert len({canonical_statement(statement) for statement in [same[0], *other]}) == 3


def test_the_canonical_form_is_a_statement_of_the_same_theorem(shipped: TheoremSet) -> None:
    for theorem in shipped.limit(50):
        form = canonical_statement(theorem.statement)
        hypotheses, goal = form.split(" ⊢ ")
        binders = "".join(f" (h{i} : {text})" for i, text in enumerate(hypotheses.split(", ")) if text)
        again = parse_statement(f"(v0 v1 v2 v3 v4 : Prop){binders} : {goal}")
        assert canonical_form(again) == form
        assert decide(again)


def test_the_command_writes_and_checks(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        "prover.logic.generate.shipped_theorems", lambda: list(TheoremSet.load("propositional").limit(3))
    )
    target = tmp_path / "out.jsonl"
    assert main(["--output", str(target)]) == 0
    assert target.read_text(encoding="utf-8").splitlines() == SHIPPED_FILE.read_text(encoding="utf-8").splitlines()[:3]
    assert main(["--output", str(target), "--check"]) == 0
    target.write_text("")
    assert main(["--output", str(target), "--check"]) == 1
    assert "differs" in capsys.readouterr().out

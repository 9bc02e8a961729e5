"""The generated sets: the same bytes again, true by their scripts, nothing in them that one step proves."""

import json
import random
from collections.abc import Callable, Iterator

import pytest

from prover.environments import ProofClaim, open_environment
from prover.logic.generate import spread
from prover.theorems import BUILTIN_FOLDER
from prover.worlds.canonical import canonical_statement
from prover.worlds.check import SIMP, Checker, one_step_tactics
from prover.worlds.draft import Made
from prover.worlds.first_order import first_order_theorem
from prover.worlds.generate import WORLDS, generated, shipped, to_jsonl
from prover.worlds.parse import read_formula

SHIPPED = ("first_order", "arithmetic")


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with Checker() as open_checker:
        yield open_checker


@pytest.fixture(autouse=True)
def forms_read_once(monkeypatch: pytest.MonkeyPatch, known_forms: Callable[..., set[str]]) -> None:
    monkeypatch.setattr("prover.worlds.generate.other_forms", known_forms)


@pytest.mark.parametrize("n_draws", [24, pytest.param(120, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SHIPPED)
def test_the_first_draws_are_in_the_shipped_set_and_certified(
    name: str, n_draws: int, checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prover.worlds.generate._BATCH", n_draws)
    made = shipped(WORLDS[name], checker, most_batches=1)
    assert len(made) > n_draws // 6
    with (BUILTIN_FOLDER / f"{name}.jsonl").open(encoding="utf-8") as lines:
        rows = set(lines)
    assert set(to_jsonl([theorem for theorem, _ in made]).splitlines(keepends=True)) <= rows
    some = made[::8]
    with open_environment() as lean:
        certificates = lean.certify([ProofClaim(theorem, chosen.made.script) for theorem, chosen in some])
        assert [(c.claim.theorem.name, c.reason) for c in certificates if not c.certified] == []
        wrong = lean.certify([ProofClaim(theorem, chosen.made.script[:-1]) for theorem, chosen in some])
        assert not any(c.certified for c in wrong)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_sizes_and_difficulties(name: str) -> None:
    world, rows = WORLDS[name], []
    with (BUILTIN_FOLDER / f"{name}.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert {split: sum(row["split"] == split for row in rows) for split, _ in world.sizes} == dict(world.sizes)
    for split, size in world.sizes:
        assert [row["difficulty"] for row in rows if row["split"] == split] == spread(size, world.weights)
    assert (BUILTIN_FOLDER / f"{name}.jsonl").stat().st_size < 400_000


def test_no_lemma_hypothesis_or_plain_tactic_closes_a_sample(checker: Checker) -> None:
    for name in SHIPPED:
        world = WORLDS[name]
        with (BUILTIN_FOLDER / f"{name}.jsonl").open(encoding="utf-8") as lines:
            statements = [json.loads(line)["statement"] for line in lines][::110]
        closed = checker.closed_by(statements, one_step_tactics(6, arithmetic=world.arithmetic))
        assert [statement for statement, by in zip(statements, closed, strict=True) if by] == []
        assert sum(map(bool, checker.closed_by(statements, SIMP))) <= len(statements) // 3


def test_cheap_closers_close_what_they_should(checker: Checker) -> None:
    statements = ["(a b : Nat) : a + b = b + a", "(a b : Nat) (h1 : a = b) : b = a", "(a b : Nat) : a * b = b + a"]
    closed = checker.closed_by(statements, one_step_tactics(1, arithmetic=True))
    assert [bool(by) for by in closed] == [True, True, False]


def test_what_lean_does_not_accept_is_no_replay(checker: Checker) -> None:
    good = Made("(a : Nat)", (), read_formula("a + 0 = a"), ("rw [Nat.add_zero]",))
    false = Made("(a : Nat)", (), read_formula("a + 1 = a"), ("rw [Nat.add_zero]",))
    unfinished = Made("(a : Nat)", (), read_formula("a + 0 = a ∧ a = a"), ("constructor", "rfl"))
    long = Made("(a : Nat)", (), read_formula("a + 0 = a"), ("rw [Nat.add_zero]", "rfl"))
    sorry = Made("(a : Nat)", (), read_formula("a + 1 = a"), ("sorry",))
    replays = checker.replay([good, false, unfinished, long, sorry])
    assert [replay is not None for replay in replays] == [True, False, False, False, False]
    assert replays[0] is not None
    assert replays[0].states == ("a : Nat\n⊢ a + 0 = a",)


@pytest.mark.long
def test_more_theorems_are_new_ones_and_the_same_again(
    checker: Checker, known_forms: Callable[..., set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prover.worlds.generate._BATCH", 16)
    first = generated("first_order", 5, 4, steps=(3, 5), checker=checker)
    assert first == generated("first_order", 5, 4, steps=(3, 5), checker=checker)
    forms = {canonical_statement(theorem.statement) for theorem, _ in first}
    assert len(forms) == 4
    assert not forms & known_forms()
    others = generated("first_order", 5, 4, steps=(3, 5), exclude=forms, checker=checker)
    assert not forms & {canonical_statement(theorem.statement) for theorem, _ in others}
    assert {len(script) for _, script in first} == {3, 4, 5}


def test_streams_depend_on_the_seed_alone() -> None:
    def made(seed: int) -> list[str]:
        rng = random.Random(seed)
        return [m.statement for m in (first_order_theorem(rng, 5) for _ in range(50)) if m is not None]

    assert made(1) == made(1) != made(2)

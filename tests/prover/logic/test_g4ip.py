"""The decision procedure against facts that know nothing of it: truth tables, Glivenko's theorem, Kripke models."""

import random
from functools import cache
from itertools import product

import pytest

from prover.logic.formulas import Formula, Not, Sequent, parse, parse_statement
from prover.logic.g4ip import StepLimitError, decide, provable
from prover.logic.sampling import GeneratorConfig, Sampler, tidy
from prover.logic.truth import is_tautology

THEOREMS = [
    "p → p",
    "p → q → p",
    "(p → q → r) → (p → q) → p → r",
    "p ∧ q ↔ q ∧ p",
    "p ∨ q → q ∨ p",
    "p ∧ (q ∨ r) ↔ p ∧ q ∨ p ∧ r",
    "False → p",
    "p → ¬¬p",
    "¬¬¬p ↔ ¬p",
    "¬¬(p ∨ ¬p)",
    "¬¬(((p → q) → p) → p)",
    "¬(p ∨ q) ↔ ¬p ∧ ¬q",
    "¬p ∨ ¬q → ¬(p ∧ q)",
    "((p → q) → r) → q → r",
    "((((p → q) → p) → p) → q) → q",
    "(p ∨ ¬p → ¬q) → ¬q",
    "¬(p ↔ ¬p)",
    "¬¬(¬¬p → p)",
    "(p ∨ (p → q) → q) → q",
    "True ∧ (True → p) → p",
]
NON_THEOREMS = [
    "p",
    "False",
    "p ∨ ¬p",
    "¬¬p → p",
    "((p → q) → p) → p",
    "(p → q) ∨ (q → p)",
    "¬(p ∧ q) → ¬p ∨ ¬q",
    "(¬q → ¬p) → p → q",
    "(p → q) → ¬p ∨ q",
    "¬p ∨ ¬¬p",
    "(¬p → q ∨ r) → (¬p → q) ∨ (¬p → r)",
    "((¬¬p → p) → p ∨ ¬p) → ¬p ∨ ¬¬p",
    "(p → q ∨ r) → (p → q) ∨ (p → r)",
    "p ∨ q → p ∧ q",
]


@pytest.mark.parametrize("text", THEOREMS)
def test_known_theorems(text: str) -> None:
    assert decide(Sequent((), parse(text)))


@pytest.mark.parametrize("text", NON_THEOREMS)
def test_known_non_theorems(text: str) -> None:
    assert not decide(Sequent((), parse(text)))


def _random_sequents(seed: int, n: int, **settings: int) -> list[Sequent]:
    sampler = Sampler(random.Random(seed), GeneratorConfig(**settings))
    return [tidy(sampler.sequent()) for _ in range(n)]


def _small_and_full(few: int, many: int) -> pytest.MarkDecorator:
    """The same test with few random formulas, and with many behind the mark `slow`."""
    return pytest.mark.parametrize("n", [few, pytest.param(many, marks=pytest.mark.slow)])


@_small_and_full(400, 3000)
def test_provable_is_classically_valid(n: int) -> None:
    for sequent in _random_sequents(1, n, max_leaves=10):
        assert is_tautology(sequent) or not decide(sequent), str(sequent)


@_small_and_full(400, 3000)
def test_glivenko_a_double_negation_is_provable_exactly_when_classically_valid(n: int) -> None:
    valid = 0
    for sequent in _random_sequents(2, n, max_leaves=14, max_hypotheses=3):
        valid += is_tautology(sequent)
        doubled = Sequent(sequent.hypotheses, Not(Not(sequent.goal)), sequent.variables)
        assert decide(doubled) == is_tautology(sequent), str(sequent)
    assert valid > n // 30


# Kripke models: a finite rooted partial order, as for each world the set of worlds above it (itself included), and for
# each variable an upward closed set of worlds. Sets of worlds are bit masks. World 0 is the root.
def _rooted_orders(size: int) -> list[tuple[int, ...]]:
    """All partial orders on `size` worlds with least world 0 that refine the order of numbers, as up-sets."""
    pairs = [(i, j) for i in range(1, size) for j in range(i + 1, size)]
    orders = []
    for chosen in product((False, True), repeat=len(pairs)):
        above = {(i, i) for i in range(size)} | {(0, j) for j in range(size)}
        above |= {pair for pair, taken in zip(pairs, chosen, strict=True) if taken}
        if all((i, k) in above for i, j in above for j2, k in above if j == j2):
            orders.append(tuple(sum(1 << j for j in range(size) if (i, j) in above) for i in range(size)))
    return orders


def _upward_closed(order: tuple[int, ...]) -> list[int]:
    return [
        mask
        for mask in range(1 << len(order))
        if all(order[w] & ~mask == 0 for w in range(len(order)) if mask >> w & 1)
    ]


@cache
def _models(size: int) -> list[tuple[tuple[int, ...], dict[str, int]]]:
    return [
        (order, {"p": a, "q": b})
        for order in _rooted_orders(size)
        for a in _upward_closed(order)
        for b in _upward_closed(order)
    ]


def _forced(formula: Formula, order: tuple[int, ...], values: dict[str, int]) -> int:
    """The worlds at which a formula is forced."""
    everywhere = (1 << len(order)) - 1
    if formula.op == "var":
        return values[formula.name]
    if formula.op in ("true", "false"):
        return everywhere if formula.op == "true" else 0

    def implies(a: int, b: int) -> int:
        return sum(1 << w for w, above in enumerate(order) if above & a & ~b == 0)

    if formula.op == "not":
        return implies(_forced(formula.negated, order, values), 0)
    left, right = (_forced(part, order, values) for part in formula.parts)
    match formula.op:
        case "and":
            return left & right
        case "or":
            return left | right
        case "imp":
            return implies(left, right)
    return implies(left, right) & implies(right, left)


def _refuted(sequent: Sequent, size: int) -> bool:
    """Whether some model of that size forces the hypotheses at its root, and not the goal."""
    for order, values in _models(size):
        if (
            all(_forced(f, order, values) & 1 for f in sequent.formulas)
            and not _forced(sequent.goal, order, values) & 1
        ):
            return True
    return False


@_small_and_full(300, 2000)
def test_provability_agrees_with_all_kripke_models_of_up_to_four_worlds(n: int) -> None:
    """Sound for every sequent; and for sequents this small a refutation of at most four worlds exists."""
    assert len(_rooted_orders(3)) == 2
    checked = {True: 0, False: 0}
    for sequent in _random_sequents(3, n, min_variables=1, max_variables=2, min_leaves=2, max_leaves=6):
        if not is_tautology(sequent):
            continue  # one world refutes it; tested above
        answer = decide(sequent)
        assert answer == (not any(_refuted(sequent, size) for size in (2, 3, 4))), str(sequent)
        checked[answer] += 1
    assert checked[True] > n // 14
    assert checked[False] > n // 200


def test_a_bound_is_an_error_never_an_answer() -> None:
    sequent = parse_statement("(p q r : Prop) : (p ∨ q → r) ∧ (r → p) → q → p")
    assert decide(sequent)
    with pytest.raises(StepLimitError):
        decide(sequent, step_limit=3)


def test_pigeonholes_are_decided_fast() -> None:
    """Four pigeons in three holes, as negation: a thousand times the size of what search meets."""
    names = [[f"p{i}{j}" for j in range(3)] for i in range(4)]
    homes = " → ".join("(" + " ∨ ".join(row) + ")" for row in names)
    clashes = " ∨ ".join(f"{names[i][j]} ∧ {names[k][j]}" for j in range(3) for i in range(4) for k in range(i))
    assert decide(Sequent((), parse(f"{homes} → {clashes}")))


def test_state_texts() -> None:
    assert provable("p q : Prop\nh : p ∧ q\n⊢ q\n\ncase right\np q : Prop\nh : p ∧ q\n⊢ p") is True
    assert provable("p q : Prop\nh : p ∧ q\n⊢ q\n\ncase right\np q : Prop\n⊢ p ∨ ¬p") is False
    assert provable("") is True
    assert provable("α : Type\np : α → Prop\nh : ∀ x, p x\n⊢ p a") is None
    assert provable("p q : Prop\nh : p ∧ q\n⊢ (q ∧ p) ∧ q", step_limit=1) is None

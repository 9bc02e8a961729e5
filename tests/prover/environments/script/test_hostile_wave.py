"""All attacks at once, in one wave with honest theorems: nothing is proved, nothing escapes, nobody loses a result."""

import os
from pathlib import Path

import pytest

from prover.environments import Complete, Progress, ProofClaim, ProofState, Rejected, StepRequest, TimedOut
from prover.environments.script.environment import LeanLimits, LeanScript
from prover.environments.script.process import EmbeddedRunner
from prover.theorems import Theorem

HONEST = (("constructor", Progress), ("exact ⟨h.2, h.1⟩", Complete), ("exact h", Rejected))


def attacks(victim: Path) -> list[str]:
    return [
        "sorry", "so/-x-/rry", "exact (sorry)", "admit", "stop", "first | sorry", "exact sorryAx _", "s\u200borry",
        "-- fine\nsorry", "exact @sorryAx _ true", "apply?", "have : False := by sorry",
        "trivial\naxiom bad : False", "exact x)\naxiom bad : False\nexample : True := (trivial", "exact target",
        "exact?", "simp [target]", "native_decide", "decide +native",
        f'run_tac (IO.FS.writeFile "{victim}" "x" : IO Unit)', f'run_tac (IO.FS.readFile "{victim}")',
        "run_tac IO.Process.spawn { cmd := \"sleep\" }", "run_tac IO.Process.exit 0",
        "repeat skip", "repeat' have h := h",
        "(" * 250_000 + ")" * 250_000, "exact " + "(" * 190 + "h" + ")" * 190, "a\x00b", "\u202etxe", "exact \ud800",
        b"exact \xff".decode("utf-8", errors="surrogateescape"), "exact fun ⟨", 'exact "', "/-", "-/", "«", "#exit",
        "macro \"m\" : tactic => `(tactic| skip)", "set_option maxHeartbeats 0 in repeat skip", "exact lcProof",
    ]  # fmt: skip


@pytest.mark.long
def test_a_hostile_wave(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    limits = LeanLimits(max_heartbeats=3000, tactic_s=1.0, start_s=2.0, average_s=0.02)
    with LeanScript(EmbeddedRunner(2, limits.process), limits) as environment:
        theorems = [Theorem(f"honest_{i}", "(p q : Prop) (h : p ∧ q) : q ∧ p") for i in range(8)]
        hostile = Theorem("target", "(p : Prop) (h : True) : p")
        *roots, target = environment.start([*theorems, hostile])
        tactics = tuple(tactic for tactic, _ in HONEST)
        bad = tuple(attacks(victim))
        requests = [StepRequest(root, tactics) for root in roots if isinstance(root, ProofState)]
        assert isinstance(target, ProofState)
        requests.insert(3, StepRequest(target, bad))
        rows = environment.step(requests)
        under_attack = rows.pop(3)
        for row in rows:
            assert [type(outcome) for outcome in row] == [kind for _, kind in HONEST]
        for tactic, outcome in zip(bad, under_attack, strict=True):
            assert isinstance(outcome, Rejected | TimedOut), (tactic[:40], outcome)
        certificates = environment.certify([ProofClaim(hostile, (tactic,)) for tactic in bad if "repeat" not in tactic])
        assert [certificate.claim.tactics for certificate in certificates if certificate.certified] == []
        assert all(certificate.reason for certificate in certificates)
    assert victim.read_text() == "mine"
    assert os.listdir(tmp_path) == ["victim"]


def test_no_command_gets_out_of_a_tactic(lean: LeanScript) -> None:
    # A declaration behind a parse error would hold for all that follows in the wave.
    target = Theorem("target", "(p : Prop) (h : True) : p")
    roots = lean.start([target, Theorem("neighbour", target.statement)])
    for literal in ("0b1", "1e5", "'a'", "'s!", "«h»"):
        attack = f"exact {literal}axiom bad : ∀ p : Prop, p"
        requests = [StepRequest(root, (attack, "exact bad p")) for root in roots if isinstance(root, ProofState)]
        assert len(requests) == 2
        for outcome in (outcome for row in lean.step(requests) for outcome in row):
            assert isinstance(outcome, Rejected), attack


@pytest.mark.parametrize("word", ["_axiom", "haxiom", "a.axiom", "x!axiom", "«axiom", '"axiom'])
def test_a_command_that_lean_finds_within_a_word_reaches_no_honest_outcome(lean: LeanScript, word: str) -> None:
    # After a parse error Lean reads on behind the first character of the word that it could not use.
    closing = {"«": "»", '"': '"'}.get(word[0], "")
    attack = f"exact h\n{word} bad : False{closing}"
    target = Theorem("target", "(p : Prop) (h : True) : p")
    roots = lean.start([target, Theorem("neighbour", target.statement)])
    requests = [StepRequest(root, (attack, "exact bad.elim", "skip")) for root in roots if isinstance(root, ProofState)]
    assert len(requests) == 2
    assert [[type(outcome) for outcome in row] for row in lean.step(requests)] == [[Rejected, Rejected, Progress]] * 2


def test_words_that_hold_a_command_wait_for_each_other(lean: LeanScript) -> None:
    (root,) = lean.start([Theorem("t", "(p : Prop) (hdef : p) : p")])
    assert isinstance(root, ProofState)
    attack = "exact h\n_axiom bad : False"
    row = (attack, "exact bad.elim hdef", "exact hdef", attack, "exact hdef", "exact bad.elim hdef")
    (outcomes,) = lean.step([StepRequest(root, row)])
    assert [type(outcome) for outcome in outcomes] == [Rejected, Rejected, Complete, Rejected, Complete, Rejected]


@pytest.mark.long
@pytest.mark.parametrize("attack", ["repeat skip", "repeat' have h := h"])
def test_certification_outlives_an_endless_script(lean: LeanScript, attack: str) -> None:
    limits = LeanLimits(max_heartbeats=300, tactic_s=0.1, start_s=1.0)
    claims = [
        ProofClaim(Theorem("endless", "(p : Prop) (h : True) : p"), (attack,)),
        ProofClaim(Theorem("fine", "(p : Prop) (h : p) : p"), ("exact h",)),
    ]
    with LeanScript(EmbeddedRunner(1, limits.process), limits) as environment:
        endless, fine = environment.certify(claims)
    assert not endless.certified
    assert fine.certified

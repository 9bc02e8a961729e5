"""Stepping on the embedded Lean: what a search may rely on."""

import random
import re
import threading
from dataclasses import replace

import pytest

from prover.environments import (
    Complete,
    Crashed,
    Progress,
    ProofClaim,
    ProofState,
    Rejected,
    StepRequest,
    TimedOut,
    open_environment,
)
from prover.environments.isolation.sandbox import ProcessLimits
from prover.environments.script.environment import LeanLimits, LeanScript
from prover.environments.script.host_process import EmbeddedHost
from prover.theorems import Theorem

STATEMENT = "(p q r : Prop) (h : p ∧ (q ∨ r)) : (p ∧ q) ∨ (p ∧ r)"


def shape(outcome: object) -> tuple[str, str]:
    """What of an outcome may not depend on its neighbours."""
    if isinstance(outcome, Progress):
        return "Progress", outcome.state.text
    return type(outcome).__name__, ""


def test_progress_completion_and_rejection(lean: LeanScript, state) -> None:
    proof = "rcases h with ⟨hp, hq | hr⟩\n· exact Or.inl ⟨hp, hq⟩\n· exact Or.inr ⟨hp, hr⟩"
    root = state(STATEMENT)
    ((cases, done, wrong),) = lean.step([StepRequest(root, ("cases h", proof, "exact h.1"))])
    assert isinstance(cases, Progress)
    assert cases.state.text == "case intro\np q r : Prop\nleft✝ : p\nright✝ : q ∨ r\n⊢ p ∧ q ∨ p ∧ r"
    assert cases.state.tactics == ("cases h",)
    assert isinstance(done, Complete)
    assert done.tactics == (proof,)
    assert isinstance(wrong, Rejected)
    assert not wrong.refused
    assert all(outcome.elapsed_ms > 0 for outcome in (cases, done, wrong))


def test_states_branch_from_any_depth(lean: LeanScript, state) -> None:
    root = state(STATEMENT)
    ((first,),) = lean.step([StepRequest(root, ("obtain ⟨hp, hqr⟩ := h",))])
    assert isinstance(first, Progress)
    ((left, right),) = lean.step([StepRequest(first.state, ("cases hqr", "left"))])
    assert isinstance(left, Progress)
    assert isinstance(right, Progress)
    assert left.state.n_goals == 2
    # Several states of several depths in one wave, and one of them no child of the last wave.
    outcomes = lean.step(
        [
            StepRequest(left.state, ("all_goals skip", "right")),
            StepRequest(root, ("left",)),
            StepRequest(right.state, ("constructor",)),
        ]
    )
    assert [[type(outcome) for outcome in row] for row in outcomes] == [[Progress, Progress], [Progress], [Progress]]


BAD_COMPANY = (
    "cases h", "exact", "left", "intro h <;>", "skip", "foo bar", "right", "·", "have : p := by", "constructor", "try",
    "case inl =>", "refine ?_;", "exact h.1", "first |", "obtain ⟨hp, hq⟩ := h", "exact (", "simp [", "exact ⟩", "at h",
    "cases h with", "rcases h with ⟨hp, hq | hr⟩", "| inl", "intro", "1", "⊢", "apply Or.inl\n  left", "fun x => x",
)  # fmt: skip


MIXED = """
intro x|constructor|left|cases h|obtain ⟨a, b⟩ := h|exact h.1|exact ⟨h.1,|refine ⟨?_, ?_⟩|right; exact|exact|:=|then
cases h with|rcases h with ⟨a, b⟩|have x : p := h.1|have x : p :=|· left|repeat skip|fun|=> x|first|case|skip;|left <;>
exact (fun x => x) (by)|apply Or.inl|left  -- a word|1|rw [h] at|trivial|, left|left right|left)|(left|exfalso|with
\\| left|left/\\| right|first \\| exact h \\| right|left/  right|\\| x
"""


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_an_outcome_does_not_depend_on_its_neighbours(lean: LeanScript, state, seed: int) -> None:
    """Broken text of all kinds among good tactics: the same outcomes as when each is tried by itself."""
    root = state(STATEMENT)
    mixed = [text.replace("\\|", "|").replace("/", "\n") for text in re.split(r"(?<!\\)\||\n", MIXED.strip())]
    order = random.Random(seed).sample(mixed, len(mixed))
    (together,) = lean.step([StepRequest(root, tuple(order))])
    apart = [row[0] for row in lean.step([StepRequest(root, (tactic,)) for tactic in order])]
    for tactic, outcome, alone in zip(order, together, apart, strict=True):
        assert shape(outcome) == shape(alone), tactic
    assert sum(isinstance(outcome, Progress) for outcome in together) >= 10


def test_parse_errors_cost_no_neighbour_its_outcome(lean: LeanScript, state) -> None:
    root = state(STATEMENT)
    together = lean.step([StepRequest(root, BAD_COMPANY)])[0]
    alone = [row[0] for row in lean.step([StepRequest(root, (tactic,)) for tactic in BAD_COMPANY])]
    for tactic, one, other in zip(BAD_COMPANY, together, alone, strict=True):
        assert shape(one) == shape(other), tactic
    assert sum(isinstance(outcome, Progress) for outcome in together) >= 8
    # And whatever stands before it.
    reversed_order = lean.step([StepRequest(root, BAD_COMPANY[::-1])])[0][::-1]
    assert [shape(outcome) for outcome in reversed_order] == [shape(outcome) for outcome in alone]


@pytest.mark.parametrize("tactic", ["rcases h with | h1 | h1", "⊢ left", "?_", ":= h", "h1"])
def test_what_looks_unreadable_is_tried_last_so_that_no_neighbour_is_tried_again(
    lean: LeanScript, state, tactic: str
) -> None:
    root = state("(p q : Prop) (h : p ∧ q) : q ∧ p")
    before = lean.counts()
    (outcomes,) = lean.step([StepRequest(root, (tactic, "constructor", "exact h"))])
    assert [type(outcome) for outcome in outcomes] == [Rejected, Progress, Rejected]
    after = lean.counts()
    assert after["files"] == before.get("files", 0) + 1
    assert after.get("retried", 0) == before.get("retried", 0)


@pytest.mark.parametrize(
    "tactic", ["intro h <;>", "·", "try", "have : p := by", "case inl =>", "repeat", "exact h.1 |>."]
)
def test_incomplete_tactics_do_not_reach_for_the_next_line(lean: LeanScript, state, tactic: str) -> None:
    ((outcome,),) = lean.step([StepRequest(state(STATEMENT), (tactic,))])
    assert isinstance(outcome, Rejected)


@pytest.mark.long
def test_what_runs_out_beside_what_does_not_parse_costs_no_neighbour_its_outcome(lean: LeanScript, state) -> None:
    # Of a theorem that does not parse to its end, Lean keeps the errors of elaboration to itself, unless asked.
    row = ("repeat skip", "constructor", "exact ⟨h.2, h.1⟩", "exact ,", "skip")
    (outcomes,) = lean.step([StepRequest(state("(p q : Prop) (h : p ∧ q) : q ∧ p"), row)])
    assert [type(outcome) for outcome in outcomes] == [TimedOut, Progress, Complete, Rejected, Progress]


def test_an_error_without_a_place_is_not_the_headers(lean: LeanScript, state) -> None:
    root = state("(p : Prop) (h : p) : p")
    rows = lean.step([StepRequest(root, ("skip", "exact by\n0o∀é", "exact h")), StepRequest(root, ("skip", "exact h"))])
    assert [type(outcome) for row in rows for outcome in row] == [Progress, Rejected, Complete, Progress, Complete]
    (lost,) = lean.start([Theorem("t", ": True", header="open NoSuchNamespace")])
    assert isinstance(lost, Rejected)
    assert lost.message.startswith("Lean does not accept the header")


def test_tactics_are_stepped_in_the_namespace_of_the_theorems_name(lean: LeanScript, state) -> None:
    # As Lean elaborates the theorem itself, and thus as certification sees it.
    root = state(": succ 0 = 1", name="Nat.target")
    other = state("(p : Prop) (h : p) : p", name="Group.«mul one».t")
    rows = lean.step(
        [
            StepRequest(root, ("exact add_zero 1", "exact ,", "skip")),
            StepRequest(other, ("exact h", "exact add_zero 1")),
        ]
    )
    assert [type(outcome) for row in rows for outcome in row] == [Complete, Rejected, Progress, Complete, Rejected]
    assert lean.certify([ProofClaim(root.theorem, ("exact add_zero 1",))])[0].certified
    ((outside,),) = lean.step([StepRequest(state(": 1 + 0 = 1", name="_root_.Nat.target"), ("exact add_zero 1",))])
    assert isinstance(outside, Rejected)


def test_rejections_say_why_when_asked(state) -> None:
    with open_environment(workers=1) as environment:
        assert isinstance(environment, LeanScript)
        environment.explain = True
        tactics = ("exact foo", "intro x", "exact h.1", "exact", "simp [h")
        messages = [outcome.message for outcome in environment.step([StepRequest(state(STATEMENT), tactics)])[0]]  # type: ignore[union-attr]
    assert messages[0] == "Unknown identifier `foo`"
    assert "no additional binders" in messages[1].lower()
    assert messages[2].startswith("Type mismatch")
    assert "unexpected token" in messages[3]
    assert messages[4] == "the tactic holds an unclosed `[`"


def test_tactics_that_log_an_error_and_go_on_are_turned_down(lean: LeanScript, state) -> None:
    root = state("(p q : Prop) (h : p ∨ q) : q")
    tactics = ("rename_i a", "nomatch h", "exact if x : 5 then h else h", "exact fun | .inl a => a")
    tactics += ("exact (id _).elim", "refine (id ?_).elim", "obtain x := (id _).1", "exact (1).elim")
    assert [type(outcome) for outcome in lean.step([StepRequest(root, tactics)])[0]] == [Rejected] * 8


def test_a_made_up_name_is_turned_down_wherever_it_stands(lean: LeanScript, state) -> None:
    """`obtain` and `rcases` make a hypothesis of unknown type of what does not elaborate, and go on."""
    root = state("(a b : Nat) (p q : Prop) (f : p → q) (h : p ∧ (p ∨ q)) : q")
    made_up = ["obtain x := foo", "obtain x := Nat.foo a", "obtain x := h.foo", "obtain x : a = foo", "rcases foo, h"]
    made_up += [
        "rcases Nat.foo with x",
        "rcases (foo : a = a)",
        "rcases Nat.succ foo with _ | n",
        "rcases h, foo with x",
    ]
    made_up += ["rcases foo with ⟨x, y⟩", "obtain x | y := foo"]
    good = ["obtain x := Nat.add_comm a", "rcases f h.1 with x", "rcases h with ⟨x, y | z⟩", "obtain ⟨x, _⟩ := h"]
    found = lean.step([StepRequest(root, tuple(made_up + good))])[0]
    assert [type(outcome) for outcome in found] == [Rejected] * len(made_up) + [Progress] * len(good)


def test_multi_line_and_odd_spacing(lean: LeanScript, state) -> None:
    root = state("(p q : Prop) (h : p ∨ q) : q ∨ p")
    tactics = (
        "cases h with\n| inl a => exact Or.inr a\n| inr b => exact Or.inl b",
        "\n\n  cases h with\n  | inl a => exact Or.inr a\n  | inr b => exact Or.inl b  \n",
        "cases h with\r\n| inl a => exact Or.inr a\r\n| inr b => exact Or.inl b",
        "exact h.elim  -- a comment\n  Or.inr Or.inl",
    )
    assert [type(outcome) for outcome in lean.step([StepRequest(root, tactics)])[0]] == [Complete] * 4


def test_root_states_and_what_cannot_be_stated(lean: LeanScript) -> None:
    theorems = [
        Theorem("good", "(p : Prop) : p → p"),
        Theorem("good", "(p : Prop) : p → p"),
        Theorem("no_parse", ": p ∧"),
        Theorem("no_such_name", ": foo = foo"),
        Theorem("not_a_proposition", ": Nat"),
        Theorem("absurd", "(p : Prop) : p → p"),
        Theorem("needs_mathlib", ": True", header="import Mathlib"),
        Theorem("bad name", ": True"),
        Theorem("cheat", ": True := trivial"),
        Theorem("typed", "{α : Type u} {β : Sort v} (f : α → β) (a : α) : ∃ b, b = f a"),
        Theorem("after", ": 2 + 2 = 4"),
        Theorem("with_header", "(x : N) : x = x", header="variable (N : Type)"),
    ]
    results = lean.start(theorems)
    good = [theorem.name for theorem, r in zip(theorems, results, strict=True) if not isinstance(r, Rejected)]
    assert good == ["good", "good", "typed", "after", "with_header"]
    messages = {t.name: r.message for t, r in zip(theorems, results, strict=True) if isinstance(r, Rejected)}
    assert "no_parse: unexpected token" in messages["no_parse"]
    assert "foo" in messages["no_such_name"]
    assert "not a proposition" in messages["not_a_proposition"]
    assert "already been declared" in messages["absurd"]
    assert "--lean-project" in messages["needs_mathlib"]
    assert "not a Lean name" in messages["bad name"]
    assert "without a proof" in messages["cheat"]
    assert results[9].text == "α : Type u\nβ : Sort v\nf : α → β\na : α\n⊢ ∃ b, b = f a"  # type: ignore[union-attr]


def test_no_theorem_of_a_wave_is_read_with_another(lean: LeanScript) -> None:
    names = ["X.Nat", "X.y", "t", "«t»", "_root_.t", "Nat.add_comm", "fun", "last"]
    roots = lean.start([Theorem(name, "(n : Nat) : n = n") for name in names])
    assert [name for name, root in zip(names, roots, strict=True) if isinstance(root, Rejected)] == names[5:7]
    assert isinstance(roots[5], Rejected)
    assert roots[5].message == "Nat.add_comm: `Nat.add_comm` has already been declared"
    (other,) = lean.start([Theorem("other", ": X.Nat = X.Nat")])
    assert isinstance(other, Rejected)


def test_a_variable_that_a_statement_does_not_name_is_no_hypothesis(lean: LeanScript) -> None:
    # As in the theorem that certification sees.
    theorem = Theorem("t", ": False", header="variable (h : False)")
    (root,) = lean.start([theorem])
    assert isinstance(root, ProofState)
    ((outcome,),) = lean.step([StepRequest(root, ("exact h",))])
    assert isinstance(outcome, Rejected)
    assert not lean.certify([ProofClaim(theorem, ("exact h",))])[0].certified
    (included,) = lean.start([Theorem("t", ": False", header="variable (h : False)\ninclude h")])
    assert isinstance(included, Rejected)
    assert included.message.startswith("refused: the header holds `include`")


def test_a_trial_cannot_be_quoted(lean: LeanScript, state) -> None:
    root = state("(p : Prop) : p", name="Space.t")
    tactics = [f"exact {name} p" for name in ("_example", "_proverTrial0", "Space._proverTrial0", "Space.t", "t")]
    for outcome in lean.step([StepRequest(root, tuple(tactics)), StepRequest(root, tuple(tactics))])[1]:
        assert isinstance(outcome, Rejected)
    assert isinstance(lean.start([Theorem("_proverTrial0", ": True")])[0], Rejected)


def test_an_unsound_replay_is_a_crash_not_a_rejection(lean: LeanScript, state) -> None:
    stale = replace(state(STATEMENT), tactics=("exact nothing",))
    assert [type(outcome) for outcome in lean.step([StepRequest(stale, ("left", "right"))])[0]] == [Crashed, Crashed]


def test_a_value_that_a_tactic_left_open_is_no_fault_of_the_next_ones(lean: LeanScript, state) -> None:
    statement = "(P Q : Nat → Prop) (h : ∀ x, P x → Q 0) (k : ∃ y, P y) (g : P 2) : Q 0"
    here = state(statement)
    for tactic in ("apply h", "obtain ⟨y, i⟩ := k"):  # the x of h stays open, and may not be y
        ((outcome,),) = lean.step([StepRequest(here, (tactic,))])
        assert isinstance(outcome, Progress)
        here = outcome.state
    assert "?" in here.text
    found = dict(
        zip(
            ("exact i", "exact g", "exfalso"),
            lean.step([StepRequest(here, ("exact i", "exact g", "exfalso"))])[0],
            strict=True,
        )
    )
    assert isinstance(found["exact i"], Rejected)
    assert isinstance(found["exfalso"], Progress)
    claim = found["exact g"]
    assert isinstance(claim, Complete)
    assert lean.certify([ProofClaim(here.theorem, claim.tactics)])[0].certified


def test_a_value_left_open_in_a_term_is_no_fault_of_the_next_ones(lean: LeanScript, state) -> None:
    """Lean says "don't know how to synthesize placeholder" at the end of the trial, where `sorry` gives it no value."""
    root = state("(α : Type) (T : α → Prop) (h1 : ∀ x, ¬ T x) (h4 : ∃ t, T t) : False")
    (opened,) = lean.step([StepRequest(root, ("apply h1",))])[0]
    assert isinstance(opened, Progress)
    (apart,) = lean.step([StepRequest(opened.state, ("obtain ⟨h5, h6⟩ := h4",))])[0]
    assert isinstance(apart, Progress)
    (closed, refused) = lean.step([StepRequest(apart.state, ("exact h6", "exact h5"))])[0]
    assert not isinstance(closed, Crashed)
    assert isinstance(refused, Rejected)


def test_a_finished_state_has_nothing_to_step(lean: LeanScript, state) -> None:
    finished = replace(state(STATEMENT), text="")
    ((outcome,),) = lean.step([StepRequest(finished, ("skip",))])
    assert isinstance(outcome, Rejected)


def test_nothing_asked_nothing_answered(lean: LeanScript, state) -> None:
    assert lean.start([]) == []
    assert lean.step([]) == []
    assert lean.certify([]) == []
    assert lean.step([StepRequest(state(STATEMENT), ())]) == [[]]


@pytest.mark.long
def test_a_slow_tactic_times_out_alone(state) -> None:
    with open_environment(workers=2, limits=LeanLimits(tactic_s=1.0, start_s=2.0, average_s=0.02)) as environment:
        root = state("(p q : Prop) (h : p ∧ q) : q ∧ p")
        other = state("(a b : Nat) (h : a = b) : b = a", "other")
        # `repeat'` never gets to its end, and burns time rather than heartbeats; `repeat skip` burns heartbeats.
        slow, quick = environment.step(
            [
                StepRequest(root, ("constructor", "repeat' have h := h", "exact ⟨h.2, h.1⟩", "repeat skip")),
                StepRequest(other, ("symm", "exact h.symm")),
            ]
        )
    assert [type(outcome) for outcome in slow] == [Progress, TimedOut, Complete, TimedOut]
    assert [type(outcome) for outcome in quick] == [Progress, Complete]


def test_a_dying_lean_costs_nobody_else_an_outcome(state) -> None:
    square = "10"
    for _ in range(40):  # 10^(2^40): more digits than there is memory
        square = f"(fun n : Nat => n * n) ({square})"
    with open_environment(workers=1, limits=LeanLimits(process=ProcessLimits(memory_mib=128))) as environment:
        root = state("(p q : Prop) (h : p ∧ q) : q ∧ p")
        tactics = ("constructor", f"have : {square} = 0 := by decide", "exact h", "exact ⟨h.2, h.1⟩")
        row, other = environment.step([StepRequest(root, tactics), StepRequest(root, ("cases h",))])
    assert [type(outcome) for outcome in row] == [Progress, Crashed, Rejected, Complete]
    assert "memory" in row[1].message  # type: ignore[union-attr]
    assert isinstance(other[0], Progress)


def test_a_host_that_is_killed_is_replaced(state) -> None:
    with open_environment(workers=1) as environment:
        assert isinstance(environment, LeanScript)
        root = state(STATEMENT)
        assert isinstance(environment.step([StepRequest(root, ("left",))])[0][0], Progress)
        (host,) = environment._runner._all  # type: ignore[attr-defined]
        assert isinstance(host, EmbeddedHost)
        host._process.kill()
        host._process.wait()
        assert isinstance(environment.step([StepRequest(root, ("left",))])[0][0], Progress)


def test_threads_share_an_environment(lean: LeanScript, state) -> None:
    roots = [state(f"(p q : Prop) (h : p ∧ q) (n{i} : Nat) : q ∧ p", f"t{i}") for i in range(6)]
    seen: dict[int, list[str]] = {}

    def ask(i: int) -> None:
        rows = lean.step([StepRequest(roots[i], ("cases h", "exact h", "exact ⟨h.2, h.1⟩"))] * 3)
        seen[i] = [type(outcome).__name__ for row in rows for outcome in row] + [rows[0][0].state.text]  # type: ignore[union-attr]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(6):
        assert seen[i][:-1] == ["Progress", "Rejected", "Complete"] * 3
        assert f"n{i} : Nat" in seen[i][-1]


def test_big_waves_keep_their_order(lean: LeanScript) -> None:
    theorems = [Theorem(f"n{i}", f"(p : Prop) (h : p) : p ∧ {i} = {i}") for i in range(120)]
    roots = lean.start(theorems)
    rows = lean.step([StepRequest(root, ("constructor", "exact nothing", "exact ⟨h, rfl⟩")) for root in roots])  # type: ignore[arg-type]
    for i, (progress, rejected, complete) in enumerate(rows):
        assert isinstance(progress, Progress)
        assert f"⊢ {i} = {i}" in progress.state.text
        assert isinstance(rejected, Rejected)
        assert isinstance(complete, Complete)


def test_many_candidates_for_one_state(lean: LeanScript, state) -> None:
    tactics = tuple(f"have x{i} := h" if i % 3 else f"exact x{i}" for i in range(130))
    (row,) = lean.step([StepRequest(state("(p : Prop) (h : p) : p ∧ p"), tactics)])
    assert [isinstance(outcome, Progress) for outcome in row] == [i % 3 != 0 for i in range(130)]


def test_fingerprint_covers_limits_and_a_closed_environment_says_so(lean: LeanScript, state) -> None:
    with open_environment(limits=LeanLimits(max_heartbeats=123)) as other:
        assert other.fingerprint != lean.fingerprint
        assert len(other.fingerprint) == 32
    with pytest.raises(RuntimeError, match="closed"):
        other.start([Theorem("t", ": True")])


def test_unknown_kinds_and_missing_projects_are_named() -> None:
    with pytest.raises(ValueError, match="unknown environment 'coq': expected one of embedded, lean, project, repl"):
        open_environment("coq")
    with pytest.raises(ValueError, match="needs lean_project"):
        open_environment("project")


def test_certified_proofs_come_in_order_with_reasons(lean: LeanScript) -> None:
    theorem = Theorem("t", STATEMENT)
    proof = ("obtain ⟨hp, hq | hr⟩ := h", "exact Or.inl ⟨hp, hq⟩", "exact Or.inr ⟨hp, hr⟩")
    good, short, wrong = lean.certify(
        [ProofClaim(theorem, proof), ProofClaim(theorem, proof[:2]), ProofClaim(theorem, ("exact h",))]
    )
    assert (good.certified, good.reason, good.axioms) == (True, "", ())
    assert not short.certified
    assert short.reason.startswith("Lean reports an error: unsolved goals")
    assert wrong.reason.startswith("Lean reports an error: Type mismatch")

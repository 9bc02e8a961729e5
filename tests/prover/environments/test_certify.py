"""Certification, and the soundness traps of a Lean that was put together here: none may yield a certificate."""

from types import SimpleNamespace

import pytest

from prover.environments import ProofClaim, ProofEnvironment, open_environment
from prover.environments.certify import certificate_text, certify_claims, judge, proof_file, refuse_claim
from prover.environments.script.environment import LeanScript
from prover.environments.script.process import RunResult
from prover.theorems import Theorem

FALSE = Theorem("target", ": False")


def run_raw(lean: LeanScript, text: str) -> RunResult:
    """Lean on a text of our own, past the refusal list."""
    return lean._runner.run(lean._runner.preamble + text, wall_s=20, fresh=True)


def errors_of(result: RunResult) -> list[str]:
    return [message["data"] for message in result.messages if message["severity"] == "error"]


def certify(lean: ProofEnvironment, theorem: Theorem, *tactics: str):
    (certificate,) = lean.certify([ProofClaim(theorem, tactics)])
    return certificate


def test_a_certificate_says_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Milliseconds from the first check to the verdict; a refused claim has them too, and needs no Lean."""
    clock = iter([10.0, 10.25])
    monkeypatch.setattr("prover.environments.certify.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    runner = SimpleNamespace(takes_imports=True, workers=1)
    (certificate,) = certify_claims(runner, [ProofClaim(FALSE, ())], max_heartbeats=1000, wall_s=1)  # type: ignore[arg-type]
    assert certificate.elapsed_ms == 250.0
    assert certificate.reason == "refused: the claim holds no tactics"


def test_classical_axioms_are_allowed_and_listed(lean: LeanScript) -> None:
    certificate = certify(lean, Theorem("t", "(p : Prop) : ¬¬p → p"), "exact Classical.not_not.mp")
    assert certificate.certified
    assert set(certificate.axioms) == {"propext", "Classical.choice", "Quot.sound"}


@pytest.mark.parametrize(
    "header", ["open Classical Quot", "open scoped Classical", "namespace Classical", "set_option pp.all true"]
)
def test_axioms_are_told_by_their_whole_names_below_any_header(lean: LeanScript, header: str) -> None:
    certificate = certify(lean, Theorem("t", "(p : Prop) : ¬¬p → p", header=header), "exact Classical.not_not.mp")
    assert certificate.reason == ""
    assert set(certificate.axioms) == {"propext", "Classical.choice", "Quot.sound"}


def test_no_axiom_passes_under_the_last_part_of_its_name(lean: LeanScript) -> None:
    # As a library that a project imports may have them.
    axioms = "axiom Other.propext : False\nprivate axiom choice : False\nopen Other Classical\n"
    for tactic, named in (("exact Other.propext", "Other.propext"), ("exact _root_.choice", "choice")):
        claim = ProofClaim(FALSE, (tactic,))
        text = certificate_text(lean._runner.preamble + axioms, claim, 10_000)
        reason, _ = judge(claim, lean._runner.run(text, wall_s=20, fresh=True))
        assert reason.startswith("the proof rests on other axioms: ")
        assert reason.endswith(named)
        assert reason != "the proof rests on other axioms: choice"


def test_a_name_that_an_open_makes_ambiguous_certifies(lean: LeanScript) -> None:
    theorem = Theorem("add_comm", "(n m : Nat) : n + m = m + n", header="open Nat")
    assert certify(lean, theorem, "exact Nat.add_comm n m").reason == ""


def test_certification_has_a_lean_that_no_tactic_was_ever_stepped_in() -> None:
    with open_environment(workers=1) as environment:
        runner = environment._runner  # type: ignore[attr-defined]
        environment.start([FALSE])
        stepping = set(runner._all)
        assert certify(environment, Theorem("t", ": True"), "trivial").certified
        assert len(runner._all - stepping) == 1


@pytest.mark.parametrize("name", ["t", "Space.t'", "«a name»", "Group.«mul one»", "h₁", "tα", "été"])
def test_every_kind_of_name_certifies(lean: LeanScript, name: str) -> None:
    certificate = certify(lean, Theorem(name, "(p : Prop) (h : p) : p"), "exact h")
    assert certificate.reason == ""


def test_a_header_may_open_a_namespace(lean: LeanScript) -> None:
    header = "namespace Space.Inner"
    assert certify(lean, Theorem("t", "(p : Prop) (h : p) : p", header=header), "exact h").reason == ""
    assert not certify(lean, Theorem("t", ": False", header=header), "exact t").certified
    known = Theorem("add_comm", "(n m : Nat) : n + m = m + n", header="namespace Nat")
    assert "already" in certify(lean, known, "exact Nat.add_comm n m").reason
    # Without a namespace another theorem of the same last name is another theorem.
    listed = [{"data": "'Other.t' does not depend on any axioms", "severity": "information", "pos": {"line": 1}}]
    assert judge(ProofClaim(Theorem("t", ": True"), ("trivial",)), RunResult(listed, "exited", "", 0.0, 0))[0]


def test_windows_line_ends_certify(lean: LeanScript) -> None:
    assert certify(lean, Theorem("t", "(p : Prop) : p → p"), "intro h\r\nexact h").reason == ""


def test_a_proof_file_is_accepted_under_the_limit_that_certified_it(lean: LeanScript) -> None:
    claim = ProofClaim(Theorem("t", ": True", header="import Mathlib"), ("trivial",))
    assert proof_file("", claim, 2_000_000).startswith("import Mathlib\nset_option maxHeartbeats 2000000\n\ntheorem t")
    assert "maxHeartbeats" not in proof_file("", claim, 100_000)  # Lean's own is more
    assert proof_file("", ProofClaim(Theorem("t", ": True"), ("trivial",)), 1) == "theorem t : True := by\n  trivial\n"
    # The preamble and the header may declare the same universe.
    theorem = Theorem("t", "(α : Sort u) (β : Sort x) (a : α) (_ : β) : a = a", header="universe u x")
    result = lean._runner.run(lean.proof_file(ProofClaim(theorem, ("rfl",))), wall_s=30)
    assert (result.ended, result.messages) == ("exited", [])


def test_a_statement_with_a_definition_inside_certifies(lean: LeanScript) -> None:
    assert certify(lean, Theorem("t", "(n : Nat) : let x := n; x = n"), "intro x", "rfl").reason == ""
    assert "ends within" in certify(lean, Theorem("t", ":\nlet x : Nat"), "exact 0", "True := trivial").reason


def test_no_definition_comes_with_a_proof(lean: LeanScript) -> None:
    for tactic in (
        "exact f where f : False := f",
        "exact «h»where f := 1",
        "let rec f : False := f\nexact f",
        "exact target.f\nwhere f := 1",
    ):
        assert "refused" in certify(lean, FALSE, tactic).reason, tactic


def test_a_header_cannot_switch_the_kernel_off(lean: LeanScript) -> None:
    theorem = Theorem("t", ": False", header="set_option debug.skipKernelTC true")
    assert "skipKernelTC" in certify(lean, theorem, "trivial").reason


def test_a_self_reference_is_no_proof(lean: LeanScript) -> None:
    for tactic in (
        "exact target",
        "apply target",
        "assumption",
        "simp [target]",
        "exact?",
        "have := target\nexact this",
    ):
        assert not certify(lean, FALSE, tactic).certified, tactic


def test_a_theorem_that_is_there_already_is_no_proof(lean: LeanScript) -> None:
    certificate = certify(lean, Theorem("Nat.add_comm", "(n m : Nat) : n + m = m + n"), "exact Nat.add_comm n m")
    assert not certificate.certified
    assert "already been declared" in certificate.reason


@pytest.mark.parametrize(
    ("header", "path", "refused"),
    [
        ("import Mathlib.Foo.Bar", "Mathlib/Foo/Bar.lean", True),
        ("import Mathlib.Foo.Bar -- as upstream", "Mathlib/Foo/Bar.lean", True),
        ("public import all «Mathlib».Foo.Bar", "Mathlib/Foo/Bar.lean", True),
        ("import Mathlib.Foo.Bar", ".lake/packages/mathlib/Mathlib/Foo/Bar.lean", True),
        ("import Mathlib.Foo.Bar", None, False),
        ("import Mathlib.Foo.Ba", "Mathlib/Foo/Bar.lean", False),
        ("import Mathlib.Foo.Bar.Basic", "Mathlib/Foo/Bar.lean", False),
        ("import Mathlib.Foo", "Mathlib/Foo/Bar.lean", False),
    ],
)
def test_a_header_that_imports_the_theorems_own_module_is_refused(header: str, path: str | None, refused: bool) -> None:
    claim = ProofClaim(Theorem("t", ": True", header=header, file_path=path), ("trivial",))
    assert ("the theorem's own module" in (refuse_claim(claim, takes_imports=True) or "")) == refused


def test_refused_text_never_reaches_lean(lean: LeanScript) -> None:
    files = lean.counts().get("files", 0)
    for tactic in ("sorry", "trivial\naxiom bad : False", "native_decide", "run_tac skip"):
        assert certify(lean, FALSE, tactic).reason.startswith("refused: the tactic holds")
    assert certify(lean, Theorem("t", ": True := trivial\ntheorem u : False"), "trivial").reason.startswith("refused")
    assert certify(lean, FALSE).reason == "refused: the claim holds no tactics"
    assert lean.counts().get("files", 0) == files


def test_sorry_in_a_submission_is_seen_even_past_the_refusal_list(lean: LeanScript) -> None:
    claim = ProofClaim(FALSE, ("sorry",))
    result = lean._runner.run(certificate_text(lean._runner.preamble, claim, 10_000), wall_s=20, fresh=True)
    assert judge(claim, result)[0] == "the proof uses `sorry`"


def test_an_axiom_in_a_submission_is_seen_even_past_the_refusal_list(lean: LeanScript) -> None:
    claim = ProofClaim(FALSE, ("exact bad",))
    text = certificate_text(lean._runner.preamble + "axiom bad : False\n", claim, 10_000)
    reason, axioms = judge(claim, lean._runner.run(text, wall_s=20, fresh=True))
    assert reason == "the proof rests on other axioms: bad"
    assert axioms == ("bad",)


def test_a_theorem_that_the_kernel_rejects_lists_itself(lean: LeanScript) -> None:
    # The trap behind the rule "no errors AND the axiom list": ill-typed, the theorem is its own axiom.
    unsafe_proof = "theorem target : False := lcProof\n#print axioms target\n"
    result = run_raw(lean, unsafe_proof)
    assert errors_of(result)
    assert judge(ProofClaim(FALSE, ("x",)), result)[0].startswith("Lean reports an error")
    only_axioms = RunResult(result.messages[-1:], "exited", "", 0.1, 0)
    reason, _ = judge(ProofClaim(FALSE, ("x",)), only_axioms)
    assert reason.startswith(("the proof rests on other axioms", "Lean did not list", "Lean reports"))


@pytest.mark.parametrize(
    "name",
    ["div", "mod", "gcd", "pow", "log2", "land", "lor", "xor", "shiftLeft", "shiftRight", "add", "sub", "mul", "beq"],
)
def test_names_that_the_kernel_evaluates_cannot_be_defined(lean: LeanScript, name: str) -> None:
    result = run_raw(lean, f"noncomputable def Nat.{name} (_ _ : Nat) : Nat := 1\n")
    assert any("already been declared" in error for error in errors_of(result))


def test_a_smuggled_kernel_function_would_prove_false_without_the_reservation(lean: LeanScript) -> None:
    # What the reservation is for: with gcd free, the definition says 1 and the kernel's own arithmetic says 2.
    text = (
        "noncomputable def Nat.gcd (_ _ : Nat) : Nat := 1\n"
        "theorem one : Nat.gcd 4 6 = 1 := rfl\ntheorem two : Nat.gcd 4 6 = 2 := by decide\n"
        "theorem target : False := by have h := one.symm.trans two; cases h\n"
    )
    assert errors_of(run_raw(lean, text))
    for tactic in ("have h : Nat.gcd 4 6 = 2 := rfl", "exact Nat.gcd", "decide"):
        assert not certify(lean, FALSE, tactic).certified


def test_the_kernels_arithmetic_agrees_with_the_definitions(lean: LeanScript) -> None:
    for statement in (
        ": 7 - 3 = 4",
        ": 3 - 7 = 0",
        ": 12345 * 6789 = 83810205",
        ": 99 + 1 = 100",
        ": ¬ 5 ≤ 4",
        ": 4 < 5",
    ):
        assert certify(lean, Theorem("t", statement), "decide").certified, statement
    for statement in (": 3 - 7 = 1", ": 7 - 3 = 3", ": 5 ≤ 4", ": 2 * 3 = 5"):
        for tactic in ("decide", "rfl", "simp", "simp_all"):
            assert not certify(lean, Theorem("t", statement), tactic).certified, statement


def test_string_literals_have_no_constructors(lean: LeanScript) -> None:
    result = run_raw(lean, 'theorem target : "a" = "b" := rfl\n')
    assert errors_of(result)
    result = run_raw(lean, 'theorem target (h : "a" = "b") : False := by cases h\n')
    assert errors_of(result)


def test_unsafe_axioms_of_the_compiler_prove_nothing(lean: LeanScript) -> None:
    for name in ("lcProof", "lcAny", "lcErased", "lcVoid"):
        assert certify(lean, FALSE, f"exact {name}").reason.startswith("refused")
    assert errors_of(run_raw(lean, "theorem target : False := lcProof\n"))


def test_compiled_code_has_no_word_in_the_kernel(lean: LeanScript) -> None:
    assert errors_of(run_raw(lean, "theorem target : False := by native_decide\n"))
    assert errors_of(run_raw(lean, "opaque Lean.reduceBool (b : Bool) : Bool := b\n"))


def test_unregistered_tactics_stay_unregistered(lean: LeanScript) -> None:
    # `split` prints goals that the kernel rejects; `omega` and `ac_rfl` need lemmas that are not stated here.
    statement = "(p : Prop) [Decidable p] (a : Nat) : (if p then a else a) = a"
    for tactic in ("split", "omega", "ac_rfl", "grind", "native_decide"):
        assert errors_of(run_raw(lean, f"theorem target {statement} := by {tactic}\n")), tactic


def test_judge_needs_all_of_it() -> None:
    claim = ProofClaim(Theorem("t", ": True"), ("trivial",))

    def messages(*texts: tuple[str, str]) -> RunResult:
        rows = [{"severity": severity, "data": data, "pos": {"line": 1}} for severity, data in texts]
        return RunResult(rows, "exited", "", 0.1, 0)

    none, fine = (
        ("information", "'t' does not depend on any axioms"),
        ("information", "'t' depends on axioms: [propext]"),
    )
    assert judge(claim, messages(none)) == ("", ())
    assert judge(claim, messages(fine)) == ("", ("propext",))
    assert judge(claim, messages(("error", "unsolved goals"), none))[0] == "Lean reports an error: unsolved goals"
    assert judge(claim, messages(("warning", "declaration uses 'sorry'"), none))[0] == "the proof uses `sorry`"
    assert "did not list" in judge(claim, messages())[0]
    assert "did not list" in judge(claim, messages(("information", "'u' does not depend on any axioms")))[0]
    assert "did not list" in judge(claim, messages(none, ("information", "something else")))[0]
    assert "other axioms: t" in judge(claim, messages(("information", "'t' depends on axioms: [t]")))[0]
    assert "sorryAx" in judge(claim, messages(("information", "'t' depends on axioms: [propext,\n sorryAx]")))[0]
    assert judge(
        claim, RunResult([none[1] and {"severity": none[0], "data": none[1], "pos": {}}], "died", "killed", 1, 0)
    )[0] == ("Lean did not finish: killed")

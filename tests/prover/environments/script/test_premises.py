"""What a theorem may use: what its header does not import does not exist, in steps and in certificates."""

import re
from pathlib import Path

import pytest

from prover.environments import Complete, ProofClaim, ProofState, Rejected, StepRequest
from prover.environments.script.embedded import _run_lean, find_library, imports_of, prelude_modules
from prover.environments.script.environment import LeanScript
from prover.environments.script.premises import accessible_modules, prelude_module, refuse_imports, split_head
from prover.theorems import Theorem, TheoremSet
from prover.worlds.canonical import canonical_statement, lemma_forms

ADD_COMM = TheoremSet.load("nng")["NNG.Addition.add_comm"]
OPEN_ADD_COMM = TheoremSet.load("nng:open")["NNG.Addition.add_comm"]
LATER = (
    "exact Nat.add_comm a b",
    "exact _root_.Nat.add_comm a b",
    "exact «Nat».«add_comm» a b",
    "exact a.add_comm b",
    "exact @Nat.add_comm a b",
    "rw [Nat.add_comm]",
    "rw [← Nat.add_comm]",
    "apply Nat.add_comm",
    "refine Nat.add_comm ?_ ?_",
    "have h := Nat.add_comm a b; exact h",
    "exact (by exact Nat.add_comm a b)",
    "open Nat in exact add_comm a b",
    "simp only [Nat.add_comm]",
    "simp [Nat.add_comm]",
    "exact (fun x y => Nat.add_comm x y) a b",
    "exact Nat.le_antisymm (Nat.le_of_eq rfl) (Nat.le_of_eq rfl)",
    "exact Nat.add_left_cancel (Nat.add_left_comm a b a)",
    "rw [← Nat.mul_one a, ← Nat.mul_one b, Nat.add_comm]",
    "rw [Nat.add_right_comm 0 a b]",
)
AUTOMATIC = ("simp", "simp_all", "decide", "rfl", "trivial", "assumption", "contradiction", "infer_instance")


def root_of(lean: LeanScript, theorem: Theorem) -> ProofState:
    (root,) = lean.start([theorem])
    assert isinstance(root, ProofState), root
    return root


def test_no_step_reaches_what_comes_later(lean: LeanScript) -> None:
    (outcomes,) = lean.step([StepRequest(root_of(lean, ADD_COMM), (*LATER, *AUTOMATIC))])
    assert [outcome for outcome in outcomes if not isinstance(outcome, Rejected)] == []
    (opened,) = lean.step([StepRequest(root_of(lean, OPEN_ADD_COMM), LATER[:4])])
    assert all(isinstance(outcome, Complete) for outcome in opened)


def test_no_certificate_reaches_what_comes_later(lean: LeanScript) -> None:
    claims = [ProofClaim(ADD_COMM, (tactic,)) for tactic in (*LATER, *AUTOMATIC)]
    assert [c.claim.tactics for c in lean.certify(claims) if c.certified] == []
    assert all(c.certified for c in lean.certify([ProofClaim(OPEN_ADD_COMM, (tactic,)) for tactic in LATER[:4]]))


def test_what_comes_before_is_there_for_both(lean: LeanScript) -> None:
    steps = (
        "induction b with | zero => ?_ | succ d hd => ?_",
        "rw [Nat.zero_add]",
        "rfl",
        "rw [Nat.succ_add, ← hd]",
        "rfl",
    )
    for number, tactic in enumerate(steps):
        (((outcome,),)) = lean.step([StepRequest(ProofState(ADD_COMM, steps[:number], "⊢ a"), (tactic,))])
        assert isinstance(outcome, Complete) == (number == len(steps) - 1), (tactic, outcome)
    (certificate,) = lean.certify([ProofClaim(ADD_COMM, steps)])
    assert certificate.certified
    assert certificate.axioms == ()


@pytest.mark.long
def test_theorems_of_several_modules_share_a_wave(lean: LeanScript) -> None:
    theorems = [
        Theorem(f"t{i}", "(a b : Nat) : a + b = b + a", f"import {m}")
        for i, m in enumerate(sorted(accessible_modules()))
    ]
    roots = lean.start(theorems)
    assert all(isinstance(root, ProofState) for root in roots)
    outcomes = lean.step(
        [StepRequest(root, ("exact Nat.add_comm a b",)) for root in roots if isinstance(root, ProofState)]
    )
    knows = {prelude_module(t.header): isinstance(o, Complete) for t, (o,) in zip(theorems, outcomes, strict=True)}
    assert knows == {m: "Prover.Nat.Addition3" in imports_of(m) for m in accessible_modules()}


@pytest.mark.parametrize(
    "header",
    [
        "import Prover.Nat.Addition2\nimport Prover",
        "import Prover\nimport Prover.Nat.Addition2",
        "import Prover.Nat.Addition2 import Prover",
        "import Prover.Nat.Addition2\n  import Prover.Nat",
        "import Prover.Nat.Addition2\npublic import Prover",
        "import Prover.Nat.Addition2\nimport all Prover",
        "import Prover.Foundation",
        "import Prover.Reserved",
        "import Prover.Nat.Nowhere",
        "import Mathlib",
        "open Nat\n import Prover",
    ],
)
def test_other_imports_are_refused_or_give_no_more(lean: LeanScript, header: str) -> None:
    theorem = Theorem("target", ADD_COMM.statement, header)
    (root,) = lean.start([theorem])
    assert isinstance(root, Rejected), root
    (certificate,) = lean.certify([ProofClaim(theorem, ("exact Nat.add_comm a b",))])
    assert not certificate.certified


@pytest.mark.parametrize("comment", ["-- import Prover\n", "/-\nimport Prover\n-/\n", '/- "\nimport Prover\n" -/\n'])
def test_an_import_in_a_comment_opens_nothing(lean: LeanScript, comment: str) -> None:
    theorem = Theorem("target", ADD_COMM.statement, f"{comment}import Prover.Nat.Addition2")
    (certificate,) = lean.certify([ProofClaim(theorem, ("exact Nat.add_comm a b",))])
    assert not certificate.certified


def test_a_header_may_open_beside_its_import(lean: LeanScript) -> None:
    theorem = Theorem("target", "(a : Nat) : 0 + a = a", "import Prover.Nat.Addition1\nopen Nat")
    assert lean.certify([ProofClaim(theorem, ("exact zero_add a",))])[0].certified


def test_every_module_for_theorems_reserves_the_names_that_the_kernel_evaluates() -> None:
    assert {"Prover", "Prover.Nat", "Prover.Nat.Definitions"} <= accessible_modules()
    assert all("Prover.Reserved" in imports_of(module) for module in accessible_modules())


def test_an_installed_lean_is_told_of_the_open_set() -> None:
    said = refuse_imports(ADD_COMM.header, takes_imports=True)
    assert said is not None
    assert "nng:open" in said
    said = refuse_imports("import Prover.List.Definitions", takes_imports=True)
    assert said is not None
    assert "leave the import out" in said
    assert refuse_imports("import Mathlib", takes_imports=True) is None


def test_a_preamble_without_the_prelude_is_left_alone() -> None:
    assert split_head("", "import Prover.Nat") == ("", "import Prover.Nat")
    head = split_head("prelude\nimport Prover\nuniverse u\n", "import Prover.Nat\nopen Nat")
    assert head == ("prelude\nimport Prover.Nat\nuniverse u\n", "open Nat")


@pytest.mark.parametrize("name", ["nng", "lists"])
def test_no_theorem_with_a_module_of_its_own_has_itself_at_hand(name: str) -> None:
    at_hand = {module: lemma_forms(path.read_text("utf-8")) for module, path in prelude_modules().items()}
    found = []
    for theorem in TheoremSet.load(name):
        form = canonical_statement(theorem.statement)
        sides = re.fullmatch(r" ⊢ (.*) = (.*)", form)
        if sides and sides[1] == sides[2]:
            continue  # true by `rfl`
        module = prelude_module(theorem.header)
        assert module is not None
        found += [(theorem.name, m) for m in imports_of(module) if form in at_hand[m]]
    assert found == []


def test_an_exported_proof_brings_what_it_may_use(lean: LeanScript, tmp_path: Path) -> None:
    theorem = TheoremSet.load("nng")["NNG.Addition.succ_add"]
    script = ("induction b with | zero => ?_ | succ d hd => ?_", "rfl", "rw [Nat.add_succ, Nat.add_succ, hd]")
    text = lean.proof_file(ProofClaim(theorem, script))
    assert "theorem zero_add" in text
    assert "theorem succ_add" not in text
    (tmp_path / "proof.lean").write_text(text, encoding="utf-8")
    assert _run_lean(find_library(), ["proof.lean"], tmp_path) == ""

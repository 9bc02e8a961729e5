"""Attacks through theorem files: whatever a row says, no false statement in it is ever certified."""

import json
from pathlib import Path

import pytest

from prover.environments import ProofClaim, open_environment
from prover.environments.isolation.refusal import refuse_header, refuse_statement, refuse_tactic
from prover.environments.script.environment import LeanScript
from prover.theorem_files.names import TheoremTextError
from prover.theorem_files.text import read_statement
from prover.theorems import Theorem, TheoremFileError, TheoremSet

F = "(p q : Prop) (h : p) : q"
ROWS = [
    {"name": "m", "statement": "theorem helper (p : Prop) (h : p) : p := h theorem m " + F + " := sorry"},
    {"formal_statement": "theorem m " + F + " := by sorry end theorem z (p : Prop) (h : p) : p := h"},
    {"name": "m", "header": 'notation "q" => p', "statement": F},
    {"name": "m", "header": 'variable (p : Prop)\nlocal notation:max "False" => True', "statement": ": False"},
    {"name": "m", "header": "namespace X\ndef False := True\nend X\nopen X", "statement": ": False"},
    {
        "name": "X.m",
        "formal_statement": "namespace X\ntheorem False.elim : True := .intro\ntheorem m : False := by sorry\nend X",
    },
    {"name": "m", "formal_statement": "axiom bad : False\ntheorem m : False := by sorry"},
    {"name": "m", "formal_statement": "instance : Add Nat := ⟨fun _ _ => 0⟩\ntheorem m : 1 + 1 = 0 := by sorry"},
    {"name": "m", "formal_statement": "def Nat.gcd (_ _ : Nat) := 1\ntheorem m : False := by sorry"},
    {"name": "m", "header": "universe u\nopen Nat in\n@[simp] private", "statement": "theorem m : False := by sorry"},
    {"name": "m", "statement": ": True := trivial\ntheorem m2 : False"},
    {"name": "m", "statement": ": False -- /-\n: True -- -/"},
    {"name": "m", "statement": '(h : "--" = "") : False'},
    {"name": "m", "statement": ": False /- -/ -- -/"},
    {"name": "m", "statement": ": «--» = 1"},
    {"name": "m", "header": "open True renaming intro → False", "statement": ": False"},
    {"name": "m", "header": "open Nat renaming le → False", "statement": ": False"},
    {"name": "m", "header": "export True (intro)", "statement": ": False"},
    {"name": "m", "header": "set_option autoImplicit true", "statement": "(h : Fals) : Fals"},
    {"name": "m", "header": "set_option autoImplicit true", "statement": ": Flase"},
    {"name": "m", "statement": ": Τrue"},
    {"name": "m", "header": "variable (False : Prop) (hh : False)", "statement": ": False"},
    {"name": "m", "header": "variable {False : Prop} [inst : Inhabited False]", "statement": ": False"},
    {
        "name": "m",
        "header": "attribute [local instance] evil\ndef evil : Decidable False := .isTrue sorry",
        "statement": ": False",
    },
    {"name": "m", "header": "local macro_rules | `(False) => `(True)", "statement": ": False"},
    {"name": "m", "header": "attribute [macro Lean.Parser.Term.type] foo", "statement": ": False"},
    {"name": "m", "statement": "(alias : Nat → Prop) (h : alias 0) : alias 1"},
    {"name": "m", "statement": "(run_cmd : Nat → Prop) (h : run_cmd 0) : run_cmd 1"},
    {"name": "m", "formal_statement": "theorem m : p → p\n  | h => h\ntheorem m2 : False := by sorry"},
    {"name": "«m»", "formal_statement": "theorem m : False := by sorry"},
    {"name": "m", "formal_statement": "theorem _root_.m : False := by sorry"},
    {"name": "True.intro", "statement": ": False"},
    {"name": "m", "header": "namespace True", "statement": ": False"},
    {"name": "m", "header": "/-! open -/ namespace False", "statement": ": False"},
    {"name": "m", "header": "end", "statement": ": False"},
    {"name": "m", "formal_statement": "mutual\ntheorem m : False := n\ntheorem n : False := m\nend"},
    {"name": "m", "formal_statement": "theorem m : True where\n  foo := 1\ntheorem m : False := by sorry"},
    {
        "name": "m",
        "formal_statement": "```lean\ntheorem m : False := by sorry\n```\n```lean\ntheorem x : True := trivial\n```",
    },
    {"name": "m", "source": "theorem m (h : False) : False := h\nexample : True := trivial"},
    {"name": "m", "header": "variable (h : False)\ninclude h", "statement": ": 1 = 2"},
    {"name": "m", "formal_statement": "variable (h : False) in\ninclude h in\ntheorem m : 1 = 2 := by sorry"},
    {"name": "m", "header": "open Nat renaming le → Ne", "statement": ": Ne 1 1"},
    {"name": "m", "header": "set_option debug.proofAsSorry true", "statement": ": False"},
    {"name": "m", "header": "set_option debug.byAsSorry true", "statement": ": False"},
    {"name": "m", "header": "attribute [local reducible] Not", "statement": ": ¬ True"},
    {"name": "m", "formal_statement": "theorem m : by obtain ⟨x⟩ := foo; exact False := by sorry"},
]

FAKES = ("exact h", "trivial", "exact True.intro", "simp_all", "exact helper p h", "exact bad", "exact hh")


@pytest.fixture(scope="module")
def lean():
    with open_environment(workers=2) as environment:
        assert isinstance(environment, LeanScript)
        yield environment


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ascii(next(v for k, v in row.items() if k != "name"))[:40])
def test_a_false_row_is_refused_or_never_certified(tmp_path: Path, lean: LeanScript, row: dict[str, str]) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    try:
        (theorem,) = TheoremSet.load(tmp_path / "a.jsonl")
    except TheoremFileError:
        return
    if theorem.statement == ": True":  # the last theorem of its text is a true one, below a header that is refused
        assert refuse_header(theorem.header) is not None
    certificates = lean.certify([ProofClaim(theorem, (tactic,)) for tactic in FAKES])
    assert [certificate.claim.tactics for certificate in certificates if certificate.certified] == []


_STRING = 'set_option trace.profiler.output "'


@pytest.mark.parametrize("statement", [": False", ": 1 = 2"])
def test_a_string_left_open_in_a_header_does_not_swallow_the_theorem(lean: LeanScript, statement: str) -> None:
    """The header's string would end in the first tactic, whose text then is the theorem that Lean reads."""
    script = (f'exact "theorem m : True := True.intro {_STRING[:-1]}"', 'exact \\"x"')
    (certificate,) = lean.certify([ProofClaim(Theorem("m", statement, _STRING), script)])
    assert not certificate.certified
    # Each half of the trick is refused by itself.
    assert refuse_header(_STRING) is not None
    assert refuse_tactic(script[1]) is not None
    assert refuse_header(f'{_STRING}out.txt"') is None
    assert refuse_tactic('exact "x"') is None


def test_a_lean_file_keeps_what_changes_the_meaning_of_later_statements(tmp_path: Path) -> None:
    """Behind a theorem, too, and behind `local`, `scoped[X]` or an attribute on the same line."""
    for command in (
        'local notation "F" => True',
        'scoped[Nat] notation "F" => True',
        '@[inherit_doc] infix:50 "+++" => f',
        "local macro_rules | `(False) => `(True)",
        "unif_hint f where",
        "local instance : Add Nat := f",
        "binder_predicate x y",
    ):
        text = f"theorem a : True := trivial\n{command}\ntheorem b : False := by sorry\n"
        (tmp_path / "a.lean").write_text(text, "utf-8")
        header = TheoremSet.load(tmp_path / "a.lean")["b"].header
        assert command in header
        assert refuse_header(header) is not None


@pytest.mark.parametrize("text", ["{x : Nat //-1 < x}", "do let y <--1", "a |-- b"])
def test_what_lean_may_not_take_for_a_comment_is_not_dropped(text: str) -> None:
    with pytest.raises(TheoremTextError, match="put a blank"):
        read_statement(f"theorem m (h : {text}) : False := by sorry -/")
    assert read_statement("theorem m (h : p) -- {x\n : q := by sorry").statement == "(h : p)\n : q"


STOP = "(stop : Prop) (h : stop) : stop"


@pytest.mark.parametrize(
    ("friendly", "hostile"),
    [
        ("exact stop", "stop"),
        ("exact stop", "intro h\n  stop"),
        ("rw [stop]", "rw [h]; stop"),
        ("exact f stop", "exact (by stop)"),
        ("exact f stop", "exact 1by stop"),
        ("exact f stop", "first | exact h | stop"),
        ("exact f stop", "exact h <;> stop"),
        ("exact f stop", "· stop"),
        ("exact f stop", "try (stop)"),
        ("exact f stop", "exact fun x => by\n  stop"),
        ("exact eval_add", "exact eval% x"),
        ("simp [eval]", "#eval 1"),
        ("exact (P n).eval x", "exact (P n).axiom"),
        ("exact #s", "exact #evalx"),
        ("exact native", "decide +native"),
        ("exact native", "decide (config := { native := true })"),
        ("exact h.admit", "admit"),
        ("exact h.lemma", "exact h).lemma"),
        ("exact constant", "axiom c : False"),
    ],
)
def test_a_word_is_judged_by_where_it_stands(friendly: str, hostile: str) -> None:
    assert refuse_tactic(friendly) is None
    assert refuse_tactic(hostile) is not None


@pytest.mark.parametrize(
    ("friendly", "hostile"),
    [
        (STOP, ": (by stop : True) = h"),
        ("(alias : Nat → Prop) : alias 0", ": True alias foo"),
        ("(lemma : Nat → Prop) : lemma 0", ": True\nlemma x : True"),
        ("(s : Prop) : #s = 1", ": True #eval 1"),
        ("(P : Nat → Nat) : (P 1).eval 0 = 0", ": True #print x"),
        ("(run_cmd : Prop) : run_cmd", ": True run_cmd x"),
        ("(constant : Prop) : constant", "(theorem : Prop) : theorem"),
        (": (by exact True)", ": by exact True"),
        ("(h : Id.run (do p)) : p", ": Id.run do p"),
    ],
)
def test_a_statement_may_bind_words_that_are_no_keywords(friendly: str, hostile: str) -> None:
    assert refuse_statement(friendly) is None
    assert refuse_statement(hostile) is not None


@pytest.mark.parametrize(
    ("friendly", "hostile"),
    [
        ("attribute [local instance] foo", "instance : Add Nat := foo"),
        ("attribute [local instance] foo", "attribute [local instance] foo\ndef foo := 1"),
        ("attribute [-instance] foo", "attribute [implemented_by bar] foo"),
        ("attribute [local simp] foo", 'attribute [extern "f"] foo'),
        ("open Nat -- a theorem", "open Nat\ntheorem x : True := trivial"),
        ("/- structure -/ open Nat", "/- -/ structure X where"),
        ("open Nat -- #eval", "open Nat\n#eval 1"),
        ("attribute [local instance 100, -simp] foo", "attribute [local reducible] foo"),
        ("attribute [local ext] foo", "attribute [local app_unexpander Nat.add] foo"),
        ("open Nat (succ)", "open Nat renaming le → False"),
        ("open Nat hiding add", "open Nat (succ) renaming le → lt"),
        ("variable {n : Nat} (hn : 0 < n)", "variable {n : Nat} (hn : n < 0)\ninclude hn"),
        ("namespace «Erdős 12»", "namespace «Erdős\n»"),
        ("variable (c : Char)", "variable (h : f 0x1F'(')"),
        ("variable (n : Nat)", "variable (n : Nat"),
        ("open Nat -- it's", 'notation "x" => y -- "'),
    ],
)
def test_a_header_may_set_attributes_and_hold_comments(friendly: str, hostile: str) -> None:
    assert refuse_header(friendly) is None
    assert refuse_header(hostile) is not None

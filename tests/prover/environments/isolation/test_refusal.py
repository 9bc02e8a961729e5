"""The refusal list: text that Lean never sees, and text that it must."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.environments.isolation.refusal import refuse_header, refuse_name, refuse_statement, refuse_tactic

SORRIES = [
    "sorry",
    "exact sorry",
    "exact (by sorry)",
    "first | sorry | skip",
    "exact sorryAx _ true",
    "exact @sorryAx.{0} _ false",
    "have h : p := by\n  sorry\nexact h",
    "so/- -/rry",
    "skip /- sorry",
    "-- nothing\nsorry",
    "exact «sorry»",
    "admit",
    "stop\nskip",
    "apply?",
    "exact _example p",
    "exact ⟨sorry, h⟩",
    'macro "x" : tactic => `(tactic| sorry)',
    "so\u200brry",
    "\u202eyrros\u202c",
    "s\u00adorry",
    "\ufeffsorry",
]

PROGRAMS = [
    'run_tac do IO.FS.writeFile "x" "y"',
    "exact by_elab do return default",
    "native_decide",
    "decide +native",
    "exact of_decide_eq_true (Lean.ofReduceBool _ _ rfl)",
    "simp (config := unsafeIO x)",
    "exact (IO.FS.readFile x ()).1",
    "exact include_str x",
    "#eval 1",
    "exact h\n#print axioms h",
    'trivial\nelab "x" : tactic => pure ()',
    "open Lean Elab Tactic in skip",
    "set_option maxRecDepth 100 in skip",
    "exact «IO».getStdout",
    "exact 0b1IO.getStdout",
    "exact Lean.«Elab».Term.x",
    "exact Lean.reduceBool c",
    "exact Lean.«reduceBool» c",
    "open Foo.Meta in skip",
    "open private x from y in skip",
    "@[simp] exact h",
    "exact let rec @[app_unexpander p] f := 1; h",
    "exact let rec @  [simp] f := 1; h",
    "sleep 100000",
    "polyrith",
]

DEFINITIONS = [
    "exact f where f := 1",
    "exact f 0\nwhere f : Nat → False\n  | n => f n",
    "let rec f : Nat → False := fun n => f n\nexact f 0",
    "let  rec f := 1\nexact h",
    "exact (let\n rec f := 1; h)",
    "exact «h»where f : Nat := 1",
    "let rec«f» : Nat := 1\nskip",
    "exact h\ntermination_by x",
    "exact h\ndecreasing_by skip",
]

ESCAPES = [
    "trivial\naxiom bad : False",
    "exact h\ntheorem t2 : False := t",
    "trivial\nend\nnamespace X",
    "exact 1.axiom bad : False",
    "exact 0axiom bad : False",
    "exact (h).axiom",
    "éaxiom bad : False",
    "exact 0b1axiom bad : False",
    "exact 0x1theorem bad : False := bad",
    "exact 1e5axiom bad : False",
    "exact 'a'axiom bad : False",
    "exact 's!axiom bad : False",
    "exact f ''axiom bad : False",
    "exact 'x.axiom bad : False",
    "exact «h»axiom bad : False",
    "skip\naxiom«bad» : ∀ p : Prop, p",
    "set_option«maxRecDepth» 100 in skip",
    "skip\ndef Nat.gcd (_ _ : Nat) := 1",
    "skip\ninstance : Inhabited False := ⟨x⟩",
    "skip\nattribute [simp] foo",
    "skip\nopen Classical",
    "exact h,\ngrind_pattern foo => f x",
    "exact h,\nsimproc_decl foo (_ + _) := fun _ => return .continue",
    "exact h)\n  trace_state",
    "exact (h",
    "exact ⟨h, k]",
    "exact fun h => (h\n-- )",
    "exact h -- (",
    'trace "a\\"b"',
    "exact '\"' )",
    "exact '(' ",
    'trace s!"{h}"',
    'trace r"\\"',
    "exact h -/ x",
    "a\x00b",
    "a\x07",
    "exact \u2066h\u2069",
    "exact h\u2028axiom",
    b"exact \xff\xfe".decode("utf-8", errors="surrogateescape"),
    "(" * 500_000 + ")" * 500_000,
    "(" * 5000 + ")" * 5000,
    "",
    "  \n ",
]

FINE = [
    "intro h",
    "exact ⟨h.1, h.2⟩",
    "rcases h with ⟨x, rfl | hy⟩",
    "cases h with\n| inl a => exact a\n| inr b =>\n  exact b",
    "exact fun x ↦ h.end x",
    "open Classical in exact em p",
    "open scoped Nat in exact h",
    "rw [← h, Nat.add_comm] at k ⊢",
    "simp (config := { decide := true }) only [h]",
    'trace "a plain message"',
    "exact «a name»",
    "exact h  -- as required",
    "obtain ⟨_, hn⟩ : ∃ n, n = 1 := ⟨1, rfl⟩",
    "have h₁ : ∀ ε > 0, ∃ δ > 0, δ < ε := by\n  intro ε hε\n  exact ⟨ε / 2, half_pos hε, half_lt hε⟩",
    "nlinarith [sq_nonneg (x - y), mul_pos h₁ h₂]",
    "exact Nat.rec (motive := fun n => n = n) rfl (fun _ _ => rfl) n",
    "calc a = b := h\n  _ = c := k",
    "exact h' h'' x!",
    "norm_num [Nat.choose]",
    "exact ⌊x⌋₊",
    "conv => lhs; rw [h]",
    "let recent := h; exact recent",
    "exact Nat.rec (fun x => x) h",
    "exact «where»",
    "exact «where».end",
    "exact Group.«mul one» x",
    "exact (f ⁻¹' s) '' ∑' i, g' i''",
    "norm_num [show (5! : ℕ) = 120 from rfl]  -- the 2nd case",
    "exact (0xFF, 0b101, 1e5, 1_000, 'a', h.1.le)",
    "open Classical Real in exact em p",
]


@pytest.mark.parametrize("tactic", SORRIES + PROGRAMS + DEFINITIONS + ESCAPES, ids=lambda tactic: ascii(tactic[:30]))
def test_refused(tactic: str) -> None:
    refused = refuse_tactic(tactic)
    assert refused is not None
    assert refused.startswith("the tactic ")


@pytest.mark.parametrize("tactic", FINE, ids=lambda tactic: ascii(tactic[:30]))
def test_let_through(tactic: str) -> None:
    assert refuse_tactic(tactic) is None


@given(st.lists(st.sampled_from(["axiom", "sorry", "run_tac", "theorem", "set_option", "#eval", "end"]), min_size=1),
       st.text(alphabet="ab1.('⟨é -\n!?λ", max_size=4))  # fmt: skip
def test_a_keyword_is_found_behind_any_glue(words: list[str], glue: str) -> None:
    # What Lean would read as one longer identifier is no keyword; anything else is.
    if glue and (glue[-1] in "ab'!?" or (glue[-1] in "1." and any(c in "ab" for c in glue))):
        glue += " "
    assert refuse_tactic("skip\n" + glue + " ".join(words)) is not None


@given(st.text(alphabet="()[]{}⟨⟩ab-\n", max_size=40))
def test_what_passes_cannot_close_our_parenthesis(text: str) -> None:
    if refuse_tactic(text) is None:
        for view in (text, "\n".join(line.split("--")[0] for line in text.split("\n"))):
            depth = 0
            for character in view:
                depth += (character in "([{⟨") - (character in ")]}⟩")
                assert depth >= 0
            assert depth == 0


def test_statements() -> None:
    assert refuse_statement("(p : Prop) (f : Nat → Nat := id) : p → p") is None
    assert "without a proof" in (refuse_statement(": True := trivial") or "")
    assert "`axiom`" in (refuse_statement(": True\naxiom x : False") or "")
    assert "`sorry`" in (refuse_statement(": sorry = 1") or "")
    assert "unclosed" in (refuse_statement("(p : Prop : p") or "")
    assert refuse_statement("(n : Nat) : let x := n\n let y : Nat := x; y = n") is None
    assert "without a proof" in (refuse_statement(": let x := 1; x = 1 := rfl") or "")
    for ending in (": 1 = 2 ∨\nlet x : Nat", ": True ∧ have h : True", ": let x := 1; let y : Nat"):
        assert "ends within a `let`" in (refuse_statement(ending) or "")  # it would go on with `:=` and a tactic
    assert refuse_statement("(p : Prop)  -- a comment\n : p → p") is None
    assert "ends in a comment" in (refuse_statement(": True  -- a comment") or "")


@pytest.mark.parametrize("name", ["t", "Nat.foo'", "h₁", "α", "a.b.c", "«any name»", "List.x!"])
def test_names(name: str) -> None:
    assert refuse_name(name) is None


@pytest.mark.parametrize(
    "name", ["", "1a", "a b", "../../x", "a/b", "theorem", "a..b", "a.", "x\n:=", "«a\nb»", "a\x00"]
)
def test_names_that_are_none(name: str) -> None:
    assert "not a Lean name" in (refuse_name(name) or "")


def test_headers() -> None:
    assert (
        refuse_header("import Mathlib\nset_option maxHeartbeats 400000\n\nopen BigOperators Real Nat Topology") is None
    )
    assert refuse_header("universe u\nvariable (p : Prop)\nnoncomputable section") is None
    for bad in (
        "axiom x : False",
        "import Lean\nrun_cmd x",
        "#eval 1",
        'open Nat\nmacro "x" : term => `(1)',
        "def x := 1",
        "set_option debug.skipKernelTC true",
        "set_option warn.sorry false",
        "attribute [implemented_by f] g",
        "open Nat in",
        "variable (p : Prop)\nset_option maxHeartbeats 400000 in\n",
        'set_option maxRecDepth 0b1000notation:max "False" => True',
    ):
        assert refuse_header(bad) is not None

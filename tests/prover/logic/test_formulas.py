import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.logic.formulas import (
    FALSE,
    TRUE,
    And,
    Formula,
    Iff,
    Imp,
    Not,
    NotPropositionalError,
    Or,
    Var,
    parse,
    parse_state,
    parse_statement,
    print_state,
    print_statement,
)

p, q, r = Var("p"), Var("q"), Var("r")

formulas = st.recursive(
    st.sampled_from([p, q, r, TRUE, FALSE]),
    lambda inner: st.one_of(
        inner.map(Not), *(st.tuples(inner, inner).map(lambda ab, op=op: op(*ab)) for op in (And, Or, Imp, Iff))
    ),
    max_leaves=12,
)


@given(formulas)
def test_what_is_printed_is_read_back(formula: Formula) -> None:
    assert parse(str(formula)) == formula


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("p → q → r", Imp(p, Imp(q, r))),
        ("p ∧ q ∧ r", And(p, And(q, r))),
        ("p ∧ q ∨ r → p ↔ q", Iff(Imp(Or(And(p, q), r), p), q)),
        ("¬p ∧ q", And(Not(p), q)),
        ("¬¬p", Not(Not(p))),
        ("p ↔ q → r", Iff(p, Imp(q, r))),
        ("(p ↔ q) ↔ r", Iff(Iff(p, q), r)),
        ("p -> q /\\ ¬ True", Imp(p, And(q, Not(TRUE)))),
        ("((p))", p),
    ],
)
def test_precedence_is_leans(text: str, formula: Formula) -> None:
    assert parse(text) == formula


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (Imp(Imp(p, q), r), "(p → q) → r"),
        (Imp(p, Imp(q, r)), "p → q → r"),
        (Not(And(p, q)), "¬(p ∧ q)"),
        (Not(Not(p)), "¬¬p"),
        (And(And(p, q), r), "(p ∧ q) ∧ r"),
        (Iff(Imp(p, q), Or(q, r)), "p → q ↔ q ∨ r"),
        (Imp(Iff(p, q), r), "(p ↔ q) → r"),
        (Iff(Iff(p, q), r), "(p ↔ q) ↔ r"),
        (Imp(p, FALSE), "p → False"),
    ],
)
def test_brackets_are_leans(formula: Formula, text: str) -> None:
    assert str(formula) == text


@pytest.mark.parametrize(
    "text",
    ["", "p ∧", "p q", "p ↔ q ↔ r", "(p", "p)", "P x", "x = y", "∀ x, p", "p → Prop", "f (p)", "¬", "1 ∧ p", "p.{u}"],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(NotPropositionalError):
        parse(text)


def test_undeclared_names_are_refused() -> None:
    with pytest.raises(NotPropositionalError, match="'q' is not declared"):
        parse("p ∧ q", frozenset(["p"]))


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    with pytest.raises(NotPropositionalError, match="nested deeper"):
        parse("(" * 5000 + "p" + ")" * 5000)


def test_state_with_several_goals_tags_and_shared_lines() -> None:
    text = "case inl.left\np q : Prop\nh1 h2 : p ∧ q\nh✝ : ¬p\n⊢ q\n\ncase inr\np q : Prop\n⊢ p → q"
    first, second = parse_state(text)
    assert [(h.name, str(h.formula)) for h in first.hypotheses] == [("h1", "p ∧ q"), ("h2", "p ∧ q"), ("h✝", "¬p")]
    assert str(first.goal) == "q"
    assert second.hypotheses == ()
    assert print_state((first, second)) == text.replace("case inl.left\n", "").replace("case inr\n", "")


def test_a_long_hypothesis_goes_on_on_the_next_line() -> None:
    (goal,) = parse_state("p q : Prop\nh1 :\n  p ∧ q ∧\n    p\n⊢ q")
    assert str(goal.hypotheses[0].formula) == "p ∧ q ∧ p"


def test_the_finished_state_has_no_goals() -> None:
    assert parse_state("") == ()


@pytest.mark.parametrize(
    "text",
    [
        "α : Type\np : α → Prop\n⊢ ∀ (x : α), p x",
        "p : Prop\nn : Nat\n⊢ p",
        "p p : Prop\n⊢ p",
        "p : Prop\nh : p := foo\n⊢ p",
        "p : Prop\nh : p",
        "⊢ a = b",
        "no goal at all",
    ],
)
def test_other_states_are_refused(text: str) -> None:
    with pytest.raises(NotPropositionalError):
        parse_state(text)


@pytest.mark.parametrize(
    ("given_text", "printed"),
    [
        ("(p q : Prop) (h : p ∧ q) : q ∧ p", "(p q : Prop) (h : p ∧ q) : q ∧ p"),
        ("{p : Prop} (q : Prop) (h k : p) : p", "(p q : Prop) (h : p) (k : p) : p"),
        (": ∀ p q : Prop, p → q → p", "(p q : Prop) : p → q → p"),
        (": ∀ (p : Prop) (q : Prop), p → q → p", "(p q : Prop) : p → q → p"),
        (": ¬False", ": ¬False"),
    ],
)
def test_statements(given_text: str, printed: str) -> None:
    assert print_statement(parse_statement(given_text)) == printed


@pytest.mark.parametrize(
    "text",
    [
        "(α : Type) (p : α → Prop) : ∀ x, p x",
        "(p : Prop) p",
        "(p : Prop) (p : Prop) : p",
        "(p : Prop) : ∀ x : Nat, p",
        "(p : Prop) [Decidable p] : p",
    ],
)
def test_other_statements_are_refused(text: str) -> None:
    with pytest.raises(NotPropositionalError):
        parse_statement(text)

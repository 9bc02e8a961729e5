"""Keys of states: what `normalise` says, and that its short way is the same as the long one."""

from hypothesis import given
from hypothesis import strategies as st

from prover.states import count_goals, goals_of, normalise, state_key

_PIECES = ["case left", "case ", "\n", "\n\n", " ", "\t", "p q : Prop", "⊢ p", "\r", "\r\n", "\u00a0", "\x0b", "\x85"]


def by_lines(text: str) -> str:
    """`normalise` as its docstring says it, line by line."""
    kept: list[str] = []
    at_goal_start = True
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        line = line.rstrip()
        if at_goal_start and line.startswith("case "):
            continue
        at_goal_start = line == ""
        if at_goal_start and (not kept or kept[-1] == ""):
            continue
        kept.append(line)
    while kept and kept[-1] == "":
        kept.pop()
    return "\n".join(kept)


@given(st.lists(st.sampled_from(_PIECES), max_size=9).map("".join))
def test_every_text_is_normalised_line_by_line(text: str) -> None:
    assert normalise(text) == by_lines(text)
    assert count_goals(text) == len(goals_of(text))


def test_a_case_tag_is_no_part_of_a_state() -> None:
    two = "case left\np : Prop\n⊢ p\n\ncase right\np : Prop\n⊢ p"
    assert normalise(two) == "p : Prop\n⊢ p\n\np : Prop\n⊢ p"
    assert state_key(two) == state_key("p : Prop\n⊢ p\n\ncase h\np : Prop\n⊢ p\n") != state_key("p : Prop\n⊢ p")
    assert count_goals(two) == 2
    assert count_goals("") == 0

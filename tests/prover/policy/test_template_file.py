"""Template files: what they can say, and what a hostile one cannot do."""

from pathlib import Path

import pytest

from prover.policy.context import StateText
from prover.policy.template_file import MAX_FILE_BYTES, TemplateFileError, parse_template, read_template

STATE = "p q : Prop\nh : p ∧ q\n⊢ q\n\nk : p\n⊢ p"


def head(**settings: str) -> str:
    lines = {"name": '"t/1"'} | settings
    return "{#\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()) + "#}\n"


def test_all_variables() -> None:
    text = head() + (
        "{{ name }}|{{ header }}|{{ history | join(', ') }}|{{ goals | length }}|{{ hypotheses | last }}|"
        "{{ conclusion }}|{{ statement }}|{% for one in hypotheses %}<{{ one }}>{% endfor %}|{{ goal }}|{{ state }}"
    )
    state = StateText(STATE, name="n", header="open Nat", history=("a", "b"))
    goal = "p q : Prop\nh : p ∧ q\n⊢ q"
    assert parse_template(text, "t").prompt(state) == (
        "n|open Nat|a, b|2|h : p ∧ q|q|example (p q : Prop) (h : p ∧ q) : q := by|<p q : Prop><h : p ∧ q>|"
        f"{goal}|{STATE}"
    )


def test_answers_are_cut_out() -> None:
    template = parse_template(head(answer_after='"<tac>"', answer_before='"</tac>"') + "{{ goal }}", "t")
    assert template.tactic("thinking <tac>simp</tac> done", STATE) == "simp"
    assert template.tactic("simp", STATE) == "simp"
    assert template.tactic("-- a comment", STATE) is None


def test_several_tactics_are_one_step() -> None:
    template = parse_template(head(several_tactics="true", stop='["```"]') + "{{ goal }}", "t")
    assert template.tactic("  intro h\n  cases h with\n  | inl a => simp\n```\nwords", STATE) == (
        "intro h\ncases h with\n| inl a => simp"
    )
    assert template.tactic("\n  -- words only\n", STATE) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nam": '"x"'}, "did you mean 'name'"),
        ({"name": '"no version"'}, "version number"),
        ({"stop": '"x"'}, "list of texts"),
        ({"stop": '[""]'}, "not empty"),
        ({"several_tactics": '"yes"'}, "true or false"),
        ({"end": "3"}, "must be a text"),
        ({"end": "= ="}, "not TOML"),
    ],
)
def test_a_wrong_head_is_named(settings: dict[str, str], message: str) -> None:
    with pytest.raises(TemplateFileError, match=message):
        parse_template(head(**settings) + "{{ goal }}", "mine.jinja")


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ goal.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ goal['__class__'] }}",
        "{{ goal|attr('__class__') }}",
        "{{ goal.format(1) }}",
        "{{ goal.ljust(1000) }}",
        "{{ self._TemplateReference__context }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum() }}",
        "{{ goal * 1000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 10 ** 9 }}",
        "{{ goal }}{% include '/etc/passwd' %}",
        "{{ goal }}{% import 'os' as os %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}{{ goal }}",
        "{% for x in range(1000000) %}{{ goal }}{% endfor %}",
        "{% for x in range(9) %}{% for y in range(9) %}{% for z in range(9) %}{% endfor %}{% endfor %}{% endfor %}"
        "{{ goal }}",
        "{{ goal" + " | replace('', 'xxxxxxxxxx')" * 30 + " }}",
        "{{ goal" + " | list | join('xxxxxxxxxx')" * 30 + " }}",
        "{% for x in goals recursive %}{{ loop(goals) }}{% endfor %}",
        "{{ goal }}{% set a = goal %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
        "{{ goal|center(100000000) }}",
        "{{ goal | map('upper') }}",
        "{{ goal",
        "{{ stat }}",
        "no state at all",
        "{{ goals.nothing }}{{ goal }}",
    ],
)
def test_a_hostile_or_broken_prompt_is_refused(prompt: str) -> None:
    with pytest.raises(TemplateFileError, match=r"^mine\.jinja"):
        parse_template(head() + prompt, "mine.jinja").prompt(STATE)


def test_a_prompt_without_end_is_cut_short() -> None:
    text = head() + "{% for x in range(1000) %}{% for y in range(1000) %}{{ goal }}{% endfor %}{% endfor %}"
    with pytest.raises(TemplateFileError, match="characters"):
        parse_template(text, "t").prompt(STATE)


@pytest.mark.parametrize(
    "body",
    [
        "{% for a in state %}{% for b in state %}{% if a == 'z' %}{{ b }}{% endif %}{% endfor %}{% endfor %}",
        "{% for a in state %}{% if 'zz' in state %}{{ a }}{% endif %}{% endfor %}",
        "{% for a in range(700) %}{% for b in range(700) %}{% if state|lower == a %}x{% endif %}"
        "{% endfor %}{% endfor %}",
        "{% for a in state %}{% for b in state %}{{ loop.length if a == 'z' }}{% endfor %}{% endfor %}",
    ],
)
def test_loops_over_a_long_state_end_by_themselves(body: str) -> None:
    """Such a loop writes nothing, so that the prompt's length does not end it."""
    template = parse_template(head() + body + "{{ goal }}", "t")
    template.prompt(STATE)
    with pytest.raises(TemplateFileError, match="t: the prompt cannot be made: its loops take too many steps"):
        template.prompt("⊢ " + "p ∧ " * 100_000 + "p")


def test_loops_that_prompts_need_are_allowed_over_long_states() -> None:
    body = "{% for h in hypotheses %}{% if loop.last %}last: {% endif %}{{ h }}\n{% endfor %}{{ conclusion }}"
    state = "\n".join(f"h{i} : p{i} ∧ q{i}" for i in range(2000)) + "\n⊢ p"
    made = parse_template(head() + body, "t").prompt(state)
    assert made.splitlines()[0] == "h0 : p0 ∧ q0"
    assert made.splitlines()[-2] == "last: h1999 : p1999 ∧ q1999"


def test_a_template_cannot_give_itself_more_steps() -> None:
    for name in ("_work_left", "loop"):
        text = head() + f"{{% set {name} = goals %}}{{% for a in state %}}{{% endfor %}}{{{{ goal }}}}"
        with pytest.raises(TemplateFileError, match="too many steps"):
            parse_template(text, "t").prompt("⊢ " + "p ∧ " * 300_000 + "p")
    with pytest.raises(TemplateFileError, match="the filter _counted is not allowed"):
        parse_template(head() + "{{ goal|_counted }}", "t")


def test_many_texts_cannot_be_joined_at_once() -> None:
    text = head() + "{% set a = " + " ~ ".join(["state"] * 100) + " %}{{ goal }}"
    with pytest.raises(TemplateFileError, match="99 joins of texts"):
        parse_template(text, "t")


def test_a_states_own_braces_are_text() -> None:
    template = parse_template(head() + "{{ goal }}", "t")
    assert template.prompt("h : {{ 7 * 7 }} = {x | True}\n⊢ {% x %}") == "h : {{ 7 * 7 }} = {x | True}\n⊢ {% x %}"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TemplateFileError, match="cannot be read"):
        read_template(tmp_path / "none.jinja")
    (tmp_path / "bytes.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(TemplateFileError, match="not UTF-8"):
        read_template(tmp_path / "bytes.jinja")
    (tmp_path / "large.jinja").write_text("x" * (MAX_FILE_BYTES + 1))
    with pytest.raises(TemplateFileError, match="too large"):
        read_template(tmp_path / "large.jinja")
    (tmp_path / "headless.jinja").write_text("{{ goal }}")
    with pytest.raises(TemplateFileError, match="expected a head"):
        read_template(tmp_path / "headless.jinja")

"""`prover prove`, `prover show`, the help and the end of a search, over the fake world."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from search_fakes import HashPolicy, HashScorer, HashWorld, ScriptedPolicy, ScriptedWorld

from prover import cli
from prover.cli_output import BAD_INPUT, TROUBLE
from prover.search import SearchConfig, search_to_files
from prover.search.modes import MODES
from prover.show.view import read_views
from prover.theorems import Theorem
from prover.trajectory import read_summaries

TABLE = {("root", "intro h"): "middle", ("root", "skip"): "aside", ("middle", "exact h"): ""}
PROPOSALS = {"root": {"skip": -0.1, "intro h": -0.5}, "middle": {"exact h": -0.2}, "aside": {"ring": -3.0}}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedWorld:
    """One proof, `intro h` then `exact h`, and a branch that leads nowhere."""
    cli.load_plugins(cli.app) if "prove" not in names_of(cli.app) else None
    fake = ScriptedWorld(dict(TABLE))
    monkeypatch.setattr("prover.environments.open_environment", lambda kind, **options: fake)
    monkeypatch.setattr("prover.policy.open_policy", lambda path, **options: ScriptedPolicy(PROPOSALS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROVER_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    return fake


def names_of(app: Any) -> list[str]:
    return [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]


def run(*arguments: str) -> int:
    return cli.run(cli.app, list(arguments))


def test_a_proof_is_printed_with_the_states_between(world, capsys):
    assert run("prove", "(p : Prop) : p → p", "--no-memo") == 0
    out = capsys.readouterr().out
    order = ["proved at expansion", "theorem statement (p : Prop) : p → p := by", "  intro h\n  exact h", "⊢ root"]
    order += ["1  intro h", "⊢ middle", "2  exact h", "no goals"]
    places = [out.index(words) for words in order]
    assert places == sorted(places)
    assert "skip" not in out, "what the proof did not need is not shown"
    assert not Path("data").exists(), "--no-memo leaves no file"


def test_a_whole_theorem_keeps_its_name_and_gets_the_header(world, capsys):
    assert run("prove", "open Nat\ntheorem foo (p : Prop) : p → p := by sorry", "--header", "open List", "--json") == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["name"], found["statement"], found["header"]) == ("foo", "(p : Prop) : p → p", "open List\nopen Nat")
    assert found["proof"] == ["intro h", "exact h"]
    assert [step["state"] for step in found["steps"]] == ["⊢ root", "⊢ middle", ""]
    assert world.certified[-1][0].tactics == ("intro h", "exact h")


def test_without_a_proof_the_best_open_branches_are_printed_and_the_exit_code_is_1(world, capsys):
    assert run("prove", "p", "--budget", "1", "--no-memo") == TROUBLE
    out = capsys.readouterr().out
    assert "not proved: the budget of 1 expansions is used up" in out
    assert out.index("branch 1 of 2 (open") < out.index("1  skip") < out.index("1  intro h"), "the likelier one first"


@pytest.mark.parametrize(
    ("statement", "words"), [("", "is empty"), ("theorem", "the statement"), ("bad", "unknown identifier 'bad'")]
)
def test_what_is_no_statement_is_bad_input(world, monkeypatch, capsys, statement, words):
    monkeypatch.setattr("prover.environments.open_environment", lambda kind, **options: HashWorld())
    assert run("prove", statement, "--no-memo") == BAD_INPUT
    assert words in capsys.readouterr().err


def test_show_prints_any_theorem_of_a_search(world, capsys):
    one, two = Theorem("one", ": a"), Theorem("two", ": b")
    search_to_files([one, two], "x.parquet", world, ScriptedPolicy(PROPOSALS), SearchConfig(mode="policy-mean"))
    assert run("show", "x.parquet", "two") == 0
    out = capsys.readouterr().out
    assert "two  proved" in out
    assert "one" not in out
    assert run("show", "x.parquet") == 0
    out = capsys.readouterr().out
    assert out.index("one  proved") < out.index("two  proved")
    assert run("show", "x.parquet", "tow") == BAD_INPUT
    assert "no theorem `tow`; it holds 2, e.g. two" in capsys.readouterr().err
    assert run("show", "nothing.parquet") == BAD_INPUT


def test_show_reads_a_search_that_was_stopped(world, capsys):
    config = SearchConfig(mode="policy-mean", wave_size=1, cohorts=1)
    some = [Theorem(f"t{i}", ": a") for i in range(3)]
    finished: list[int] = []
    figures = search_to_files(
        some,
        "x.parquet",
        world,
        ScriptedPolicy(PROPOSALS),
        config,
        on_progress=lambda progress: finished.append(progress.done),
        stop=lambda: bool(finished) and finished[-1] > 0,
    )
    assert figures["interrupted"]
    assert 0 < figures["theorems"] < 3
    assert not Path("x.parquet").exists()
    assert len(read_views("x.parquet")) == figures["theorems"]
    assert run("show", "x.parquet", "t0") == 0
    assert "t0  proved" in capsys.readouterr().out


def test_energies_are_shown_lower_is_better_and_order_the_open_branches(world, capsys):
    scorer = HashScorer(lambda text: {"⊢ middle": 2.0, "⊢ aside": -1.0}.get(text, 0.0))
    search_to_files(
        [Theorem("one", ": a")],
        "x.parquet",
        world,
        ScriptedPolicy(PROPOSALS),
        SearchConfig(mode="energy-only", max_expansions=1),
        scorer=scorer,
    )
    assert run("show", "x.parquet", "one") == 0
    out = capsys.readouterr().out
    assert out.index("intro h   E -2.00") < out.index("skip   E +1.00")


def test_a_file_of_others_cannot_write_to_the_terminal(world, capsys):
    hostile = "⊢ \x1b[2J\x1b]0;owned\x07[bold red]x[/bold red]\u202e"
    world._table[("root", "intro h")] = hostile
    search_to_files(
        [Theorem("one", ": a")],
        "x.parquet",
        world,
        ScriptedPolicy({"root": {"intro h": -0.5}}),
        SearchConfig(mode="policy-mean", max_expansions=1),
    )
    assert run("show", "x.parquet", "one") == 0
    out = capsys.readouterr().out
    assert "[bold red]x[/bold red]" in out, "text is no markup"
    assert not re.search("[\x07\x1b\u202e]", out)


def test_a_search_ends_with_what_it_proved_and_where(monkeypatch, world, capsys):
    monkeypatch.setattr("prover.environments.open_environment", lambda kind, **options: HashWorld(complete=0.02))
    monkeypatch.setattr("prover.policy.open_policy", lambda path, **options: HashPolicy())
    lines = [json.dumps({"name": f"t{i}", "statement": f"statement {i}"}) for i in range(20)]
    Path("set.jsonl").write_text("\n".join(lines))
    assert (
        run("search", "--theorems", "set.jsonl", "--output", "x.parquet", "--mode", "policy-mean", "--budget", "6") == 0
    )
    out = capsys.readouterr().out
    rows = read_summaries("x.parquet")
    proved = rows.filter(rows["certified"])
    assert 0 < len(proved) < 20, "the rest must have something to be silent about"
    for row in proved.iter_rows(named=True):
        assert re.search(rf"{row['theorem_name']} +{len(row['proof'])} +{row['expansions_to_proof']} ", out)
    assert "prover show x.parquet NAME" in out
    assert "prover export-proofs x.parquet --output FOLDER" in out


def test_help_is_not_cut_and_begins_with_what_people_use(world, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert "..." not in out.replace("[ARGS]...", "")
    listed = re.findall(r"^  ([a-z][a-z-]+)  +[A-Z]", out, re.MULTILINE)
    assert listed[:3] == ["prove", "search", "show"]
    assert set(names_of(cli.app)) <= set(listed)
    assert max(map(len, out.splitlines())) <= 80


def test_help_lists_every_mode_on_a_line_of_its_own(world, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for command in ("search", "prove"):
        assert run(command, "--help") == 0
        out = capsys.readouterr().out
        for name in MODES:
            assert re.search(rf"^ +{re.escape(name)}  ", out, re.MULTILINE), name


def test_version(world, capsys):
    assert run("--version") == 0
    assert re.fullmatch(r"prover \d+\.\d+\.\S+ \(Python \S+, .*\)\n", capsys.readouterr().out)

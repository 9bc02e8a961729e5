"""The command line over the fake world: what is printed, what is written, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import typer
from search_fakes import HashPolicy, HashScorer, HashWorld, theorems

from prover import cli
from prover.cli_output import BAD_INPUT, TROUBLE
from prover.environments import ProofClaim
from prover.policy.server import ServerUnavailableError
from prover.proofs import export_proofs, failures
from prover.search import SearchConfig, search_to_files
from prover.theorems import Theorem
from prover.trajectory import read_summaries, read_trajectories


@pytest.fixture
def world(monkeypatch, tmp_path) -> HashWorld:
    """The fake world behind the command line, and a theorem file `set.jsonl` in the working folder."""
    fake = HashWorld(complete=0.01, uncertified=0.2)

    def open_environment(kind: str, *, lean_project: Path | None, workers: int | None) -> HashWorld:
        if kind == "project" and lean_project is None:
            raise ValueError("environment 'project' needs lean_project: the folder of a Lake project")
        return fake

    monkeypatch.setattr("prover.environments.open_environment", open_environment)
    monkeypatch.setattr("prover.policy.open_policy", lambda path, **options: HashPolicy())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROVER_DATA", raising=False)
    lines = [json.dumps({"name": f"t{i}", "statement": f"statement {i}"}) for i in range(20)]
    Path("set.jsonl").write_text("\n".join(lines) + "\n")
    return fake


def run(*arguments: str) -> int:
    return cli.run(cli.app, [str(argument) for argument in arguments])


SEARCH = ("search", "--theorems", "set.jsonl", "--output", "out/x.parquet")


def test_search_writes_the_files_and_prints_one_json_object_last(world, capsys):
    assert run(*SEARCH, "--budget", "12", "--candidates", "5", "--mode", "policy-mean", "--json") == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    summaries = read_summaries("out/x.parquet")
    assert figures["theorems"] == 20 == len(summaries)
    assert figures["proved"] == summaries["certified"].sum() > 0
    assert figures["claimed"] == summaries["claimed"].sum()
    assert figures["expansions"] == summaries["expansions"].sum()
    assert figures["tactics"] == summaries["tactics"].sum() == 5 * figures["expansions"]
    assert figures["output"] == "out/x.parquet"
    assert figures["seconds"] > 0
    assert summaries["expansions"].max() == 12
    assert Path("data/memo.sqlite").exists()


def test_limit_settings_file_and_data_folder(world, capsys, monkeypatch):
    monkeypatch.setenv("PROVER_DATA", "elsewhere")
    Path("settings.json").write_text('{"max_expansions": 5, "n_candidates": 3, "mode": "breadth-first"}')
    assert run(*SEARCH, "--limit", "4", "--config", "settings.json", "--candidates", "2") == 0
    summaries = read_summaries("out/x.parquet")
    assert summaries["theorem_name"].to_list() == ["t0", "t1", "t2", "t3"]
    assert set(summaries["max_expansions"]) == {5}
    assert set(summaries["n_candidates"]) == {2}
    assert set(summaries["mode"]) == {"breadth-first"}
    assert Path("elsewhere/memo.sqlite").exists()
    assert "breadth-first" in capsys.readouterr().out


def test_resume_searches_only_what_is_missing(world, capsys):
    assert run(*SEARCH, "--limit", "6", "--mode", "policy-mean", "--no-memo", "--json") == 0
    assert run(*SEARCH, "--mode", "policy-mean", "--no-memo", "--resume", "--json") == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["theorems"], figures["resumed"], figures["searched"]) == (20, 6, 14)


def test_without_an_energy_model_the_default_order_is_said(world, capsys):
    assert run(*SEARCH, "--limit", "2") == 0
    assert "no energy model" in capsys.readouterr().err


def test_the_energy_model_comes_through_its_entry_point(world, monkeypatch):
    asked: list[Any] = []

    def load(path, policy, data_dir):
        asked.append((path, type(policy), data_dir))
        return HashScorer()

    class Point:
        def load(self):
            return load

    monkeypatch.setattr("prover.cli_open.entry_points", lambda group: [Point()] if group == "prover.scorers" else [])
    assert run(*SEARCH, "--limit", "3", "--ebm-path", "champion", "--no-ebm") == 0
    assert asked == []
    assert run(*SEARCH, "--limit", "3", "--ebm-path", "champion") == 0
    assert asked == [("champion", HashPolicy, Path("data"))]
    assert set(read_trajectories("out/x.parquet")["ebm_id"]) == {"hash-ebm"}


def test_a_policy_that_fails_ends_the_search_with_its_message(world, capsys, monkeypatch):
    class Gone(HashPolicy):
        def generate(self, states, n_candidates):
            raise ServerUnavailableError("http://127.0.0.1:9/v1 did not answer in 6 tries")

    monkeypatch.setattr("prover.policy.open_policy", lambda path, **options: Gone())
    assert run(*SEARCH, "--limit", "3") == TROUBLE
    err = capsys.readouterr().err
    assert "did not answer in 6 tries" in err
    assert "Traceback" not in err


def test_scores_that_are_not_finite_end_the_search_with_one_message(world, capsys, monkeypatch):
    class Point:
        def load(self):
            return lambda path, policy, data_dir: HashScorer(lambda _: float("nan"))

    monkeypatch.setattr("prover.cli_open.entry_points", lambda group: [Point()] if group == "prover.scorers" else [])
    assert run(*SEARCH, "--limit", "3", "--ebm-path", "e", "--mode", "energy-only") == TROUBLE
    assert "every score must be finite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--theorems", "nothing.jsonl"), ["nothing.jsonl"]),
        (("--output", "x.csv"), ["x.csv", ".parquet"]),
        (("--output", "set.jsonl/x.parquet"), ["set.jsonl"]),
        (("--mode", "calibrate"), ["'calibrated'"]),
        (("--mode", "energy-only"), ["energy model"]),
        (("--config", "settings.json"), ["search.max_expansions_budget", "'max_expansions'"]),
        (("--config", "nothing.json"), ["nothing.json"]),
        (("--budget", "0"), ["--budget"]),
        (("--nonsense",), ["--nonsense"]),
        (("--lean", "project"), ["lean_project"]),
    ],
)
def test_bad_arguments_are_named_before_anything_is_searched(world, capsys, arguments, words):
    Path("settings.json").write_text('{"max_expansions_budget": 5}')
    assert run(*SEARCH, *arguments) == BAD_INPUT
    captured = capsys.readouterr()
    for word in words:
        assert word in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert world.starts == []


def test_a_statement_that_lean_does_not_accept_is_named_and_the_rest_goes_on(world, capsys):
    lines = [json.dumps({"name": "fine", "statement": "p"}), json.dumps({"name": "wrong", "statement": "bad"})]
    Path("set.jsonl").write_text("\n".join(lines))
    assert run(*SEARCH, "--json") == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out.splitlines()[-1])
    assert (figures["theorems"], figures["invalid"]) == (2, ["wrong"])
    assert "wrong" in captured.err
    assert "unknown identifier 'bad'" in captured.err
    Path("set.jsonl").write_text(lines[1])
    assert run(*SEARCH, "--json") == TROUBLE


def test_summary_prints_the_figures_of_files(world, capsys):
    some = theorems(5)
    search_to_files(some, "y.parquet", HashWorld(complete=0.1), HashPolicy(), SearchConfig(mode="policy-mean"))
    assert run("summary", "y.parquet", "--json") == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["theorems"] == 5
    assert figures["proved"] == read_summaries("y.parquet")["proved"].sum()
    assert run("summary", "nothing.parquet") == BAD_INPUT


def test_certify_checks_the_proofs_of_a_file_again(world, capsys):
    search_to_files(theorems(5), "y.parquet", HashWorld(complete=0.1), HashPolicy(), SearchConfig(mode="policy-mean"))
    proved = int(read_summaries("y.parquet")["proved"].sum())
    world._uncertified = 0.0
    assert run("certify", "y.parquet", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"claims": proved, "certified": proved, "failed": {}}
    world._uncertified = 1.0
    assert run("certify", "y.parquet", "--json") == TROUBLE
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["failed"]) == proved
    assert "the kernel says no" in captured.err


def test_certify_reads_proofs_that_others_wrote(world, capsys):
    entries = [{"name": "a", "statement": "p → p", "proof": ["intro h", "exact h"]}, {"name": "b", "statement": "p"}]
    Path("proofs.json").write_text(json.dumps(entries[:1]))
    world._uncertified = 0.0
    assert run("certify", "proofs.json") == 0
    assert world.certified[-1][0].tactics == ("intro h", "exact h")
    assert world.certified[-1][0].theorem.statement == ": p → p"
    assert run("certify", "proofs.json", "--format", "nummina") == BAD_INPUT
    assert "did you mean 'numina'" in " ".join(capsys.readouterr().err.split())
    Path("proofs.json").write_text(json.dumps(entries))
    assert run("certify", "proofs.json") == BAD_INPUT
    assert "proofs.json, line 1, field `proof`: b: is missing" in " ".join(capsys.readouterr().err.split())


def test_proofs_are_exported_a_file_a_theorem(world, capsys):
    entries = [
        {"name": "Logic.a'", "statement": "(p : Prop) : p → p", "proof": ["intro h", "exact h"], "header": "open Nat"},
        {"name": "b", "statement": "(p : Prop) : p → p", "proof": "intro h\nexact h"},
    ]
    Path("proofs.json").write_text(json.dumps(entries))
    world._uncertified = 0.0
    assert run("export-proofs", "proofs.json", "--output", "lean", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["proofs"] == 2
    first, second = (Path("lean", name) for name in figures["files"])
    assert first.name == "Logic.a'.lean"
    assert first.read_text() == "open Nat\n\ntheorem Logic.a' (p : Prop) : p → p := by\n  intro h\n  exact h\n"
    assert second.read_text() == "theorem b (p : Prop) : p → p := by\n  intro h\n  exact h\n"
    written = [*figures["files"], *figures["certificates"]]
    assert sorted(path.name for path in Path("lean").iterdir()) == sorted(written)
    record = json.loads(Path("lean", figures["certificates"][1]).read_text())
    assert (record["theorem"], record["file"], record["certified"]) == ("b", second.name, True)
    assert record["checker"] is None
    assert "lean4export" in record["checker_note"]
    world._uncertified = 1.0
    assert run("export-proofs", "proofs.json", "--output", "other") == TROUBLE
    assert list(Path("other").iterdir()) == []
    assert "b: not written, it does not hold" in capsys.readouterr().err


def test_every_failed_claim_counts_and_edited_files_are_not_believed(world, capsys):
    world._uncertified = 1.0
    claims = [ProofClaim(Theorem("a", ": True"), (tactic,)) for tactic in ("skip", "done")]
    assert failures(world.certify(claims)) == {"a": "the kernel says no", "a (2)": "the kernel says no"}
    world._uncertified = 0.0
    search_to_files(theorems(4), Path("run.parquet"), world, HashPolicy(), SearchConfig(mode="policy-mean"))
    n_proved = read_summaries("run.parquet")["proved"].sum()
    assert n_proved
    world._uncertified = 1.0
    assert run("export-proofs", "run.parquet", "--output", "lean", "--json") == TROUBLE
    figures = json.loads(capsys.readouterr().out)
    assert (figures["proofs"], len(figures["failed"])) == (0, n_proved)


def test_a_project_that_is_not_there_is_bad_input(world, tmp_path, capsys):
    Path("proofs.jsonl").write_text('{"name": "a", "statement": ": True", "proof": "trivial"}\n')
    assert run("certify", "proofs.jsonl", "--lean-project", str(tmp_path / "nowhere")) == BAD_INPUT
    assert "no such folder" in capsys.readouterr().err


def test_odd_names_stay_in_the_folder_and_apart(tmp_path):
    names = ["../../etc/x", "«a b»", "«a/b»", "..."]
    claims = [ProofClaim(Theorem(name, ": True"), ("trivial",)) for name in names]
    written = export_proofs(claims, tmp_path / "lean", lambda claim: claim.theorem.name)
    assert [path.read_text() for path in written] == names
    assert {path.parent for path in written} == {tmp_path / "lean"}


def test_a_broken_plugin_is_reported_and_the_others_load(capsys):
    target = typer.Typer()
    broken = EntryPoint("broken", "no_such_module:register", "prover.commands")

    class Good:
        value = "good"

        def load(self):
            return lambda app: app.command("hello")(lambda: None)

    cli.load_plugins(target, [broken, Good()])  # type: ignore[list-item]
    assert [command.name for command in target.registered_commands] == ["hello"]
    assert "no_such_module" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    script = "import sys; from prover import cli; cli.load_plugins(cli.app); code = cli.run(cli.app, ['--help']);"
    script += (
        "print(code, sorted({'torch', 'transformers', 'polars', 'pyarrow', 'dagster', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


SLOW_SEARCH = textwrap.dedent(
    """
    import sys, json
    from pathlib import Path
    import prover.environments, prover.policy
    from prover import cli
    from search_fakes import HashPolicy, HashWorld
    if not Path("set.jsonl").exists():
        lines = [json.dumps({"name": f"t{i}", "statement": f"statement {i}"}) for i in range(80)]
        Path("set.jsonl").write_text("\\n".join(lines))
    prover.environments.open_environment = lambda kind, **options: HashWorld(
        complete=0.01, jitter_s=0.0 if Path("x.parts").exists() else 0.05
    )
    prover.policy.open_policy = lambda path, **options: HashPolicy()
    sys.argv = ["prover", "search", "--theorems", "set.jsonl", "--output", "x.parquet", "--config", "c.json", "--json"]
    sys.argv += ["--resume"] * Path("x.parts").exists()
    sys.exit(cli.run(cli.app))
    """
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_keeps_what_is_finished_and_says_how_to_go_on(tmp_path, number, code):
    (tmp_path / "c.json").write_text('{"wave_size": 4, "mode": "policy-mean", "max_expansions": 8}')
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", SLOW_SEARCH]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("x.parts/*.summary.parquet")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    figures = json.loads(out.splitlines()[-1])
    assert figures["interrupted"]
    assert 0 < figures["theorems"] < 80
    assert "prover search --theorems set.jsonl --output x.parquet --config c.json --json --resume" in err
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=True)
    again = json.loads(done.stdout.splitlines()[-1])
    assert again["theorems"] == 80
    assert again["resumed"] == figures["theorems"]

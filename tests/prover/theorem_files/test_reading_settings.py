"""`--format` and `--skip-invalid`, wherever theorem files are read: declared once, obeyed everywhere."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from prover.cli import app as searching
from prover.cli import load_plugins
from prover.lint.run import lint_theorems
from prover.theorem_files.settings import ReadingSettings
from prover.theorems import TheoremFileError, TheoremSet
from prover_assets.steps.theorem_sets import TheoremSettings, load_set, write_theorem_sets
from prover_assets.store.layout import DataFolder

GOOD = {"name": "a", "statement": "(p : Prop) (h : p) : p"}
BAD = {"name": "b", "statement": ""}
LABELLED = {"uuid": "c", "formal_statement": "theorem c (p : Prop) (h : p) : p := by sorry", "statement": "prose"}


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    """The whole command line, with the commands of the other packages."""
    load_plugins(searching)
    return searching


def write(path: Path, *entries: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), "utf-8")
    return path


def test_the_asset_leaves_out_what_cannot_be_used_only_when_told_to(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", GOOD, BAD)
    config = TheoremSettings(train=str(train))
    with pytest.raises(TheoremFileError, match="line 2"):
        write_theorem_sets(config, DataFolder(tmp_path / "data"))
    config = TheoremSettings(train=str(train), skip_invalid=True)
    written = write_theorem_sets(config, DataFolder(tmp_path / "data")).sets["train"]
    assert written.names == ("a",)
    (skipped,) = written.skipped
    assert (skipped.line, skipped.field) == (2, "statement")


def test_a_format_is_for_files_and_not_for_the_shipped_sets(tmp_path: Path) -> None:
    file = write(tmp_path / "x.jsonl", LABELLED)
    assert load_set(str(file), ReadingSettings(format="numina")).names == ("c",)
    assert len(load_set("propositional:test", ReadingSettings(format="numina"))) > 0
    with pytest.raises(ValueError, match="did you mean 'numina'"):
        load_set(str(file), ReadingSettings(format="numia"))


def test_lint_reads_in_the_format_it_is_given(tmp_path: Path, app: typer.Typer) -> None:
    file = write(tmp_path / "x.jsonl", {**GOOD, "formal_statement": "theorem a (q : Prop) (h : q) : q := by sorry"})
    _, verdicts = lint_theorems(file, layout="numina")
    assert verdicts == {}
    told = CliRunner().invoke(app, ["lint-theorems", str(file), "--text-only", "--format", "numia"])
    assert told.exit_code != 0


@pytest.mark.parametrize("command", ["search", "eval", "calibrate", "lint-theorems"])
def test_commands_that_read_theorem_files_take_a_format(command: str, app: typer.Typer) -> None:
    told = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert "--format" in told.output
    if command != "lint-theorems":  # which lists what it cannot read, always
        assert "--skip-invalid" in told.output


def test_statements_made_from_states_are_announced(tmp_path: Path, app: typer.Typer) -> None:
    state = "p : Prop\nh : p\n⊢ p"
    entry = {"full_name": "a", "traced_tactics": [{"state_before": state, "tactic": "exact h", "state_after": ""}]}
    file = tmp_path / "x.json"
    file.write_text(json.dumps([entry]), "utf-8")
    assert TheoremSet.load(file).from_states
    told = CliRunner().invoke(
        app, ["search", "--theorems", str(file), "--output", str(tmp_path / "o.parquet"), "--budget", "1"]
    )
    assert "made from printed proof states" in told.output
    assert not TheoremSet.load(write(tmp_path / "y.jsonl", GOOD)).from_states

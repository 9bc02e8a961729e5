"""The scripts in examples/ run as they stand and print what they promise.

All run small, in this process; behind the mark `slow` they run larger, as programs.
"""

import os
import re
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass(frozen=True)
class Run:
    """What a script is given, and what its output has."""

    small: tuple[str, ...]
    full: tuple[str, ...]
    expected: tuple[str, ...]


RUNS = {
    "proof_tree.py": Run(
        ("--statement", "(p q : Prop) : p → q → p", "--budget", "8"),
        ("--budget", "16"),
        (r"^> \[1\] start ", r"^>   \S.*⊢", r":= by\n  \S"),
    ),
    "train_energy_model.py": Run(
        ("--theorems", "4", "--steps", "10"),
        ("--theorems", "16", "--steps", "40"),
        (r"searched \d+ theorems, proved [1-9]", r"mean energy of \d+ positive", r"mean energy of \d+ negative"),
    ),
    "custom_environment.py": Run(
        ("--target", "37"), ("--target", "37"), (r"found at expansion \d+\n2 to 37: double, ",)
    ),
    "custom_policy.py": Run(
        ("--theorems", "2", "--budget", "4"),
        ("--theorems", "3", "--budget", "8"),
        (r"shapes: [1-3] of \d", r"shipped: [1-3] of \d"),
    ),
}


def assert_promised(output: str, expected: tuple[str, ...]) -> None:
    for pattern in expected:
        assert re.search(pattern, output, re.MULTILINE), f"{pattern} is not in:\n{output}"


def test_every_example_is_run() -> None:
    assert sorted(RUNS) == sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("script", RUNS)
def test_an_example_runs(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, which has imported what it needs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROVER_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [script, *RUNS[script].small])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert_promised(capsys.readouterr().out, RUNS[script].expected)


@pytest.mark.slow
@pytest.mark.parametrize("script", RUNS)
def test_an_example_runs_as_a_program(script: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PROVER_DATA": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXAMPLES / script), *RUNS[script].full]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert_promised(done.stdout, RUNS[script].expected)


def test_an_example_explains_itself() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert re.match(r'"""\S', path.read_text(encoding="utf-8")), f"{path.name} begins with what it shows"
        assert path.name in (EXAMPLES / "README.md").read_text(encoding="utf-8")

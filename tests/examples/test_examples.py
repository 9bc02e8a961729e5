"""The scripts in examples/ run as they stand, each in its own process, and print what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

RUNS = {
    "proof_tree.py": (["--budget", "16"], [r"^> \[1\] start ", r"^>   \S.*⊢", r":= by\n  \S"]),
    "train_energy_model.py": (
        ["--theorems", "16", "--steps", "40"],
        [r"searched 16 theorems, proved [1-9]", r"mean energy of \d+ positive", r"mean energy of \d+ negative"],
    ),
    "custom_environment.py": (["--target", "37"], [r"found at expansion \d+\n2 to 37: double, "]),
    "custom_policy.py": (["--theorems", "3", "--budget", "8"], [r"shapes: [1-3] of 3", r"shipped: [1-3] of 3"]),
}
"""Arguments that keep each short, and what its output has."""


SLOW = ("train_energy_model.py", "custom_policy.py")
"""They search with the shipped policy for more than a few seconds."""


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(path.name, marks=[pytest.mark.slow] if path.name in SLOW else [])
        for path in sorted(EXAMPLES.glob("*.py"))
    ],
)
def test_an_example_runs(script: str, tmp_path: Path) -> None:
    arguments, expected = RUNS[script]
    environment = {**os.environ, "PROVER_DATA": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for pattern in expected:
        assert re.search(pattern, done.stdout, re.MULTILINE), f"{pattern} is not in:\n{done.stdout}"


def test_an_example_explains_itself() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert re.match(r'"""\S', path.read_text(encoding="utf-8")), f"{path.name} begins with what it shows"
        assert path.name in (EXAMPLES / "README.md").read_text(encoding="utf-8")

"""A search within narrow limits: 64 open files, little memory, no home folder. It works, or says why in a sentence."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from prover.limits import limit_sentence


def search(folder: Path, limits: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`prover search` of two theorems in a shell with `ulimit`s; variables set to "" are unset."""
    here = {**os.environ, "PROVER_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1", **environment}
    here = {name: value for name, value in here.items() if value}
    arguments = "search --theorems propositional --split valid --limit 2 --budget 4 --candidates 4 --no-ebm --json"
    command = f"{limits} exec {sys.executable} -c 'from prover.cli import main; main()' {arguments} --output x.parquet"
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=here, capture_output=True, text=True, timeout=240, check=False
    )


def finished(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether it searched both theorems; otherwise it must have said why, without a trace."""
    assert "Traceback" not in done.stderr, done.stderr
    if done.returncode == 0:
        assert json.loads(done.stdout.splitlines()[-1])["theorems"] == 2
        return True
    assert "error: " in done.stderr, done.stderr
    return False


@pytest.mark.slow
def test_64_open_files(tmp_path: Path) -> None:
    assert finished(search(tmp_path, "ulimit -n 64;")), "a search needs fewer"


@pytest.mark.slow
@pytest.mark.parametrize("files", [24, 12])
def test_too_few_open_files_are_said(tmp_path: Path, files: int) -> None:
    finished(search(tmp_path, f"ulimit -n {files};"))


@pytest.mark.slow
@pytest.mark.parametrize("gib", [8, 2, 1])
def test_a_limit_on_memory(tmp_path: Path, gib: int) -> None:
    done = search(tmp_path, f"ulimit -v {gib * 1024 * 1024};")
    assert finished(done) or gib < 8


@pytest.mark.slow
@pytest.mark.parametrize("home", ["", "missing/folder", "/proc"])
def test_a_home_that_is_missing_or_cannot_be_written(tmp_path: Path, home: str) -> None:
    assert finished(search(tmp_path, "", HOME=home, XDG_CACHE_HOME=""))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(24, "Too many open files"), "no more files can be opened: .* raise `ulimit -n`"),
        (MemoryError(), r"not enough memory for this process.*\(MemoryError\); raise"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "not enough memory .*libtorch_cpu"),
        (RuntimeError("can't start new thread"), "not enough memory"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(error: Exception, words: str) -> None:
    assert re.search(words, limit_sentence(error) or "")
    outer = ValueError("the model cannot be loaded")
    outer.__cause__ = error
    assert limit_sentence(outer) == limit_sentence(error)
    assert limit_sentence(ValueError("a mistake")) is None

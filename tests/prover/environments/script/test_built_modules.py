"""A rebuilt project is another environment: the memo must not answer from before."""

import json
import os
from pathlib import Path

import pytest

from prover.environments.script.built_modules import modules_digest


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_module_that_is_built_anew_changes_the_digest(tmp_path: Path) -> None:
    project = tmp_path / "project"
    built = project / ".lake/build/lib/lean/Foo.olean"
    _write(project / "Foo.lean", "theorem a : True := trivial")
    sources = modules_digest(project)
    _write(built, "one")
    first = modules_digest(project)
    _write(project / "Foo.lean", "theorem b : True := trivial")
    assert modules_digest(project) == first != sources  # not built yet, so Lean does not see it
    _write(built, "two")
    second = modules_digest(project)
    assert second != first
    os.utime(built, ns=(1, 1))
    assert modules_digest(project) == second  # built again with the same result


def test_packages_count_too(tmp_path: Path) -> None:
    project, beside = tmp_path / "project", tmp_path / "beside"
    fetched = project / ".lake/packages/lib/.lake/build/lib/lean/Lib.olean"
    _write(fetched, "one")
    _write(project / "lake-manifest.json", json.dumps({"packages": [{"type": "path", "dir": "../beside"}]}))
    _write(beside / ".lake/build/lib/lean/Near.olean", "one")
    digests = {modules_digest(project)}
    _write(beside / ".lake/build/lib/lean/Near.olean", "two")
    digests.add(modules_digest(project))
    _write(fetched, "longer")
    digests.add(modules_digest(project))
    assert len(digests) == 3


def test_modules_on_the_path_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAN_PATH", str(tmp_path))
    before = modules_digest(None)
    _write(tmp_path / "A.olean", "one")
    assert modules_digest(None) != before

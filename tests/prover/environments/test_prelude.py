"""The prelude: built once, whole or not at all; its axioms; the files that carry it along."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prover.environments import Complete, Progress, ProofClaim, ProofState, StepRequest
from prover.environments.isolation.sandbox import ProcessLimits
from prover.environments.script.embedded import (
    MINILIB,
    _run_lean,
    embedded_lean,
    find_library,
    inlined_prelude,
    prelude_modules,
)
from prover.environments.script.environment import LeanScript
from prover.environments.script.process import EmbeddedRunner
from prover.theorems import Theorem

BUILD = """
import sys
from pathlib import Path
from prover.environments.script import embedded
embedded.MINILIB = Path(sys.argv[1])
print(embedded.embedded_lean().lib_path)
"""


def build_in(cache: Path, n: int, sources: Path = MINILIB) -> list[subprocess.CompletedProcess[str]]:
    """`n` processes at once that all need the prelude of these sources, with an own cache folder."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", BUILD, str(sources)]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(n)
    ]
    return [subprocess.CompletedProcess(command, p.wait(), *p.communicate()) for p in running]


def test_modules_come_after_what_they_import() -> None:
    modules = list(prelude_modules())
    assert modules[-1] == "Prover"
    assert modules.index("Prover.Foundation") < modules.index("Prover.Tactics") < modules.index("Prover.Logic")
    assert len(modules) == len(list(MINILIB.rglob("*.lean")))


@pytest.fixture(params=["first module", pytest.param("all modules", marks=pytest.mark.slow)])
def sources(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The prelude, or one of its first module alone, which compiles in less time."""
    if request.param == "all modules":
        return MINILIB
    folder = tmp_path / "sources"
    (folder / "Prover").mkdir(parents=True)
    shutil.copy(MINILIB / "Prover" / "Foundation.lean", folder / "Prover")
    (folder / "Prover.lean").write_text("prelude\nimport Prover.Foundation\n", encoding="utf-8")
    monkeypatch.setattr("prover.environments.script.embedded.MINILIB", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of this process"))
    return folder


@pytest.mark.long
def test_several_processes_build_it_once(tmp_path: Path, sources: Path) -> None:
    left_over = tmp_path / "lean-expert-iteration" / f"minilib-{embedded_lean().prelude_key}"
    left_over.mkdir(parents=True)  # as if a build had been cut off
    (left_over / "Prover.olean").write_bytes(b"torn")
    done = build_in(tmp_path, 3, sources)
    assert [process.returncode for process in done] == [0, 0, 0], done[0].stderr
    assert {process.stdout.strip() for process in done} == {str(left_over)}
    assert (left_over / "Prover.olean").stat().st_size > 1000
    assert [path.name for path in left_over.parent.iterdir() if path.name.startswith(".")] == []


def test_a_cache_folder_that_cannot_be_used_is_worked_around(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder", encoding="utf-8")
    (done,) = build_in(blocked, 1)
    assert done.returncode == 0, done.stderr
    assert str(blocked) not in done.stdout


def test_the_key_covers_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = embedded_lean().prelude_key
    (tmp_path / "Prover.lean").write_text("prelude\n", encoding="utf-8")
    monkeypatch.setattr("prover.environments.script.embedded.MINILIB", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert embedded_lean().prelude_key != before


def test_the_prelude_rests_on_three_axioms(lean: LeanScript) -> None:
    text = "".join(path.read_text("utf-8") for path in prelude_modules().values())
    declared = [line.split()[1 + line.startswith("unsafe")] for line in text.splitlines() if "axiom " in line[:13]]
    compiler = ["lcProof", "lcAny", "lcErased", "lcVoid"]
    assert declared == [*compiler, "sorryAx", "propext", "Quot.sound", "Classical.choice"]
    assert "sorry" not in text.replace("sorryAx", "").replace("`sorry`", "").replace("tacticSorry", "").lower()


@pytest.mark.long
def test_an_exported_proof_is_accepted_as_it_stands(lean: LeanScript, tmp_path: Path) -> None:
    theorem = Theorem("my_theorem", "(p q : Prop) (h : p ∨ q) : q ∨ p")
    text = lean.proof_file(ProofClaim(theorem, ("rcases h with hp | hq", "exact Or.inr hp", "exact Or.inl hq")))
    good = text[text.rindex("theorem my_theorem") :]
    wrong = good.replace("my_theorem", "wrong").replace("Or.inr hp", "Or.inl hp")
    (tmp_path / "both.lean").write_text(f"{text}\n{wrong}", encoding="utf-8")
    with pytest.raises(RuntimeError, match="type mismatch") as error:
        _run_lean(find_library(), ["both.lean"], tmp_path)
    assert str(error.value).count("error:") == 1, "the theorem as exported is accepted"


def test_the_inlined_prelude_is_the_whole_of_it() -> None:
    text = inlined_prelude()
    assert text.startswith("prelude\n")
    assert text.count("\nprelude\n") == 0
    assert "\nimport " not in text
    for name in (
        "theorem em ",
        "def Nat.add ",
        "tacticExfalso",
        "«term_∧_»",
        "theorem Nat.gcd",
        "@[simp] theorem ne_eq",
    ):
        assert name in text


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder of the test's own, with the prelude that is already compiled."""
    modules = embedded_lean().lib_path
    own = tmp_path / "cache" / "lean-expert-iteration" / modules.name
    shutil.copytree(modules, own, ignore=shutil.ignore_patterns("*.snap*"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return own


@pytest.mark.parametrize("snapshot", ["missing", "empty", "of another library", "saved"])
def test_waves_answer_the_same_with_and_without_a_saved_state(own_cache: Path, snapshot: str, caplog) -> None:
    lean = embedded_lean()
    (saved,) = own_cache.glob("*.snap")
    if snapshot == "missing":
        saved.unlink()
    elif snapshot == "empty":  # what a Lean that saves nothing leaves
        saved.write_bytes(b"")
    elif snapshot == "of another library":
        elsewhere = b"/" + b"x" * (len(os.fsencode(lean.library)) - 1)
        saved.write_bytes(saved.read_bytes().replace(os.fsencode(lean.library), elsewhere))
    runner = EmbeddedRunner(1, ProcessLimits(), lean)
    assert (runner._snapshot is not None) == (snapshot in ("saved", "of another library"))
    with LeanScript(runner) as environment:
        (root,) = environment.start([Theorem("t", "(a b : Nat) (h : a = b) : a + 0 = b")])
        assert isinstance(root, ProofState), root
        assert root.text == "a b : Nat\nh : a = b\n⊢ a + 0 = b"
        ((left, done),) = environment.step([StepRequest(root, ("rw [Nat.add_zero]", "simp [h]"))])
        assert isinstance(left, Progress)
        assert left.state.text == "a b : Nat\nh : a = b\n⊢ a = b"
        assert isinstance(done, Complete)
    assert ("imports the prelude for every wave" in caplog.text) == (snapshot == "of another library")
    assert (runner._snapshot is not None) == (snapshot == "saved")


def test_two_installations_of_one_user_share_the_prelude_and_not_the_saved_state(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = embedded_lean()
    other = tmp_path / "other" / here.library.name
    other.parent.mkdir()
    for beside in here.library.parent.glob("*.so*"):
        os.symlink(beside, other.parent / beside.name)
    monkeypatch.setenv("PROVER_LEAN_LIBRARY", str(other))
    there = embedded_lean()
    assert there.lib_path == here.lib_path == own_cache
    assert len(list(own_cache.glob("*.snap"))) == 2
    for lean in (here, there):
        runner = EmbeddedRunner(1, ProcessLimits(), lean)
        with LeanScript(runner) as environment:
            (root,) = environment.start([Theorem("t", "(a : Nat) : a = a")])
            assert isinstance(root, ProofState), root
        assert runner._snapshot is not None  # loaded, not given up

"""An installed Lean and a Lake project, played by the embedded Lean behind `lean` and `lake` launcher scripts."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import standin_lean
from standin_lean import HEADER

from prover.environments import (
    Complete,
    Crashed,
    Progress,
    ProofClaim,
    ProofState,
    Rejected,
    StepRequest,
    TimedOut,
    open_environment,
)
from prover.environments.script.embedded import LeanUnavailable
from prover.environments.script.environment import LeanLimits, LeanScript
from prover.theorems import Theorem

STATEMENT = "(p q r : Prop) (h : p ∧ (q ∨ r)) : (p ∧ q) ∨ (p ∧ r)"
TACTICS = ("cases h", "exact", "exact h.1", "obtain ⟨hp, hq | hr⟩ := h", "have : p := by", "left", "simp_all")
PROOF = ("obtain ⟨hp, hq | hr⟩ := h", "exact Or.inl ⟨hp, hq⟩", "exact Or.inr ⟨hp, hr⟩")
LIMITS = LeanLimits(max_heartbeats=10_000, tactic_s=20)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standin_lean.install(tmp_path_factory.mktemp("toolchain")).parent


@pytest.fixture(scope="module", params=["project", pytest.param("lean", marks=pytest.mark.slow)])
def installed(
    request: pytest.FixtureRequest, installation: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LeanScript]:
    project = None
    if request.param == "project":
        project = tmp_path_factory.mktemp("project")
        (project / "lakefile.toml").write_text('name = "mine"\n', encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{installation / 'bin'}{os.pathsep}{os.environ['PATH']}")
        with open_environment(request.param, lean_project=project, workers=2, limits=LIMITS) as environment:
            assert isinstance(environment, LeanScript)
            yield environment


def shape(outcome: object) -> object:
    return outcome.state.text if isinstance(outcome, Progress) else type(outcome)


def test_an_installed_lean_gives_the_outcomes_of_the_embedded_one(installed: LeanScript, lean: LeanScript) -> None:
    theorem, plain = Theorem("t", STATEMENT, header=HEADER), Theorem("t", STATEMENT)
    (root,), (own_root,) = installed.start([theorem]), lean.start([plain])
    assert isinstance(root, ProofState)
    assert isinstance(own_root, ProofState)
    assert root.text == own_root.text
    (row,), (own_row,) = installed.step([StepRequest(root, TACTICS)]), lean.step([StepRequest(own_root, TACTICS)])
    assert [shape(outcome) for outcome in row] == [shape(outcome) for outcome in own_row]
    certificates = installed.certify([ProofClaim(theorem, PROOF), ProofClaim(theorem, PROOF[:2])])
    assert [certificate.certified for certificate in certificates] == [True, False]
    assert installed.name.startswith("lean-script:4.35.0:")


def test_headers_are_honoured_each_in_its_own_file(installed: LeanScript) -> None:
    theorems = [
        Theorem("with_variable", "(x : A) : x = x", header=HEADER + "\nvariable (A : Type)"),
        Theorem("with_open", "(p : Prop) : p ∨ ¬p", header=HEADER + "\nopen Classical"),
        Theorem("no_import", ": True", header="prelude\nimport Nowhere"),
        Theorem("bare", "(p : Prop) : p ∨ ¬p", header=HEADER),
    ]
    roots = installed.start(theorems)
    assert [isinstance(root, ProofState) for root in roots] == [True, True, False, True]
    assert isinstance(roots[2], Rejected)
    assert "header" in roots[2].message
    assert "Nowhere" in roots[2].message
    requests = [StepRequest(roots[1], ("exact em p",)), StepRequest(roots[3], ("exact em p", "exact Classical.em p"))]  # type: ignore[arg-type]
    rows = installed.step(requests)
    assert [[type(outcome) for outcome in row] for row in rows] == [[Complete], [Rejected, Complete]]


def test_heartbeats_are_counted_per_candidate_and_the_header_may_set_them(installed: LeanScript) -> None:
    hungry = Theorem("t", STATEMENT, header=HEADER + "\nset_option maxHeartbeats 200")
    (root,) = installed.start([hungry])
    assert isinstance(root, ProofState)
    (row,) = installed.step([StepRequest(root, ("left", "repeat skip", "right", "simp_all"))])
    assert [type(outcome) for outcome in row[:3]] == [Progress, TimedOut, Progress]
    assert isinstance(row[3], TimedOut | Complete | Progress)


def test_imports_are_paid_once_a_wave(installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lakefile.toml").write_text('name = "mine"\n', encoding="utf-8")
    monkeypatch.setenv("PATH", f"{installation / 'bin'}{os.pathsep}{os.environ['PATH']}")
    log = installation / "lake.log"
    theorems = [Theorem(f"t{i}", STATEMENT, header=HEADER) for i in range(30)]
    with open_environment("project", lean_project=tmp_path, workers=2, limits=LIMITS) as environment:
        roots = environment.start(theorems)
        before = len(log.read_text().splitlines())
        environment.step([StepRequest(root, ("left", "right", "cases h", "exact foo")) for root in roots])  # type: ignore[arg-type]
        assert len(log.read_text().splitlines()) == before + 1
    assert log.read_text().splitlines()[-1] == str(tmp_path.resolve())


def test_a_toolchain_behind_child_processes_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{standin_lean.install(tmp_path, fork=True)}{os.pathsep}{os.environ['PATH']}")
    with open_environment("lean", workers=1, limits=LIMITS) as environment:
        (root,) = environment.start([Theorem("t", STATEMENT, header=HEADER)])
        assert isinstance(root, ProofState)


def test_a_lean_that_dies_now_and_then(installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "lean").write_text(
        '#!/bin/bash\nif [ -f "${@: -1}" ] && [[ "$(< "${@: -1}")" = *poison* ]]; then kill -9 $$; fi\n'
        f'exec {installation}/bin/lean "$@"\n',
        encoding="utf-8",
    )
    (bin_folder / "lean").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    with open_environment("lean", workers=1, limits=LIMITS) as environment:
        (root,) = environment.start([Theorem("t", STATEMENT, header=HEADER)])
        assert isinstance(root, ProofState)
        (row,) = environment.step([StepRequest(root, ("left", "have poison := h", "right"))])
        assert [type(outcome) for outcome in row] == [Progress, Crashed, Progress]


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LeanUnavailable, match=r"no `lean` on the PATH.*elan"):
        open_environment("lean")
    with pytest.raises(LeanUnavailable, match=r"is no Lake project: it has neither lakefile\.toml nor lakefile\.lean"):
        open_environment("project", lean_project=tmp_path)
    (tmp_path / "lakefile.toml").write_text("", encoding="utf-8")
    with pytest.raises(LeanUnavailable, match="no `lake` on the PATH"):
        open_environment("project", lean_project=tmp_path)
    (tmp_path / "lean").write_text("#!/bin/sh\necho broken toolchain >&2\nexit 1\n", encoding="utf-8")
    (tmp_path / "lean").chmod(0o755)
    with pytest.raises(LeanUnavailable, match=r"does not run here.*broken toolchain"):
        open_environment("lean")

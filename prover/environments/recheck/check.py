"""A second opinion on certified proofs: by an external checker, or by Lean's kernel in a process that starts empty."""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from prover.environments.base import ProofClaim
from prover.environments.certify import ALLOWED_AXIOMS, compilable_text, refuse_claim
from prover.environments.recheck.export_text import ExportWriter
from prover.environments.recheck.olean import Name, Olean, OleanError
from prover.environments.script.process import EmbeddedRunner

_HOST = Path(__file__).parent / "kernel_host.py"
_KNOWN = "4.35."  # the Lean whose functions `kernel_host` calls by their place
_MEMORY = 8 << 30
_PART = re.compile(r"«([^»]*)»|([^.«»]+)")


class NoSecondOpinion(RuntimeError):
    """The proof could not be put before a checker; says why. It says nothing about the proof."""


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """What a checker said of a proof. `detail`: for people, "" when it was accepted without a word."""

    checker: str
    accepted: bool
    detail: str
    seconds: float
    declarations: int = 0
    """Declarations that were put before it: the theorem and all that it rests on."""
    axioms: tuple[str, ...] = field(default=())
    """Among them. Collected from the compiled terms, not by asking Lean."""

    def to_dict(self) -> dict[str, object]:
        """As plain values, for a certificate."""
        return asdict(self)


def name_parts(name: str) -> Name:
    """`a.«b c».d` as its parts. A number is text here: a declared name has no numeric part."""
    return tuple(quoted or plain for quoted, plain in _PART.findall(name.removeprefix("_root_.")))


def export_of(runner: EmbeddedRunner, claim: ProofClaim, *, max_heartbeats: int, wall_s: float) -> ExportWriter:
    """The claim's theorem and all that it rests on, as `lean4export` text, from a compilation of its own.

    Raises NoSecondOpinion where the claim does not compile.
    """
    refused = refuse_claim(claim, takes_imports=False)
    if refused:
        raise NoSecondOpinion(refused)
    result, compiled = runner.compile(compilable_text(runner.preamble, claim, max_heartbeats), wall_s=wall_s)
    if compiled is None:
        errors = [str(message["data"]) for message in result.messages if message.get("severity") == "error"]
        raise NoSecondOpinion(f"it does not compile: {errors[0] if errors else result.detail or result.ended}")
    try:
        proof = Olean(compiled)
        modules = [Olean(path.read_bytes()) for path in sorted(runner.lib_path.rglob("*.olean"))]
        wanted = name_parts(claim.theorem.name)
        found = [name for name in proof if name == wanted or name[-len(wanted) :] == wanted]
        if len(found) != 1:
            raise NoSecondOpinion(f"the compiled file has {len(found)} declarations named {claim.theorem.name}")
        if proof.constant(found[0])["kind"] != "thm":
            raise NoSecondOpinion(f"the compiled {claim.theorem.name} is no theorem")
        writer = ExportWriter([*modules, proof])
        writer.add(found[0])
    except OleanError as error:
        raise NoSecondOpinion(f"the compiled proof cannot be read: {error}") from error
    return writer


def kernel_opinion(runner: EmbeddedRunner, export: Path, *, wall_s: float = 300.0) -> SecondOpinion:
    """Lean's kernel on an export, in a bare process that starts with an empty environment (`kernel_host.py`)."""
    if not runner.version.startswith(_KNOWN):
        raise NoSecondOpinion(f"the kernel of Lean {runner.version} is not known here; {_KNOWN}x is")
    command = [sys.executable, "-I", "-S", str(_HOST), str(runner.library), str(export), *sorted(ALLOWED_AXIOMS)]
    status, output, seconds = _run(command, export.parent, wall_s)
    name = f"lean-kernel {runner.version}, from an empty environment"
    try:
        said = json.loads(output.splitlines()[-1]) if output.strip() else {}
    except ValueError:
        said = {}
    if status not in (0, 1) or "accepted" not in said:
        raise NoSecondOpinion(f"the kernel came to no verdict (status {status}): {output.strip()[-300:]}")
    accepted = bool(said["accepted"]) and status == 0
    return SecondOpinion(
        name, accepted, str(said["detail"]), seconds, int(said["declarations"]), tuple(map(str, said["axioms"]))
    )


def external_opinion(checker: Path, export: Path, writer: ExportWriter, *, wall_s: float = 600.0) -> SecondOpinion:
    """An external checker on an export: `CHECKER EXPORT`, accepted if and only if it ends with status 0."""
    if not (checker.is_file() and os.access(checker, os.X_OK)):
        raise NoSecondOpinion(f"{checker} is not a program that can be run")
    status, output, seconds = _run([str(checker.resolve()), str(export)], export.parent, wall_s)
    detail = "" if status == 0 else f"status {status}: {output.strip()[-500:]}"
    return SecondOpinion(str(checker), status == 0, detail, seconds, writer.declarations, tuple(writer.axioms))


def second_opinion(
    runner: EmbeddedRunner,
    claim: ProofClaim,
    checker: Path | None,
    *,
    max_heartbeats: int,
    wall_s: float,
) -> tuple[SecondOpinion, str]:
    """(opinion, export text) on a claim: the external checker's where one is given, else the kernel's.

    Raises NoSecondOpinion where there is no verdict: the proof is then neither confirmed nor refuted by it.
    """
    writer = export_of(runner, claim, max_heartbeats=max_heartbeats, wall_s=wall_s)
    text = "\n".join(writer.lines) + "\n"
    with tempfile.TemporaryDirectory(prefix="prover-export-") as folder:
        export = Path(folder) / "proof.ndjson"
        export.write_text(text, encoding="utf-8")
        opinion = kernel_opinion(runner, export) if checker is None else external_opinion(checker, export, writer)
    extra = [axiom for axiom in writer.axioms if axiom not in ALLOWED_AXIOMS]
    if extra:
        said = f"the compiled proof rests on other axioms: {', '.join(extra)}"
        opinion = SecondOpinion(
            opinion.checker, False, said, opinion.seconds, writer.declarations, tuple(writer.axioms)
        )
    return opinion, text


def _run(command: list[str], folder: Path, wall_s: float) -> tuple[int, str, float]:
    """(status, output, seconds) of a checker: no input, bounded in time and memory."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))

    began = time.perf_counter()
    environment = {"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8", "MIMALLOC_ARENA_RESERVE": "65536KiB"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=wall_s,
            preexec_fn=limit,
        )
    except subprocess.TimeoutExpired:
        raise NoSecondOpinion(f"{Path(command[0]).name} did not end within {wall_s:.0f} s") from None
    except OSError as error:
        raise NoSecondOpinion(f"{command[0]} cannot be run: {error.strerror or error}") from error
    return done.returncode, done.stdout + done.stderr, time.perf_counter() - began

"""An installed Lean as a runner: `lean` on the PATH, or `lake env lean` in a Lake project.

There are several ways to put the sandbox around a toolchain, and which one works depends on how it was installed, so
`InstalledRunner` tries them in order, strictest first, on a file of one line, and keeps the first that answers.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import weakref
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from prover.environments.isolation.sandbox import ProcessLimits, lean_user
from prover.environments.script.built_modules import modules_digest
from prover.environments.script.embedded import LeanUnavailable
from prover.environments.script.host_process import HostReply
from prover.environments.script.process import (
    RunResult,
    describe_end,
    parse_messages,
    read_back,
    remove_scratch,
    scratch_folder,
    wave_folder,
)

_SANDBOX_EXEC = Path(__file__).parent.parent / "isolation" / "sandbox_exec.py"
# `weak.`: a Lean that does not know the option goes on without it.
_OPTIONS = ("--json", "-Dweak.maxErrors=1000000", "-Dweak.Elab.async=false", "--tstack=65536")
_RESERVED_MIB = 1536  # stacks that Lean reserves when it starts, and never fills, count against the limit on memory
_PROBE = "prelude\n#check Prop\n"
_PROBE_S = 300.0
_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to reach Lean. `outside`: command before the sandbox; `inside`: command within it.

    `allow_fork`: it may start processes; `keep_folder`: it starts in the project, not in the scratch folder;
    `read_all`: as an ordinary user that can read every file (see `sandbox.drop_user`).
    """

    outside: tuple[str, ...]
    inside: tuple[str, ...]
    allow_fork: bool
    keep_folder: bool = False
    read_all: bool = False


def _lean_ways() -> list[_Way]:
    lean = shutil.which("lean")
    if lean is None:
        raise LeanUnavailable(
            "there is no `lean` on the PATH: install Lean with elan (https://lean-lang.org/install), or leave out "
            "`--lean lean` to use the embedded one"
        )
    # elan's `lean` chooses a toolchain and becomes its `lean`; that one needs nothing else.
    said = _ask([lean, "--print-prefix"], None)
    real = Path(said.strip()) / "bin" / "lean"
    ways = [_Way((), (str(real),), allow_fork=False)] if said and real.is_file() else []
    return [*ways, _Way((), (lean,), allow_fork=False), _Way((), (lean,), allow_fork=True)]


def _project_ways() -> list[_Way]:
    lake = shutil.which("lake")
    if lake is None:
        raise LeanUnavailable(
            "there is no `lake` on the PATH, which a Lake project needs: install Lean with elan "
            "(https://lean-lang.org/install)"
        )
    return [
        _Way((lake, "env"), ("lean",), allow_fork=False),  # `lake`, which reads the user's own files, stays outside
        _Way((lake, "env"), ("lean",), allow_fork=True),
        _Way((), (lake, "env", "lean"), allow_fork=True, keep_folder=True),
    ]


def _ask(command: list[str], folder: Path | None) -> str:
    """Standard output of a short trusted command; "" when it fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


class InstalledRunner:
    """`lean` on the PATH (no project), or `lake env lean` in `project`. Thread-safe; one process per file."""

    preamble = ""
    takes_imports = True
    split_size = 1000  # imports are paid once per process

    def __init__(self, workers: int, limits: ProcessLimits, project: str | Path | None = None) -> None:
        self.workers = workers
        self._limits = replace(limits, memory_mib=limits.memory_mib + _RESERVED_MIB)
        self._project = Path(project).resolve() if project is not None else None
        if self._project is not None and not any(
            (self._project / name).is_file() for name in ("lakefile.toml", "lakefile.lean")
        ):
            raise LeanUnavailable(f"{self._project} is no Lake project: it has neither lakefile.toml nor lakefile.lean")
        self._scratch = scratch_folder()
        weakref.finalize(self, remove_scratch, self._scratch)  # for environments nobody closes
        try:
            self._way = self._choose(_lean_ways() if self._project is None else _project_ways())
            said = self._version()
        except BaseException:
            self.close()
            raise
        found = re.search(r"version ([\w.+-]+)", said)
        self.version = found.group(1) if found else "unknown"
        self.name = f"lean-script:{self.version}:{self._project.name if self._project else 'lean'}"
        self.fingerprint = f"installed {said.strip()} {self._project_digest()}"

    def run(self, text: str, *, wall_s: float, fresh: bool = False) -> RunResult:
        """Run Lean on a file with this text. `fresh` changes nothing: every process is a new one."""
        # Every process is a fresh one here.
        with wave_folder(self._scratch, text) as (file, work):
            return self._execute(self._way, [*_OPTIONS, str(file)], work, wall_s)

    def standalone_preamble(self, module: str | None = None) -> str:
        """Empty: an exported proof needs nothing above its header."""
        return ""

    def close(self) -> None:
        """Remove the scratch folder."""
        remove_scratch(self._scratch)

    def _choose(self, ways: list[_Way]) -> _Way:
        troubles = []
        if lean_user() is not None:  # a toolchain below root's own folders
            ways = [*ways, *(replace(way, read_all=True) for way in ways)]
        for way in ways:
            with wave_folder(self._scratch, _PROBE) as (file, work):
                result = self._execute(way, [*_OPTIONS, str(file)], work, _PROBE_S)
            if any(message["data"] == "Prop : Type" for message in result.messages):
                return way
            troubles.append(f"`{' '.join((*way.outside, *way.inside))}`: {result.detail or 'no answer'}")
        advice = (
            " As root, Lean runs as an ordinary user: keep toolchain (ELAN_HOME) and project where all users can read "
            "them, or run as an ordinary user."
            if lean_user() is not None
            else ""
        )
        raise LeanUnavailable(
            f"the installed Lean does not run here.{advice} Tried {'; '.join(dict.fromkeys(troubles))}"
        )

    def _execute(self, way: _Way, arguments: list[str], work: Path, wall_s: float) -> RunResult:
        report = work.parent / "report.json"
        config = {
            "limits": asdict(self._limits),
            "user": lean_user(),
            "folder": str(work),
            "keep_folder": way.keep_folder,
            "wall_s": wall_s,
            "allow_fork": way.allow_fork,
            "read_all": way.read_all,
            "report": str(report),
        }
        sandboxed = [sys.executable, "-I", "-S", str(_SANDBOX_EXEC), json.dumps(config)]
        command = [*way.outside, *sandboxed, *way.inside, *arguments]
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            with subprocess.Popen(
                command,
                cwd=self._project or work,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            ) as process:
                try:
                    process.wait(wall_s + _GRACE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
            said = read_back(stderr).decode(errors="replace")
            messages = parse_messages(read_back(stdout))
        if not report.is_file():
            return RunResult(messages, "died", said.strip()[-500:] or "the sandbox did not report", wall_s, 0)
        reply = HostReply(**json.loads(report.read_text("utf-8")))
        ended, detail = describe_end(reply.status, reply.timed_out, said)
        return RunResult(messages, ended, detail, reply.wall_s, reply.max_rss_kib, reply.cpu_s)

    def _version(self) -> str:
        command = ["lean", "--version"] if self._project is None else ["lake", "env", "lean", "--version"]
        return _ask(command, self._project)

    def _project_digest(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        for name in ("lean-toolchain", "lake-manifest.json", "lakefile.toml", "lakefile.lean"):
            path = self._project / name if self._project is not None else None
            if path is not None and path.is_file():
                digest.update(name.encode() + path.read_bytes())
        return f"{digest.hexdigest()} {modules_digest(self._project)}"


def default_project_workers() -> int:
    """Processes at a time with heavy imports: one per core, at most 4, since each has a copy of what it elaborates."""
    return max(1, min(4, os.cpu_count() or 1))

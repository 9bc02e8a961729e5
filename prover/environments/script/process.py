"""Running one Lean file in a limited process of its own, and saying how that process ended.

`LeanRunner` is the small protocol between the script environment and a Lean; `EmbeddedRunner` runs the embedded one
through a pool of warm hosts.
"""

import contextlib
import fcntl
import json
import logging
import os
import queue
import re
import shutil
import signal
import stat
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeAlias

from prover.environments.isolation.sandbox import ProcessLimits, lean_user
from prover.environments.script.embedded import (
    ROOT_MODULE,
    EmbeddedLean,
    LeanUnavailable,
    copy_modules,
    copy_snapshot,
    embedded_lean,
    inlined_prelude,
    let_others_read,
    save_snapshot,
)
from prover.environments.script.endings import describe_signal
from prover.environments.script.host_process import EmbeddedHost, HostDied, HostReply
from prover.environments.script.premises import accessible_modules
from prover.json_types import JsonObject

_logger = logging.getLogger(__name__)

Message: TypeAlias = JsonObject
"""One of Lean's messages as `lean --json` prints it: pos.line (1-based), severity, kind, data, ..."""

# One thread for Lean's tasks: a wave is elaborated one theorem after the other, and one process per core is enough.
OPTIONS = ("--json", "-DmaxErrors=1000000", "-DElab.async=false", "--tstack=32768", "-j1")
_SETTINGS = "set_option autoImplicit false\nuniverse u v w\n"
_START_AGAIN_S = (0.2, 1.0, 5.0)  # waits before a killed host is started again: memory may be free by then
_SCRATCH_PREFIX = "prover-lean-"
_OUTPUT_LIMIT = 256 * 2**20


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a Lean process printed before it ended, and how it ended.

    `ended`: "exited" (by itself, any status), "timeout" (wall clock or CPU limit) or "died" (a signal, memory, or it
    never started). Messages printed before a timeout or a death are kept.
    """

    messages: list[Message]
    ended: str
    detail: str
    wall_s: float
    max_rss_kib: int
    cpu_s: float = 0.0
    """Processor seconds of the process, all threads."""


class LeanRunner(Protocol):
    """A Lean that elaborates files, several at once when asked from several threads."""

    name: str
    version: str
    fingerprint: str
    workers: int
    preamble: str
    """Lines that every file of this Lean starts with, ending in a newline (or empty)."""
    takes_imports: bool
    """Whether a theorem's header may import modules."""

    def run(self, text: str, *, wall_s: float, fresh: bool = False) -> RunResult:
        """Elaborate `text`. `fresh`: in a new process, whose ancestors were given no other text."""
        ...

    def close(self) -> None:
        """End all processes and remove scratch files."""
        ...


class StepRunner(LeanRunner, Protocol):
    """A runner for stepping too."""

    split_size: int
    """Candidates in a wave below which a second process does not pay for itself."""

    def standalone_preamble(self, module: str | None = None) -> str:
        """The preamble for a file that is given away: it needs nothing beside it. module: of the prelude, else all."""
        ...


_held: dict[Path, IO[bytes]] = {}  # locks that say which scratch folders are in use by a living process


def scratch_folder() -> Path:
    """A new folder that the user Lean runs as can reach, and cannot write to. Give it back with `remove_scratch`."""
    uid = lean_user()
    for base in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):
        reachable = uid is None or all(parent.stat().st_mode & 0o001 for parent in (Path(base), *Path(base).parents))
        if reachable and os.access(base, os.W_OK):
            _sweep(Path(base))
            folder = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=base))
            _held[folder] = open(folder / "lock", "wb")  # noqa: SIM115 - held until the folder is removed
            fcntl.flock(_held[folder], fcntl.LOCK_EX)
            folder.chmod(0o711)
            return folder
    raise OSError(f"no temporary folder that user {uid} can enter; set TMPDIR to one with mode o+x on every parent")


def remove_scratch(folder: Path) -> None:
    """Remove a folder of `scratch_folder`; not an error when it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    lock = _held.pop(folder, None)
    if lock is not None:
        lock.close()


def _sweep(base: Path) -> None:
    """Remove our scratch folders whose process was killed: nobody holds their lock any more, and they are not new."""
    for folder in base.glob(f"{_SCRATCH_PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if found.st_uid == os.getuid() and stat.S_ISDIR(found.st_mode) and time.time() - found.st_mtime > 60:
                with open(folder / "lock", "rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def wave_folder(scratch: Path, text: str) -> Iterator[tuple[Path, Path]]:
    """(file, working folder) for one Lean process: the file is ours, the working folder is the Lean user's."""
    folder = Path(tempfile.mkdtemp(prefix="wave-", dir=scratch))
    try:
        folder.chmod(0o755)
        file = folder / "Wave.lean"
        file.write_text(text, encoding="utf-8")
        let_others_read(file)
        work = folder / "work"
        work.mkdir(mode=0o700)
        uid = lean_user()
        if uid is not None:
            os.chown(work, uid, uid)
        yield file, work
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parse_messages(data: bytes) -> list[Message]:
    """The JSON lines in Lean's standard output; anything else in it is skipped."""
    messages: list[Message] = []
    for line in data.split(b"\n"):
        if line.startswith(b"{"):
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict) and isinstance(message.get("pos"), dict) and "data" in message:
                    messages.append(message)
    return messages


def _imported(text: str) -> str:
    """The module of the prelude that a file imports first."""
    found = re.match(r"prelude\nimport (\S+)\n", text)
    return found[1] if found and found[1] in accessible_modules() else ROOT_MODULE


def read_back(file: IO[bytes]) -> bytes:
    """What a process wrote into a file that we opened for it, up to a limit."""
    file.seek(0)
    return file.read(_OUTPUT_LIMIT)


def describe_end(status: int, timed_out: bool, stderr: str) -> tuple[str, str]:
    """(`RunResult.ended`, detail for people) from a wait status."""
    tail = stderr.strip()[-500:]
    if timed_out:
        return "timeout", "the wall-clock limit of the call was reached"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return "timeout", "the CPU limit of the process was reached"
        return "died", f"Lean was ended by {describe_signal(number)}" + (f": {tail}" if tail else "")
    code = os.WEXITSTATUS(status)
    if code in (0, 1):
        return "exited", tail
    return "died", f"Lean ended with status {code}" + (f": {tail}" if tail else "")


class EmbeddedRunner:
    """The embedded Lean through `workers` warm hosts, started when first needed; thread-safe."""

    takes_imports = False
    split_size = 96  # fewer candidates than this do not pay for a second process

    def __init__(self, workers: int, limits: ProcessLimits, lean: EmbeddedLean | None = None) -> None:
        self._lean = lean or embedded_lean()
        self._limits = limits
        self.workers = workers
        self.version = self._lean.version
        self.name = f"lean-script:{self.version}:minilib"
        self.fingerprint = f"embedded {self.version} {self._lean.prelude_key}"
        self.preamble = f"prelude\nimport {ROOT_MODULE}\n{_SETTINGS}"
        self._scratch = scratch_folder()
        weakref.finalize(self, remove_scratch, self._scratch)  # for environments nobody closes
        self._lib_path = self._scratch / "lib"
        self._snapshot = copy_modules(self._lean, self._lib_path)
        self._others: dict[str, Path | None] = {}
        # One slot per worker and kind: None until a host is started in it. Certification has hosts of its own.
        self._idle: dict[bool, queue.LifoQueue[EmbeddedHost | None]] = {
            True: queue.LifoQueue(),
            False: queue.LifoQueue(),
        }
        for pool in self._idle.values():
            for _ in range(workers):
                pool.put(None)
        self._all: set[EmbeddedHost] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, text: str, *, wall_s: float, fresh: bool = False) -> RunResult:
        """Run Lean on a file with this text, in a fork of a warm process; `fresh`: in one that saw no tactic before."""
        if self._closed:
            raise RuntimeError("this Lean environment is closed")
        module = _imported(text)
        snapshot = None if fresh else self._snapshot_of(module)  # what certifies is imported anew
        result = self._run_from(snapshot, self._idle[fresh], text, wall_s)
        if snapshot is not None and f"failed to read '{snapshot}'" in result.detail:
            _logger.warning("Lean imports the prelude for every wave from now on (slower): %s", result.detail)
            if module == ROOT_MODULE:
                self._snapshot = None
            else:
                self._others[module] = None
            return self._run_from(None, self._idle[fresh], text, wall_s)
        return result

    @property
    def library(self) -> Path:
        """Lean's shared library."""
        return self._lean.library

    @property
    def prelude_key(self) -> str:
        """Digest over the prelude's sources and the library's identity."""
        return self._lean.prelude_key

    @property
    def lib_path(self) -> Path:
        """Folder of the prelude's compiled modules."""
        return self._lib_path

    def compile(self, text: str, *, wall_s: float) -> tuple[RunResult, bytes | None]:
        """(result, the compiled module) of a file, in a process that saw no other text; None where Lean made none."""
        kept: list[bytes] = []
        result = self._run_from(None, self._idle[True], text, wall_s, kept)
        return result, kept[0] if kept else None

    def _run_from(
        self,
        snapshot: Path | None,
        pool: "queue.LifoQueue[EmbeddedHost | None]",
        text: str,
        wall_s: float,
        kept: list[bytes] | None = None,
    ) -> RunResult:
        """Elaborate `text` in a host of the pool, from the saved state if there is one.

        kept: the compiled module is added to it, where Lean made one.
        """
        host = pool.get()
        arguments = [*OPTIONS, *([f"--incr-load={snapshot}"] if snapshot else [])]
        try:
            for last in (False, True):
                if host is None:
                    host = self._start()
                try:
                    return self._once(host, arguments, text, wall_s, kept)
                except HostDied as error:
                    self._discard(host)
                    host = None
                    if last:
                        return RunResult([], "died", str(error), 0.0, 0)
            raise AssertionError("the last try returns")
        finally:
            pool.put(host)

    def _once(
        self, host: EmbeddedHost, arguments: list[str], text: str, wall_s: float, kept: list[bytes] | None
    ) -> RunResult:
        """Elaborate `text` in a host, as `_run_from`; nothing of an earlier try is in its files. Raises HostDied."""
        with (
            wave_folder(self._scratch, text) as (file, work),
            tempfile.TemporaryFile() as stdout,
            tempfile.TemporaryFile() as stderr,
        ):
            compiled = work / "Wave.olean"
            if kept is not None:
                arguments = [*arguments, f"--root={file.parent}", "-o", str(compiled)]
            reply = host.run([*arguments, str(file)], work, wall_s, stdout.fileno(), stderr.fileno())
            if kept is not None and compiled.is_file() and not compiled.is_symlink():
                with compiled.open("rb") as made:
                    kept.append(read_back(made))
            return self._result(reply, read_back(stdout), read_back(stderr))

    def _snapshot_of(self, module: str) -> Path | None:
        """The saved state of a file that imports `module` of the prelude, made when first needed."""
        if module == ROOT_MODULE:
            return self._snapshot
        with self._lock:
            if module not in self._others:
                save_snapshot(self._lean, module)
                self._others[module] = copy_snapshot(self._lean, self._lib_path, module)
            return self._others[module]

    def standalone_preamble(self, module: str | None = None) -> str:
        """The prelude as text, or what `module` of it needs, so that an exported proof is accepted as it stands."""
        note = (
            "-- The prelude of the embedded Lean; the theorem is at the end. Where Lean has its own library, the\n"
            "-- theorem alone will usually do: delete what is above it.\n"
        )
        return f"{note}{inlined_prelude(module or ROOT_MODULE)}\n{_SETTINGS}\n"

    @staticmethod
    def _result(reply: HostReply, stdout: bytes, stderr: bytes) -> RunResult:
        ended, detail = describe_end(reply.status, reply.timed_out, stderr.decode(errors="replace"))
        return RunResult(parse_messages(stdout), ended, detail, reply.wall_s, reply.max_rss_kib, reply.cpu_s)

    def _start(self) -> EmbeddedHost:
        """A new host; one that is killed while it starts is started again. Raises LeanUnavailable."""
        for wait_s in (*_START_AGAIN_S, None):
            try:
                host = EmbeddedHost(self._lean, self._lib_path, self._limits)
            except HostDied as error:
                if wait_s is None:
                    tries = len(_START_AGAIN_S) + 1
                    raise LeanUnavailable(f"the embedded Lean did not start in {tries} tries: {error}") from error
                _logger.warning("%s; it is started again", error)
                time.sleep(wait_s)
                continue
            with self._lock:
                self._all.add(host)
            return host
        raise AssertionError("the last try either returns or raises")

    def _discard(self, host: EmbeddedHost) -> None:
        with self._lock:
            self._all.discard(host)
        host.close()

    def close(self) -> None:
        """End all processes and remove scratch files."""
        self._closed = True
        with self._lock:
            hosts, self._all = list(self._all), set()
        for host in hosts:
            host.close()
        remove_scratch(self._scratch)

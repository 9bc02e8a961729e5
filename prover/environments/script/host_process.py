"""A warm process that holds the embedded Lean: the program `embedded_host.py`, started, asked and ended.

It loads the library once, and forks for every file, so that a file costs no loading.
"""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from prover.environments.isolation.sandbox import ProcessLimits, lean_user
from prover.environments.script.embedded import HOST_PROGRAM, EmbeddedLean, LeanUnavailable
from prover.environments.script.endings import describe_exit, oom_kills

_HOST_ENVIRONMENT = {
    "PATH": os.defpath,
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    # Lean's allocator reserves 1 GiB at a time by default, all of which a limit on memory would have to let through.
    "MIMALLOC_ARENA_RESERVE": "65536KiB",
}


@dataclass(frozen=True, slots=True)
class HostReply:
    """How a Lean process ended. `status` is as from waitpid."""

    status: int
    timed_out: bool
    max_rss_kib: int
    cpu_s: float
    wall_s: float


class HostDied(RuntimeError):
    """The warm host itself is gone; nothing is known of the file it was given. The message says how it ended."""


def _host_command() -> list[str]:
    """The bare interpreter for a host.

    Lean asks for the real path of its own executable, as the user it runs as. Where that user cannot enter the folder
    of this interpreter (root's own Python, say), the interpreter is started through the system's dynamic loader, which
    is then what the executable is said to be.
    """
    python = Path(sys.executable)
    flags = ["-I", "-S", "-W", "ignore"]
    if lean_user() is None or not sys.platform.startswith("linux"):
        return [str(python), *flags]
    real = python.resolve()
    if all(parent.stat().st_mode & 0o001 for parent in real.parents):
        return [str(python), *flags]
    mapped = (line.rsplit(" ", 1)[-1] for line in Path("/proc/self/maps").read_text("utf-8").splitlines())
    loader = next((path for path in mapped if re.fullmatch(r"/.*/ld-[\w.-]+", path)), None)
    if loader is None:
        raise LeanUnavailable(f"user {lean_user()} cannot enter {real.parent}: use a Python that others can run")
    return [loader, "--argv0", str(python), str(real), *flags]


class EmbeddedHost:
    """One warm host process. Not thread-safe: one caller at a time (`EmbeddedRunner` keeps a pool).

    Raises LeanUnavailable where Lean cannot be started here, and HostDied where something ended the host meanwhile:
    then another try may do.
    """

    def __init__(self, lean: EmbeddedLean, lib_path: Path, limits: ProcessLimits) -> None:
        ours, theirs = socket.socketpair()
        self._oom_before = oom_kills()
        config = {"limits": asdict(limits), "user": lean_user(), "version": lean.version}
        command = [*_host_command(), str(HOST_PROGRAM), "serve", str(lean.library)]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), json.dumps(config)],
                cwd="/",
                env=_HOST_ENVIRONMENT | {"LEAN_PATH": str(lib_path)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._socket = ours
        self._socket.settimeout(60)
        try:
            self._read()
        except HostDied as error:
            stderr = self._process.stderr.read().decode(errors="replace") if self._process.stderr else ""
            self.close()
            if self._process.returncode < 0:
                raise HostDied(f"the Lean host {self._ending()} while it started") from None
            raise LeanUnavailable(f"the embedded Lean did not start: {stderr.strip()[-1000:] or error}") from None

    def run(self, arguments: list[str], folder: Path, wall_s: float, stdout: int, stderr: int) -> HostReply:
        """Run `lean ARGUMENTS` in a forked process with working folder `folder`. Raises HostDied."""
        request = {"arguments": arguments, "folder": str(folder), "wall_s": wall_s}
        self._socket.settimeout(wall_s + 30)
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [stdout, stderr])
            return HostReply(**self._read())
        except OSError as error:
            raise HostDied(f"the Lean host {self._ending()} ({error})") from error
        except HostDied as error:
            raise HostDied(f"the Lean host {self._ending()} ({error})") from None

    def _ending(self) -> str:
        """How the host ended, in words that follow its name."""
        try:
            return describe_exit(self._process.wait(timeout=2), self._oom_before)
        except subprocess.TimeoutExpired:
            return "does not answer"

    def _read(self) -> dict:
        line = b""
        while not line.endswith(b"\n"):
            try:
                part = self._socket.recv(4096)
            except OSError as error:
                raise HostDied(f"no answer: {error}") from error
            if not part:
                raise HostDied("it closed its socket")
            line += part
        return json.loads(line)

    def close(self) -> None:
        """End the host; a Lean process of its own ends with it."""
        self._socket.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()

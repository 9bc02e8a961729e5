"""Which process makes a run, and whether it still does.

A process id alone does not say: in a new container, or after a restart, it may be that of another process, even of the
one that asks. So a run carries two tags. The lock that its process holds decides wherever its file can be seen: the
system lets go of it when the process ends, however it ends, and all containers of a machine that share the data folder
see it. Where the file is gone, the process is told by its id, its start and the boot of its machine.
"""

import fcntl
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROCESS_TAG = "prover/process"
"""Tag of runs made by `make run`: the process that runs them."""
LOCK_TAG = "prover/lock"
"""Tag of the same runs: the file that this process keeps locked."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class RunProcess:
    """A process that cannot be mistaken for a later one. Written as `PID START BOOT HOST`."""

    pid: int
    start: str
    """Start of the process: clock ticks since boot on Linux, else seconds since 1970."""
    boot: str
    host: str

    @classmethod
    def this(cls) -> "RunProcess":
        """The process that asks."""
        return cls(os.getpid(), _start_of(os.getpid()) or "", _boot(), socket.gethostname())

    @classmethod
    def parse(cls, text: str) -> "RunProcess | None":
        """None for what an older version wrote (the process id alone), which says too little."""
        parts = text.split(" ")
        return cls(int(parts[0]), *parts[1:]) if len(parts) == 4 and parts[0].isdecimal() else None

    def __str__(self) -> str:
        return f"{self.pid} {self.start} {self.boot} {self.host}"

    def is_alive(self) -> bool | None:
        """Whether the process runs; None where that cannot be told from here (another machine)."""
        if self.host != socket.gethostname():
            return None
        return self.boot == _boot() and _start_of(self.pid) == self.start


def tags_of_this(lock: Path) -> dict[str, str]:
    """Tags for a run that this process makes while it holds `lock`."""
    return {PROCESS_TAG: str(RunProcess.this()), LOCK_TAG: str(lock)}


def is_abandoned(tags: Mapping[str, str], held: Path) -> bool:
    """Whether the process of a run is gone, from its tags. False for runs that `make run` did not make.

    held: the lock that this process holds, and so no other; a run under it that is still open is of a dead one.
    """
    if PROCESS_TAG not in tags:
        return False
    if LOCK_TAG in tags:
        lock = Path(tags[LOCK_TAG])
        if lock == held:
            return True
        free = _is_free(lock)
        if free is not None:
            return free
    process = RunProcess.parse(tags[PROCESS_TAG])
    if process is None:  # of an older version, which did not lock: this process has its data folder for itself
        return tags[PROCESS_TAG] == str(os.getpid()) or _start_of(int(tags[PROCESS_TAG])) is None
    return process.is_alive() is False


def _is_free(lock: Path) -> bool | None:
    """Whether nobody holds a lock; None where its file is not there or cannot be opened."""
    try:
        with open(lock, "rb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True
    except OSError:
        return None


def _boot() -> str:
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        import psutil

        return f"{psutil.boot_time():.0f}"


def _start_of(pid: int) -> str | None:
    """When a process started; None if there is no such process, or only what is left of one (a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except OSError:
        return None
    else:
        fields = stat.rsplit(b")", 1)[1].split()  # the name before it may hold anything
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return None

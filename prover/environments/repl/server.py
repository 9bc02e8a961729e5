"""One Lean REPL process through lean-interact, with every wait bounded.

lean-interact's own client waits without limit where a Lean server can hang it: while it writes a long request, while it
reads what a dead server left behind, and when the server fills its error pipe, which nobody empties. `ReplServer` keeps
lean-interact's way of starting the server and its protocol, and replaces the exchange itself: one loop that writes,
reads and watches clock and memory. It overrides methods of lean-interact 0.11.6, which is why that version is pinned.
POSIX only (`selectors` on pipes).
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping

import psutil
from lean_interact import LeanREPLConfig
from lean_interact.server import LeanServer

from prover.environments.repl.reply import ServerFailure, ServerTimedOut, ServerUnusable
from prover.json_types import JsonObject

POLL_SECONDS = 0.25
"""How often memory is looked at while a reply is awaited."""
READ_BYTES = 1 << 16
ERROR_TAIL_BYTES = 4096


class ReplServer(LeanServer):
    """A running REPL process. Not for use by two threads at a time, except `interrupt`.

    `memory_bytes`: limit on what the process tree has for itself (resident, less what it maps from shared files such
    as Mathlib's compiled library). `reply_bytes`: limit on one reply.
    """

    def __init__(self, config: LeanREPLConfig, *, memory_bytes: int, reply_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self.reply_bytes = reply_bytes
        self._stderr_tail = b""
        super().__init__(config)

    def start(self) -> None:
        super().start()
        for descriptor in self._pipes():
            os.set_blocking(descriptor, False)

    def ask(self, request: Mapping[str, object], seconds: float) -> JsonObject:
        """Reply to one raw request of the REPL protocol.

        Raises ServerTimedOut, ServerUnusable or another ServerFailure; the process is dead after each.
        """
        try:
            reply = self.run_dict(dict(request), timeout=seconds)
        except TimeoutError:
            raise ServerTimedOut(f"no reply within {seconds:g} s") from None
        except ServerFailure:
            self.kill()
            raise
        except ChildProcessError as error:
            self.kill()
            raise ServerUnusable(f"the Lean server had died{self._last_words()}") from error
        except OSError as error:  # ConnectionAbortedError, BrokenPipeError
            self.kill()
            raise ServerFailure(f"the Lean server died{self._last_words()}") from error
        except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested without end
            self.kill()
            raise ServerFailure(f"the Lean server answered something that is not JSON: {str(error)[:200]}") from error
        if not isinstance(reply, dict):
            self.kill()
            raise ServerFailure(f"the Lean server answered {type(reply).__name__}, expected a JSON object")
        return reply

    def private_bytes(self) -> int:
        """Memory that the process tree has for itself."""
        if self._proc is None:
            return 0
        try:
            root = psutil.Process(self._proc.pid)
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        total = 0
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                memory = process.memory_info()
                total += max(0, memory.rss - getattr(memory, "shared", 0))
        return total

    def interrupt(self) -> None:
        """Kill the process tree from any thread; whoever awaits a reply gets a ServerFailure."""
        process = self._proc
        if process is not None:
            _kill_tree(process.pid)

    def kill(self) -> None:
        """Kill the process tree at once and release its pipes."""
        process, self._proc = self._proc, None
        if process is None:
            return
        _kill_tree(process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def get_stdout_stderr(self) -> tuple[str, str]:
        """What lean-interact puts in its messages. Never waits."""
        if self._proc is not None and self._proc.stderr is not None and not self._proc.stderr.closed:
            with contextlib.suppress(OSError):
                while data := os.read(self._proc.stderr.fileno(), READ_BYTES):
                    self._keep_stderr(data)
        return "", self._stderr_tail.decode(errors="replace")

    def _execute_cmd_in_repl(self, json_query: str, verbose: bool, timeout: float | None) -> str:
        if timeout is None:
            raise ValueError("a call of the REPL needs a wall-clock limit, in seconds")
        stdin, stdout, stderr = self._pipes()
        deadline = time.monotonic() + timeout
        unsent = memoryview((json_query + "\n\n").encode())
        answer = bytearray()
        with self._lock, selectors.DefaultSelector() as selector:
            early = _read(stdout)
            if early == b"":
                raise ServerUnusable("the Lean server had closed its output")
            # The reply to this request could not be told from what is left of another; blank lines say nothing.
            if early is not None and early.strip():
                raise ServerUnusable("the Lean server had spoken without being asked")
            selector.register(stdin, selectors.EVENT_WRITE)
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            next_look = time.monotonic() + POLL_SECONDS
            while not (answer.endswith(b"\n\n") and answer.strip()):
                now = time.monotonic()
                if now >= deadline:
                    raise TimeoutError
                if now >= next_look:
                    self._check_memory()
                    next_look = now + POLL_SECONDS
                for key, _ in selector.select(min(deadline, next_look) - now):
                    if key.fd == stdin:
                        unsent = unsent[_write(stdin, unsent) :]
                        if not unsent:
                            selector.unregister(stdin)
                    elif key.fd == stderr:
                        if data := _read(stderr):
                            self._keep_stderr(data)
                        elif data is not None:
                            selector.unregister(stderr)
                    else:
                        data = _read(stdout)
                        if data is not None and not data:
                            raise BrokenPipeError("the Lean server closed its output")
                        answer += data or b""
                if len(answer) > self.reply_bytes:
                    raise ServerFailure(f"the Lean server answered more than {self.reply_bytes >> 20} MiB")
        if unsent:
            raise ServerFailure("the Lean server answered before it had read the request")
        return answer.decode()

    def _pipes(self) -> tuple[int, int, int]:
        """Descriptors of the server's input, output and error output."""
        process = self._proc
        if process is None or process.stdin is None or process.stdout is None or process.stderr is None:
            raise ServerUnusable("the Lean server is not running")
        return process.stdin.fileno(), process.stdout.fileno(), process.stderr.fileno()

    def _check_memory(self) -> None:
        used = self.private_bytes()
        if used > self.memory_bytes:
            raise ServerFailure(
                f"memory limit: the Lean server took {used >> 20} MiB, its limit is {self.memory_bytes >> 20} MiB"
            )

    def _keep_stderr(self, data: bytes) -> None:
        self._stderr_tail = (self._stderr_tail + data)[-ERROR_TAIL_BYTES:]

    def _last_words(self) -> str:
        words = self._stderr_tail.decode(errors="replace").strip()
        return f"; it said: {words[-400:]}" if words else ""


def _read(descriptor: int) -> bytes | None:
    """What can be read without waiting: None when there is nothing yet, b"" at the end of the stream."""
    try:
        return os.read(descriptor, READ_BYTES)
    except BlockingIOError:
        return None


def _write(descriptor: int, data: memoryview) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0


def _kill_tree(pid: int) -> None:
    """Kill a process that leads its own group, and all that come from it."""
    try:
        family = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for child in family:  # those that left the group
        with contextlib.suppress(psutil.Error):
            child.kill()

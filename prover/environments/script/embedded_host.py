"""A warm process that holds Lean as a shared library and forks once per Lean file.

Run as a script in a bare interpreter (`python -I -S embedded_host.py`), never imported by the package:

    embedded_host.py run LIBRARY ARGUMENT...     run Lean once, in this process, without limits (builds the prelude)
    embedded_host.py serve LIBRARY SOCKET_FD CONFIG_JSON     serve requests until the socket closes

Loading the library and initialising Lean's modules costs some 50-150 ms and is the same for every file, so it is done
once; a fork then inherits it for about 10 ms. Each file is still elaborated by a process of its own, which starts from
that pristine state, is limited on its own, and takes nothing with it when it dies: what one file does to its process,
no other file can see.

Request: one JSON line with the descriptors [stdout, stderr] attached: {"arguments", "folder", "wall_s"}.
Reply: one JSON line: {"status" (as from waitpid), "timed_out", "max_rss_kib", "wall_s"}. A forked child holds neither
the socket nor its peer, so it cannot speak for the host.
"""

import ctypes
import json
import os
import resource
import socket
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

# Importing the package would load half of the project, so `sandbox` is found by its folder.
sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "isolation"))
if TYPE_CHECKING:
    from prover.environments.isolation import sandbox
else:
    import sandbox

_PR_SET_DUMPABLE = 4
_LINE_BUFFERED = 1  # _IOLBF of glibc and Darwin
_SETTLES = "4.35."  # Lean versions whose functions `_settle` may call
_SETUP_FAILED = 77  # exit status of a child that could not be limited: Lean never started


def _lean_main(library: ctypes.CDLL, arguments: list[str]) -> int:
    argv = [b"lean", *(os.fsencode(argument) for argument in arguments)]
    return library.lean_main(len(argv), (ctypes.c_char_p * len(argv))(*argv))


def _settle(library: ctypes.CDLL) -> None:
    """Mark Lean's built-in tables as shared for good, as every import does.

    That writes to all of them; done here once, a forked process need not copy those pages to do it again (some 3 ms).
    """
    make, mark = library.l_Lean_mkEmptyEnvironment, library.lean_mark_persistent
    make.restype, make.argtypes = ctypes.c_void_p, [ctypes.c_uint32]
    mark.restype, mark.argtypes = None, [ctypes.c_void_p]
    library.lean_io_mark_end_initialization()
    result = make(0)
    if ctypes.c_uint8.from_address(result + 7).value == 0:  # the constructor `ok`, whose first field follows its header
        mark(ctypes.c_void_p.from_address(result + 8).value)


def _become_lean(
    library: ctypes.CDLL, libc: ctypes.CDLL, limits: sandbox.ProcessLimits, request: dict, stdout: int, stderr: int
) -> None:
    """In the forked child: take the descriptors, put the limits in place, run Lean, leave. Never returns."""
    status = _SETUP_FAILED
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.closerange(3, 1024)
        os.chdir(request["folder"])
        sandbox.die_with_parent()
        # Line-buffered: what was printed before a process is killed is kept.
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout" if sys.platform != "darwin" else "__stdoutp"), None,
                     _LINE_BUFFERED, 0)  # fmt: skip
        sandbox.apply_limits(limits)
        sandbox.no_new_privileges()
        sandbox.confine_writes(request["folder"])
        sandbox.deny_system_calls()
        status = _lean_main(library, request["arguments"])
        libc.fflush(None)
    except BaseException as error:  # noqa: BLE001 - a forked child must not run its parent's handlers
        os.write(2, f"embedded Lean could not start: {error!r}\n".encode())
    finally:
        os._exit(status & 0xFF)


def serve(library_path: str, socket_fd: int, config: dict) -> None:
    """Load Lean once, then fork a child for each request that comes through the socket."""
    libc = ctypes.CDLL(None, use_errno=True)
    limits = sandbox.ProcessLimits(**config["limits"])
    sandbox.leave_network()
    library = ctypes.CDLL(library_path, mode=ctypes.RTLD_GLOBAL)
    library.lean_initialize()
    if config["version"].startswith(_SETTLES):
        _settle(library)
    if config["user"] is not None:
        sandbox.drop_user(config["user"])
    if sys.platform.startswith("linux"):
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # children of the same user cannot look into this process
    peer = socket.socket(fileno=socket_fd)
    peer.sendall(b'{"ready": true}\n')
    while True:
        data, descriptors, _, _ = socket.recv_fds(peer, 1 << 16, 2)
        if not data:
            return
        request = json.loads(data)
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _become_lean(library, libc, limits, request, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        ending = sandbox.supervise(pid, started + request["wall_s"], peer.fileno())
        if ending is None:
            return
        reply = {**asdict(ending), "wall_s": time.monotonic() - started}
        peer.sendall(json.dumps(reply).encode() + b"\n")


def main() -> int:
    """`run`: Lean's own command line in this process. Otherwise: serve requests."""
    mode, library_path, *rest = sys.argv[1:]
    if mode == "run":
        return _lean_main(ctypes.CDLL(library_path, mode=ctypes.RTLD_GLOBAL), rest)
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != resource.RLIM_INFINITY and soft < 8 << 20:
        resource.setrlimit(resource.RLIMIT_STACK, (min(8 << 20, hard) if hard >= 0 else 8 << 20, hard))
    serve(library_path, int(rest[0]), json.loads(rest[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

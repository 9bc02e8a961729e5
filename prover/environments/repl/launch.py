"""Puts the sandbox around a REPL: run by `lake env` in the REPL's place, it limits itself and becomes the REPL.

Run as a script in a bare interpreter (`python -I -S launch.py CONFIG.json`), never imported by the package.
`lake` itself, which reads the project's own files, stays outside. CONFIG holds `program` (the REPL), `scratch` (a
folder of ours), `limits` (fields of `ProcessLimits`) and `user` (id to run as, null to stay).
"""

import ctypes
import json
import os
import signal
import sys
import tempfile
from typing import TYPE_CHECKING

# Importing the package would load half of the project, so `sandbox` is found by its folder.
sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "isolation"))
if TYPE_CHECKING:
    from prover.environments.isolation import sandbox
else:
    import sandbox

_PR_SET_PDEATHSIG = 1
_PATH_LISTS = ("LEAN_PATH", "LEAN_SRC_PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", *_PATH_LISTS)
_KEPT_PREFIXES = ("LEAN_", "LAKE", "ELAN_")


def _environment(folder: str) -> dict[str, str]:
    """What Lean needs of the environment, and no secrets; relative search paths (of `lake`) made absolute."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    for name in _PATH_LISTS:
        if name in kept:
            kept[name] = os.pathsep.join(os.path.abspath(part) for part in kept[name].split(os.pathsep) if part)
    return kept | {"HOME": folder, "TMPDIR": folder}


def _open_to_all(path: str) -> bool:
    """Whether every user can read and run (or enter) `path`, and enter all folders above it."""
    path = os.path.realpath(path)
    if os.stat(path).st_mode & 0o005 != 0o005:
        return False
    while (parent := os.path.dirname(path)) != path:
        path = parent
        if not os.stat(path).st_mode & 0o001:
            return False
    return True


def main() -> None:
    """Limit this process as the file named on the command line says, and become the REPL."""
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    program, user = config["program"], config["user"]
    folder = tempfile.mkdtemp(prefix="server-", dir=config["scratch"])
    environment = _environment(folder)
    needed = [program, *environment.get("LEAN_PATH", "").split(os.pathsep)]
    needed = [path for path in needed if path and os.path.exists(path)]
    if program not in needed:
        sys.exit(f"there is no Lean REPL at {program}; run `lake build` in the REPL's folder")
    if user is not None:
        os.chown(folder, user, user)
    os.chdir(folder)
    sandbox.leave_network()
    if user is not None:
        # A toolchain or project in root's own folders is read with the one capability to read all files.
        read_all = not all(_open_to_all(path) for path in needed)
        sandbox.drop_user(user, read_all=read_all)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    unreachable = [path for path in needed if not os.access(path, os.X_OK, effective_ids=True)]
    if unreachable:
        sys.exit(
            f"{unreachable[0]} cannot be read by user {os.geteuid()}, which Lean runs as (`nobody` when started by "
            "root); run as an ordinary user, or keep Lean (ELAN_HOME), project and REPL where all users can read them"
        )
    # `lake env` names Lean's folder; without it the REPL has to ask `lean`, a process of its own.
    allow_fork = "LEAN_SYSROOT" not in environment
    sandbox.apply_limits(sandbox.ProcessLimits(**config["limits"]), allow_fork=allow_fork)
    sandbox.no_new_privileges()
    sandbox.confine_writes(folder)
    sandbox.deny_system_calls(allow_exec=True, allow_fork=allow_fork)
    os.execve(program, [program], environment)


if __name__ == "__main__":
    main()

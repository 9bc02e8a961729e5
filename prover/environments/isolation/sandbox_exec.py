"""Runs one program inside the sandbox and watches over it to the end.

Run as a script in a bare interpreter (`python -I -S sandbox_exec.py CONFIG_JSON PROGRAM ARGUMENT...`), never imported
by the package. CONFIG: `limits` (fields of `ProcessLimits`), `user` (id to run as, null to stay), `folder` (working
folder of the program, the only one it can write to; `keep_folder` starts it where we are), `wall_s`, `allow_fork`,
`read_all` (see `drop_user`) and `report` (file for the ending, as JSON).
Standard input is the caller's end of a pipe: when the caller is gone, so is the program. Nothing that the program
started survives it.
"""

import json
import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

# Importing the package would load half of the project, so `sandbox` is found by its folder.
sys.path.append(os.path.dirname(os.path.abspath(__file__)))
if TYPE_CHECKING:
    from prover.environments.isolation import sandbox
    from prover.json_types import JsonObject
else:
    import sandbox

_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "ELAN_HOME", "ELAN_TOOLCHAIN")
_KEPT_PREFIXES = ("LEAN", "LAKE")
_SETUP_FAILED = 77


def _environment(folder: str) -> dict[str, str]:
    """What a Lean toolchain needs of the environment, and nothing else; relative paths (of `lake`) made absolute."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    for name in ("LEAN_PATH", "LEAN_SRC_PATH"):
        if name in kept:
            kept[name] = os.pathsep.join(os.path.abspath(part) for part in kept[name].split(os.pathsep) if part)
    kept.setdefault("ELAN_HOME", os.path.join(os.environ.get("HOME", "/"), ".elan"))
    # Lean's allocator reserves 1 GiB at a time by default, which would count against the limit on memory.
    return kept | {"HOME": folder, "TMPDIR": folder, "MIMALLOC_ARENA_RESERVE": "65536KiB"}


def _program(name: str, environment: dict[str, str]) -> str | None:
    """Path of the program; under `lake env`, Lean is that of the project's own toolchain."""
    sysroot = environment.get("LEAN_SYSROOT")
    if name == "lean" and sysroot and os.path.exists(os.path.join(sysroot, "bin", "lean")):
        return os.path.join(sysroot, "bin", "lean")
    if os.sep in name:
        return name
    for folder in environment.get("PATH", os.defpath).split(os.pathsep):
        if os.path.isfile(os.path.join(folder, name)):
            return os.path.join(folder, name)
    return None


def _become(config: "JsonObject", program: str, arguments: list[str]) -> None:
    """In the forked child: put the limits in place and become the program. Never returns."""
    try:
        environment = _environment(config["folder"])
        path = _program(program, environment)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sandbox.die_with_parent()
        if not config.get("keep_folder"):
            os.chdir(config["folder"])
        sandbox.leave_network()
        if config["user"] is not None:
            sandbox.drop_user(config["user"], read_all=config.get("read_all", False))
        if path is None or not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
            who = f"user {os.geteuid()}, which Lean runs as (`nobody` when started by root)"
            os.write(2, f"{path or program} cannot be found or run by {who}\n".encode())
            os._exit(_SETUP_FAILED)
        sandbox.apply_limits(sandbox.ProcessLimits(**config["limits"]), allow_fork=config["allow_fork"])
        sandbox.no_new_privileges()
        sandbox.confine_writes(config["folder"])
        sandbox.deny_system_calls(allow_exec=True, allow_fork=config["allow_fork"])
        os.execve(path, [program, *arguments], environment)
    except BaseException as error:  # noqa: BLE001 - a forked child must not run its parent's handlers
        os.write(2, f"{program} could not start: {error!r}\n".encode())
    finally:
        os._exit(_SETUP_FAILED)


def main() -> int:
    """Limit this process as told on the command line, run the program in it, and return its exit code."""
    config = json.loads(sys.argv[1])
    sandbox.adopt_orphans()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _become(config, sys.argv[2], sys.argv[3:])
    ending = sandbox.supervise(pid, started + config["wall_s"], 0)
    sandbox.end_descendants()
    if ending is None:
        return 1
    with open(config["report"], "w", encoding="utf-8") as file:
        json.dump({**asdict(ending), "wall_s": time.monotonic() - started}, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())

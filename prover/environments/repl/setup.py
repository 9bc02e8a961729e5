"""Getting a REPL ready: lean-interact's configuration, the sandbox around the REPL, the fingerprint.

lean-interact runs `lake env FOLDER/.lake/build/bin/repl`. Its own configuration finds (or clones and builds) the REPL;
`sandboxed` then swaps FOLDER for one of ours whose `repl` is a small script that puts the limits in place first.
"""

import hashlib
import importlib.metadata
import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from prover.environments.isolation.sandbox import ProcessLimits, lean_user
from prover.environments.script.built_modules import modules_digest
from prover.environments.script.embedded import LeanUnavailable

if TYPE_CHECKING:
    from lean_interact import LeanREPLConfig
    from lean_interact.project import BaseProject

LEAN_INTERACT_VERSION = "0.11.6"
REPL_VARIABLE = "PROVER_LEAN_REPL"
_BINARY = Path(".lake", "build", "bin", "repl")
_LAUNCHER = Path(__file__).parent / "launch.py"
_GET_A_REPL = (
    f"where nothing can be downloaded, set ${REPL_VARIABLE} to a checkout of github.com/leanprover-community/repl at "
    "the tag of the project's Lean version, and run `lake build` in it"
)


def configure(
    lean_project: str | os.PathLike[str] | None,
    lake_path: str | os.PathLike[str],
    local_repl_path: str | os.PathLike[str] | None,
    build_repl: bool,
) -> "LeanREPLConfig":
    """lean-interact's configuration: project, `lake` and a REPL that is ready to run. Raises LeanUnavailable."""
    try:
        from git.exc import GitError
        from lean_interact import LocalProject
    except ModuleNotFoundError as error:
        raise LeanUnavailable(
            f"the REPL backend needs lean-interact, and {error.name} is not installed; run: pip install -e '.[lean]'"
        ) from error

    installed = importlib.metadata.version("lean-interact")
    if installed != LEAN_INTERACT_VERSION:  # `server` replaces methods of this one
        raise LeanUnavailable(
            f"lean-interact {installed} is installed, and this needs {LEAN_INTERACT_VERSION}; "
            "run: pip install -e '.[lean]'"
        )
    lake = shutil.which(lake_path)
    if lake is None:
        raise LeanUnavailable(
            f"no program {os.fspath(lake_path)!r} was found; install Lean with elan (https://lean-lang.org/install), "
            "and see that its bin folder is on the PATH"
        )
    project = None
    if lean_project is not None:
        folder = Path(lean_project).resolve()
        if not (folder / "lean-toolchain").is_file():
            raise LeanUnavailable(
                f"{os.fspath(lean_project)!r} is not a Lake project: there is no file {folder / 'lean-toolchain'}; "
                "give the folder that holds lean-toolchain and the lakefile, and run `lake build` in it first"
            )
        project = LocalProject(directory=folder, lake_path=lake, auto_build=False)
    local_repl_path = local_repl_path or os.environ.get(REPL_VARIABLE)
    if local_repl_path is not None and not Path(local_repl_path).is_dir():
        raise LeanUnavailable(f"the REPL's folder {os.fspath(local_repl_path)!r} does not exist; {_GET_A_REPL}")
    try:
        return _config(project, local_repl_path, lake, build_repl=build_repl)
    except (OSError, RuntimeError, ValueError, GitError) as error:
        raise LeanUnavailable(f"the Lean REPL could not be made ready: {error}\n{_GET_A_REPL}") from error


def sandboxed(config: "LeanREPLConfig", limits: ProcessLimits, scratch: Path) -> "LeanREPLConfig":
    """The same, with the REPL in a sandbox. `scratch`: a folder of ours that the user Lean runs as can enter."""
    from lean_interact import LocalProject

    repl = Path(config.cache_repl_dir).resolve()
    settings = {
        "program": str(repl / _BINARY),
        "scratch": str(scratch),
        "limits": asdict(limits),
        "user": lean_user(),
    }
    settings_file = scratch / "launch.json"
    settings_file.write_text(json.dumps(settings), encoding="utf-8")
    script = scratch / "repl" / _BINARY
    script.parent.mkdir(parents=True)
    command = [sys.executable, "-I", "-S", str(_LAUNCHER), str(settings_file)]
    script.write_text(f"#!/bin/sh\nexec {shlex.join(command)}\n", encoding="utf-8")
    script.chmod(0o755)
    project = config.project
    if (repl / "lean-toolchain").is_file():
        shutil.copy(repl / "lean-toolchain", scratch / "repl" / "lean-toolchain")
        if project is None:  # `lake env` is run in the project, or else in the REPL's own folder
            project = LocalProject(directory=repl, lake_path=config.lake_path, auto_build=False)
    return _config(project, scratch / "repl", str(config.lake_path), build_repl=False)


def _config(
    project: "BaseProject | None", repl: "str | os.PathLike[str] | None", lake: str, *, build_repl: bool
) -> "LeanREPLConfig":
    """Without both optimizations: they keep more in the server than the one environment per header that is needed."""
    from lean_interact import LeanREPLConfig

    return LeanREPLConfig(
        project=project,
        local_repl_path=repl,
        build_repl=build_repl,
        lake_path=lake,
        enable_incremental_optimization=False,
        enable_parallel_elaboration=False,
    )


def fingerprint(config: "LeanREPLConfig", rules: Sequence[object]) -> str:
    """Digest of what can change an outcome: `rules` (ours), the REPL, the project's own files and its lock file."""
    binary = Path(config.cache_repl_dir) / _BINARY
    facts = {
        "rules": rules,
        "lean-interact": LEAN_INTERACT_VERSION,
        "lean": config.lean_version,
        "repl": binary.stat().st_size if binary.is_file() else None,
        "project": _digest_sources(Path(config.working_dir)) if config.project is not None else None,
        "modules": modules_digest(Path(config.working_dir) if config.project is not None else None),
    }
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _digest_sources(folder: Path) -> str:
    """Digest of a Lake project's Lean files, lakefile, lock file and toolchain, without what is built or fetched."""
    digest = hashlib.blake2b(digest_size=16)
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.endswith(".lean") or name in ("lean-toolchain", "lake-manifest.json", "lakefile.toml"):
                path = Path(parent, name)
                digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
                digest.update(hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()

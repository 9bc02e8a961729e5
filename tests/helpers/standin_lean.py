"""The embedded Lean dressed up as an installed one: `lean` and `lake` launcher scripts for a temporary PATH."""

import shlex
import shutil
import sys
from pathlib import Path

from prover.environments.script import embedded

HEADER = "prelude\nimport Prover\nset_option autoImplicit false\nuniverse u v w"
"""What the stand-in's users write above their theorems: it has our prelude in the place of a library."""


def install(folder: Path, *, fork: bool = False) -> Path:
    """Make `folder`/bin with `lean` and `lake`; that folder is returned. `fork`: `lean` starts Lean as a child.

    `lake env COMMAND` runs the command with LEAN_PATH set, and notes in `folder`/lake.log where it was called.
    """
    lean = embedded.embedded_lean()
    library = folder / "lib"
    shutil.copytree(lean.lib_path, library)
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    host = Path(embedded.__file__).parent / "embedded_host.py"
    command = shlex.join([sys.executable, "-I", "-S", str(host), "run", str(lean.library)])
    end = "\nexit $?\n" if fork else "\n"
    scripts = {
        "lean": f'export LEAN_PATH={shlex.quote(str(library))}\n{"" if fork else "exec "}{command} "$@"{end}',
        "lake": f'[ "$1" = env ] || exit 3\nshift\npwd >> {shlex.quote(str(folder / "lake.log"))}\nexec "$@"\n',
    }
    for name, script in scripts.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
        (bin_folder / name).chmod(0o755)
    return bin_folder

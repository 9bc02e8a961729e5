"""What a Lean is asked about depends on the modules that a header imports: a digest of them, as they are built."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path


def modules_digest(project: Path | None) -> str:
    """Digest of the modules that a file can import in a Lake project, and of those on LEAN_PATH.

    A project's own modules, and those of packages that are folders beside it, count by content: rebuilding them with
    another result gives another digest. Where nothing is built, their sources count. The modules of fetched packages
    (Mathlib has thousands) count by size and time of change. 32 hex digits.
    """
    digest = hashlib.blake2b(digest_size=16)
    if project is not None:
        for folder in (project, *_path_packages(project)):
            built = list(_files(folder / ".lake" / "build" / "lib", ".olean"))
            for path in built or _sources(folder):
                digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
                digest.update(hashlib.blake2b(path.read_bytes()).digest())
        for path in _files(project / ".lake" / "packages", ".olean"):
            _by_stat(digest, path)
    for entry in filter(None, os.environ.get("LEAN_PATH", "").split(os.pathsep)):
        for path in _files(Path(entry), ".olean"):
            _by_stat(digest, path)
    return digest.hexdigest()


def _by_stat(digest: "hashlib.blake2b", path: Path) -> None:
    stat = path.stat()
    digest.update(f"{path}\0{stat.st_size} {stat.st_mtime_ns}\n".encode())


def _files(folder: Path, suffix: str) -> Iterator[Path]:
    """Files below a folder, in a fixed order; none where there is no such folder."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(suffix))


def _sources(folder: Path) -> Iterator[Path]:
    for path in _files(folder, ".lean"):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _path_packages(project: Path) -> list[Path]:
    """Folders of the packages that the manifest names by path. A manifest that cannot be read names none."""
    try:
        manifest = json.loads((project / "lake-manifest.json").read_text("utf-8"))
        packages = manifest["packages"]
        return [(project / package["dir"]).resolve() for package in packages if package.get("type") == "path"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []

"""Code versions of assets: a digest of the sources that a step runs, so that a change marks what depends on it."""

import hashlib
import os
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@cache
def _digest(source: str) -> bytes:
    path = ROOT / source
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*.py"))
    if not files:
        raise FileNotFoundError(f"no source files at {source}: it is named in a code version, and has been moved")
    hasher = hashlib.blake2b(digest_size=16)
    for file in files:
        hasher.update(f"{file.relative_to(ROOT).as_posix()}\0".encode())
        hasher.update(file.read_bytes())
    return hasher.digest()


def code_version(*sources: str) -> str:
    """Twelve hex digits over the named source files and packages (paths from the root of the tree)."""
    hasher = hashlib.blake2b(digest_size=16)
    for source in sources:
        hasher.update(_digest(source))
    return hasher.hexdigest()[:12]


def policy_version() -> str:
    """What stands for the policy in a code version: PROVER_POLICY's files by size and time, or `shipped`.

    Weights of gigabytes are not read at import; the policy's own fingerprint, over every byte, is in the data version.
    """
    named = os.environ.get("PROVER_POLICY")
    if not named:
        return "shipped"
    hasher = hashlib.blake2b(named.encode(), digest_size=16)
    for file in sorted(Path(named).glob("*")):
        stat = file.stat()
        hasher.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}\0".encode())
    return hasher.hexdigest()[:12]

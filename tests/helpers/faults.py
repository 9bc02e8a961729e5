"""Faults to try things with: damaged copies of a file, a small disk, a disk that cannot be written."""

import contextlib
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

FLIPS, CUTS = 200, 50
"""Random single-bit flips and cuts that each kind of file is tried with."""
SIZES = [12, pytest.param(FLIPS, marks=pytest.mark.slow)]
"""Flips that a file whose reading takes long is tried with: few in the fast tests, all in the slow ones."""


@dataclass
class Damage:
    """What became of damaged copies of one file."""

    read: list[object] = field(default_factory=list)
    """What was read from those that were taken for whole."""
    refusals: list[str] = field(default_factory=list)
    """Messages of the others."""


def flips(data: bytes, *, seed: int, n: int = FLIPS) -> Iterator[bytes]:
    """Copies with one flipped bit each, at seeded places."""
    draw = random.Random(seed)
    for _ in range(n):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        yield bytes(changed)


def cuts(data: bytes, *, n: int = CUTS) -> Iterator[bytes]:
    """The file truncated at `n` places, the empty file first."""
    for i in range(n):
        yield data[: i * len(data) // n]


def damaged_copies(data: bytes, *, seed: int, n: int, head: int = 0) -> Iterator[bytes]:
    """`n` flipped copies and as many cut ones, 50 at most. Half of the flips are in the first `head` bytes, if any."""
    in_head = n // 2 if head else 0
    for copy in flips(data[:head], seed=seed, n=in_head):
        yield copy + data[head:]
    yield from flips(data, seed=seed + 1, n=n - in_head)
    yield from cuts(data, n=min(n, CUTS))


def try_damage(
    path: Path,
    copies: Iterator[bytes],
    read: Callable[[], object],
    refused: type[Exception] | tuple[type[Exception], ...],
) -> Damage:
    """Put each damaged copy in the file's place and read it. Anything raised but `refused` fails the test.

    The file is put back at the end.
    """
    whole, result = path.read_bytes(), Damage()
    try:
        for copy in copies:
            path.write_bytes(copy)
            try:
                result.read.append(read())
            except refused as error:
                result.refusals.append(str(error))
    finally:
        path.write_bytes(whole)
    return result


@contextmanager
def small_disk(folder: Path, *, kib: int) -> Iterator[Path]:
    """A disk of its own at `folder`, of `kib` KiB. Skips the test where none can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = (
        os.geteuid() == 0
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("mounting a small disk needs root in a container that may mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def make_read_only(folder: Path) -> None:
    """Remount the disk of `small_disk` so that nobody, root included, can write to it."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> None:
    """Fill the disk at `folder` but for about `leave` bytes."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    if leave:
        os.truncate(ballast, max(0, ballast.stat().st_size - leave))

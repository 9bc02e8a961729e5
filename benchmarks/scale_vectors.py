"""The embedding cache at full size: `python benchmarks/scale.py --vectors 1000000x512 200000x4096`.

For each size, and for a fifth of its rows: append, look up, gather (as many rows as there are, in random order), two
processes that append at once, a process that is killed in mid-append and what is found after that, and
`prover cache stats | verify | prune`. Each step runs in a process of its own; seconds are processor seconds and count
the processes that it starts. The slope is that of log(seconds) against log(rows) between the two sizes.

A row's vector follows from its number, so what is read back is compared with what was written.
"""

import argparse
import json
import math
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

FINGERPRINT = "ef" * 32
BATCH = 4096
FLUSH_ROWS = 16_384


def keys(first: int, last: int) -> list[str]:
    return [f"{i:032x}" for i in range(first, last)]


def vectors(rows: np.ndarray, width: int) -> np.ndarray:
    """(n, width) float32: what is stored for these row numbers."""
    return np.repeat((rows % 997 + 1).astype(np.float32)[:, None], width, axis=1)


def opened(folder: Path, width: int):
    from ebm.embeddings import EmbeddingCache

    return EmbeddingCache(folder, FINGERPRINT, width, flush_rows=FLUSH_ROWS)


def add(folder: Path, width: int, first: int, last: int) -> None:
    with opened(folder, width) as cache:
        for start in range(first, last, BATCH):
            stop = min(start + BATCH, last)
            cache.add(keys(start, stop), vectors(np.arange(start, stop), width))


def child(folder: Path, width: int, first: int, last: int) -> subprocess.Popen[bytes]:
    """A process that adds rows."""
    span = ["--first", str(first), "--rows", str(last), "--width", str(width)]
    return subprocess.Popen([sys.executable, __file__, "--step", "add", "--folder", str(folder), *span])


def append(folder: Path, n: int, width: int) -> None:
    add(folder / "whole", width, 0, n)


def look_up(folder: Path, n: int, width: int) -> None:
    cache = opened(folder / "whole", width)
    for start in range(0, n, BATCH):
        asked = keys(start, min(start + BATCH, n))
        assert (cache.rows_of(asked) >= 0).all()


def gather(folder: Path, n: int, width: int) -> None:
    cache = opened(folder / "whole", width)
    draw, out = np.random.default_rng(1), np.empty((BATCH, width), dtype=np.float32)
    for _ in range(0, n, BATCH):
        rows = draw.integers(0, n, BATCH)
        cache.gather(rows, out)
        assert (out[:, 0] == rows % 997 + 1).all()


def two_append(folder: Path, n: int, width: int) -> None:
    place = folder / "shared"
    both = [child(place, width, 0, n // 2), child(place, width, n // 2, n)]
    assert [process.wait() for process in both] == [0, 0]
    assert opened(place, width).missing(keys(0, n)) == []


def killed(folder: Path, n: int, width: int) -> None:
    """SIGKILL when about half of the rows are on disk; then what is there is right, and the rest can be added."""
    from ebm.cache_upkeep import orphans, verify

    place = folder / "killed"
    process = child(place, width, 0, n)
    while len(list(place.rglob("*.keys"))) < max(1, n // FLUSH_ROWS // 2) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    cache = opened(place, width)
    kept = len(cache)
    assert verify(cache.folder) == kept
    print(f"killed: {kept} of {n} rows kept, {len(orphans(cache.folder))} leftover files", file=sys.stderr)
    add(place, width, 0, n)
    cache = opened(place, width)
    asked = np.arange(0, n, max(1, n // 1000))
    names = [f"{i:032x}" for i in asked]
    assert len(cache) == n
    assert (cache.gather(names) == vectors(asked, width)).all()


def command(folder: Path, *arguments: str) -> str:
    place = ["--cache", str(folder / "whole")]
    run = [sys.executable, "-c", "from prover.cli import main; main()", "cache", *arguments, *place]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout


def stats(folder: Path, n: int, width: int) -> None:
    assert json.loads(command(folder, "stats", "--json"))["vectors"] == n


def verify_all(folder: Path, n: int, width: int) -> None:
    assert f"{n} rows are as they were written" in command(folder, "verify")


def prune(folder: Path, n: int, width: int) -> None:
    command(folder, "prune", "--yes")
    cache = opened(folder / "whole", width)
    assert len(cache) == n


STEPS: dict[str, Callable[[Path, int, int], None]] = {
    "append": append,
    "look_up": look_up,
    "gather": gather,
    "two_append": two_append,
    "killed": killed,
    "stats": stats,
    "verify": verify_all,
    "prune": prune,
}


def measured(step: str, folder: Path, n: int, width: int) -> dict[str, float]:
    """Run one step in a process of its own: processor seconds, peak memory in MiB of the largest process."""
    span = ["--folder", str(folder), "--rows", str(n), "--width", str(width)]
    done = subprocess.run(
        [sys.executable, __file__, "--step", step, *span], stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_step(step: str, folder: Path, n: int, width: int) -> None:
    began = time.process_time()
    STEPS[step](folder, n, width)
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {
        "cpu_s": time.process_time() - began + others.ru_utime + others.ru_stime,
        "peak_mib": max(own.ru_maxrss, others.ru_maxrss) / 1024,
    }
    print(json.dumps(figures))


def run(sizes: list[str]) -> int:
    """Print a table for each ROWSxWIDTH; 1 if a step is steeper than linear."""
    from scale import LARGEST_SLOPE

    steep = False
    for size in sizes:
        n, width = (int(part) for part in size.split("x"))
        rows = [n // 5, n]
        print(f"width {width:9}" + "".join(f"{count:>24,}" for count in rows) + "   slope")
        table: dict[str, list[dict[str, float]]] = {step: [] for step in STEPS}
        for count in rows:
            with tempfile.TemporaryDirectory(prefix="vectors-") as name:
                for step in STEPS:
                    table[step].append(measured(step, Path(name), count, width))
                    for done in ("shared", "killed"):
                        shutil.rmtree(Path(name) / done, ignore_errors=True)
        for step, (small, large) in table.items():
            slope = math.log(large["cpu_s"] / small["cpu_s"]) / math.log(rows[1] / rows[0])
            steep = steep or slope > LARGEST_SLOPE
            cells = "".join(f"{row['cpu_s']:>11.2f} s {row['peak_mib']:>7.0f} MiB" for row in (small, large))
            print(f"{step:15}{cells}{slope:8.2f}{' too steep' if slope > LARGEST_SLOPE else ''}", flush=True)
    return int(steep)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", choices=[*STEPS, "add"], required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--width", type=int, required=True)
    options = parser.parse_args()
    if options.step == "add":
        add(options.folder, options.width, options.first, options.rows)
    else:
        run_step(options.step, options.folder, options.rows, options.width)


if __name__ == "__main__":
    main()

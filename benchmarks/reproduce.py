"""The same again: `python benchmarks/reproduce.py [--theorems N]` or `make reproduce`; exit code 1 if anything differs.

Searches the same theorems with the embedded Lean and the shipped policy three times, each from nothing: twice with one
Lean process and once with two; then trains an energy model on each result. Compared: every column of nodes and attempts
but for times, labels among them, the outcome of each theorem, and the bytes of the trained weights.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TIMES = ("timestamp_ms", "elapsed_ms", "wall_ms", "model_ms", "lean_ms", "own_ms")
RUNS = {"once": 1, "again": 1, "two workers": 2}
"""Name of a run -> Lean processes."""


def make(folder: Path, workers: int, theorems: int) -> None:
    """One run: a search, and an energy model trained on it. Raises CalledProcessError."""
    environment = {**os.environ, "PROVER_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    prover = [sys.executable, "-c", "from prover.cli import main; main()"]
    search = [
        "search",
        "--theorems",
        "propositional",
        "--split",
        "valid",
        "--limit",
        str(theorems),
        "--output",
        "t.parquet",
    ]
    search += ["--budget", "24", "--candidates", "8", "--lean-workers", str(workers), "--no-ebm", "--no-memo"]
    train = ["train-ebm", "--trajectories", "t.parquet", "--output", "ebm", "--steps", "60", "--seed", "3"]
    for arguments in (search, train):
        done = subprocess.run(
            [*prover, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"`prover {' '.join(arguments)}` ended with {done.returncode}:\n{done.stderr[-2000:]}")


def facts(folder: Path) -> dict[str, str]:
    """Digests of what a run made, without its times."""
    from prover.parquet import read_table

    found = {}
    for kind in ("", ".attempts", ".summary"):
        table = read_table(folder / f"t{kind}.parquet")
        kept = table.select([name for name in table.column_names if name not in TIMES])
        found[kind.lstrip(".") or "nodes"] = hashlib.sha256(repr(kept.to_pylist()).encode()).hexdigest()
    found["weights"] = hashlib.sha256((folder / "ebm" / "model.safetensors").read_bytes()).hexdigest()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theorems", type=int, default=20)
    options = parser.parse_args()
    made: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="reproduce-") as name:
        for run, workers in RUNS.items():
            folder = Path(name) / run.replace(" ", "-")
            folder.mkdir()
            make(folder, workers, options.theorems)
            made[run] = facts(folder)
    first, *others = made.items()
    differing = 0
    for what, digest in first[1].items():
        different = [run for run, found in others if found[what] != digest]
        differing += len(different)
        print(f"{what:9} {digest[:16]}  {'differs: ' + ', '.join(different) if different else 'the same three times'}")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())

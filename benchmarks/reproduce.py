"""Is a result the same when it is made again?  Exit code 1 if anything differs.

    python benchmarks/reproduce.py [--theorems N]      (make reproduce)

Searches the same theorems with the embedded Lean and the shipped policy, each time from nothing: twice with one Lean
process, once with two, and, where Ray is installed, once on two search actors of a Ray that is started here. Then
trains an energy model on each result, and evaluates it on held-out theorems. Compared: every column of nodes and
attempts but for times, the outcome of each theorem, the labels after merging, the bytes of the trained weights, and the
evaluation's figures but for seconds, which are those of a report. Each state goes through the model alone
(`--batch-tokens 1`): which states are ready at the same time depends on how busy the machine is, and a larger matrix
product rounds differently.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TIMES = ("timestamp_ms", "elapsed_ms", "wall_ms", "model_ms", "lean_ms", "own_ms")
RUNS: dict[str, list[str]] = {
    "once": ["--lean-workers", "1"],
    "again": ["--lean-workers", "1"],
    "two workers": ["--lean-workers", "2"],
    "ray": ["--engine", "ray", "--ray-config", "ray.json"],
}
"""Name of a run -> options of its search."""
ACTORS = {"search_actors": 2, "cpus_per_search_actor": 0.5}


def prover(folder: Path, *arguments: str) -> str:
    """Run a command of `prover` in a folder of its own; returns its standard output."""
    environment = {**os.environ, "PROVER_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", "from prover.cli import main; main()", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"`prover {' '.join(arguments)}` ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def make(folder: Path, how: list[str], theorems: int) -> dict[str, Any]:
    """One run: a search, an energy model trained on it, and its evaluation, whose figures are returned."""
    (folder / "ray.json").write_text(json.dumps(ACTORS), encoding="utf-8")
    some = ["--theorems", "propositional", "--split", "valid", "--limit", str(theorems)]
    limits = ["--candidates", "8", "--no-memo", "--batch-tokens", "1"]
    prover(folder, "search", *some, *limits, "--output", "t.parquet", "--budget", "24", "--no-ebm", *how)
    prover(folder, "train-ebm", "--trajectories", "t.parquet", "--output", "ebm", "--steps", "60", "--seed", "3")
    held_out = ["--theorems", "propositional", "--split", "test", "--limit", str(max(1, theorems // 2))]
    figures = prover(folder, "eval", *held_out, *limits, "--ebm-path", "ebm", "--budgets", "4,16", "--json")
    return dict(json.loads(figures.splitlines()[-1]))


def untimed(value: Any) -> Any:
    """JSON without times and places."""
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if not key.endswith(("seconds", "_s", "_ms", "path"))}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def facts(folder: Path, figures: dict[str, Any]) -> dict[str, str]:
    """Digests of what a run made, without its times."""
    from ebm.training.records import load_states, merge_labels
    from prover.parquet import read_table

    found = {}
    for kind in ("", ".attempts", ".summary"):
        table = read_table(folder / f"t{kind}.parquet")
        kept = table.select([name for name in table.column_names if name not in TIMES])
        found[kind.lstrip(".") or "nodes"] = hashlib.sha256(repr(kept.to_pylist()).encode()).hexdigest()
    merged = merge_labels(load_states(folder / "t.parquet")).select("state_id", "label", "remaining_depth")
    found["labels"] = hashlib.sha256(repr(merged.rows()).encode()).hexdigest()
    found["weights"] = hashlib.sha256((folder / "ebm" / "model.safetensors").read_bytes()).hexdigest()
    found["evaluation"] = hashlib.sha256(json.dumps(untimed(figures), sort_keys=True).encode()).hexdigest()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theorems", type=int, default=12)
    parser.add_argument("--keep", type=Path, help="folder for what the runs make, to look at (default: none kept)")
    options = parser.parse_args()
    runs = {name: how for name, how in RUNS.items() if name != "ray" or find_spec("ray")}
    if "ray" not in runs:
        print("Ray is not installed (extra [ray]): compared without it")
    made: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="reproduce-") as name:
        for run, how in runs.items():
            folder = (options.keep or Path(name)) / run.replace(" ", "-")
            folder.mkdir(parents=True)
            made[run] = facts(folder, make(folder, how, options.theorems))
    first, *others = made.items()
    differing = 0
    for what, digest in first[1].items():
        different = [run for run, found in others if found[what] != digest]
        differing += len(different)
        verdict = f"differs: {', '.join(different)}" if different else f"the same in {', '.join(made)}"
        print(f"{what:10} {digest[:16]}  {verdict}")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())

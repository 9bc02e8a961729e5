"""What of old iterations can go: never the champion, nor what a later model learns from unless that is asked for."""

import shutil
from pathlib import Path

from prover_assets.layout import DataFolder, read_json

Plan = list[tuple[Path, int]]
"""Files and folders to remove, with their size in bytes."""

CHECKPOINT_EXTRAS = ("optimizer.safetensors", "best.safetensors", "checkpoints")
"""Parts of a checkpoint that only a resumed training reads."""


def plan(data: DataFolder, *, keep: int, trajectories: bool = False) -> Plan:
    """What may be removed if the newest `keep` finished iterations, and those unfinished, stay whole.

    Of older ones the attempts, the held-out searches and what only resuming needs are removed; trajectories only when
    asked. Of the champions, those that neither the data folder nor an iteration that is kept starts from.
    """
    old = [iteration for iteration in data.iterations() if iteration.report_file.exists()][:-keep]
    paths: list[Path] = []
    for iteration in old:
        searches = [iteration.guided, iteration.control]
        paths += [iteration.trajectories.attempts, *(path for files in searches for path in files.all())]
        paths += [iteration.checkpoint / name for name in CHECKPOINT_EXTRAS]
        if trajectories:
            paths += iteration.trajectories.all()
    needed = {(read_json(data.root / "champion.json") or {}).get("checkpoint")}
    needed |= {
        (read_json(iteration.champion) or {}).get("checkpoint")
        for iteration in data.iterations()
        if iteration not in old
    }
    if data.champions.is_dir():
        paths += [path for path in sorted(data.champions.iterdir()) if str(path.relative_to(data.root)) not in needed]
    return [(path, _size(path)) for path in dict.fromkeys(paths) if path.exists()]


def carry_out(data: DataFolder, chosen: Plan) -> None:
    """Remove what `plan` chose. Raises DataFolderError if an iteration is being written meanwhile."""
    for path, _ in chosen:
        relative = path.relative_to(data.root)
        held = relative.parts[1] if relative.parts[0] == "iterations" else "champions"
        with data.held(held):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)

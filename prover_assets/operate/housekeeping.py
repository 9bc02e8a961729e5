"""What of old iterations can go: never the champion, nor what a later model learns from unless that is asked for."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from prover_assets.store.champion import read_champion_of
from prover_assets.store.files import read_json, write_json
from prover_assets.store.layout import DataFolder, IterationFolder
from prover_assets.store.policy import record_in_force

Plan = list[tuple[Path, int]]
"""Files and folders to remove, with their size in bytes."""

CHECKPOINT_EXTRAS = ("optimizer.safetensors", "best.safetensors", "checkpoints")
"""Parts of a checkpoint that only a resumed training reads."""


def plan(data: DataFolder, *, keep: int, trajectories: bool = False) -> Plan:
    """What may be removed if the newest `keep` finished iterations, and those unfinished, stay whole.

    Of older ones the attempts, the held-out searches, the further heads with theirs, a tuned policy that was not
    adopted and what only resuming needs are removed; trajectories only when asked. Of the champions, those that neither
    the data folder nor an iteration that is kept starts from. Of the adopted policies, with their baselines, those that
    no kept iteration searches with, whose vectors no kept champion reads, and that no kept iteration tuned. Raises
    ValueError for a record or a checkpoint that cannot be read: what it needs is not known then.
    """
    old = [iteration for iteration in data.iterations() if iteration.report_file.exists()][:-keep]
    kept = [iteration for iteration in data.iterations() if iteration not in old]
    paths: list[Path] = []
    for iteration in old:
        searches = [iteration.guided, iteration.control]
        paths += [iteration.trajectories.attempts, *(path for files in searches for path in files.all())]
        paths += [iteration.checkpoint / name for name in CHECKPOINT_EXTRAS]
        paths += [iteration.heads, iteration.tuned_policy]
        if trajectories:
            paths += iteration.trajectories.all()
    champions = _champions_in_use(data, kept)
    paths += [path for path in _entries(data.champions) if path not in champions]
    policies = _policies_in_use(data, kept, champions)
    unused = [
        path
        for path in _entries(data.policies)
        if path not in policies and not path.name.startswith(tuple(f"{iteration.key}-" for iteration in kept))
    ]
    paths += [*unused, *(data.baseline.nodes.parent / path.name for path in unused)]
    return [(path, _size(path)) for path in dict.fromkeys(paths) if path.exists()]


def _champions_in_use(data: DataFolder, kept: Sequence[IterationFolder]) -> set[Path]:
    """The champions of the data folder and of the iterations."""
    records = [read_champion_of(iteration) for iteration in kept]
    named = [(read_json(data.root / "champion.json") or {}).get("checkpoint")]
    named += [record.checkpoint for record in records if record is not None]
    return {data.root / name for name in named if name is not None}


def _policies_in_use(data: DataFolder, kept: Sequence[IterationFolder], champions: Iterable[Path]) -> set[Path]:
    """The adopted policies that the iterations search with, and those whose vectors the champions read."""
    from ebm.champion import policy_of_checkpoint

    records = [record_in_force(data, iteration) for iteration in kept]
    found = {data.root / record.policy for record in records if record is not None and record.policy is not None}
    read = [policy_of_checkpoint(champion, data.root) for champion in champions if champion.is_dir()]
    return found | {policy for policy in read if policy is not None}


def carry_out(data: DataFolder, chosen: Plan) -> None:
    """Remove what `plan` chose. Raises DataFolderError if an iteration is being written meanwhile."""
    for path, _ in chosen:
        relative = path.relative_to(data.root)
        held = relative.parts[1] if relative.parts[0] == "iterations" else relative.parts[0]
        with data.held(held):
            if relative.parts[0] == "iterations":
                _note(data.iteration(held), path)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _note(iteration: IterationFolder, path: Path) -> None:
    """Say in the iteration's folder that a file is missing on purpose, before it is: its asset counts as made."""
    removed = set((read_json(iteration.cleaned) or {}).get("removed", []))
    write_json(iteration.cleaned, {"removed": sorted(removed | {path.relative_to(iteration.root).as_posix()})})


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)

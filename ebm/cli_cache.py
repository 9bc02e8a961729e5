"""`prover cache stats | verify | prune`: the embedding cache of a data folder. Heavy imports are inside."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from prover.storage import data_folder

app = typer.Typer(help="Look after the embedding cache.", no_args_is_help=True)
BAD_INPUT, TROUBLE = 2, 1

CacheFolder = Annotated[
    Path | None, typer.Option("--cache", help="Folder of the cache. [default: embeddings in the data folder]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per encoder, one per line.")]


def _folders(cache: Path | None) -> list[Path]:
    from ebm.cache_upkeep import encoder_folders

    root = cache or data_folder() / "embeddings"
    found = encoder_folders(root)
    if not found:
        print(f"error: {root} holds no embedding cache; give another folder with --cache", file=sys.stderr)
        raise typer.Exit(BAD_INPUT)
    return found


@app.command("stats")
def show_stats(cache: CacheFolder = None, as_json: AsJson = False) -> None:
    """Vectors, parts and size, for each encoder."""
    from ebm.cache_upkeep import stats
    from ebm.embeddings import EmbeddingError

    for folder in _folders(cache):
        try:
            found = stats(folder)
        except EmbeddingError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(TROUBLE) from None
        if as_json:
            print(json.dumps(found.to_dict()))
        else:
            twice = f", {found.rows - found.vectors} stored twice" if found.rows > found.vectors else ""
            print(
                f"{found.encoder}: {found.vectors} vectors of width {found.width}{twice}, {found.parts} parts, "
                f"{found.bytes / 1e6:.1f} MB"
            )


@app.command("verify")
def verify_all(cache: CacheFolder = None) -> None:
    """Read every vector and compare it with its checksum. Exit code 1 if a part is damaged; it is named."""
    from ebm.cache_upkeep import orphans, verify
    from ebm.embeddings import EmbeddingError

    damaged = False
    for folder in _folders(cache):
        try:
            print(f"{folder.name}: {verify(folder)} rows are as they were written")
        except EmbeddingError as error:
            print(f"error: {error}", file=sys.stderr)
            damaged = True
        if left := orphans(folder):
            print(f"{folder.name}: {len(left)} files of a killed process, which `prover cache prune --yes` removes")
    if damaged:
        raise typer.Exit(TROUBLE)


@app.command("prune")
def prune(
    cache: CacheFolder = None,
    states_of: Annotated[
        list[Path] | None,
        typer.Option("--states-of", help="Trajectories whose states' vectors alone are kept. Repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without, only say what would be done.")] = False,
) -> None:
    """Join parts into few, drop vectors that are stored twice, and what killed processes left.

    Nothing else may write to the cache meanwhile.
    """
    from ebm.cache_upkeep import compact, open_folder, orphans
    from ebm.embeddings import EmbeddingError
    from prover.trajectory import TrajectoryError, read_trajectories

    try:
        keep = set(read_trajectories([str(path) for path in states_of])["state_key"]) if states_of else None
        for folder in _folders(cache):
            held, left = open_folder(folder), orphans(folder)
            kept = sum(keep is None or key in keep for key in held.all_keys())
            gone, parts = held.n_rows - kept, len(list(folder.glob("*.keys")))
            what = f"{folder.name}: {gone} of {held.n_rows} rows and {len(left)} leftover files"
            del held
            if not yes:
                print(f"{what} would be removed, {parts} parts joined; --yes does it")
                continue
            for path in left:
                path.unlink(missing_ok=True)
            compact(folder, keep=keep)
            print(f"{what} removed, {parts} parts joined")
    except (EmbeddingError, TrajectoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(TROUBLE) from None

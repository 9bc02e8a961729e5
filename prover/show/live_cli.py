"""`prover live`. Heavy imports are inside."""

import time
from typing import Annotated

import typer
from rich.console import Console

from prover.cli_output import UsageProblem


def register(app: typer.Typer) -> None:
    """Add the command to the command line (see `prover.cli.load_plugins`)."""
    app.command("live")(live)


def live(
    file: Annotated[
        str | None,
        typer.Argument(help="Output of a search: X.parquet or X.parts. [default: the newest in the data folder]"),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print it once, and end.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Watch a search while it runs: rates, proofs as they land, the tree and the frontier of an open theorem.

    Ends when the search does; Ctrl-C ends it sooner, and does nothing to the search. Of a search on a store, such as
    s3://BUCKET/X.parquet, it prints what was published last.
    """
    from prover.show.live import RUNNING, LiveSearch, newest_search
    from prover.show.live_terminal import screen
    from prover.storage import is_url, on_disk
    from prover.storage.data import data_root
    from prover.trajectory.schema import parts_folder

    if file is None:
        folder = data_root()
        output = newest_search(folder)
        if output is None:
            raise UsageProblem(f"no search has written to {folder} yet; give the output of one")
    else:
        output = on_disk(file)
        once = once or is_url(file)
    watched = LiveSearch(output)
    if not (watched.output.exists() or parts_folder(watched.output).is_dir()):
        raise UsageProblem(f"{output}: no search has written there; give its output, X.parquet, or a folder X.parts")
    console = Console(highlight=False)
    try:
        view = watched.look()
        if not watched.output.exists() or parts_folder(watched.output).is_dir():
            time.sleep(min(2 * every, 2.0))  # for the search to notice that it is watched
            view = watched.look()
        if once or not console.is_terminal or view.state != RUNNING:
            console.print(screen(view))
            return
        from rich.live import Live

        with Live(screen(view), console=console, auto_refresh=False, transient=True) as shown:
            while view.state == RUNNING:
                time.sleep(every)
                view = watched.look()
                shown.update(screen(view), refresh=True)
        console.print(screen(view))
    except KeyboardInterrupt:
        pass
    finally:
        watched.close()

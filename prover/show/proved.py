"""What a search proved, as it is said at the end of `prover search`."""

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prover.show.view import running_parts, visible

MOST_NAMES = 40


def print_proved(console: Console, output: Path, *, most: int = MOST_NAMES) -> None:
    """The proved theorems with the steps of their proofs, at most `most` of them, and where the proofs are.

    output: of the search, `X.parquet`; its parts are read where it is not finished. Prints nothing where nothing was
    searched.
    """
    from prover.trajectory.reader import TrajectoryError, read_summaries

    where = running_parts(output)
    try:
        summaries = read_summaries(where)
    except TrajectoryError:  # nothing was finished, so there is no file
        return
    proved = summaries.filter(summaries["certified"]).unique("theorem_name", keep="last", maintain_order=True)
    if proved.is_empty():
        hint = f"No theorem was proved. `prover show {shlex.quote(str(where))} NAME` shows the best branches."
        console.print(hint, markup=False, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("proved", overflow="fold")
    for column in ("steps", "expansion", "seconds"):
        table.add_column(column, justify="right")
    for row in proved.head(most).iter_rows(named=True):
        seconds = (row["model_ms"] + row["lean_ms"] + row["own_ms"]) / 1000
        cells = (len(row["proof"]), row["expansions_to_proof"], f"{seconds:.2f}")
        table.add_row(Text(visible(row["theorem_name"])), *map(str, cells))
    console.print(table)
    if len(proved) > most:
        console.print(f"... and {len(proved) - most} more")
    quoted = shlex.quote(str(where))
    console.print(
        f"The proofs are in {where}. `prover show {quoted} NAME` prints one; "
        f"`prover export-proofs {quoted} --output FOLDER` writes Lean files.",
        markup=False,
        soft_wrap=True,
    )

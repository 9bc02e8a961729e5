"""What the command line says, and how its commands end: consoles, exit codes, the table of a search's figures."""

import json

from rich.console import Console
from rich.table import Table

from prover.json_types import JsonObject

TROUBLE, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit codes; `prover.cli` says what each means."""

ERR = Console(stderr=True, highlight=False, soft_wrap=True)
OUT = Console(highlight=False)


class UsageProblem(Exception):
    """Arguments or input that cannot be used; ends the command with exit code 2."""


def show_figures(figures: JsonObject, as_json: bool) -> None:
    """Print a search's figures as a table; with `as_json` on standard error, and as JSON on standard output."""
    table = Table(show_header=False, box=None)
    names = ("theorems", "proved", "claimed", "expansions", "tactics", "seconds", "mode", "output")
    for name in names:
        if name in figures:
            table.add_row(name, str(figures[name]))
    for budget, solved in figures["solved_by_budget"].items():
        table.add_row(f"proved within {budget} expansions", str(solved))
    for reason, count in figures["ended"].items():
        table.add_row(f"ended: {reason}", str(count))
    for name, count in figures["policy_counts"].items():
        if count:
            table.add_row(f"policy: {name.replace('_', ' ')}", str(count))
    for label, found in figures.get("label_noise", {}).items():
        words = f"{found['provable']} provable of {found['decided']} decided, of {found['states']} states"
        table.add_row(f"labelled {label}", words)
    (ERR if as_json else OUT).print(table)
    if as_json:
        print(json.dumps(figures), flush=True)

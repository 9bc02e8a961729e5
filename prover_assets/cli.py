"""Commands over iterations and their settings: `compare`, `clean-iterations`, `settings`. Heavy imports are inside."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from prover.cli_options import AsJson

if TYPE_CHECKING:
    from prover_assets.report.compare_runs import Side

BAD_INPUT = 2


def register(app: typer.Typer) -> None:
    """Add the commands of this package to `prover`."""
    app.command(name="compare")(compare)
    app.command(name="clean-iterations")(clean_iterations)
    app.command(name="settings")(settings)


def compare(
    runs: Annotated[list[str], typer.Argument(help="Iterations (iter_000) or MLflow run ids; one, or several.")],
    as_json: AsJson = False,
) -> None:
    """Print the comparison of a run's report; of several runs, also the last against the first, theorem by theorem."""
    from prover_assets.operate.shared import fetch_for_reading
    from prover_assets.report.compare_runs import CompareError, differing_settings, find_side, pair, remembered
    from prover_assets.report.tables import cost_line, paired_lines
    from prover_assets.store.layout import DataFolder

    data = DataFolder.default()
    try:
        fetch_for_reading(data)
        sides = [find_side(data, run) for run in runs]
        paired = [pair(sides[0], other) for other in sides[1:]]
    except (CompareError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(BAD_INPUT) from None
    for side in sides:
        _print_side(side)
    for other, found in zip(sides[1:], paired, strict=True):
        print(f"\n{other.key} against {sides[0].key}, guided search of the same held-out theorems:")
        for line in [*paired_lines(found), cost_line(found, remembered(sides[0], other, found["modes"]))]:
            print(f"  {line}")
        for name, first, second in differing_settings(sides[0], other):
            print(f"  {name}: {first} in {sides[0].key}, {second} in {other.key}")
    if as_json:
        reports = {side.key: side.report for side in sides}
        against = {other.key: found for other, found in zip(sides[1:], paired, strict=True)}
        print(json.dumps({"runs": reports, "against_first": against}, ensure_ascii=False))


def _print_side(side: "Side") -> None:
    from rich.console import Console

    from prover_assets.report.tables import memo_line, paired_lines, terminal_table

    report = side.report
    Console(highlight=False).print(terminal_table(side.key, report))
    for line in [*paired_lines(report["comparison"]), memo_line(report)]:
        print(f"  {line}")
    promotion = report["promotion"]
    print(f"  {report['ebm_id']} {'promoted' if promotion['promoted'] else 'not promoted'}: {promotion['reason']}")


def clean_iterations(
    keep: Annotated[int, typer.Option(min=1, help="Newest iterations that are left as they are.")] = 3,
    trajectories: Annotated[
        bool, typer.Option("--trajectories", help="Also remove trajectories: later models cannot learn from them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it, only say what would be removed.")] = False,
) -> None:
    """Free disk space: remove what old iterations no longer need. Reports, training data, and champions and tuned
    policies that are in use stay."""
    from prover_assets.operate.housekeeping import carry_out, plan
    from prover_assets.operate.shared import fetch_for_reading, shared
    from prover_assets.store.layout import DataFolder

    data = DataFolder.default()
    try:
        fetch_for_reading(data)
        chosen = plan(data, keep=keep, trajectories=trajectories)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(BAD_INPUT) from None
    for path, size in chosen:
        print(f"{size / 1e6:9.1f} MB  {path.relative_to(data.root)}")
    total = sum(size for _, size in chosen) / 1e6
    if not yes:
        print(f"{total:9.1f} MB in {len(chosen)} files and folders would be removed; --yes removes them")
        return
    with shared(data):
        carry_out(data, chosen)
    print(f"{total:9.1f} MB removed")


def settings() -> None:
    """Print every setting of a run configuration, with its default, unit and bounds, as Markdown (docs/settings.md)."""
    from prover_assets.operate.settings_tables import markdown

    print(markdown(), end="")

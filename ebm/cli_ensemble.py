"""`prover ensemble`: several trained heads as one. Heavy imports are inside."""

from pathlib import Path
from typing import Annotated

import typer

from prover.cli_output import UsageProblem


def ensemble(
    heads: Annotated[list[Path], typer.Argument(help="Checkpoints of heads, trained on vectors of one encoder.")],
    output: Annotated[Path, typer.Option(help="Folder of the new checkpoint.")],
    spread_bonus: Annotated[
        float,
        typer.Option(
            min=0.0, help="Deviations of the heads by which a state's energy is lowered: looks at the unsure."
        ),
    ] = 0.0,
) -> None:
    """Join trained heads into one energy, for --ebm-path; then let `prover calibrate` choose its order."""
    from ebm.ensemble import write_ensemble

    try:
        name = write_ensemble(heads, output, spread_bonus)
    except (OSError, ValueError) as error:
        raise UsageProblem(str(error)) from error
    print(f"{name}: {len(heads)} heads in {output}; now `prover calibrate --ebm-path {output} --trajectories FILES`")

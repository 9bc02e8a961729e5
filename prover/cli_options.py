"""Command-line options for settings: type, bounds, default and help as the dataclass declares them."""

from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

from prover.environments.settings import LeanSettings
from prover.settings import settings_of
from prover.theorem_files.settings import ReadingSettings


def option(owner: type, name: str, *flags: str, default: str = "") -> OptionInfo:
    """An option for the setting `name` of a settings dataclass, for `Annotated[TYPE | None, option(...)] = None`.

    flags: names of the option, where it is not called as the setting is. The option's own default is None, so that a
    file of settings is overridden only by what was given; the help shows the default of the setting, or `default` where
    the command line has another one.
    """
    declared = settings_of(owner)[name]
    limits = declared.limits
    bounded = declared.type in (int, float)
    choices = f" One of {', '.join(limits.choices)}." if limits.choices else ""
    shown = default or ("" if declared.default == "" else declared.shown_default())
    made = typer.Option(
        *flags,
        help=f"{declared.described()}{choices}" + (f" [default: {shown}]" if shown else ""),
        min=limits.ge if bounded else None,
        max=limits.le if bounded else None,
    )
    assert isinstance(made, OptionInfo)  # `Option` is typed for use as a default value
    return made


def given(**values: object) -> dict[str, object]:
    """The options that were given, by the name of the setting."""
    return {name: value for name, value in values.items() if value is not None}


Format = Annotated[str | None, option(ReadingSettings, "format", "--format")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, last on standard output.")]
Split = Annotated[str | None, typer.Option(help="Only this split of the theorem set.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N theorems.")]
ProofFile = Annotated[str, typer.Argument(help="Trajectory file, or JSON / JSONL of theorems with a `proof` each.")]
SkipInvalid = Annotated[bool, option(ReadingSettings, "skip_invalid", "--skip-invalid")]
Lean = Annotated[str | None, option(LeanSettings, "kind", "--lean", default="embedded, or project with --lean-project")]
LeanProject = Annotated[Path | None, option(LeanSettings, "lean_project", "--lean-project")]
LeanWorkers = Annotated[int | None, option(LeanSettings, "workers", "--lean-workers")]

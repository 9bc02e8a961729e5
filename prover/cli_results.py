"""`prover summary`, `certify` and `export-proofs`: what a search left, summed up, checked again and written as Lean."""

import json
from pathlib import Path
from typing import Annotated

import typer

from prover.cli_open import open_lean
from prover.cli_options import AsJson, Format, Lean, LeanProject, LeanWorkers, ProofFile
from prover.cli_output import ERR, TROUBLE, UsageProblem, show_figures
from prover.storage import on_disk, published


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(summary)
    app.command()(certify)
    app.command("export-proofs")(export)


def summary(
    files: Annotated[list[str], typer.Argument(help="Trajectory files, folders or globs.")],
    noise: Annotated[
        bool, typer.Option("--noise", help="Decide how many propositional states of each label are provable.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sum up trajectory files: proved, budget curve, labels, time."""
    from prover.policy import PolicyCounters
    from prover.trajectory import label_noise, merge_labels, read_trajectories, summarize

    figures = summarize(files)
    warnings = PolicyCounters.from_dict(figures["policy_counts"]).warnings()
    shown = {**figures, "policy_warnings": warnings}
    if noise:
        found = label_noise(merge_labels(read_trajectories(files)))
        shown["label_noise"] = {entry.label: entry.to_dict() for entry in found}
    for sentence in warnings:
        ERR.print(f"Warning: {sentence}", markup=False)
    show_figures(shown, as_json)


def certify(
    file: ProofFile,
    layout: Format = None,
    checker: Annotated[
        Path | None, typer.Option(help="Program for a second opinion, run on each proof's lean4export text.")
    ] = None,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Second opinion of Lean's kernel alone, from an empty environment.")
    ] = False,
    lean: Lean = None,
    lean_project: LeanProject = None,
    lean_workers: LeanWorkers = None,
    as_json: AsJson = False,
) -> None:
    """Check proofs again: each whole, against its statement, in a fresh Lean. Exit code 1 if one does not hold."""
    from prover.certificates import Opinions, opinions_on
    from prover.proofs import failures, read_claims

    claims = read_claims(on_disk(file), layout)
    with open_lean(lean, lean_project, lean_workers) as environment:
        certificates = environment.certify(claims)
        asked = recheck or checker is not None
        opinions = opinions_on(certificates, environment, checker) if asked else Opinions()
    failed = failures(certificates) | opinions.refused(certificates)
    for name, reason in failed.items():
        ERR.print(f"{name}: {reason}", markup=False)
    for index, reason in opinions.missing.items():
        ERR.print(f"{certificates[index].claim.theorem.name}: no second opinion: {reason}", markup=False)
    figures: dict[str, object] = {"claims": len(claims), "certified": len(claims) - len(failed), "failed": failed}
    if asked:
        figures["second_opinions"] = len(opinions.given)
    print(json.dumps(figures) if as_json else f"{figures['certified']} of {figures['claims']} proofs certified")
    if failed or opinions.missing:
        raise typer.Exit(TROUBLE)


def export(
    file: ProofFile,
    output: Annotated[str, typer.Option(help="Folder for the Lean files, one per theorem, and their certificates.")],
    checker: Annotated[
        Path | None, typer.Option(help="Program for a second opinion. [default: Lean's kernel, from an empty start]")
    ] = None,
    no_recheck: Annotated[bool, typer.Option("--no-recheck", help="Ask for no second opinion (faster).")] = False,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Put the prelude into every file, below the proof, not beside them.")
    ] = False,
    lean: Lean = None,
    lean_project: LeanProject = None,
    lean_workers: LeanWorkers = None,
    as_json: AsJson = False,
) -> None:
    """Write proofs as Lean files with certificates, each once it is certified again. Exit code 1 if one does not hold.

    CHECK.md in the folder says how a plain Lean checks all of them.
    """
    from prover.certificates import export_folder
    from prover.proofs import read_claims

    claims = read_claims(on_disk(file))
    with published(output) as place, open_lean(lean, lean_project, lean_workers) as environment:
        certificates = environment.certify(claims)  # files may have been edited
        try:
            done = export_folder(
                certificates, place.path, environment, checker=checker, recheck=not no_recheck, single_file=single_file
            )
        except OSError as error:
            raise UsageProblem(f"cannot write in {output}: {error.strerror or error}") from error
    for name, reason in done.failed.items():
        ERR.print(f"{name}: not written, it does not hold: {reason}", markup=False)
    for index, reason in done.opinions.missing.items():
        ERR.print(f"{certificates[index].claim.theorem.name}: no second opinion: {reason}", markup=False)
    figures = {
        "proofs": len(done.files),
        "output": output,
        "files": [path.name for path in done.files],
        "certificates": [path.name for path in done.certificates],
        "second_opinions": len(done.opinions.given),
        "failed": done.failed,
    }
    print(json.dumps(figures) if as_json else f"{len(done.files)} Lean files in {output}")
    if done.failed or (checker is not None and done.opinions.missing):
        raise typer.Exit(TROUBLE)

"""Runs side by side: what `prover compare` finds out."""

from collections.abc import Iterable
from dataclasses import dataclass

from prover.evaluation.records import ComparisonRecord
from prover.json_types import JsonObject
from prover_assets.report.facts import read
from prover_assets.report.record import Report, read_report
from prover_assets.steps.compare import MemoRecord
from prover_assets.store.files import read_json
from prover_assets.store.iterations import in_order
from prover_assets.store.layout import DataFolder, IterationFolder, SearchFiles
from prover_assets.store.manifest import read_manifest


class CompareError(ValueError):
    """A run that cannot be compared; the message says why and what there is."""


@dataclass(frozen=True, slots=True)
class Side:
    """A finished iteration."""

    iteration: IterationFolder
    report: Report

    @property
    def key(self) -> str:
        """Key of the iteration."""
        return self.iteration.key


def find_side(data: DataFolder, run: str) -> Side:
    """An iteration by its key, or by the id of its MLflow run. Raises CompareError."""
    finished = [folder for folder in data.iterations() if folder.report_file.exists()]
    for folder in finished:
        report = read_report(folder)
        assert report is not None, "the file is there"
        if run in (folder.key, report["mlflow_run"]):
            return Side(folder, report)
    known = ", ".join(folder.key for folder in finished) or "none yet"
    if in_order([run]):
        raise CompareError(f"{run} has no report in {data.root}; finished iterations: {known}")
    raise CompareError(
        f"{run} is neither an iteration nor the MLflow run of a report in {data.root} (a report that is made again "
        f"belongs to its newest run); finished iterations: {known}"
    )


def pair(first: Side, second: Side) -> ComparisonRecord:
    """The guided searches of two iterations, theorem by theorem. Raises CompareError where they are not comparable."""
    from prover.evaluation.comparison import EvaluationError, compare_runs

    budgets = sorted(set(first.report["comparison"]["budgets"]) & set(second.report["comparison"]["budgets"]))
    if len(budgets) < 2:
        raise CompareError(f"{first.key} and {second.key} have fewer than two budgets in common; report them again")
    for side in (first, second):
        if not side.iteration.guided.summary.exists():
            raise CompareError(f"the guided search of {side.key} was removed: its report can still be read on its own")
    try:
        found = compare_runs(
            first.iteration.guided.nodes,
            second.iteration.guided.nodes,
            budgets,
            names=(first.key, second.key) if first.key != second.key else (first.key, f"{second.key} again"),
        )
    except (EvaluationError, ValueError) as error:
        raise CompareError(f"{first.key} and {second.key} cannot be compared: {error}") from error
    return found.to_dict()


def remembered(first: Side, second: Side, names: Iterable[str]) -> dict[str, MemoRecord]:
    """States whose candidates the guided searches found in the memo, and had to ask for, by the names given to them."""
    found: dict[str, MemoRecord] = {}
    for name, side in zip(names, (first, second), strict=True):
        manifest = read_manifest(side.iteration.guided)
        known, asked = (0, 0) if manifest is None else (manifest.candidates_known, manifest.candidates_asked)
        found[name] = {"known": known, "asked": asked}
    return found


def differing_settings(first: Side, second: Side) -> list[tuple[str, object, object]]:
    """(name, in the first, in the second) of the settings that differ, of searches and training.

    Sets of theorems have no setting that tells them apart here, so they are compared by what is in them.
    """
    left, right = _settings(first.iteration), _settings(second.iteration)
    differing = [
        (name, left.get(name, "unset"), right.get(name, "unset"))
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]
    return differing + [
        (f"{what} theorems", *words)
        for what, files in (
            ("training", (first.iteration.trajectories, second.iteration.trajectories)),
            ("held-out", (first.iteration.guided, second.iteration.guided)),
        )
        if (words := _theorems_in_words(*files)) is not None
    ]


def _theorems_in_words(first: SearchFiles, second: SearchFiles) -> tuple[str, str] | None:
    """How many theorems each search had, and how many of them the other had too; None where they are the same."""
    if not (first.summary.exists() and second.summary.exists()):
        return None
    left, right = (
        {(*row,) for row in read(files.summary).select("theorem_name", "statement").iter_rows()}
        for files in (first, second)
    )
    if left == right:
        return None
    common = len(left & right)
    return f"{len(left)}, {common} of them in both", f"{len(right)}, {common} of them in both"


def _settings(iteration: IterationFolder) -> dict[str, object]:
    found: dict[str, object] = {}
    for prefix, files in (("trajectories", iteration.trajectories), ("guided", iteration.guided)):
        manifest = read_json(files.manifest) or {}
        found |= {f"{prefix}.{name}": value for name, value in manifest.get("settings", {}).items()}
        found |= {f"{prefix}.{name}": manifest.get(name) for name in ("policy_id", "environment")}
    checkpoint: JsonObject = read_json(iteration.checkpoint / "config.json") or {}
    training = checkpoint.get("training", {}).get("config", {})
    return found | {f"training.{name}": value for name, value in training.items()}

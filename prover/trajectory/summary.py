"""What searches came to: counts, the solve curve, labels, time."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TypedDict

import polars as pl
import pyarrow.parquet as pq

from prover.evaluation.budgets import budgets_up_to
from prover.evaluation.statistics import solved_by_budget
from prover.trajectory.reader import Paths, find_files, read_summaries, read_trajectories
from prover.trajectory.schema import footer_counts, sibling_path


class SummaryFigures(TypedDict):
    """What the summary rows of searches come to, as plain values for JSON."""

    theorems: int
    proved: int
    """Theorems with a certified proof."""
    claimed: int
    """Theorems with a claim, certified or not."""
    expansions: int
    tactics: int
    seconds: float
    """The sum of the theorems' model, Lean and own time."""
    model_seconds: float
    lean_seconds: float
    nodes: int
    ended: dict[str, int]
    """Reason -> theorems."""
    solved_by_budget: dict[int, int]
    """Expansions -> theorems proved within them, up to the largest budget searched."""
    median_expansions_to_proof: float | None
    refused: list[str]
    """Names of theorems that were refused before Lean was asked."""
    invalid: list[str]
    """Names of theorems that Lean did not accept."""


class FileFigures(SummaryFigures):
    """The same with what the node files and their footers add."""

    labels: dict[str, int]
    """Label -> nodes."""
    policy_counts: dict[str, int]
    """What happened to the policy's inputs and outputs, by the names of `prover.policy.PolicyCounters`; empty where no
    file says."""
    files: list[str]


def summarize(paths: Paths) -> FileFigures:
    """Figures over all searches in the files.

    Node files without a summary file contribute theorems, proved, nodes and labels.
    """
    files = find_files(paths)
    nodes = read_trajectories(files, ["search_id", "theorem_name", "is_proof_complete", "label"])
    summaries = read_summaries(files)
    with_summary = summaries.select("search_id", "theorem_name").unique()
    others = nodes.join(with_summary, on=["search_id", "theorem_name"], how="anti")
    other_theorems = others.group_by("search_id", "theorem_name").agg(pl.col("is_proof_complete").any())
    other_proved = int(other_theorems["is_proof_complete"].sum())

    figures = summarize_frame(summaries)
    figures["theorems"] += len(other_theorems)
    figures["proved"] += other_proved
    figures["claimed"] += other_proved
    figures["nodes"] = len(nodes)
    return {
        **figures,
        "labels": counts(nodes["label"]),
        "policy_counts": _policy_counts(files),
        "files": [str(file) for file in files],
    }


def _policy_counts(files: Sequence[Path]) -> dict[str, int]:
    """Summed over all searches in the files and over the calls of each."""
    total: Counter[str] = Counter()
    for file in files:
        summary = sibling_path(file, "summary")
        if summary.exists():
            for call in footer_counts(pq.read_schema(summary)):
                total.update(call)
    return dict(total)


_REFUSED = (pl.col("ended") == "invalid") & pl.col("reason").str.starts_with("refused: ")


def summarize_frame(summaries: pl.DataFrame) -> SummaryFigures:
    """The part of `summarize` that summary rows alone can tell."""
    milliseconds = summaries.select("model_ms", "lean_ms", "own_ms").sum()
    model_ms, lean_ms, own_ms = milliseconds.row(0)
    to_proof = summaries["expansions_to_proof"].drop_nulls()
    largest = _as_int(summaries["max_expansions"].max())
    return {
        "theorems": len(summaries),
        "proved": int(summaries["certified"].sum()),
        "claimed": int(summaries["claimed"].sum()),
        "expansions": int(summaries["expansions"].sum()),
        "tactics": int(summaries["tactics"].sum()),
        "seconds": round((model_ms + lean_ms + own_ms) / 1000, 3),
        "model_seconds": round(model_ms / 1000, 3),
        "lean_seconds": round(lean_ms / 1000, 3),
        "nodes": int(summaries["nodes"].sum()),
        "ended": counts(summaries["ended"]),
        "solved_by_budget": solved_by_budget(dict(enumerate(to_proof)), budgets_up_to(largest)),
        "median_expansions_to_proof": float(median(to_proof.to_list())) if len(to_proof) else None,
        "refused": summaries.filter(_REFUSED)["theorem_name"].to_list(),
        "invalid": summaries.filter((pl.col("ended") == "invalid") & ~_REFUSED)["theorem_name"].to_list(),
    }


def counts(column: pl.Series) -> dict[str, int]:
    """How often each value stands in a column of words."""
    return dict(sorted(column.value_counts().iter_rows()))


def _as_int(value: object) -> int:
    return value if isinstance(value, int) else 0

"""Trajectory files: what every search leaves, and how it is read, labelled and summed up."""

from prover.trajectory.labels import LabelNoise, NodeLabel, count_rules, label_noise, label_search, merge_labels
from prover.trajectory.reader import TrajectoryError, find_files, read_attempts, read_summaries, read_trajectories
from prover.trajectory.schema import (
    INTERCHANGE_COLUMNS,
    NODE_SCHEMA,
    AttemptRecord,
    SummaryRecord,
    TheoremRows,
    TrajectoryRecord,
)
from prover.trajectory.summary import solved_by_budget, summarize
from prover.trajectory.writer import OutputError, TrajectoryWriter, WriteFailed

__all__ = [
    "INTERCHANGE_COLUMNS",
    "NODE_SCHEMA",
    "AttemptRecord",
    "LabelNoise",
    "NodeLabel",
    "OutputError",
    "SummaryRecord",
    "TheoremRows",
    "TrajectoryError",
    "TrajectoryRecord",
    "TrajectoryWriter",
    "WriteFailed",
    "count_rules",
    "find_files",
    "label_noise",
    "label_search",
    "merge_labels",
    "read_attempts",
    "read_summaries",
    "read_trajectories",
    "solved_by_budget",
    "summarize",
]

"""Proofs and traces of others: read into trajectory files, replayed by Lean, mined for negatives, written out again.

A *trace* is a proof as (state, tactic, next state) steps. Traces of others are material to learn from, not proofs: only
what our own Lean has certified counts as proved.
"""

from prover.traces.imports import FORMATS, ImportReport, TraceFileError, import_traces
from prover.traces.model import Step, Trace

__all__ = ["FORMATS", "ImportReport", "Step", "Trace", "TraceFileError", "import_traces"]

"""`prover import-traces`: files of traces and proofs, read into trajectory files."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from prover.environments.base import ProofEnvironment
from prover.json_types import JsonObject
from prover.theorems import Problem, TheoremFileError, describe, read_entries
from prover.traces.entries import TraceFileError, file_digest, raw_entries
from prover.traces.model import Trace, TraceError
from prover.traces.readers import READERS, guess_format, lean_github
from prover.traces.replay import WAVE, NotReplayed, ReplayCounts, WholeProof, replay
from prover.traces.rows import trace_rows
from prover.trajectory.writer import TrajectoryWriter

FORMATS = ("leandojo", "lean-github", "leantree", "nanoproof", "proofs")
"""Layouts of `import-traces`. `proofs`: theorem files with whole proofs, replayed by Lean."""

PROOF_FIELDS = ("proof", "tactics", "full_proof", "formal_proof", "lean4_proof")
"""Fields of a theorem file that hold a whole proof, in the order in which they are looked for."""

_BATCH = 512  # traces per part file


@dataclass(slots=True)
class ImportReport:
    """What an import came to. `to_dict` is what `--json` prints."""

    format: str
    output: str
    entries: int = 0
    traces: int = 0
    steps: int = 0
    states: int = 0
    complete: int = 0
    """Traces that reach the end of their proof."""
    certified: int = 0
    """Those whose proof our own Lean has certified (format `proofs`)."""
    without_trace: int = 0
    """Entries with nothing to learn from: no tactic in them, or an attempt that failed."""
    renamed: int = 0
    """Traces whose name another one has: they are kept as `NAME~2`, `NAME~3`, ..."""
    blocks: int = 0
    whole_blocks: int = 0
    invalid: list[Problem] = field(default_factory=list)
    """Rows that are not in the layout, skipped with `skip_invalid`."""
    refused: list[Problem] = field(default_factory=list)
    """Proofs that Lean does not take, or that cannot be split."""
    lost: list[Problem] = field(default_factory=list)
    """Proofs on which Lean crashed or ran out of time."""

    def to_dict(self) -> dict[str, object]:
        """What `--json` prints."""
        return asdict(self)


def import_traces(
    source: str | Path,
    output: str | Path,
    *,
    format: str | None = None,
    skip_invalid: bool = False,
    environment: ProofEnvironment | None = None,
) -> ImportReport:
    """Read the traces in a file into `output` (`X.parquet`, with its two companions).

    format: one of `FORMATS`; None guesses it by the fields of the first entry. environment: needed by `proofs`.
    skip_invalid: leave out what is not in the layout, and list it in the report; else the first faults are raised,
    and nothing is written. Raises `TraceFileError`, `TheoremFileError` and `OutputError`.
    """
    path = Path(source)
    if not path.is_file():
        raise TraceFileError(f"no file {str(path)!r}")
    chosen = format or guess_layout(path)
    if chosen not in FORMATS:
        raise TraceFileError(f"unknown format {chosen!r}: expected one of {', '.join(FORMATS)}")
    report = ImportReport(chosen, str(output))
    if chosen == "proofs":
        if environment is None:
            raise TraceFileError("whole proofs are replayed by Lean: an environment is needed")
        proofs, report.invalid = read_proofs(path, skip_invalid=skip_invalid)
        report.entries = len(proofs) + len(report.invalid)
        traces: Iterable[Trace] = _replayed(proofs, environment, path, report)
        name = environment.name
        identity = (file_digest(path), environment.fingerprint)
    else:
        if not skip_invalid:
            _require_valid(path, chosen)
        traces = _read(path, chosen, report)
        name = ""
        identity = (file_digest(path), chosen)
    search_id = "import:" + hashlib.blake2b(repr(identity).encode(), digest_size=8).hexdigest()
    _write(traces, Path(output), search_id, name, path, report)
    return report


def guess_layout(path: Path) -> str:
    """The format of a file, by the fields of its first entry. Raises `TraceFileError`."""
    if not path.is_file():
        raise TraceFileError(f"no file {str(path)!r}")
    for _, entry in raw_entries(path):
        found = guess_format(entry)
        if found is not None:
            return found
        if isinstance(entry, dict) and any(entry.get(field) is not None for field in PROOF_FIELDS):
            return "proofs"
        fields = ", ".join(sorted(map(str, entry))[:12]) if isinstance(entry, dict) else type(entry).__name__
        raise TraceFileError(
            f"{path}: cannot tell its layout from the first entry ({fields}); give --format, "
            f"one of {', '.join(FORMATS)}"
        )
    raise TraceFileError(f"{path}: has no entries")


# -- traces -----------------------------------------------------------------------------------------------------------


def _outcomes(path: Path, chosen: str) -> Iterator[tuple[int, list[Trace] | TraceError]]:
    """(line or row, its traces or what is wrong with it) of each entry."""
    entries = raw_entries(path)
    if chosen == "lean-github":
        yield from lean_github((line, entry if isinstance(entry, dict) else {}) for line, entry in entries)
        return
    read = READERS[chosen]
    for line, entry in entries:
        try:
            if not isinstance(entry, dict):
                raise TraceError(None, f"is a JSON {type(entry).__name__}; expected an object")
            yield line, read(entry)
        except TraceError as error:
            yield line, error


def _require_valid(path: Path, chosen: str) -> None:
    problems = [_problem(path, line, error) for line, error in _outcomes(path, chosen) if isinstance(error, TraceError)]
    if problems:
        raise TraceFileError(f"{describe(problems)}\n--skip-invalid leaves such entries out")


def _read(path: Path, chosen: str, report: ImportReport) -> Iterator[Trace]:
    for line, outcome in _outcomes(path, chosen):
        report.entries += 1
        if isinstance(outcome, TraceError):
            report.invalid.append(_problem(path, line, outcome))
        elif not outcome:
            report.without_trace += 1
        else:
            yield from outcome


def _problem(path: Path, line: int | None, error: TraceError) -> Problem:
    return Problem(str(path), line, error.field, error.message)


# -- whole proofs -----------------------------------------------------------------------------------------------------


def read_proofs(path: Path, *, skip_invalid: bool = False) -> tuple[list[WholeProof], list[Problem]]:
    """(proofs, invalid entries) of a theorem file whose entries have a proof too, in order.

    Raises `TraceFileError` with every fault, unless `skip_invalid`.
    """
    proofs: list[WholeProof] = []
    problems: list[Problem] = []
    try:
        for line, entry, theorem in read_entries(path):
            try:
                proofs.append(WholeProof(replace(theorem, split=None), _proof_of(entry), line))
            except TraceError as error:
                problems.append(_problem(path, line, error))
    except TheoremFileError as error:
        problems = [*error.problems, *problems]
    if problems and not skip_invalid:
        raise TraceFileError(f"{describe(problems)}\n--skip-invalid leaves such entries out")
    return proofs, problems


def _proof_of(entry: JsonObject) -> str | tuple[str, ...]:
    name = next((name for name in PROOF_FIELDS if entry.get(name) is not None), None)
    if name is None:
        raise TraceError("proof", f"is missing; expected a proof in one of {', '.join(PROOF_FIELDS)}")
    value = entry[name]
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(isinstance(tactic, str) and tactic.strip() for tactic in value):
        return tuple(value)
    raise TraceError(name, f"is {value!r:.60}; expected a list of tactics or one text")


def _replayed(
    proofs: list[WholeProof], environment: ProofEnvironment, path: Path, report: ImportReport
) -> Iterator[Trace]:
    for first in range(0, len(proofs), WAVE):
        counts = ReplayCounts()
        for answer in replay(proofs[first : first + WAVE], environment, counts):
            if isinstance(answer, NotReplayed):
                problem = Problem(str(path), answer.line, None, f"{answer.theorem.name}: {answer.message}")
                (report.lost if answer.lost else report.refused).append(problem)
            else:
                yield answer
        report.blocks += counts.blocks
        report.whole_blocks += counts.whole_blocks


# -- writing ----------------------------------------------------------------------------------------------------------


def _write(
    traces: Iterable[Trace], output: Path, search_id: str, environment: str, source: Path, report: ImportReport
) -> None:
    now = int(time.time() * 1000)
    taken: dict[str, int] = {}
    metadata = {"source": source.name, "format": report.format}
    with TrajectoryWriter(output, search_id=search_id, metadata=metadata, batch=_BATCH) as writer:
        for trace in traces:
            trace = _distinct(trace, taken, report)
            rows = trace_rows(trace, search_id=search_id, environment=environment, source=source.name, timestamp_ms=now)
            writer.add(rows)
            report.traces += 1
            report.steps += len(rows.attempts)
            report.states += len(rows.nodes)
            report.complete += int(rows.summary.claimed)
            report.certified += int(trace.certified)
        writer.finish()


def _distinct(trace: Trace, taken: dict[str, int], report: ImportReport) -> Trace:
    """The trace under a name that no other has."""
    taken[trace.name] = number = taken.get(trace.name, 0) + 1
    if number == 1:
        return trace
    report.renamed += 1
    name = f"{trace.name}~{number}"
    taken[name] = 1
    return replace(trace, name=name)

"""`prover lint-theorems`: every check over a theorem file."""

from collections.abc import Sequence
from pathlib import Path

from prover.environments.base import ProofEnvironment
from prover.json_types import JsonObject
from prover.lint.findings import Finding, LintReport
from prover.lint.lean_checks import available, check_by_lean
from prover.lint.text_checks import count_sorries, lint_text
from prover.theorem_files.layouts import FROM_STATES, layout_named
from prover.theorems import Reading, Theorem, TheoremFileError, TheoremSet

DEFAULT_TACTICS = ("simp", "decide", "omega", "trivial")
"""The cheap tactics. Those that a Lean does not have are left out, and the report lists the rest."""

_STATEMENT_FIELDS = (
    "statement", "formal_statement", "lean4_statement", "lean4_formalization", "autoformalization",
    "refined_statement", "source", "full_proof",
)  # fmt: skip


def lint_theorems(
    source: str | Path,
    *,
    environment: ProofEnvironment | None = None,
    tactics: Sequence[str] = DEFAULT_TACTICS,
    split: str | None = None,
    layout: str | None = None,
) -> tuple[LintReport, dict[Theorem, str]]:
    """(report, theorem -> "" where Lean accepts it, else why not) of a theorem file, or of a built-in set.

    environment: None leaves out all checks that ask Lean. tactics: see `DEFAULT_TACTICS`; an empty list asks Lean for
    no more than whether statements elaborate. layout: of `prover.theorem_files.layouts`; None guesses it. Entries that
    cannot be read are findings, not errors.
    Raises OSError, ValueError (no such split), TheoremFileError where not one entry can be read.
    """
    path = Path(source)
    theorems: list[Theorem] = []
    lines: list[int | None] = []
    findings: list[Finding] = []
    if path.is_file():
        reading = Reading(path, layout_named(layout) if layout else None, skip_invalid=False)
        try:
            for line, entry, theorem in reading:
                if split is not None and theorem.split != split:
                    continue
                theorems.append(theorem)
                lines.append(line)
                findings += _sorries(entry, theorem, line)
        except TheoremFileError as error:
            if not theorems and not any(problem.line for problem in error.problems):
                raise
            for problem in error.problems:
                field = f"{problem.field}: " if problem.field else ""
                check = "two-sorries" if "sorr" in problem.message else "unreadable"
                findings.append(Finding("", check, f"{field}{problem.message}", problem.line))
        from_states = layout_named(reading.layout_name).from_state
    else:
        loaded = TheoremSet.load(source, split=split, layout=layout)
        theorems, from_states = list(loaded), loaded.from_states
        lines = [None] * len(theorems)
    if from_states:
        findings.append(Finding("", "from-states", FROM_STATES))
    return lint(str(source), theorems, lines, findings, environment=environment, tactics=tactics)


def lint(
    source: str,
    theorems: Sequence[Theorem],
    lines: Sequence[int | None],
    findings: Sequence[Finding] = (),
    *,
    environment: ProofEnvironment | None = None,
    tactics: Sequence[str] = DEFAULT_TACTICS,
) -> tuple[LintReport, dict[Theorem, str]]:
    """The checks over theorems that have been read. findings: what reading them found."""
    report = lint_text(source, theorems, lines)
    report.findings += findings
    verdicts: dict[Theorem, str] = {}
    if environment is not None:
        report.lean = environment.name
        report.tactics = available(environment, tactics) if tactics else []
        more, verdicts = check_by_lean(theorems, lines, environment, report.tactics)
        report.findings += more
    report.sort([theorem.name for theorem in theorems])
    return report, verdicts


def _sorries(entry: JsonObject, theorem: Theorem, line: int) -> list[Finding]:
    texts = [entry[field] for field in _STATEMENT_FIELDS if isinstance(entry.get(field), str)]
    counted = max((count_sorries(text) for text in texts), default=0)
    return [Finding(theorem.name, "two-sorries", f"{counted} times", line)] if counted > 1 else []

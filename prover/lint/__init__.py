"""What is wrong with the statements of a theorem set: checks of the text, checks by Lean, a whitelist for search."""

from prover.lint.findings import CHECKS, Finding, LintReport
from prover.lint.run import DEFAULT_TACTICS, lint_theorems

__all__ = ["CHECKS", "DEFAULT_TACTICS", "Finding", "LintReport", "lint_theorems"]

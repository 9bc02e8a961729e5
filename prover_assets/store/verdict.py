"""The verdict on a checkpoint, kept beside it: a failed check blocks its own run only, a file blocks every consumer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from prover.json_types import JsonObject
from prover_assets.store.files import read_json, write_json
from prover_assets.store.layout import IterationFolder


class RefusedCheckpoint(ValueError):
    """A checkpoint without a verdict, or with a bad one. The message says which check failed, and what to do."""


class CheckOutcome(Protocol):
    """How a check of a checkpoint ended. Dagster's check results fit."""

    @property
    def check_name(self) -> str | None:
        """Name of the check."""
        ...

    @property
    def passed(self) -> bool:
        """Whether it passed."""
        ...

    @property
    def description(self) -> str | None:
        """What it measured."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a checkpoint may be used. `failures`: the blocking checks that failed, each with its reason."""

    passed: bool
    ebm_id: str
    failures: tuple[str, ...]
    warnings: tuple[str, ...]


def judge(ebm_id: str, checks: Sequence[CheckOutcome], blocking: frozenset[str]) -> Verdict:
    """The verdict that check results amount to; `blocking`: the names of the checks that must pass."""
    failed = [check for check in checks if not check.passed]
    return Verdict(
        passed=not any(check.check_name in blocking for check in failed),
        ebm_id=ebm_id,
        failures=tuple(f"{c.check_name}: {c.description}" for c in failed if c.check_name in blocking),
        warnings=tuple(f"{c.check_name}: {c.description}" for c in failed if c.check_name not in blocking),
    )


def write_verdict(path: Path, verdict: Verdict) -> None:
    """Write the verdict beside the checkpoint."""
    write_json(path, asdict(verdict))


def read_verdict(path: Path) -> Verdict | None:
    """The verdict in a file, None where there is none. Raises ValueError for a file that is no verdict."""
    content: JsonObject | None = read_json(path)
    if content is None:
        return None
    try:
        return Verdict(
            passed=content["passed"] is True,
            ebm_id=content["ebm_id"],
            failures=tuple(content["failures"]),
            warnings=tuple(content["warnings"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no verdict on a checkpoint ({error}); materialize ebm_checkpoint again") from error


def require_passed(iteration: IterationFolder) -> Verdict:
    """The verdict on an iteration's checkpoint. Raises RefusedCheckpoint unless it passed."""
    verdict = read_verdict(iteration.verdict)
    if verdict is None:
        raise RefusedCheckpoint(
            f"the checkpoint of {iteration.key} has no verdict: its training did not end. "
            f"Materialize ebm_checkpoint for {iteration.key} first."
        )
    if not verdict.passed:
        raise RefusedCheckpoint(
            f"the checkpoint of {iteration.key} failed its checks and is not used: {'; '.join(verdict.failures)}. "
            "Mend the cause (more theorems, more steps, another learning rate) and materialize ebm_checkpoint again."
        )
    return verdict

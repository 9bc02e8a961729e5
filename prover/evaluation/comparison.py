"""Two searches of the same theorems, read off their files and compared."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from prover.evaluation.budgets import EVALUATION_BUDGET, MAX_CRASHED_SHARE, budgets_up_to
from prover.evaluation.records import ComparisonRecord, GroupRecord, ModeRecord
from prover.evaluation.statistics import (
    Expansions,
    PairedTest,
    area_under_solve_curve,
    paired_test,
    solved_by_budget,
    wilson_interval,
)
from prover.search.modes import CALIBRATED, POLICY_MEAN
from prover.trajectory import read_summaries

DEFAULT_BUDGETS: tuple[int, ...] = tuple(budgets_up_to(EVALUATION_BUDGET))


class EvaluationError(ValueError):
    """The searches cannot be compared; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What a search asked for, whoever answered: what the memo knew is counted as if it had been computed."""

    lean: int
    """Tactics tried, statements opened and proofs certified."""
    policy: int
    """States that candidates were asked for."""
    encoder: int
    """States that were scored, so that they had to be encoded; 0 for orders that read no energy."""

    @classmethod
    def of(cls, summaries: pl.DataFrame) -> "Calls":
        """From summary rows."""
        total = {name: int(summaries[name].sum()) for name in ("tactics", "claims", "expansions")}
        scored = summaries.filter(pl.col("ebm_id").is_not_null())
        return cls(
            lean=total["tactics"] + total["claims"] + len(summaries),
            policy=total["expansions"],
            encoder=int(scored["nodes"].sum()) - int(scored["claims"].sum()),
        )


@dataclass(frozen=True, slots=True)
class ModeResult:
    """One search of the theorems: counts by budget, the area under the solve curve, time, why searches ended."""

    name: str
    expansions: Expansions
    solved: dict[int, int]
    intervals: dict[int, tuple[float, float]]
    """95% Wilson interval of the solve rate at each budget."""
    area: float
    """Mean solve rate over log2 budget, from the first budget to the last."""
    seconds: float
    """Wall seconds of the search as it ran. What an earlier search had put into the memo cost it nothing."""
    ended: dict[str, int]
    claimed_not_certified: int
    calls: Calls

    @property
    def theorems(self) -> int:
        """How many theorems were searched."""
        return len(self.expansions)

    def to_dict(self) -> ModeRecord:
        """Plain values for JSON."""
        return {
            "solved": {str(budget): count for budget, count in self.solved.items()},
            "rate": {str(budget): count / max(1, self.theorems) for budget, count in self.solved.items()},
            "interval": {str(budget): list(interval) for budget, interval in self.intervals.items()},
            "area": self.area,
            "seconds": self.seconds,
            "calls": {"lean": self.calls.lean, "policy": self.calls.policy, "encoder": self.calls.encoder},
            "ended": self.ended,
            "claimed_not_certified": self.claimed_not_certified,
        }


def mode_result(
    name: str, summaries: pl.DataFrame, budgets: Sequence[int], *, seconds: float | None = None
) -> ModeResult:
    """Read one search off its summary rows. Theorems that Lean does not accept as statements are left out.

    seconds: wall time of the search; without it, the theorems' shares of model, Lean and own time are added up.
    """
    valid = summaries.filter(pl.col("ended") != "invalid")
    expansions: dict[str, int | None] = dict(valid.select("theorem_name", "expansions_to_proof").iter_rows())
    solved = solved_by_budget(expansions, budgets)
    if seconds is None:
        seconds = float(valid.select(pl.sum_horizontal("model_ms", "lean_ms", "own_ms").sum()).item() or 0.0) / 1000
    return ModeResult(
        name=name,
        expansions=expansions,
        solved=solved,
        intervals={budget: wilson_interval(count, len(expansions)) for budget, count in solved.items()},
        area=area_under_solve_curve(expansions, lowest=min(budgets), highest=max(budgets)),
        seconds=seconds,
        ended={str(key): int(count) for key, count in valid["ended"].value_counts().sort("ended").iter_rows()},
        claimed_not_certified=int(valid.select((pl.col("claimed") & ~pl.col("proved")).sum()).item()),
        calls=Calls.of(valid),
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two searches of the same theorems with the same budget: `second` against `first`."""

    first: ModeResult
    second: ModeResult
    budgets: tuple[int, ...]
    paired: PairedTest
    crashed: tuple[str, ...] = ()
    """Theorems left out, because Lean crashed in one of the two searches: that says nothing of the search order."""

    def to_dict(self) -> ComparisonRecord:
        """Plain values for JSON."""
        return {
            "theorems": self.first.theorems,
            "left_out_crashed": len(self.crashed),
            "budgets": list(self.budgets),
            "modes": {self.first.name: self.first.to_dict(), self.second.name: self.second.to_dict()},
            "paired": self.paired.to_dict(),
            "area_gain": self.second.area - self.first.area,
        }


def compare_runs(
    first: str | Path,
    second: str | Path,
    budgets: Sequence[int] = DEFAULT_BUDGETS,
    *,
    names: tuple[str, str] = (POLICY_MEAN, CALIBRATED),
    seconds: tuple[float | None, float | None] = (None, None),
) -> Comparison:
    """Compare two searches on disk. first, second: their node files (`X.parquet`, with `X.summary.parquet` beside it).

    Theorems that crashed in either search are left out of both, and counted. Raises `EvaluationError` when more than
    `MAX_CRASHED_SHARE` of a search crashed, which makes it incomplete, or when they were searched with different
    budgets or a smaller one than asked about, and ValueError when their theorems differ.
    """
    frames = [read_summaries(first), read_summaries(second)]
    for path, frame in zip((first, second), frames, strict=True):
        limits = frame["max_expansions"].unique().to_list()
        if len(limits) != 1 or limits[0] < max(budgets):
            raise EvaluationError(
                f"{path} was searched with a budget of {', '.join(map(str, sorted(limits))) or 'nothing'} expansions; "
                f"a curve up to {max(budgets)} needs one search with at least that budget"
            )
    crashed = sorted({*crashed_theorems(first, frames[0]), *crashed_theorems(second, frames[1])})
    results = [
        mode_result(name, frame.filter(~pl.col("theorem_name").is_in(crashed)), budgets, seconds=wall)
        for name, frame, wall in zip(names, frames, seconds, strict=True)
    ]
    return replace(compare_modes(results[0], results[1], budgets), crashed=tuple(crashed))


def crashed_theorems(path: str | Path, summaries: pl.DataFrame) -> list[str]:
    """Names of a search's theorems that were lost to crashes. Raises `EvaluationError` above `MAX_CRASHED_SHARE`."""
    crashed = summaries.filter(pl.col("ended") == "crashed")["theorem_name"].to_list()
    if len(crashed) > MAX_CRASHED_SHARE * len(summaries):
        raise EvaluationError(
            f"{path} is incomplete: {len(crashed)} of {len(summaries)} theorems were lost to crashes of Lean "
            f"({', '.join(crashed[:3])}, ...), which says nothing of whether they can be proved. Search again: the "
            "same command with --resume tries crashed theorems again"
        )
    return crashed


def compare_modes(first: ModeResult, second: ModeResult, budgets: Sequence[int]) -> Comparison:
    """Compare two searches; proofs beyond the largest budget count as not found."""
    cut = [
        {name: e if e is not None and e <= max(budgets) else None for name, e in result.expansions.items()}
        for result in (first, second)
    ]
    return Comparison(first, second, tuple(budgets), paired_test(cut[0], cut[1]))


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Two searches on one group of their theorems. What is known of whole searches alone (time, calls) is not in it."""

    theorems: int
    solved: dict[str, dict[int, int]]
    """Search -> budget -> theorems proved within it."""
    area: dict[str, float]
    """Search -> area under the solve curve."""
    paired: PairedTest

    def to_dict(self) -> GroupRecord:
        """Plain values for JSON."""
        return {
            "theorems": self.theorems,
            "solved": {name: {str(b): n for b, n in solved.items()} for name, solved in self.solved.items()},
            "area": self.area,
            "paired": self.paired.to_dict(),
        }


def by_group(whole: Comparison, groups: Mapping[str, str]) -> dict[str, GroupComparison]:
    """The same comparison on each group of theorems, in order of name; {} where they are of fewer than two groups.

    groups: theorem -> group; theorems without one are in none.
    """
    names = sorted({groups[name] for name in whole.first.expansions if name in groups})
    if len(names) < 2:
        return {}
    return {group: _of_group(whole, {name for name, of in groups.items() if of == group}) for group in names}


def _of_group(whole: Comparison, members: Collection[str]) -> GroupComparison:
    lowest, highest = min(whole.budgets), max(whole.budgets)
    found = {
        mode.name: {
            name: e if e is not None and e <= highest else None
            for name, e in mode.expansions.items()
            if name in members
        }
        for mode in (whole.first, whole.second)
    }
    return GroupComparison(
        theorems=len(found[whole.first.name]),
        solved={name: solved_by_budget(expansions, whole.budgets) for name, expansions in found.items()},
        area={n: area_under_solve_curve(e, lowest=lowest, highest=highest) for n, e in found.items()},
        paired=paired_test(*found.values()),
    )

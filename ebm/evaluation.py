"""Guided search against policy search on held-out theorems: what the report, the assets and `prover eval` print."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ebm.calibration import combined_priority
from ebm.ranking import Rank1, auc, rank1_by_depth, rank1_to_dict, sibling_groups
from prover.environments.base import ProofEnvironment
from prover.evaluation.budgets import EVALUATION_BUDGET, MAX_CRASHED_SHARE, budgets_up_to
from prover.evaluation.statistics import (
    Expansions,
    PairedTest,
    area_under_solve_curve,
    paired_test,
    solved_by_budget,
    wilson_interval,
)
from prover.policy.base import TacticGenerator
from prover.search import (
    Guidance,
    MixingCalibration,
    SearchConfig,
    SearchMemo,
    SearchProgress,
    ValueScorer,
    search_to_files,
)
from prover.search.guidance import own_calibration
from prover.search.modes import CALIBRATED, POLICY_MEAN
from prover.theorems import Theorem
from prover.trajectory import read_summaries, read_trajectories
from prover.trajectory.labels import merge_labels

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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "solved": {str(budget): count for budget, count in self.solved.items()},
            "rate": {str(budget): count / max(1, self.theorems) for budget, count in self.solved.items()},
            "interval": {str(budget): list(interval) for budget, interval in self.intervals.items()},
            "area": self.area,
            "seconds": self.seconds,
            "calls": asdict(self.calls),
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "theorems": self.first.theorems,
            "left_out_crashed": len(self.crashed),
            "budgets": list(self.budgets),
            "modes": {self.first.name: self.first.to_dict(), self.second.name: self.second.to_dict()},
            "paired": asdict(self.paired),
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
    crashed = sorted({name for path, frame in zip((first, second), frames, strict=True)
                      for name in crashed_theorems(path, frame)})  # fmt: skip
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
class Ranking:
    """How well each signal orders siblings (by depth of their parent) and states in general."""

    rank1: dict[str, dict[str, Rank1]]
    """Depth bucket -> random | policy | energy | combined."""
    auc: dict[str, float]
    """policy | energy | combined, over labelled states."""
    states: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"rank1": rank1_to_dict(self.rank1), "auc": self.auc, "states": self.states}


def rank_states(rows: pl.DataFrame, scorer: ValueScorer, mixing: MixingCalibration) -> Ranking:
    """Sibling rank-1 and AUC of policy, energy and the calibrated mix on trajectory rows (labels are merged first).

    rows: of theorems that the energy was not trained on. Raises `EvaluationError` when they hold no labelled states.
    """
    merged = merge_labels(rows).filter((pl.col("label") != "unknown") & ~pl.col("is_proof_complete"))
    if merged.is_empty():
        raise EvaluationError(
            f"none of the {len(rows)} rows has a label: no held-out theorem was proved, so none can rank"
        )
    distinct = merged.unique("state_key", maintain_order=True).select("state_key", "state_pp")
    scores = np.asarray(scorer.score_states(distinct["state_pp"].to_list()), dtype=np.float64)
    energies = -merged.join(distinct.with_columns(score=scores), on="state_key", how="left")["score"].to_numpy()
    signals = {
        "policy": merged["llm_log_prob"].to_numpy(),
        "energy": -energies,
        "combined": combined_priority(merged, energies, mixing),
    }
    below = (merged["depth_from_root"] > 0).to_numpy()
    positive = (merged["label"] == "positive").to_numpy()
    areas: dict[str, float] = {}
    if 0 < positive[below].sum() < below.sum():
        policy_mean = combined_priority(merged, energies, replace(mixing, beta=0.0))
        across = signals | {"policy": policy_mean}
        areas = {name: auc(values[below], positive[below]) for name, values in across.items()}
    return Ranking(rank1_by_depth(sibling_groups(merged), signals), areas, len(distinct))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Several modes on the same theorems; the second is compared with the first."""

    modes: tuple[ModeResult, ...]
    budgets: tuple[int, ...]
    comparison: Comparison | None
    ranking: Ranking | None

    def to_dict(self) -> dict[str, Any]:
        """theorems; budgets; modes: name -> solved by budget, area, seconds; paired; rank1 by depth bucket; auc.

        What cannot be measured (a ratio without a theorem that both prove) is None: JSON has no word for NaN.
        """
        found = {
            "theorems": self.modes[0].theorems,
            "budgets": list(self.budgets),
            "modes": {mode.name: mode.to_dict() for mode in self.modes},
            "paired": None if self.comparison is None else asdict(self.comparison.paired),
            "rank1": {} if self.ranking is None else rank1_to_dict(self.ranking.rank1),
            "auc": {} if self.ranking is None else self.ranking.auc,
        }
        return _without_nan(found)


def evaluate_seconds(
    theorems: Sequence[Theorem],
    environment: ProofEnvironment,
    policy: TacticGenerator,
    config: SearchConfig,
    folder: str | Path,
    *,
    seconds: float,
    modes: Sequence[str],
    scorer: ValueScorer | None = None,
    mixing: MixingCalibration | None = None,
    on_progress: Callable[[str, SearchProgress], None] | None = None,
) -> Evaluation:
    """Compare modes at equal seconds per theorem instead of equal expansions; nothing is shared between the searches.

    seconds: a theorem's share of model and Lean time, as in `SearchConfig.time_limit_s`. scorer: without an embedding
    cache, so that each state it scores is encoded. Raises as `evaluate_modes`.
    """
    return evaluate_modes(
        theorems,
        environment,
        policy,
        replace(config, time_limit_s=seconds),
        folder,
        modes=modes,
        budgets=(_NO_BUDGET,),
        scorer=scorer,
        mixing=mixing,
        on_progress=on_progress,
    )


_NO_BUDGET = 100_000
"""Expansions that no theorem reaches within its seconds."""


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def evaluate_modes(
    theorems: Sequence[Theorem],
    environment: ProofEnvironment,
    policy: TacticGenerator,
    config: SearchConfig,
    folder: str | Path,
    *,
    modes: Sequence[str] = (POLICY_MEAN, CALIBRATED),
    budgets: Sequence[int] = DEFAULT_BUDGETS,
    scorer: ValueScorer | None = None,
    mixing: MixingCalibration | None = None,
    memo: SearchMemo | None = None,
    on_progress: Callable[[str, SearchProgress], None] | None = None,
) -> Evaluation:
    """Search the theorems once a mode, with the largest budget, and compare; the files go to `folder`/MODE.parquet.

    mixing: instead of the scorer's own calibration. Siblings are ranked over the states of all modes together.
    Raises `EvaluationError` for no theorems, no modes, or budgets that are not increasing; else as `search_to_files`.
    """
    if not theorems:
        raise EvaluationError("no theorems to evaluate on; look at --split and --limit, or at the theorem file")
    if not modes:
        raise EvaluationError("no modes to evaluate; give at least one, e.g. policy-mean,calibrated")
    if sorted(set(budgets)) != list(budgets) or not budgets or budgets[0] < 1:
        raise EvaluationError(f"budgets are {list(budgets)}; give increasing counts of expansions, e.g. 4,8,16")
    if len(set(modes)) != len(modes):
        raise EvaluationError(f"modes are {', '.join(modes)}; give each once: a search compared with itself is tied")
    mixing = mixing or own_calibration(scorer)
    for mode in modes:  # a mode that cannot be had is said before the first search
        Guidance.resolve(
            replace(config, mode=mode),
            has_scorer=scorer is not None and not mode.startswith("policy-"),
            calibration=mixing,
        )
    results: list[ModeResult] = []
    outputs: list[Path] = []
    for mode in modes:
        output = Path(folder) / f"{mode}.parquet"
        figures = search_to_files(
            theorems,
            output,
            environment,
            policy,
            replace(config, mode=mode, max_expansions=max(budgets)),
            scorer=None if mode.startswith("policy-") else scorer,
            calibration=mixing,
            memo=memo,
            on_progress=None if on_progress is None else partial(on_progress, mode),
        )
        results.append(mode_result(mode, read_summaries(output), budgets, seconds=figures["seconds"]))
        outputs.append(output)
    ranking = None
    if scorer is not None and mixing is not None:
        rows = read_trajectories(outputs)
        if (rows["label"] != "unknown").any():
            ranking = rank_states(rows, scorer, mixing)
    comparison = compare_modes(results[0], results[1], budgets) if len(results) > 1 else None
    return Evaluation(tuple(results), tuple(budgets), comparison, ranking)


__all__ = [
    "Calls",
    "Comparison",
    "Evaluation",
    "EvaluationError",
    "ModeResult",
    "Ranking",
    "compare_modes",
    "compare_runs",
    "evaluate_modes",
    "mode_result",
    "rank_states",
]

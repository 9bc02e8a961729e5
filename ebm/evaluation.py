"""Guided search against policy search on held-out theorems: what the report, the assets and `prover eval` print."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from ebm.calibration import combined_priority
from ebm.ranking import Rank1, auc, rank1_by_depth, rank1_to_dict, sibling_groups
from prover.environments.base import ProofEnvironment
from prover.evaluation.comparison import (
    DEFAULT_BUDGETS,
    Comparison,
    EvaluationError,
    ModeResult,
    compare_modes,
    mode_result,
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


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well each signal orders siblings (by depth of their parent) and states in general."""

    rank1: dict[str, dict[str, Rank1]]
    """Depth bucket -> random | policy | energy | combined."""
    auc: dict[str, float]
    """policy | energy | combined, over labelled states."""
    states: int

    def to_dict(self) -> dict[str, object]:
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

    def to_dict(self) -> dict[str, object]:
        """theorems; budgets; modes: name -> solved by budget, area, seconds; paired; rank1 by depth bucket; auc.

        What cannot be measured (a ratio without a theorem that both prove) is None: JSON has no word for NaN.
        """
        found = {
            "theorems": self.modes[0].theorems,
            "budgets": list(self.budgets),
            "modes": {mode.name: mode.to_dict() for mode in self.modes},
            "paired": None if self.comparison is None else self.comparison.paired.to_dict(),
            "rank1": {} if self.ranking is None else rank1_to_dict(self.ranking.rank1),
            "auc": {} if self.ranking is None else self.ranking.auc,
        }
        return {key: _without_nan(value) for key, value in found.items()}


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


def _without_nan(value: object) -> object:
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
    """Search the theorems once per mode, with the largest budget, and compare; the files go to `folder`/MODE.parquet.

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

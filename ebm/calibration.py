"""Calibration: on which scale the energy meets the log-probability, and how much it counts.

The scales are measured on training rows, the weight beta is chosen by searching validation theorems. beta = 0 is among
the choices: when the energy does not help there, guided search is policy search, and says so.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from ebm.calibration_config import BETAS
from prover.environments.base import ProofEnvironment
from prover.evaluation.statistics import area_under_solve_curve, solved_by_budget
from prover.policy.base import TacticGenerator
from prover.search import MixingCalibration, SearchConfig, SearchMemo, SearchProgress, ValueScorer, search
from prover.search.engine import Searcher
from prover.search.modes import CALIBRATED
from prover.theorems import Theorem

DEFAULT_BETA = 0.5
"""Weight of an energy that no validation theorems have judged yet."""
LOWEST_BUDGET = 4
"""Where the area under the solve curve begins, in expansions: below it hardly anything can be proved."""
_MOST_ROWS = 20_000


class CalibrationError(ValueError):
    """There is nothing to calibrate on; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration and its evidence: per beta, in order, the area and the solve count on validation theorems."""

    mixing: MixingCalibration
    betas: tuple[float, ...]
    areas: tuple[float, ...]
    solved: tuple[int, ...]
    theorems: int
    max_expansions: int

    @property
    def lowest_budget(self) -> int:
        """Where the area begins, in expansions."""
        return lowest_budget(self.max_expansions)

    def evidence(self) -> dict[str, Any]:
        """Plain values for the checkpoint, the report and MLflow."""
        return {
            "criterion": f"area under the solve curve over log2 budget, {self.lowest_budget} to {self.max_expansions}",
            "theorems": self.theorems,
            "max_expansions": self.max_expansions,
            "trials": [
                {"beta": beta, "area": area, "solved": solved}
                for beta, area, solved in zip(self.betas, self.areas, self.solved, strict=True)
            ],
            "chosen": self.mixing.beta,
        }


def lowest_budget(max_expansions: int) -> int:
    """`LOWEST_BUDGET`, or less where the whole budget does not reach above it."""
    return min(LOWEST_BUDGET, max_expansions - 1) or 1


def fit_scales(rows: pl.DataFrame, scorer: ValueScorer, *, seed: int = 0) -> MixingCalibration:
    """Mean and deviation of the energy, and deviation of the log-prob per step, over training rows; beta is 0.

    rows: trajectory rows; roots, finished proofs and unknown labels are left out (they are never compared in the
    frontier, or nothing is known of them). At most 20,000 distinct states are used, drawn with `seed`.
    Raises `CalibrationError` with fewer than two usable rows, or when the energy or the log-prob is constant on them.
    """
    usable = rows.filter(
        (pl.col("depth_from_root") > 0) & ~pl.col("is_proof_complete") & (pl.col("label") != "unknown")
    ).unique(["theorem_name", "state_key"], maintain_order=True)
    if len(usable) < 2:
        raise CalibrationError(
            f"{len(usable)} labelled states below a root, of {len(rows)} rows: at least 2 are needed; "
            "search more theorems, or with a larger budget, until some are proved"
        )
    if len(usable) > _MOST_ROWS:
        usable = usable.sample(_MOST_ROWS, seed=seed)
    energies = -np.asarray(scorer.score_states(usable["state_pp"].to_list()), dtype=np.float64)
    steps = mean_log_prob(usable)
    for name, values in (("energy", energies), ("log-probability per step", steps)):
        if not np.isfinite(values).all() or float(values.std()) == 0.0:
            raise CalibrationError(
                f"the {name} of {len(values)} training states has deviation {float(values.std())}; it must be finite "
                "and above 0: train the energy model longer, or look at its health warnings"
            )
    return MixingCalibration(float(energies.mean()), float(energies.std()), float(steps.std()), beta=0.0)


def uncalibrated(rows: pl.DataFrame, scorer: ValueScorer) -> tuple[MixingCalibration, dict[str, Any]]:
    """What a freshly trained head is stored with: measured scales, the default beta, and evidence that says so."""
    mixing = replace(fit_scales(rows, scorer), beta=DEFAULT_BETA)
    return mixing, {
        "criterion": "none yet: scales are measured on the training rows, beta is the default; "
        "`prover calibrate` chooses it on validation theorems",
        "chosen": mixing.beta,
    }


def mean_log_prob(rows: pl.DataFrame) -> np.ndarray:
    """Log-probability per step of the path to each row, (n,) nats: cumulative / depth, 0 at a root."""
    depth = rows["depth_from_root"].to_numpy().astype(np.float64)
    return rows["llm_log_prob"].to_numpy() / np.maximum(depth, 1.0)


def combined_priority(rows: pl.DataFrame, energies: np.ndarray, mixing: MixingCalibration) -> np.ndarray:
    """The `calibrated` priority of each row, (n,), higher is better: the formula of `prover.search.guidance`."""
    z = (np.asarray(energies) - mixing.mu_energy) / mixing.sigma_energy
    return mean_log_prob(rows) / mixing.sigma_log_prob - mixing.beta * z


def calibrate(
    scorer: ValueScorer,
    rows: pl.DataFrame,
    theorems: Sequence[Theorem],
    environment: ProofEnvironment,
    policy: TacticGenerator,
    config: SearchConfig,
    *,
    memo: SearchMemo | None = None,
    betas: Sequence[float] = BETAS,
    on_progress: Callable[[float, SearchProgress], None] | None = None,
    searcher: Searcher = search,
) -> Calibration:
    """Fit the scales on `rows` and choose beta by searching the validation theorems once for each candidate.

    theorems: neither trained on nor reported on. config: the search that the energy will guide; its mode is ignored.
    memo: shared with later searches; candidates and outcomes of one beta serve the others. on_progress: called with the
    beta that is being tried. searcher: what searches. The largest area wins; of equal areas the smallest beta, the one
    nearer to the policy.
    Raises `CalibrationError` without theorems, for betas that are negative or lack 0, and as `fit_scales`.
    """
    if not theorems:
        raise CalibrationError("no validation theorems: give theorems that are neither trained on nor reported on")
    scales = fit_scales(rows, scorer, seed=config.seed)
    if not all(math.isfinite(beta) and beta >= 0 for beta in betas) or 0 not in betas:
        raise CalibrationError(
            f"the weights to try are {', '.join(f'{beta:g}' for beta in betas)}: every one must be 0 or more, "
            "and 0, the policy alone, among them: it is what the others must beat"
        )
    lowest = lowest_budget(config.max_expansions)
    ordered = tuple(sorted(set(betas)))
    areas: list[float] = []
    solved: list[int] = []
    for beta in ordered:
        report = searcher(
            theorems,
            environment,
            policy,
            replace(config, mode=CALIBRATED, beta=None),
            scorer=scorer,
            calibration=replace(scales, beta=beta),
            memo=memo,
            on_progress=None if on_progress is None else partial(on_progress, beta),
        )
        expansions = {result.theorem.name: result.expansions_to_proof for result in report.results}
        areas.append(area_under_solve_curve(expansions, lowest=lowest, highest=max(config.max_expansions, lowest + 1)))
        solved.append(solved_by_budget(expansions, [config.max_expansions])[config.max_expansions])
    best = max(range(len(ordered)), key=lambda i: (areas[i], -ordered[i]))
    return Calibration(
        mixing=replace(scales, beta=ordered[best]),
        betas=ordered,
        areas=tuple(areas),
        solved=tuple(solved),
        theorems=len(theorems),
        max_expansions=config.max_expansions,
    )

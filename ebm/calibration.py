"""Calibration: in which order guided search goes, on which scale the energy meets the log-probability, at what weight.

The scales are measured on training rows. The order is chosen by searching validation theorems: the policy alone, mixes
of rising weight, a mix of ranks, A* by the expected steps to go, the energy alone. When the energy does not help there,
guided search is policy search, and says so.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from ebm.calibration_config import BETAS, LARGEST_BETA
from prover.environments.base import ProofEnvironment
from prover.evaluation.bootstrap import PairedDifference, paired_difference
from prover.evaluation.statistics import Expansions, area_under_solve_curve, solved_by_budget
from prover.policy.base import TacticGenerator
from prover.search import MixingCalibration, SearchConfig, SearchMemo, SearchProgress, ValueScorer, search
from prover.search.modes import (
    CALIBRATED,
    CALIBRATED_ORDERS,
    ENERGY_ONLY,
    MIX,
    POLICY_MEAN,
    RANK_MIX,
    REMAINING_NATS,
    REMAINING_STEPS,
)
from prover.search.searcher import Searcher
from prover.theorems import Theorem

DEFAULT_BETA = 0.5
"""Weight of an energy that no validation theorems have judged yet."""
LOWEST_BUDGET = 4
"""Where the area under the solve curve begins, in expansions: below it hardly anything can be proved."""
_MOST_ROWS = 20_000


class CalibrationError(ValueError):
    """There is nothing to calibrate on; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One search of the validation theorems."""

    order: str
    beta: float | None
    """Weight of a mix; None for orders without."""
    area: float
    """Under the solve curve over log2 budget."""
    solved: int
    expansions: Expansions

    @property
    def name(self) -> str:
        """For people: `mix, beta 0.5`, `energy-only`, ..."""
        if self.beta is None:
            return self.order
        return POLICY_MEAN if self.beta == 0 else f"{self.order}, beta {self.beta:g}"


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration and its evidence: the trials on validation theorems, mixes of rising weight first."""

    mixing: MixingCalibration
    trials: tuple[Trial, ...]
    chosen: Trial
    theorems: int
    max_expansions: int
    over_policy: PairedDifference
    """Area of the order chosen, above the policy alone."""
    over_second: PairedDifference
    """Area of the order chosen, above the next best."""

    @property
    def mixes(self) -> tuple[Trial, ...]:
        """The trials of a weight, in order of it; the first is the policy alone."""
        return tuple(trial for trial in self.trials if trial.beta is not None)

    @property
    def betas(self) -> tuple[float, ...]:
        """Weights tried, rising."""
        return tuple(trial.beta for trial in self.mixes if trial.beta is not None)

    @property
    def areas(self) -> tuple[float, ...]:
        """Area of each weight."""
        return tuple(trial.area for trial in self.mixes)

    @property
    def solved(self) -> tuple[int, ...]:
        """Theorems proved with each weight."""
        return tuple(trial.solved for trial in self.mixes)

    @property
    def lowest_budget(self) -> int:
        """Where the area begins, in expansions."""
        return lowest_budget(self.max_expansions)

    def evidence(self) -> dict[str, object]:
        """Plain values for the checkpoint, the report and MLflow.

        `trials` are the mixes by weight and `orders` those without; `order` names the one chosen, `chosen` is the best
        weight of a mix.
        """
        others = [trial for trial in self.trials if trial.beta is None]
        return {
            "criterion": f"area under the solve curve over log2 budget, {self.lowest_budget} to {self.max_expansions}",
            "theorems": self.theorems,
            "max_expansions": self.max_expansions,
            "trials": [{"beta": trial.beta, "area": trial.area, "solved": trial.solved} for trial in self.mixes],
            "orders": [{"order": trial.order, "area": trial.area, "solved": trial.solved} for trial in others],
            "chosen": self.mixing.beta,
            "order": self.mixing.order,
            "area": self.chosen.area,
            "over_policy": asdict(self.over_policy),
            "over_second": asdict(self.over_second),
        }


def lowest_budget(max_expansions: int) -> int:
    """`LOWEST_BUDGET`, or less where the whole budget does not reach above it."""
    return min(LOWEST_BUDGET, max_expansions - 1) or 1


def fit_scales(rows: pl.DataFrame, scorer: ValueScorer, *, seed: int = 0) -> MixingCalibration:
    """The scales of energy and of log-prob per tactic, and tactics to go by energy, over training rows.

    beta is 0. Where energies of positives do not rise with their steps to go, no steps to go are fitted.

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
    scales = MixingCalibration(float(energies.mean()), float(energies.std()), float(steps.std()), beta=0.0)
    return _with_distance(scales, usable, energies)


def _with_distance(scales: MixingCalibration, rows: pl.DataFrame, energies: np.ndarray) -> MixingCalibration:
    """Add the line of tactics to go by energy over positives, and nats per tactic, as far as they can be fitted."""
    known = ((rows["label"] == "positive") & (rows["remaining_depth"] >= 0)).to_numpy()
    if known.sum() < 2:
        return scales
    nats = -float(mean_log_prob(rows)[known].mean())
    if nats > 0:
        scales = replace(scales, nats_per_step=nats)
    x, y = energies[known], rows["remaining_depth"].to_numpy()[known].astype(np.float64)
    slope = float(((x - x.mean()) * (y - y.mean())).mean() / x.var()) if x.std() > 0 else 0.0
    if slope > 0:
        start = float(y.mean() - slope * x.mean())
        scales = replace(scales, steps_per_energy=slope, steps_at_zero=start, measures_distance=True)
    return scales


def uncalibrated(rows: pl.DataFrame, scorer: ValueScorer) -> tuple[MixingCalibration, dict[str, object]]:
    """What a freshly trained head is stored with: measured scales, the default beta, and evidence that says so."""
    mixing = replace(fit_scales(rows, scorer), beta=DEFAULT_BETA)
    return mixing, {
        "criterion": "none yet: scales are measured on the training rows, beta is the default; "
        "`prover calibrate` chooses it on validation theorems",
        "chosen": mixing.beta,
    }


def mean_log_prob(rows: pl.DataFrame) -> np.ndarray:
    """Log-probability per tactic of the path to each row, (n,) nats: cumulative / depth, 0 at a root."""
    depth = rows["depth_from_root"].to_numpy().astype(np.float64)
    return rows["llm_log_prob"].to_numpy() / np.maximum(depth, 1.0)


def combined_priority(rows: pl.DataFrame, energies: np.ndarray, mixing: MixingCalibration) -> np.ndarray:
    """The priority of each row in `calibrated` search, (n,), higher is better: the formulas of `MixingCalibration`.

    Ranks of `rank-mix` are taken among all the rows, those of a search among its open nodes.
    """
    energies = np.asarray(energies, dtype=np.float64)
    mean = mean_log_prob(rows)
    steps = np.maximum(0.0, mixing.steps_at_zero + mixing.steps_per_energy * energies)
    match mixing.order:
        case order if order == POLICY_MEAN:
            return mean
        case order if order == ENERGY_ONLY:
            return -energies
        case order if order == RANK_MIX:
            return -(_ranks(-mean) + _ranks(energies))
        case order if order == REMAINING_STEPS:
            return -(rows["depth_from_root"].to_numpy().astype(np.float64) + steps)
        case order if order == REMAINING_NATS:
            return rows["llm_log_prob"].to_numpy() - mixing.nats_per_step * steps
    z = (energies - mixing.mu_energy) / mixing.sigma_energy
    return mean / mixing.sigma_log_prob - mixing.beta * z


def _ranks(values: np.ndarray) -> np.ndarray:
    """(n,): how many values are lower."""
    return np.searchsorted(np.sort(values), values, side="left").astype(np.float64)


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
    widen: bool = True,
    orders: Sequence[str] = CALIBRATED_ORDERS,
    on_progress: Callable[[str, SearchProgress], None] | None = None,
    searcher: Searcher = search,
) -> Calibration:
    """Fit the scales on `rows` and choose order and weight by searching the validation theorems once per candidate.

    theorems: neither trained on nor reported on. config: the search that the energy will guide; its mode is ignored.
    memo: shared with later searches; candidates and outcomes of one trial serve the others. betas, widen, orders: as in
    `CalibrationConfig`; orders by remaining distance are left out where no steps to go could be fitted. on_progress:
    called with the name of the candidate that is being tried. searcher: what searches. The largest area wins; of
    equal areas the one that is nearer to the policy alone.
    Raises `CalibrationError` without theorems, for betas that are negative or lack 0, and as `fit_scales`.
    """
    if not theorems:
        raise CalibrationError("no validation theorems: give theorems that are neither trained on nor reported on")
    scales = fit_scales(rows, scorer, seed=config.seed)
    _check_candidates(betas, orders)
    lowest = lowest_budget(config.max_expansions)
    highest = max(config.max_expansions, lowest + 1)

    def attempt(order: str, beta: float | None = None) -> Trial:
        name = Trial(order, beta, 0.0, 0, {}).name
        report = searcher(
            theorems,
            environment,
            policy,
            replace(config, mode=CALIBRATED, beta=None),
            scorer=scorer,
            calibration=replace(scales, order=order, beta=beta or 0.0),
            memo=memo,
            on_progress=None if on_progress is None else partial(on_progress, name),
        )
        found = {result.theorem.name: result.expansions_to_proof for result in report.results}
        area = area_under_solve_curve(found, lowest=lowest, highest=highest)
        return Trial(order, beta, area, solved_by_budget(found, [config.max_expansions])[config.max_expansions], found)

    mixes = _try_weights(partial(attempt, MIX), sorted(set(betas)), widen)
    left_out = {MIX, POLICY_MEAN, *(() if scales.measures_distance else (REMAINING_STEPS, REMAINING_NATS))}
    others = [attempt(order) for order in CALIBRATED_ORDERS if order in orders and order not in left_out]
    trials = (*mixes, *others)
    by_area = sorted(trials, key=lambda trial: -trial.area)  # stable: of equals, the earlier
    best, second = by_area[0], by_area[1] if len(by_area) > 1 else by_area[0]
    order = POLICY_MEAN if best.beta == 0 else best.order
    best_mix = max(mixes, key=lambda trial: trial.area)
    compare = partial(paired_difference, lowest=lowest, highest=highest, seed=config.seed)
    return Calibration(
        mixing=replace(scales, order=order, beta=best_mix.beta or 0.0),
        trials=trials,
        chosen=best,
        theorems=len(theorems),
        max_expansions=config.max_expansions,
        over_policy=compare(mixes[0].expansions, best.expansions),
        over_second=compare(second.expansions, best.expansions),
    )


def _check_candidates(betas: Sequence[float], orders: Iterable[str]) -> None:
    if not all(math.isfinite(beta) and beta >= 0 for beta in betas) or 0 not in betas:
        raise CalibrationError(
            f"the weights to try are {', '.join(f'{beta:g}' for beta in betas)}: every one must be 0 or more, "
            "and 0, the policy alone, among them: it is what the others must beat"
        )
    if unknown := [order for order in orders if order not in CALIBRATED_ORDERS]:
        raise CalibrationError(f"{unknown[0]!r} is no order to choose; known: {', '.join(CALIBRATED_ORDERS)}")


def _try_weights(attempt: Callable[[float], Trial], betas: Sequence[float], widen: bool) -> list[Trial]:
    """The mixes of rising weights, and of doubled ones for as long as the largest weight is better than all others."""
    trials = [attempt(beta) for beta in betas]
    while widen and betas[-1] > 0 and len(trials) > 1:
        largest, rest = trials[-1], trials[:-1]
        weight = 2 * (largest.beta or 0.0)
        if weight > LARGEST_BETA or largest.area <= max(trial.area for trial in rest):
            break
        trials.append(attempt(weight))
    return trials

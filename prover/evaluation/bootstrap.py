"""How sure the difference between two searches of the same theorems is: a bootstrap over theorems, paired."""

from dataclasses import dataclass

import numpy as np

from prover.evaluation.statistics import Expansions


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Area of the second search minus that of the first, over resampled theorems."""

    difference: float
    low: float
    """Lower end of the 95% percentile interval."""
    high: float
    probability: float
    """Share of resamples in which the second has the larger area; a tie counts half."""


def solve_credits(expansions: Expansions, names: list[str], *, lowest: int, highest: int) -> np.ndarray:
    """What each theorem adds to the area under the solve curve, (n,) in [0, 1]: their mean is the area.

    The curve of one theorem is 0 below its expansions and 1 from there on, so its credit is the weight of the budgets
    from there on (see `area_under_solve_curve`).
    """
    found = np.array([np.inf if expansions[name] is None else expansions[name] for name in names], dtype=np.float64)
    if lowest == highest:
        return (found <= lowest).astype(np.float64)
    return np.clip(np.log2(highest) - np.log2(np.maximum(found, lowest)), 0.0, None) / np.log2(highest / lowest)


def paired_difference(
    first: Expansions, second: Expansions, *, lowest: int, highest: int, seed: int = 0, resamples: int = 2000
) -> PairedDifference:
    """Bootstrap the difference in area of two searches: both are resampled with the same theorems.

    first, second: theorem name -> expansions to its proof, None where it was not proved. lowest, highest: budgets
    between which the area is taken. Raises ValueError for no theorems, or when the two are not over the same.
    """
    if first.keys() != second.keys() or not first:
        raise ValueError(f"need the same theorems in both searches; got {len(first)} and {len(second)}")
    names = sorted(first)
    budgets = {"lowest": lowest, "highest": highest}
    gains = solve_credits(second, names, **budgets) - solve_credits(first, names, **budgets)
    draws = np.random.default_rng(seed).integers(0, len(names), size=(resamples, len(names)))
    means = gains[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    probability = float((means > 0).mean() + 0.5 * (means == 0).mean())
    return PairedDifference(float(gains.mean()), float(low), float(high), probability)

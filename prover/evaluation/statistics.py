"""Paired comparison of two searches of the same theorems: intervals, exact tests, curves.

A search is summarised, per theorem, by its expansions to proof: a positive integer, or None when no certified proof was
found within the budget. Searching stops at the proof, so one run at the largest budget holds the whole solve curve.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prover.evaluation.records import PairedRecord

Expansions = Mapping[str, int | None]
"""Theorem name -> expansions to its certified proof, or None (not proved within the budget)."""


def wilson_interval(successes: int, trials: int, *, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a proportion; z = 1.96 is 95%. Source: Wilson (1927). (0, 1) for no trials."""
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must lie between 0 and trials; got {successes} of {trials}")
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def solved_by_budget(
    expansions: Mapping[str, int | None] | Mapping[int, int | None], budgets: Sequence[int]
) -> dict[int, int]:
    """Theorems proved within each budget (in expansions): one search at the largest budget gives the whole curve.

    expansions: by theorem, those to its certified proof; None where there is none.
    """
    proved = [found for found in expansions.values() if found is not None]
    return {budget: sum(found <= budget for found in proved) for budget in budgets}


def area_under_solve_curve(expansions: Expansions, *, lowest: int, highest: int) -> float:
    """Mean solve rate over log2(budget) between two budgets, in [0, 1]: the area under the curve as it is drawn.

    The curve is a step function that changes at whole budgets, so the integral is exact: each budget e weighs
    log2(e + 1) - log2(e). The logarithm gives every doubling of the budget the same say. So what is proved with the
    last expansion of `highest` has no weight, and between a budget and itself it is the solve rate there.
    """
    if not 1 <= lowest <= highest:
        raise ValueError(f"need 1 <= lowest <= highest; got lowest={lowest}, highest={highest}")
    if not expansions:
        return 0.0
    if lowest == highest:
        return solved_by_budget(expansions, [lowest])[lowest] / len(expansions)
    grid = np.arange(lowest, highest)
    weights = np.log2(grid + 1) - np.log2(grid)
    proved_at = np.sort([e for e in expansions.values() if e is not None])
    rates = np.searchsorted(proved_at, grid, side="right") / len(expansions)
    return float((rates * weights).sum() / weights.sum())


@dataclass(frozen=True, slots=True)
class PairedTest:
    """The second search against the first, theorem by theorem, at one budget.

    faster / slower / tied: the second needs fewer / more / as many expansions to a proof, an unproved theorem counting
    as slower than any proof. p_value: exact two-sided sign test on faster against slower. ratio: geometric mean of
    (second's expansions / first's) over the theorems that both prove, below 1 = the second is faster; NaN where there
    is none. only_first / only_second: proved by one of them alone; mcnemar_p: exact two-sided McNemar test on these.
    """

    n_theorems: int
    faster: int
    slower: int
    tied: int
    p_value: float
    ratio: float
    ratio_low: float
    ratio_high: float
    both: int
    only_first: int
    only_second: int
    mcnemar_p: float

    def to_dict(self) -> PairedRecord:
        """Plain values for JSON."""
        return {
            "n_theorems": self.n_theorems,
            "faster": self.faster,
            "slower": self.slower,
            "tied": self.tied,
            "p_value": self.p_value,
            "ratio": self.ratio,
            "ratio_low": self.ratio_low,
            "ratio_high": self.ratio_high,
            "both": self.both,
            "only_first": self.only_first,
            "only_second": self.only_second,
            "mcnemar_p": self.mcnemar_p,
        }


def paired_test(first: Expansions, second: Expansions, *, seed: int = 0, resamples: int = 2000) -> PairedTest:
    """Compare two searches of the same theorems; ratio_low and ratio_high are a 95% bootstrap interval over theorems.

    Raises ValueError when the two searches are not over the same theorems.
    """
    if first.keys() != second.keys():
        odd = sorted(first.keys() ^ second.keys())
        raise ValueError(
            f"a paired comparison needs the same theorems in both searches; {len(odd)} are in one only, "
            f"e.g. {', '.join(odd[:3])}: search both over the same theorem set"
        )
    faster = slower = tied = only_first = only_second = 0
    log_ratios: list[float] = []
    for name in sorted(first):
        a, b = first[name], second[name]
        if a is not None and b is not None:
            log_ratios.append(math.log(b / a))
        only_first += a is not None and b is None
        only_second += a is None and b is not None
        left, right = (math.inf if a is None else a), (math.inf if b is None else b)
        faster += right < left
        slower += right > left
        tied += right == left
    low = high = ratio = math.nan
    if log_ratios:
        logs = np.asarray(log_ratios)
        ratio = float(np.exp(logs.mean()))
        draws = np.random.default_rng(seed).integers(0, len(logs), size=(resamples, len(logs)))
        low, high = (float(v) for v in np.exp(np.quantile(logs[draws].mean(axis=1), [0.025, 0.975])))
    return PairedTest(
        n_theorems=len(first),
        faster=faster,
        slower=slower,
        tied=tied,
        p_value=sign_test(faster, slower),
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        both=len(log_ratios),
        only_first=only_first,
        only_second=only_second,
        mcnemar_p=sign_test(only_first, only_second),
    )


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided sign test: how likely a split at least this uneven is between equals. 1.0 for no pairs."""
    from scipy.stats import binomtest

    if wins + losses == 0:
        return 1.0
    return float(binomtest(wins, wins + losses, 0.5).pvalue)


def bootstrap_mean(values: np.ndarray, *, seed: int = 0, resamples: int = 2000) -> tuple[float, float, float]:
    """Mean of `values` (n,) with a 95% percentile bootstrap interval: (mean, low, high); NaNs for n = 0."""
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        return math.nan, math.nan, math.nan
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, values.size, size=(resamples, values.size))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)

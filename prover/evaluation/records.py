"""Comparisons of searches as plain values, as they stand in JSON files."""

from typing import TypedDict


class PairedRecord(TypedDict):
    """A `prover.evaluation.statistics.PairedTest`, which says what each figure means."""

    n_theorems: int
    faster: int
    slower: int
    tied: int
    p_value: float
    ratio: float | None
    """NaN, and None in files, where no theorem was proved by both."""
    ratio_low: float | None
    ratio_high: float | None
    both: int
    only_first: int
    only_second: int
    mcnemar_p: float


class CallsRecord(TypedDict):
    """What a search asked for, in calls: a `prover.evaluation.comparison.Calls`."""

    lean: int
    policy: int
    encoder: int


class ModeRecord(TypedDict):
    """One search of the theorems: a `prover.evaluation.comparison.ModeResult`. Budgets are keys, as text."""

    solved: dict[str, int]
    rate: dict[str, float]
    interval: dict[str, list[float]]
    """95% Wilson interval of the rate: low, high."""
    area: float
    seconds: float
    calls: CallsRecord
    ended: dict[str, int]
    """Reason -> theorems."""
    claimed_not_certified: int


class ComparisonRecord(TypedDict):
    """Two searches of the same theorems: a `prover.evaluation.comparison.Comparison`."""

    theorems: int
    left_out_crashed: int
    budgets: list[int]
    modes: dict[str, ModeRecord]
    """The first search, then the second, by name."""
    paired: PairedRecord
    area_gain: float
    """Area of the second search minus that of the first."""


class GroupRecord(TypedDict):
    """Two searches on one group of their theorems: a `prover.evaluation.comparison.GroupComparison`."""

    theorems: int
    solved: dict[str, dict[str, int]]
    """Search -> budget -> theorems proved within it."""
    area: dict[str, float]
    paired: PairedRecord

"""How often the gate is wrong: searches with a known true gain are drawn, and the gate decides on them.

A theorem has a difficulty, the base-2 logarithm of the expansions that its proof needs, drawn from N(5, 2.5). Another
policy finds the proof earlier or later: by a shift that all theorems share, by one that belongs to the theorem (the
same in every round) and by one that belongs to theorem and round. The shift that gives a certain gain in area is found
on one large sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from prover.evaluation.gate import GateSettings, Measured, goes_back, measure, pass_gate
from prover.evaluation.statistics import paired_test

LOWEST, HIGHEST = 4, 32
"""Budgets of the area, in expansions: as in the demonstration."""
_MEAN, _SPREAD = 5.0, 2.5
_THEOREM, _ROUND = 0.6, 0.9
"""Deviations of the shifts that belong to the theorem, and to theorem and round (doublings of the expansions)."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated."""

    theorems: int = 120
    """Validation theorems of a round."""
    rounds: int = 1
    """Rounds with the same true gain; the decision of the last one counts."""
    same_theorems: bool = False
    """Whether each round measures on the same theorems."""


class World:
    """Theorems drawn with a seed, and searches of them by policies of a known strength."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._drawn = 0

    def theorems(self, count: int) -> tuple[list[str], np.ndarray, np.ndarray]:
        """(names, difficulties, what belongs to each theorem), arrays of shape (count,)."""
        self._drawn += 1
        names = [f"t{self._drawn}_{i}" for i in range(count)]
        return names, self._rng.normal(_MEAN, _SPREAD, count), self._rng.normal(0, _THEOREM, count)

    def searched(self, difficulties: np.ndarray, own: np.ndarray, shift: float) -> np.ndarray:
        """Difficulties (n,) as another policy sees them: lower by `shift`."""
        return difficulties - shift + own + self._rng.normal(0, _ROUND, len(difficulties))


def expansions_of(names: Sequence[str], difficulties: np.ndarray) -> dict[str, int | None]:
    """Expansions to the proof of each theorem, None above the budget."""
    whole = np.ceil(2.0 ** np.minimum(difficulties, 30.0)).astype(np.int64)
    return {name: max(1, int(e)) if e <= HIGHEST else None for name, e in zip(names, whole, strict=True)}


@cache
def shift_for(gain: float) -> float:
    """The shift whose gain in area is `gain`, to about .001: by bisection on one sample of 200,000 theorems."""
    rng = np.random.default_rng(0)
    base = rng.normal(_MEAN, _SPREAD, 200_000)
    noise = rng.normal(0, np.hypot(_THEOREM, _ROUND), base.size)

    def area(difficulties: np.ndarray) -> float:
        found = np.maximum(1.0, np.ceil(2.0 ** np.minimum(difficulties, 30.0)))
        credit = (np.log2(HIGHEST) - np.log2(np.maximum(found, LOWEST))) / np.log2(HIGHEST / LOWEST)
        return float(np.clip(credit, 0.0, 1.0).mean())

    low, high, old = -6.0, 6.0, area(base)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if area(base - middle + noise) - old < gain else (low, middle)
    return (low + high) / 2


def draw_rounds(gain: float, setup: Setup, world: World) -> list[tuple[dict[str, int | None], dict[str, int | None]]]:
    """Per round, the expansions of the search before and after, with that true gain in area."""
    found, shift = [], shift_for(gain)
    drawn = world.theorems(setup.theorems)
    for number in range(setup.rounds):
        if number and not setup.same_theorems:
            drawn = world.theorems(setup.theorems)
        names, base, own = drawn
        found.append((expansions_of(names, base), expansions_of(names, world.searched(base, own, shift))))
    return found


@dataclass(frozen=True, slots=True)
class Rates:
    """How often a candidate with a certain true gain is adopted, by this gate and by the rule before it."""

    gain: float
    adopted: float
    before: float
    """Share adopted by the earlier rule: gain of .01 and a two-sided sign test with p <= .05."""
    chance_said: float
    """Mean of the chance of a wrong adoption that the gate gave where it adopted; NaN where it never did."""


def adoption_rates(
    gain: float, setup: Setup, settings: GateSettings | None = None, *, trials: int = 300, seed: int = 0
) -> Rates:
    """Draw `trials` worlds, and let the gate decide the last round of each on the evidence of all its rounds."""
    settings, world = settings or GateSettings(), World(seed)
    adopted, before, said = 0, 0, []
    for _ in range(trials):
        searches = draw_rounds(gain, setup, world)
        measured = [measure(first, second, lowest=LOWEST, highest=HIGHEST) for first, second in searches]
        verdict = pass_gate(measured[-1], measured[:-1], settings)
        adopted += verdict.passed
        if verdict.passed:
            said.append(verdict.chance_wrong)
        test = paired_test(*searches[-1], resamples=1)  # one resample: the interval is not looked at
        before += measured[-1].gain >= 0.01 and test.faster > test.slower and test.p_value <= 0.05
    return Rates(gain, adopted / trials, before / trials, float(np.mean(said)) if said else float("nan"))


def return_rate(
    gain: float, later: int, theorems: int, settings: GateSettings | None = None, *, trials: int = 300, seed: int = 0
) -> tuple[float, float]:
    """(share adopted, share of those given up again within `later` rounds) of candidates with that true gain."""
    settings, world = settings or GateSettings(), World(seed)
    adopted = returned = 0
    for _ in range(trials):
        searches = draw_rounds(gain, replace(Setup(), theorems=theorems, rounds=later + 1), world)
        measured: list[Measured] = [measure(*pair, lowest=LOWEST, highest=HIGHEST) for pair in searches]
        if not pass_gate(measured[0], (), settings).passed:
            continue
        adopted += 1
        returned += any(goes_back(measured[: n + 1], settings) for n in range(1, later + 1))
    return adopted / trials, returned / adopted if adopted else float("nan")

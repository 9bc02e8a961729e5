"""The gate: whether a new policy or energy model replaces the present one, decided by how probable it is that it helps.

The unit is a theorem. Its credit in a search is its share of the area under the solve curve, in [0, 1], and the mean
difference of the credits of two searches of the same theorems is the gain in area. The true gain (over all theorems of
that kind) is believed to be normal around what was measured, shrunk towards a prior. The prior comes from the earlier
rounds: if tuning helped in four rounds, it has probably helped in the fifth.

Model of the gain in round r: level ~ N(0, prior_spread^2), gain_r ~ N(level, between_rounds^2), measured_r ~ N(gain_r,
error_r^2). Everything is conjugate, so each belief is a mean and a deviation (Gelman et al., Bayesian Data Analysis,
chapter 5).
"""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from prover.evaluation.statistics import Expansions
from prover.json_types import JsonObject
from prover.settings import setting

_USUAL_DEVIATION, _USUAL_WEIGHT = 0.25, 4
"""Deviation of a theorem's difference in credit that a handful of theorems cannot measure, and the number of theorems
that it weighs as much as."""


@dataclass(frozen=True)
class GateSettings:
    """When validation's evidence is enough to replace what is in use."""

    minimum_gain: float = setting(0.0, unit="share", ge=0, le=1)
    """The gain of validation's area under the solve curve that counts as better."""
    least_probability: float = setting(0.8, unit="probability", ge=0.5, lt=1)
    """Replace when the true gain is above `minimum_gain` with at least this probability. What is in use is given up
    again when later rounds say with this probability that it was worse than what it replaced."""
    veto_p: float = setting(0.05, unit="probability", ge=0, le=0.5)
    """Never replace when this round's theorems alone say that it is worse, in a one-sided test at this level: earlier
    rounds do not outvote that. 0 = no veto."""
    prior_spread: float = setting(0.05, unit="share", gt=0, le=1)
    """Deviation of the gains in area that are expected before anything is measured. Smaller is more sceptical."""
    between_rounds: float = setting(0.03, unit="share", gt=0, le=1)
    """How much true gains differ from round to round (deviation). Smaller lets earlier rounds count more."""
    pool_rounds: bool = True
    """Whether earlier rounds count as evidence."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A gain in area as it was measured on some theorems."""

    gain: float
    """Mean over theorems of the second search's credit minus the first's, in [-1, 1]; higher = the second is better."""
    error: float
    """Standard error of `gain`."""
    theorems: int
    on: str
    """Digest of the theorems' names: measurements on the same theorems are not independent."""

    @property
    def p_worse(self) -> float:
        """One-sided p of "no worse", by the normal distribution: small = this sample alone says that it is worse."""
        return NormalDist().cdf(self.gain / self.error)

    def to_dict(self) -> dict[str, object]:
        """Plain values for a file; `from_dict` reads them."""
        return {"gain": self.gain, "error": self.error, "theorems": self.theorems, "on": self.on}

    @classmethod
    def from_dict(cls, content: JsonObject) -> "Measured":
        """Raises ValueError for what `to_dict` did not write."""
        try:
            found = cls(float(content["gain"]), float(content["error"]), int(content["theorems"]), str(content["on"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no measured gain: {error!r} (needs gain, error, theorems, on)") from error
        if not (math.isfinite(found.gain) and math.isfinite(found.error) and found.error > 0):
            raise ValueError(
                f"no measured gain: gain {found.gain} and error {found.error} must be finite, error above 0"
            )
        return found


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of a true gain in area: a normal distribution."""

    mean: float
    deviation: float

    def probability_above(self, gain: float) -> float:
        """That the true gain is above `gain`."""
        return 1.0 - NormalDist(self.mean, self.deviation).cdf(gain)

    @property
    def expected_loss(self) -> float:
        """Area that replacing is expected to cost in the cases where it is wrong: the mean of max(0, -gain)."""
        z = self.mean / self.deviation
        return self.deviation * NormalDist().pdf(z) - self.mean * NormalDist().cdf(-z)

    def updated(self, gain: float, error: float) -> "Belief":
        """After one more independent measurement with that standard error."""
        precision = self.deviation**-2 + error**-2
        return Belief((self.mean * self.deviation**-2 + gain * error**-2) / precision, precision**-0.5)


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What the gate says of one candidate."""

    passed: bool
    probability: float
    """That the true gain is above the least that counts."""
    chance_wrong: float
    """That the candidate is no better than what it replaces."""
    belief: Belief
    measured: Measured
    rounds: int
    """Earlier rounds that the prior rests on."""
    vetoed: bool

    @property
    def words(self) -> str:
        """The evidence for people, without the decision."""
        pooled = f", with {self.rounds} earlier round{'s' * (self.rounds != 1)}" if self.rounds else ""
        return (
            f"{self.measured.gain:+.3f} ± {self.measured.error:.3f} on {self.measured.theorems} theorems{pooled}; "
            f"believed {self.belief.mean:+.3f} ± {self.belief.deviation:.3f}; chance that it is no better "
            f"{self.chance_wrong:.1%}"
        )

    def to_dict(self) -> dict[str, object]:
        """Plain values for files, reports and MLflow."""
        return {
            "passed": self.passed,
            "probability": self.probability,
            "chance_wrong": self.chance_wrong,
            "expected_loss": self.belief.expected_loss,
            "believed_gain": self.belief.mean,
            "believed_deviation": self.belief.deviation,
            "rounds_pooled": self.rounds,
            "vetoed": self.vetoed,
            "measured": self.measured.to_dict(),
        }


def measure(first: Expansions, second: Expansions, *, lowest: int, highest: int) -> Measured:
    """The gain in area of the second search over the first, both of the same theorems.

    lowest, highest: budgets between which the area is taken. The error is that of a mean of paired differences, with a
    few pseudo-observations so that five theorems without a difference do not look like certainty.
    Raises ValueError for no theorems, or when the two are not over the same.
    """
    from prover.evaluation.bootstrap import solve_credits  # with numpy, which orchestration does not load

    if first.keys() != second.keys() or not first:
        raise ValueError(f"need the same theorems in both searches; got {len(first)} and {len(second)}")
    names = sorted(first)
    budgets = {"lowest": lowest, "highest": highest}
    differences = solve_credits(second, names, **budgets) - solve_credits(first, names, **budgets)
    gain, count = float(differences.mean()), len(names)
    squares = float(((differences - gain) ** 2).sum()) + _USUAL_WEIGHT * _USUAL_DEVIATION**2
    error = math.sqrt(squares / (count - 1 + _USUAL_WEIGHT) / count)
    return Measured(gain, error, count, names_digest(names))


def names_digest(names: Sequence[str]) -> str:
    """Of a set of theorem names, whatever their order."""
    return hashlib.blake2b("\n".join(sorted(names)).encode(), digest_size=8).hexdigest()


def prior_from(past: Sequence[Measured], settings: GateSettings) -> Belief:
    """What earlier rounds say of the next round's gain. past: what each of them measured.

    Rounds that measured on the same theorems count together as one: their luck with these theorems is the same.
    """
    level = Belief(0.0, settings.prior_spread)
    if settings.pool_rounds:
        repeated = Counter(found.on for found in past)
        for found in past:
            variance = (found.error**2 + settings.between_rounds**2) * repeated[found.on]
            level = level.updated(found.gain, math.sqrt(variance))
    return Belief(level.mean, math.hypot(level.deviation, settings.between_rounds)) if past else level


def pass_gate(measured: Measured, past: Sequence[Measured], settings: GateSettings) -> GateVerdict:
    """Whether a candidate replaces what is in use.

    past: what earlier rounds measured of candidates that were made the same way. It passes when it is probably better
    and this round's theorems alone do not say that it is worse.
    """
    used = past if settings.pool_rounds else ()
    belief = prior_from(used, settings).updated(measured.gain, measured.error)
    probability = belief.probability_above(settings.minimum_gain)
    vetoed = measured.p_worse < settings.veto_p
    return GateVerdict(
        passed=probability >= settings.least_probability and not vetoed,
        probability=probability,
        chance_wrong=1.0 - belief.probability_above(0.0),
        belief=belief,
        measured=measured,
        rounds=len(used),
        vetoed=vetoed,
    )


def belief_of_all(measured: Sequence[Measured], settings: GateSettings) -> Belief:
    """What is believed of one gain that was measured several times, each time on other theorems.

    Of measurements on the same theorems the last counts.
    """
    belief = Belief(0.0, settings.prior_spread)
    for found in {found.on: found for found in measured}.values():
        belief = belief.updated(found.gain, found.error)
    return belief


def goes_back(measured: Sequence[Measured], settings: GateSettings) -> bool:
    """Whether what is in use is given up for what it replaced.

    measured: the gain of the one over the other, at the adoption and in later rounds. One measurement, the one that it
    was adopted on, is no news.
    """
    if len({found.on for found in measured}) < 2:
        return False
    return 1.0 - belief_of_all(measured, settings).probability_above(0.0) >= settings.least_probability

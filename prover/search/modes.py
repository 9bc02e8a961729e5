"""The orders in which a search can visit its nodes: one table, which everything that names a mode goes by."""

from dataclasses import dataclass

CALIBRATED = "calibrated"
POLICY_MEAN = "policy-mean"
POLICY_CUMULATIVE = "policy-cumulative"
ENERGY_ONLY = "energy-only"
RAW_HALF_HALF = "raw-half-half"
RANDOM_ENERGY = "random-energy"
BREADTH_FIRST = "breadth-first"
SPLIT_QUEUE = "split-queue"


@dataclass(frozen=True, slots=True)
class SearchMode:
    """An order of the frontier. `prover.search.guidance.Guidance` has the formula of each queue's priority."""

    name: str
    purpose: str
    """What it is for, in a few words."""
    needs_scorer: bool = False
    """Whether nodes are scored by an energy model."""
    needs_scale: bool = False
    """Whether it needs the calibration: the scales of energy and log-probability, and the weight beta."""
    without_scorer: str | None = None
    """The mode that takes its place where there is no energy model; None: there is none, and it is refused."""
    queues: tuple[str, ...] = ()
    """The orders of its queues, popped in turn; its own alone where this is empty."""

    @property
    def orders(self) -> tuple[str, ...]:
        """One order per queue."""
        return self.queues or (self.name,)


MODES: dict[str, SearchMode] = {
    mode.name: mode
    for mode in (
        SearchMode(
            CALIBRATED,
            "log-probability per step and energy, each on its own scale, weighed by beta",
            needs_scorer=True,
            needs_scale=True,
            without_scorer=POLICY_MEAN,
        ),
        SearchMode(POLICY_MEAN, "log-probability per step: the strongest order of the policy alone"),
        SearchMode(POLICY_CUMULATIVE, "log-probability of the whole path"),
        SearchMode(ENERGY_ONLY, "the energy alone", needs_scorer=True),
        SearchMode(RAW_HALF_HALF, "half log-probability, half energy, unscaled (for comparison)", needs_scorer=True),
        SearchMode(RANDOM_ENERGY, "calibrated with an energy drawn by chance: the control", needs_scale=True),
        SearchMode(BREADTH_FIRST, "the fewest tactics first"),
        SearchMode(
            SPLIT_QUEUE,
            "two queues, calibrated and policy-mean, popped in turn",
            needs_scorer=True,
            needs_scale=True,
            without_scorer=POLICY_MEAN,
            queues=(CALIBRATED, POLICY_MEAN),
        ),
    )
}
"""Every mode by its name."""
POLICY_ALONE: tuple[str, ...] = tuple(
    name for name, mode in MODES.items() if not mode.needs_scorer and not mode.needs_scale
)
"""Names of the modes that need nothing but the policy."""

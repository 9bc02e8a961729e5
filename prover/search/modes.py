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
RANK_MIX = "rank-mix"
REMAINING_STEPS = "remaining-steps"
REMAINING_NATS = "remaining-nats"

MIX = "mix"
"""The order of `calibrated` search that weighs log-probability per step and energy by beta."""


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
    ranked: bool = False
    """Whether the queues are not popped in turn, but the node is whose ranks in them add up to the least."""

    @property
    def orders(self) -> tuple[str, ...]:
        """One order per queue."""
        return self.queues or (self.name,)


MODES: dict[str, SearchMode] = {
    mode.name: mode
    for mode in (
        SearchMode(
            CALIBRATED,
            "the order that validation chose: as a rule log-probability per step and energy, weighed by beta",
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
        SearchMode(
            RANK_MIX,
            "the sum of a node's ranks among the open ones by log-probability per step and by energy; needs no scale",
            needs_scorer=True,
            queues=(POLICY_MEAN, ENERGY_ONLY),
            ranked=True,
        ),
        SearchMode(
            REMAINING_STEPS,
            "A*: tactics so far and the tactics still expected by the energy",
            needs_scorer=True,
            needs_scale=True,
        ),
        SearchMode(
            REMAINING_NATS,
            "A*: log-probability so far and that of the tactics still expected by the energy",
            needs_scorer=True,
            needs_scale=True,
        ),
    )
}
"""Every mode by its name."""
POLICY_ALONE: tuple[str, ...] = tuple(
    name for name, mode in MODES.items() if not mode.needs_scorer and not mode.needs_scale
)
"""Names of the modes that need nothing but the policy."""
CALIBRATED_ORDERS: tuple[str, ...] = (MIX, POLICY_MEAN, RANK_MIX, REMAINING_NATS, REMAINING_STEPS, ENERGY_ONLY)
"""Orders that a calibration can choose for `calibrated` search, the policy's own share falling."""

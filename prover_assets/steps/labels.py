"""What the labels of a search are worth, and whether its states look like those of the search before."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prover_assets.report.facts import read, state_lengths
from prover_assets.store.layout import DataFolder, IterationFolder

if TYPE_CHECKING:
    import polars as pl

MOST_STATES = 300
"""States of a label that the decision procedure looks at: a sample is enough for a share."""
STEP_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Noise:
    """Of the sampled states that a search labelled negative, how many a decision procedure calls provable."""

    decided: int
    provable: int

    @property
    def share(self) -> float | None:
        """Provable states as a share of those decided; None if none was decided."""
        return self.provable / self.decided if self.decided else None


def negative_noise(nodes: "pl.DataFrame", *, seed: int = 0) -> Noise:
    """Label noise among negatives. Only propositional states can be decided; of others nothing is known."""
    import polars as pl

    from prover.logic.g4ip import provable

    negatives = nodes.filter(pl.col("label") == "negative").unique("state_key", maintain_order=True)
    sample = negatives.sample(min(MOST_STATES, negatives.height), seed=seed)["state_pp"].to_list()
    verdicts = [provable(text, STEP_LIMIT) for text in sample]
    return Noise(sum(verdict is not None for verdict in verdicts), sum(verdict is True for verdict in verdicts))


def length_drift(data: DataFolder, iteration: IterationFolder) -> tuple[float, float] | None:
    """Mean length of unfinished states (characters) in the iteration before and in this one, where there are both."""
    if iteration.number == 0:
        return None
    before = data.iteration(iteration.number - 1).trajectories.nodes
    if not before.exists():
        return None
    old, new = state_lengths(read(before)), state_lengths(read(iteration.trajectories.nodes))
    return (old["mean"], new["mean"]) if old and new else None

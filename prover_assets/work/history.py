"""Which iterations' trajectories a step reads."""

from prover_assets.layout import DataFolder, IterationFolder
from prover_assets.work.searching import require_complete


def iterations_until(data: DataFolder, iteration: IterationFolder, latest: int = 0) -> list[IterationFolder]:
    """The finished searches up to and with `iteration`; only the `latest` so many of them, 0 for all.

    An earlier iteration without a finished search is left out. Raises FileNotFoundError where this one has none.
    """
    require_complete(iteration.trajectories, f"trajectories of {iteration.key}")
    found = [
        other for other in data.iterations() if other.number < iteration.number and other.trajectories.nodes.exists()
    ]
    everything = [*found, iteration]
    return everything[-latest:] if latest else everything

"""Which iterations' trajectories a step reads."""

from prover_assets.store.files import require_parquet
from prover_assets.store.layout import DataFolder, IterationFolder
from prover_assets.store.manifest import require_complete


def iterations_until(data: DataFolder, iteration: IterationFolder, latest: int = 0) -> list[IterationFolder]:
    """The finished searches up to and with `iteration`; only the `latest` so many of them, 0 for all.

    An earlier iteration without a finished search is left out. Raises FileNotFoundError where this one has none,
    DamagedFile for files that cannot be read.
    """
    require_complete(iteration.trajectories, f"trajectories of {iteration.key}")
    everything = [*iterations_before(data, iteration), iteration]
    return everything[-latest:] if latest else everything


def iterations_before(data: DataFolder, iteration: IterationFolder) -> list[IterationFolder]:
    """The earlier iterations that have trajectories. Raises DamagedFile for those whose files cannot be read."""
    found = [
        other for other in data.iterations() if other.number < iteration.number and other.trajectories.nodes.exists()
    ]
    for other in found:
        require_parquet(other.trajectories.nodes)
        if other.trajectories.summary.exists():  # the curriculum reads it, and takes one that is missing for empty
            require_parquet(other.trajectories.summary)
    return found

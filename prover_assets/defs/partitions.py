"""The partitions of the loop: one per iteration, named as `prover_assets.store.iterations` says."""

import dagster as dg

from prover_assets.operate.preflight import SettingsError
from prover_assets.store.iterations import in_order

ITERATION = "iteration"

iteration_partitions = dg.DynamicPartitionsDefinition(name=ITERATION)

PARTITION_TAG = "dagster/partition"
PARTITION_TAGS = frozenset({PARTITION_TAG, "dagster/asset_partition_range_start"})


def has_partition(run: dg.DagsterRun) -> bool:
    """Whether a run was launched for an iteration, or for several."""
    return bool(PARTITION_TAGS & set(run.tags))


def require_partition(instance: dg.DagsterInstance, asset: dg.AssetKey) -> None:
    """Refuse a run without a partition, which makes `asset`. Raises SettingsError that says which one to choose."""
    from prover_assets.operate.next import runs_in_progress

    known = in_order(list(instance.get_dynamic_partitions(ITERATION)))
    if not known:
        raise SettingsError(
            "no iteration was chosen, and there is none yet: materialize theorems, which opens iter_000, and launch "
            "again with the partition iter_000"
        )
    done = set(instance.get_materialized_partitions(asset))
    following = next((key for key in known if key not in done), known[-1])
    running = {run.tags[PARTITION_TAG] for run in runs_in_progress(instance)}
    busy = ", and is running (wait until it has ended)" if following in running else ""
    raise SettingsError(
        f"no iteration was chosen: launch again with a partition (Launchpad: the field Partition). {following} is the "
        f"next one{busy}; there are {', '.join(known[-5:])}"
    )

"""The champion: the energy model that an iteration searches with."""

import dagster as dg

from prover_assets.defs.partitions import iteration_partitions
from prover_assets.defs.step import GROUP, OWNERS

champion_ebm = dg.AssetSpec(
    "champion_ebm",
    partitions_def=iteration_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"pytorch"},
    description=(
        "The energy model that an iteration's search of the training theorems is guided by. External: the report of "
        "one iteration decides it and records it here for the next one, which is how the loop closes without a cycle. "
        "The first iteration has none: it searches with the policy alone. Look at where it came from, and why."
    ),
)

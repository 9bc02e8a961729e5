"""The partitions of the loop: one per iteration, named as `prover_assets.store.iterations` says."""

import dagster as dg

ITERATION = "iteration"

iteration_partitions = dg.DynamicPartitionsDefinition(name=ITERATION)

"""Opening an iteration: its partition, and the record of what it starts from, which closes the loop."""

import dagster as dg

from prover_assets.defs.partitions import ITERATION
from prover_assets.store.champion import starting_champion
from prover_assets.store.layout import DataFolder
from prover_assets.store.policy import fitting, record_in_force


def open_iteration(context: dg.AssetExecutionContext, data: DataFolder, key: str) -> None:
    """Add the partition `key` and record its champion: the energy model, and the policy whose vectors it reads.

    Called by whatever decides one of the two for `key`, so that what was made from other ones shows as unsynced. A
    champion that does not fit the policy is recorded as left out, with the reason.
    """
    context.instance.add_dynamic_partitions(ITERATION, [key])
    champion, policy = starting_champion(data.iteration(key)), record_in_force(data, data.iteration(key))
    tuned = None if policy is None or policy.policy is None else policy.policy
    used = champion if policy is None else fitting(data, champion, policy.encoder_fingerprint)
    context.instance.report_runless_asset_event(
        dg.AssetMaterialization(
            "champion_ebm",
            partition=key,
            description=used.reason,
            metadata={
                "ebm_id": used.ebm_id or "none: the policy alone",
                "trained_by": used.decided_by or "nobody",
                "decided_by": context.partition_key,
                "reason": used.reason,
                "policy": tuned or "as configured",
                **({} if used.evidence is None else {"validation_area": used.evidence.area}),
            },
            tags={"dagster/data_version": used.data_version if tuned is None else f"{used.data_version}+{tuned}"},
        )
    )

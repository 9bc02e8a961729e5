"""Jobs: an iteration, with or without tuning the policy; the held-out baseline; all together, for a first run."""

import dagster as dg

BASELINE_ASSETS = ("theorems", "baseline_trajectories")
ITERATION_ASSETS = ("trajectories", "state_embeddings", "ebm_checkpoint", "guided_trajectories", "iteration_report")
"""In the order in which they run."""
TUNING_ASSET = "policy_checkpoint"
"""Optional, after the report: it decides which policy the next iteration searches with."""

iteration_job = dg.define_asset_job(
    "iteration",
    selection=list(ITERATION_ASSETS),
    description="One iteration of expert iteration: search, embed, train, search again, report. Without a partition it "
    "is the next one.",
)
policy_iteration_job = dg.define_asset_job(
    "policy_iteration",
    selection=[*ITERATION_ASSETS, TUNING_ASSET],
    description="An iteration that also fine-tunes the policy on the certified proofs so far; the next iteration "
    "searches with the tuned policy if validation says that it is better. Without a partition it is the next one.",
)
baseline_job = dg.define_asset_job(
    "baseline",
    selection=list(BASELINE_ASSETS),
    description="The theorem sets, and the held-out theorems searched with the policy alone. Once per policy and set.",
)
first_iteration_job = dg.define_asset_job(
    "first_iteration",
    selection=[*BASELINE_ASSETS, *ITERATION_ASSETS],
    description="Everything that the first iteration needs, from nothing. Without a partition it is iter_000.",
)
everything_job = dg.define_asset_job(
    "first_policy_iteration",
    selection=[*BASELINE_ASSETS, *ITERATION_ASSETS, TUNING_ASSET],
    description="Everything that the first iteration needs, and the policy fine-tuned at its end. Without a partition "
    "it is iter_000.",
)

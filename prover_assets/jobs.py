"""Jobs: an iteration, the held-out baseline, and both together (what a first run needs)."""

import dagster as dg

BASELINE_ASSETS = ("theorems", "baseline_trajectories")
ITERATION_ASSETS = ("trajectories", "state_embeddings", "ebm_checkpoint", "guided_trajectories", "iteration_report")
"""In the order in which they run."""

iteration_job = dg.define_asset_job(
    "iteration",
    selection=list(ITERATION_ASSETS),
    description="One iteration of expert iteration: search, embed, train, search again, report. Pick a partition.",
)
baseline_job = dg.define_asset_job(
    "baseline",
    selection=list(BASELINE_ASSETS),
    description="The theorem sets, and the held-out theorems searched with the policy alone. Once per policy and set.",
)
first_iteration_job = dg.define_asset_job(
    "first_iteration",
    selection=[*BASELINE_ASSETS, *ITERATION_ASSETS],
    description="Everything that the first iteration needs, from nothing. Pick iter_000.",
)

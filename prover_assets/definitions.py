"""What Dagster loads: `dagster dev -w workspace.yaml`."""

import dagster as dg

from prover_assets.defs.assets.baseline_trajectories import baseline_trajectories
from prover_assets.defs.assets.champion_ebm import champion_ebm
from prover_assets.defs.assets.ebm_checkpoint import ebm_checkpoint
from prover_assets.defs.assets.guided_trajectories import guided_trajectories
from prover_assets.defs.assets.iteration_report import iteration_report
from prover_assets.defs.assets.policy_checkpoint import policy_checkpoint
from prover_assets.defs.assets.state_embeddings import state_embeddings
from prover_assets.defs.assets.theorems import theorems
from prover_assets.defs.assets.trajectories import trajectories
from prover_assets.defs.automation import automate_iterations
from prover_assets.defs.checks import baseline_bounds
from prover_assets.defs.executors import iteration_executor
from prover_assets.defs.jobs import (
    baseline_job,
    everything_job,
    first_iteration_job,
    iteration_job,
    policy_iteration_job,
)
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.schedules import nightly_iteration
from prover_assets.defs.sensors import chain_iterations, close_cancelled_mlflow_runs, close_failed_mlflow_runs
from prover_assets.defs.tracking import MlflowResource

ASSETS = (
    theorems,
    champion_ebm,
    trajectories,
    state_embeddings,
    ebm_checkpoint,
    guided_trajectories,
    baseline_trajectories,
    iteration_report,
    policy_checkpoint,
)


def definitions_with(
    *,
    data: DataResource | None = None,
    lean: LeanResource | None = None,
    policy: PolicyResource | None = None,
    mlflow: MlflowResource | None = None,
) -> dg.Definitions:
    """The project, with the resources given; the others are as configured in the Launchpad and the environment."""
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=baseline_bounds(),
        jobs=[first_iteration_job, iteration_job, policy_iteration_job, everything_job, baseline_job],
        schedules=[nightly_iteration],
        sensors=[chain_iterations, automate_iterations, close_failed_mlflow_runs, close_cancelled_mlflow_runs],
        resources={
            "data": data or DataResource(),
            "lean": lean or LeanResource(),
            "policy": policy or PolicyResource(),
            "mlflow": mlflow or MlflowResource(),
        },
        executor=iteration_executor,
    )


defs = definitions_with()

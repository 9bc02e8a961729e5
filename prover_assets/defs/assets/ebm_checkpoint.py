"""The energy model of an iteration."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import dagster as dg

from ebm.calibration_config import CalibrationConfig
from ebm.head_config import EnergyHeadConfig
from ebm.training.config import EBMTrainingConfig
from prover.json_types import JsonObject
from prover_assets.defs.automation import next_when_open
from prover_assets.defs.checks import FINITE, GAP, HEALTH, TRAINING_BLOCKING, iteration_check, training_checks
from prover_assets.defs.configs import TrainingConfig
from prover_assets.defs.launchpad import settings_from, values_from
from prover_assets.defs.metadata import (
    TRAINING_CURVES,
    training_metadata,
    training_picture,
    training_points,
    validation_metadata,
)
from prover_assets.defs.partitions import iteration_partitions
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.step import GPU_POOL, GROUP, OWNERS, Step, step
from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate.versions import step_version
from prover_assets.steps.history import iterations_until
from prover_assets.steps.theorem_sets import load_written
from prover_assets.steps.train import HistorySettings, Trained, ValidationSettings, calibrate_head, train_head
from prover_assets.store.champion import Evidence
from prover_assets.store.files import digest_of, write_json
from prover_assets.store.layout import IterationFolder
from prover_assets.store.manifest import read_manifest
from prover_assets.store.verdict import judge, write_verdict
from prover_assets.tracking.registry import Validation, register_version

if TYPE_CHECKING:
    from dagster._core.definitions.metadata import RawMetadataValue


@dg.asset(
    deps=["state_embeddings", "trajectories", "theorems"],
    partitions_def=iteration_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"pytorch"},
    tags={"cost": "minutes"},
    pool=GPU_POOL,
    code_version=step_version("ebm_checkpoint"),
    automation_condition=next_when_open(),
    check_specs=[
        iteration_check(FINITE, asset="ebm_checkpoint", blocking=True, description="The last loss is a number."),
        iteration_check(
            GAP,
            asset="ebm_checkpoint",
            blocking=True,
            description="Negatives have a higher mean ENERGY than positives (lower is better).",
        ),
        iteration_check(HEALTH, asset="ebm_checkpoint", description="Training ended without health warnings."),
    ],
)
def ebm_checkpoint(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    data: DataResource,
    lean: LeanResource,
    policy: PolicyResource,
    mlflow: MlflowResource,
) -> dg.MaterializeResult:
    """The energy model: trained on all trajectories so far, its weight in the search chosen on validation theorems.

    Half a minute for the demonstration. Look at the energy gap (positive and growing), the rank accuracy and the chosen
    beta: 0 means that validation preferred the policy alone.
    """
    with step(context, data, mlflow, config, lean=lean, policy=policy) as work:
        learns = settings_from(config, HistorySettings)
        with work.reporter.stage("train the energy model") as update:
            in_use = work.policy_of(policy)
            work.require_baseline_to_measure_against(lean, in_use)
            model = in_use.resource
            history = iterations_until(work.data, work.iteration, learns.history)
            trained = train_head(
                settings_from(config, EBMTrainingConfig),
                values_from(config, EnergyHeadConfig),
                work.data,
                work.iteration,
                history,
                model,
                update,
                start=learns.start,
            )
        checks = training_checks(trained)
        passed = all(found.passed for found in checks if found.check_name in TRAINING_BLOCKING)
        evidence = None
        if passed:  # a model that is not sound is not worth a search
            with work.reporter.stage("choose its weight on validation") as update:
                order, window = settings_from(config, CalibrationConfig), settings_from(config, ValidationSettings)
                evidence = calibrate_head(order, window, work.data, work.iteration, history, lean, model, update)
            write_json(work.iteration.evidence, asdict(evidence[0]))
        _read(work, history)
        verdict = judge(trained.ebm_id, checks, TRAINING_BLOCKING)
        write_verdict(work.iteration.verdict, verdict)
        metadata = _logged(work, trained)
        if evidence is not None:
            metadata |= _validated(work, mlflow.registered_model, *evidence)
        return work.result(
            data_version=digest_of([trained.ebm_id, evidence[0].words if evidence else None]),
            metadata=metadata,
            checks=checks,
            blocking=TRAINING_BLOCKING,
        )


def _logged(work: Step, trained: Trained) -> "dict[str, RawMetadataValue]":
    """Log what a training came to; returns metadata for the asset page."""
    work.run.curve(training_points(trained))
    work.run.metrics({"train_seconds": trained.seconds, "steps": trained.steps})
    work.run.summary({f"ebm_{name}": value for name, value in trained.metrics.items() if name in TRAINING_CURVES})
    curves = training_picture(trained)
    work.run.picture(curves, "training")
    return training_metadata(trained, curves, work.iteration.checkpoint)


def _validated(work: Step, model: str, evidence: Evidence, facts: JsonObject) -> "dict[str, RawMetadataValue]":
    """Log what validation said of a sound head, and register it; returns metadata for the asset page."""
    work.run.summary({"beta": evidence.beta, "validation_area": evidence.area})
    work.run.summary({"validation_area_policy": evidence.policy_area})
    numbers = {
        "validation_area": evidence.area,
        "validation_area_policy": evidence.policy_area,
        "validation_gain": evidence.area - evidence.policy_area,
        "beta": evidence.beta,
    }
    validation = Validation(numbers, "theorems-valid", load_written(work.data, "valid").digest)
    version = register_version(work.run, model, work.iteration.checkpoint, evidence.ebm_id, validation)
    registered = {} if version is None else {"registered_model": dg.MetadataValue.text(f"{model}, version {version}")}
    return {**validation_metadata(evidence, facts), **registered}


def _read(work: Step, history: Sequence[IterationFolder]) -> None:
    """Log which searches the head was trained on."""
    for folder in history:
        manifest = read_manifest(folder.trajectories)
        if manifest is not None:
            files = folder.trajectories.nodes
            work.run.dataset(f"trajectories-{folder.key}", manifest.fingerprint, files, "training")
            work.run.params({"inputs": {folder.key: manifest.fingerprint}}, parent_prefix="ebm_checkpoint")

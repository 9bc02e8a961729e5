"""The energy model of an iteration."""

import math
from dataclasses import asdict

import dagster as dg

from ebm.calibration_config import CalibrationConfig
from ebm.head_config import EnergyHeadConfig
from ebm.training.config import EBMTrainingConfig
from prover_assets.defs.configs import TrainingConfig
from prover_assets.defs.launchpad import settings_from, values_from
from prover_assets.defs.metadata import figure
from prover_assets.defs.partitions import iteration_partitions
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.step import GPU_POOL, GROUP, OWNERS, check, step
from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate.versions import step_version
from prover_assets.report import plots
from prover_assets.report.facts import markdown_table
from prover_assets.steps.history import iterations_until
from prover_assets.steps.train import HistorySettings, Trained, calibrate_head, train_head
from prover_assets.store.files import digest_of, write_json
from prover_assets.store.manifest import read_manifest
from prover_assets.store.verdict import judge, write_verdict
from prover_assets.tracking.registry import register_version

FINITE, GAP, HEALTH = "loss_finite", "energy_gap", "healthy"
BLOCKING = frozenset({FINITE, GAP})
CURVES = ("contrastive_loss", "energy_gap", "rank_accuracy", "energy_std")


@dg.asset(
    deps=["state_embeddings", "trajectories", "theorems"],
    partitions_def=iteration_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"pytorch"},
    tags={"cost": "minutes"},
    pool=GPU_POOL,
    code_version=step_version("ebm_checkpoint"),
    check_specs=[
        dg.AssetCheckSpec(FINITE, asset="ebm_checkpoint", blocking=True, description="The last loss is a number."),
        dg.AssetCheckSpec(
            GAP,
            asset="ebm_checkpoint",
            blocking=True,
            description="Negatives have a higher mean ENERGY than positives (lower is better).",
        ),
        dg.AssetCheckSpec(HEALTH, asset="ebm_checkpoint", description="Training ended without health warnings."),
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
        in_use = work.policy_of(policy)
        work.require_baseline_to_measure_against(lean, in_use)
        model = in_use.resource
        latest = settings_from(config, HistorySettings).history
        history = iterations_until(work.data, work.iteration, latest)
        with work.reporter.stage("train the energy model") as update:
            trained = train_head(
                settings_from(config, EBMTrainingConfig),
                values_from(config, EnergyHeadConfig),
                work.data,
                work.iteration,
                history,
                model,
                update,
            )
        checks = _checks(trained)
        passed = all(found.passed for found in checks if found.check_name in BLOCKING)
        evidence = None
        if passed:  # a model that is not sound is not worth a search
            with work.reporter.stage("choose its weight on validation") as update:
                evidence = calibrate_head(
                    settings_from(config, CalibrationConfig), work.data, work.iteration, history, lean, model, update
                )
            write_json(work.iteration.evidence, asdict(evidence[0]))
        for folder in history:
            manifest = read_manifest(folder.trajectories)
            if manifest is not None:
                files = folder.trajectories.nodes
                work.run.dataset(f"trajectories-{folder.key}", manifest.fingerprint, files, "training")
                work.run.params({"inputs": {folder.key: manifest.fingerprint}}, parent_prefix="ebm_checkpoint")
        verdict = judge(trained.ebm_id, checks, BLOCKING)
        write_verdict(work.iteration.verdict, verdict)
        points = [
            (row["step"], {f"{row['split']}_{k}": v for k, v in row.items() if k not in ("step", "split")})
            for row in trained.history.iter_rows(named=True)
        ]
        work.run.curve(points)
        work.run.metrics({"train_seconds": trained.seconds, "steps": trained.steps})
        work.run.summary({f"ebm_{name}": value for name, value in trained.metrics.items() if name in CURVES})
        curves = plots.lines(
            {
                name: (
                    trained.history.filter(split="train")["step"].to_list(),
                    trained.history.filter(split="train")[name].to_list(),
                )
                for name in CURVES
            },
            xlabel="step",
            title="training",
        )
        work.run.picture(curves, "training")
        metadata = {
            "ebm_id": trained.ebm_id,
            "steps": trained.steps,
            "seconds": round(trained.seconds, 2),
            **{name: value for name, value in trained.metrics.items() if value is not None and math.isfinite(value)},
            **{f"trained_on_{name}": value for name, value in trained.data.items() if isinstance(value, int)},
            "warnings": dg.MetadataValue.md("\n".join(f"- {text}" for text in trained.warnings) or "none"),
            "curves": figure(curves, "training curves"),
            "path": dg.MetadataValue.path(str(work.iteration.checkpoint)),
        }
        if evidence is not None:
            found, facts = evidence
            work.run.summary({"beta": found.beta, "validation_area": found.area})
            work.run.summary({"validation_area_policy": found.policy_area})
            metadata |= {
                "beta": found.beta,
                "validation_area": found.area,
                "validation_area_policy": found.policy_area,
                "validation": dg.MetadataValue.md(
                    markdown_table(
                        ["beta", "area under the solve curve", "solved"],
                        [(trial["beta"], trial["area"], trial["solved"]) for trial in facts["trials"]],
                    )
                ),
            }
            name = mlflow.registered_model
            version = register_version(work.run, name, work.iteration.checkpoint, trained.ebm_id)
            if version is not None:
                metadata["registered_model"] = dg.MetadataValue.text(f"{name}, version {version}")
        return work.result(
            data_version=digest_of([trained.ebm_id, evidence[0].beta if evidence else None]),
            metadata=metadata,
            checks=checks,
            blocking=BLOCKING,
        )


def _checks(trained: Trained) -> list[dg.AssetCheckResult]:
    loss, gap = trained.metrics.get("loss"), trained.metrics.get("energy_gap")
    return [
        check(
            FINITE,
            loss is not None and math.isfinite(loss),
            f"the last loss is {loss}",
            {"loss": loss if loss is not None and math.isfinite(loss) else None, "steps": trained.steps},
            blocking=True,
        ),
        check(
            GAP,
            gap is not None and gap > 0,
            f"the energy gap is {gap}: mean ENERGY of negatives less that of positives, which must be above 0",
            {name: trained.metrics.get(name) for name in ("energy_gap", "rank_accuracy", "energy_std")},
            blocking=True,
        ),
        check(
            HEALTH,
            not trained.warnings,
            "; ".join(trained.warnings) or "no warnings",
            {"warnings": len(trained.warnings)},
        ),
    ]

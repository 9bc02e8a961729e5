"""MLflow's model registry: a version per trained head, the alias `champion` on the promoted one."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from prover_assets.store.champion import Evidence
from prover_assets.tracking.notes import version_note
from prover_assets.tracking.tracked_run import TrackedRun, fluent_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
ID_TAG = "prover.ebm_id"


@dataclass(frozen=True, slots=True)
class Validation:
    """What was measured of a head: numbers by name, and the name and digest of the theorems they were measured on."""

    numbers: Mapping[str, float]
    dataset: str
    digest: str


class Decided(Protocol):
    """What a report decided on a head."""

    @property
    def promoted(self) -> bool:
        """Whether it is the champion from now on."""
        ...

    @property
    def reason(self) -> str:
        """Why."""
        ...


def register_version(
    run: TrackedRun, model: str, checkpoint: Path, ebm_id: str, validation: Validation | None = None
) -> str | None:
    """Register the head as a new version of `model`, with signature and input example, once. Returns the version.

    run: the child run that trained it. checkpoint: the head's folder. validation: what was measured of it, logged on
    the model itself so that models can be searched and ordered by it. None where tracking is off.

    The safetensors checkpoint stays what search loads; the registered copy is for those who serve from MLflow.
    """
    client = run.client
    if client is None:
        return None
    known = _version_of(client, model, ebm_id)
    if known is None:
        import mlflow as mlflow_module
        import torch
        from mlflow.models import infer_signature

        from ebm.checkpoint import load_energy

        head = load_energy(checkpoint)
        example = torch.zeros(2, head.config.d_encoder)
        with torch.no_grad():
            signature = infer_signature(example.numpy(), head(example).numpy())
        with fluent_uri(run.uri), mlflow_module.start_run(run_id=run.run_id):
            info = mlflow_module.pytorch.log_model(
                head,
                name="energy_head",
                signature=signature,
                input_example=example.numpy(),
                pip_requirements=["torch"],
            )
            if not client.search_registered_models(f"name = '{model}'"):
                client.create_registered_model(model)
            version = client.create_model_version(
                model,
                info.model_uri,
                run_id=run.run_id,
                model_id=info.model_id,
                tags={ID_TAG: ebm_id},
            )
        client.set_logged_model_tags(info.model_id, {ID_TAG: ebm_id, "prover.iteration": str(run.iteration)})
        known = str(version.version)
        if validation is not None:
            _log_on_model(client, run, info.model_id, validation)
    return known


def _log_on_model(client: "MlflowClient", run: TrackedRun, model_id: str, validation: Validation) -> None:
    """Numbers of a model on the theorems that they were measured on."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [
        Metric(
            name,
            value,
            now,
            run.iteration,
            model_id=model_id,
            dataset_name=validation.dataset,
            dataset_digest=validation.digest[:36],
            run_id=run.run_id,
        )
        for name, value in validation.numbers.items()
    ]
    client.log_batch(run.run_id, metrics=metrics)


def describe_version(client: "MlflowClient", model: str, evidence: Evidence, iteration: str, decision: Decided) -> None:
    """Say on a version what validation measured and what was decided, so that two versions compared show why."""
    version = _version_of(client, model, evidence.ebm_id)
    if version is None:
        return
    facts = {
        "iteration": iteration,
        "validation area": evidence.area,
        "validation area of the policy alone": evidence.policy_area,
        "order": "the policy alone" if evidence.policy_alone else evidence.words,
        "verdict": "promoted" if decision.promoted else "not promoted",
        "reason": decision.reason,
    }
    # The list of versions shows the beginning, without its layout: a sentence comes before the table.
    summary = f"{iteration}, {facts['verdict']}: area {evidence.area:.3f}, the policy alone {evidence.policy_area:.3f}"
    client.update_model_version(model, version, f"{summary}\n\n{version_note(facts)}")
    for name, value in facts.items():
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        client.set_model_version_tag(model, version, f"prover.{name.replace(' ', '_')}", text)


def promote_version(client: "MlflowClient", model: str, ebm_id: str) -> None:
    """Move the alias `champion` of `model` to the version of a head. Only a promotion calls this."""
    version = _version_of(client, model, ebm_id)
    if version is not None:
        client.set_registered_model_alias(model, ALIAS, version)


def _version_of(client: "MlflowClient", name: str, ebm_id: str) -> str | None:
    found = client.search_model_versions(f"name = '{name}' and tags.`{ID_TAG}` = '{ebm_id}'")
    return str(found[0].version) if found else None

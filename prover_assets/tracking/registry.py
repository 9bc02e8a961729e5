"""MLflow's model registry: a version per trained head, the alias `champion` on the promoted one."""

from pathlib import Path
from typing import Any

import dagster as dg

from prover_assets.defs.step import Step
from prover_assets.tracking.mlflow import MlflowResource, fluent_uri

ALIAS = "champion"
ID_TAG = "prover.ebm_id"


def register_version(mlflow: MlflowResource, work: Step, checkpoint: Path, ebm_id: str) -> dict[str, Any]:
    """Register the head as a new version, with signature and input example, once; returns metadata.

    The safetensors checkpoint stays what search loads; the registered copy is for those who serve from MLflow.
    """
    client = work.run.client
    if client is None:
        return {}
    known = _version_of(client, mlflow.registered_model, ebm_id)
    if known is None:
        import mlflow as mlflow_module
        import torch
        from mlflow.models import infer_signature

        from ebm.checkpoint import load_head

        head = load_head(checkpoint)
        example = torch.zeros(2, head.config.d_encoder)
        with torch.no_grad():
            signature = infer_signature(example.numpy(), head(example).numpy())
        with fluent_uri(mlflow.resolved_uri(work.data)), mlflow_module.start_run(run_id=work.run.run_id):
            info = mlflow_module.pytorch.log_model(
                head,
                name="energy_head",
                signature=signature,
                input_example=example.numpy(),
                pip_requirements=["torch"],
            )
            if not client.search_registered_models(f"name = '{mlflow.registered_model}'"):
                client.create_registered_model(mlflow.registered_model)
            version = client.create_model_version(
                mlflow.registered_model,
                info.model_uri,
                run_id=work.run.run_id,
                model_id=info.model_id,
                tags={ID_TAG: ebm_id},
            )
        known = str(version.version)
    return {"registered_model": dg.MetadataValue.text(f"{mlflow.registered_model}, version {known}")}


def promote_version(mlflow: MlflowResource, work: Step, ebm_id: str) -> None:
    """Move the alias `champion` to the version of a head. Only a promotion calls this."""
    client = work.run.client
    if client is None:
        return
    version = _version_of(client, mlflow.registered_model, ebm_id)
    if version is not None:
        client.set_registered_model_alias(mlflow.registered_model, ALIAS, version)


def _version_of(client: Any, name: str, ebm_id: str) -> str | None:
    found = client.search_model_versions(f"name = '{name}' and tags.`{ID_TAG}` = '{ebm_id}'")
    return str(found[0].version) if found else None

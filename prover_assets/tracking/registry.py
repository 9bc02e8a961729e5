"""MLflow's model registry: a version per trained head, the alias `champion` on the promoted one."""

from pathlib import Path
from typing import TYPE_CHECKING

from prover_assets.tracking.mlflow import TrackedRun, fluent_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
ID_TAG = "prover.ebm_id"


def register_version(run: TrackedRun, model: str, checkpoint: Path, ebm_id: str) -> str | None:
    """Register the head as a new version of `model`, with signature and input example, once. Returns the version.

    run: the child run that trained it. checkpoint: the head's folder. None where tracking is off.

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

        from ebm.checkpoint import load_head

        head = load_head(checkpoint)
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
        known = str(version.version)
    return known


def promote_version(client: "MlflowClient", model: str, ebm_id: str) -> None:
    """Move the alias `champion` of `model` to the version of a head. Only a promotion calls this."""
    version = _version_of(client, model, ebm_id)
    if version is not None:
        client.set_registered_model_alias(model, ALIAS, version)


def _version_of(client: "MlflowClient", name: str, ebm_id: str) -> str | None:
    found = client.search_model_versions(f"name = '{name}' and tags.`{ID_TAG}` = '{ebm_id}'")
    return str(found[0].version) if found else None

"""From options of a command to a Ray cluster."""

import json
from pathlib import Path

from prover.cli_policy import PolicyOptions
from prover.scale.cluster import RayCluster
from prover.scale.config import RayConfig
from prover.scale.specs import EnvironmentSpec, PolicySpec


def cluster_of(
    lean: EnvironmentSpec,
    policy: PolicyOptions,
    *,
    address: str | None,
    config: Path | None,
    memo: Path | None,
    data: Path | None,
) -> RayCluster:
    """The cluster that the options describe, not yet entered.

    config: JSON file of `RayConfig` settings; `address` overrides its address. data: as for `RayCluster`. Raises
    ValueError for a file that cannot be read or holds something else.
    """
    values: dict[str, object] = {}
    if config is not None:
        try:
            values = json.loads(config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"--ray-config {config}: not a JSON file that can be read: {error}") from error
        if not isinstance(values, dict):
            raise ValueError(f"--ray-config {config}: expected an object of settings, got {type(values).__name__}")
    if address is not None:
        values["address"] = address
    where = policy.where
    if where is not None and Path(where).is_dir():
        where = str(Path(where).resolve())
    return RayCluster(RayConfig.from_dict(values), lean, PolicySpec(where, policy.keywords()), memo=memo, data=data)

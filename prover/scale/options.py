"""From options of a command to a Ray cluster."""

from pathlib import Path

from prover.cli_policy import PolicyOptions
from prover.scale.cluster import RayCluster
from prover.scale.config import RayConfig
from prover.scale.specs import EnvironmentSpec, PolicySpec
from prover.settings import settings_of_file


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
            values = settings_of_file(config)
        except ValueError as error:
            raise ValueError(f"--ray-config {error}") from error
    if address is not None:
        values["address"] = address
    where = policy.where
    if where is not None and Path(where).is_dir():
        where = str(Path(where).resolve())
    return RayCluster(RayConfig.from_dict(values), lean, PolicySpec(where, policy.keywords()), memo=memo, data=data)

"""What assets borrow: the data folder, a Lean environment, the policy.

Heavy imports are inside the methods, so that importing this module loads no model library.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from prover.environments.settings import LeanSettings
from prover.policy.settings import PolicySettings
from prover.scale.config import EngineSettings
from prover_assets.defs.launchpad import resource, settings_from
from prover_assets.store.layout import DataFolder

if TYPE_CHECKING:
    from prover.environments.base import ProofEnvironment
    from prover.policy.base import FingerprintedPolicy
    from prover.scale import PolicySpec, RayCluster, RayConfig
    from prover.search.place import SearchPlace
    from prover_assets.protocols import PolicySource


class DataResource(dg.ConfigurableResource):
    """The folder that runs write to."""

    root: str = Field(
        default="", description='Folder (path or URL, as s3://BUCKET/data). "" is $PROVER_DATA, or ./data.'
    )

    def folder(self) -> DataFolder:
        """The folder, made and proven writable. Raises DataFolderError."""
        folder = DataFolder.at(self.root)
        folder.prepare()
        return folder


_Lean: Any = resource(LeanSettings, EngineSettings)
_Policy: Any = resource(PolicySettings)


class LeanResource(_Lean):
    """The Lean that checks tactics and proofs."""

    ray: dict[str, Any] = Field(
        default={},
        description="Settings of engine ray, by name: address, search_actors, policy_actors, gpus_per_policy_actor, "
        "... (docs/scale.md). Without an address, and without $RAY_ADDRESS, Ray is started on this machine.",
    )

    @contextmanager
    def environment(self) -> Iterator["ProofEnvironment"]:
        """An open environment, closed on the way out."""
        from prover.environments import open_environment

        with open_environment(
            self.kind,
            lean_project=self.lean_project or None,
            workers=self.workers or None,
        ) as environment:
            yield environment

    @contextmanager
    def searching(self, policy: "PolicySource", data: Path) -> Iterator["SearchPlace"]:
        """Lean, policy, memo and what searches with them, by `engine`."""
        if self.engine == "ray":
            with self._cluster(policy, data) as cluster:
                yield cluster.place()
            return
        from ebm.inference import load_scorer
        from prover.search.place import place_here

        with (
            self.environment() as environment,
            place_here(environment, policy.load(), DataFolder(data).memo, load_scorer) as place,
        ):
            yield place

    @property
    def cluster(self) -> "RayConfig | None":
        """The Ray cluster of engine ray; None for engine local. Raises ValueError for an unknown setting of it."""
        from prover.scale import RayConfig

        return RayConfig.from_dict(self.ray) if self.engine == "ray" else None

    def _cluster(self, policy: "PolicySource", data: Path) -> "RayCluster":
        from prover.scale import EnvironmentSpec, RayCluster, RayConfig

        lean = EnvironmentSpec(self.kind, self.lean_project or None)
        return RayCluster(RayConfig.from_dict(self.ray), lean, policy.recipe(), memo=DataFolder(data).memo, data=data)

    def identity(self) -> tuple[str, str]:
        """(name, fingerprint) of the Lean that there is now. No Lean process is kept."""
        with self.environment() as environment:
            return environment.name, environment.fingerprint


class PolicyResource(_Policy):
    """The frozen language model: it proposes tactics, and its hidden vectors feed the energy model."""

    def load(self) -> "FingerprintedPolicy":
        """The policy, loaded once per process for the same settings."""
        settings: PolicySettings = settings_from(self, PolicySettings)
        return _load_policy(replace(settings, path=self.where))

    @property
    def where(self) -> str:
        """Folder, hub id or address of the model; "" for the shipped one."""
        return self.path or os.environ.get("PROVER_POLICY", "")

    @property
    def is_server(self) -> bool:
        """Whether the model is behind an address: it proposes tactics, and cannot be tuned from here."""
        return self.where.startswith(("http://", "https://"))

    def recipe(self) -> "PolicySpec":
        """How another process opens the same model; its threads are that process's own business."""
        from prover.scale import PolicySpec

        where = self.where
        if where and not self.is_server and Path(where).is_dir():
            where = str(Path(where).resolve())
        return PolicySpec(where or None, settings_from(self, PolicySettings).keywords())

    def identity(self) -> str:
        """What the model is, whatever its folder is called: a digest of its weights, or a server's address.

        Reads the weights, but loads no model.
        """
        if self.is_server:
            return self.where
        from prover.policy.weights import resolve, weights_digest

        return weights_digest(resolve(self.where or None))

    def at(self, folder: Path) -> "PolicyResource":
        """The same settings with the model in another folder."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**values, "path": str(folder)})

    @staticmethod
    def forget() -> None:
        """Let go of the model that was loaded last, before another one is loaded beside it."""
        _load_policy.cache_clear()


@lru_cache(maxsize=1)
def _load_policy(settings: PolicySettings) -> "FingerprintedPolicy":
    from prover.policy import open_policy

    options = settings.keywords()
    options["threads"] = settings.threads or max(1, (os.cpu_count() or 1) // 2)
    return open_policy(settings.path or None, **options)

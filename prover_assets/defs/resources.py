"""What assets borrow: the data folder, a Lean environment, the policy.

Heavy imports are inside the methods, so that importing this module loads no model library.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field

from prover.policy import DEFAULT_POOLING
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


class LeanResource(dg.ConfigurableResource):
    """The Lean that checks tactics and proofs."""

    kind: str = Field(
        default="embedded",
        description="embedded: the Lean that is installed with this package; lean: `lean` on PATH; project: a Lake "
        "project, through scripts; repl: a Lake project, through a pool of REPLs (for Mathlib).",
    )
    lean_project: str = Field(default="", description="Folder of the Lake project (path), for project and repl.")
    workers: int = Field(default=0, ge=0, le=256, description="Lean processes at a time (count); 0 chooses by cores.")
    engine: Literal["local", "ray"] = Field(
        default="local",
        description="local: searches run in the step's process; ray: on the search actors of a Ray cluster.",
    )
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


class PolicyResource(dg.ConfigurableResource):
    """The frozen language model: it proposes tactics, and its hidden vectors feed the energy model."""

    path: str = Field(
        default="",
        description="Model folder in Hugging Face format (path), or the address of an OpenAI-compatible server, as "
        "http://127.0.0.1:8000/v1#MODEL. Empty: $PROVER_POLICY, else the shipped one. A server's key is read from "
        "the environment variable that api_key_env names.",
    )
    encoder: str = Field(
        default="",
        description="With a server: the folder of the model whose hidden vectors are used (path), or a vLLM pooling "
        "server as http://127.0.0.1:8001/v1#MODEL. A completions server has none.",
    )
    api_key_env: str = Field(
        default="",
        description="Environment variable with the server's key (name). Empty: PROVER_API_KEY, if it is set.",
    )
    pooling: str = Field(default=DEFAULT_POOLING, description="How a state's hidden vectors become one vector.")
    device: str = Field(default="", description="cpu, cuda, cuda:1, mps (name). Empty: the best there is.")
    dtype: str = Field(default="", description="float32, bfloat16, float16 (name). Empty: by device.")
    template: str = Field(
        default="", description="Prompt template (name, or a file FILE.jinja). Empty: the model's own."
    )
    threads: int = Field(default=0, ge=0, le=1024, description="CPU threads of the model (count); 0 is half the cores.")

    max_prompt_tokens: int = Field(
        default=0,
        ge=0,
        le=1 << 20,
        description="Longest prompt of a local model (tokens); a longer one loses its oldest hypotheses and is "
        "counted. 0: what the model's context leaves.",
    )
    max_encoding_tokens: int = Field(
        default=0,
        ge=0,
        le=1 << 20,
        description="Longest state whose hidden vectors a local model reads whole (tokens); a longer one is encoded by "
        "its first tokens and is counted. A change makes new vectors of all states. 0: 2048.",
    )

    def load(self) -> "FingerprintedPolicy":
        """The policy, loaded once a process for the same settings."""
        return _load_policy(
            self.where,
            self.encoder,
            self.pooling,
            self.device,
            self.dtype,
            self.template,
            self.api_key_env,
            self.threads,
            self.max_prompt_tokens,
            self.max_encoding_tokens,
        )

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

        options = {
            "encoder": self.encoder or None,
            "template": self.template or None,
            "pooling": self.pooling,
            "device": self.device or None,
            "dtype": self.dtype or None,
            "api_key_env": self.api_key_env or None,
            "max_prompt_tokens": self.max_prompt_tokens or None,
            "max_encoding_tokens": self.max_encoding_tokens or None,
        }
        where = self.where
        if where and not self.is_server and Path(where).is_dir():
            where = str(Path(where).resolve())
        return PolicySpec(where or None, {name: value for name, value in options.items() if value is not None})

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
def _load_policy(
    where: str,
    encoder: str,
    pooling: str,
    device: str,
    dtype: str,
    template: str,
    api_key_env: str,
    threads: int,
    longest_prompt: int,
    longest_state: int,
) -> "FingerprintedPolicy":
    from prover.policy import open_policy

    return open_policy(
        where or None,
        encoder=encoder or None,
        template=template or None,
        api_key_env=api_key_env or None,
        pooling=pooling,
        device=device or None,
        dtype=dtype or None,
        threads=threads or max(1, (os.cpu_count() or 1) // 2),
        max_prompt_tokens=longest_prompt or None,
        max_encoding_tokens=longest_state or None,
    )

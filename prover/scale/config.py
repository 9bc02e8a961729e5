"""How a search is spread over Ray: one configuration, in the words that Ray's users know."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from prover.settings import checked, coerced, nearest, setting

ENGINES = ("local", "ray")
ADDRESS_VARIABLE = "RAY_ADDRESS"


def require_engine(name: str) -> None:
    """Raises ValueError for anything but an engine that there is."""
    if name not in ENGINES:
        raise ValueError(f"{name!r} is no engine; {nearest(name, ENGINES)}")


class ScaleError(RuntimeError):
    """Ray cannot be used, or was lost. The message says what was tried, what was found and what to do."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Where searches run."""

    engine: str = setting("local", choices=ENGINES)
    """Where searches run. local: in this process; ray: on the search actors of a Ray cluster (extra [ray])."""

    def __post_init__(self) -> None:
        checked(self)


@dataclass(frozen=True, slots=True)
class RayConfig:
    """Where Ray runs, and what each of its actors gets.

    A search actor runs whole theorem searches with a Lean of its own. With `policy_actors` the model is loaded there,
    and search actors ask it; without, each search actor loads the model itself (right for a small model on CPUs).
    """

    address: str = setting("")
    """`HOST:PORT` of a running cluster, `ray://HOST:PORT`, or `auto`. Empty: $RAY_ADDRESS, else Ray is started on this
    machine and stopped at the end."""

    search_actors: int = setting(0, unit="count", ge=0)
    """Search actors. 0: as many as the cluster's CPUs hold."""

    cpus_per_search_actor: float = setting(1.0, unit="count", gt=0)
    """CPUs that a search actor reserves: its Lean processes and, without policy actors, its model."""

    memory_per_search_actor_gib: float = setting(0.0, unit="GiB", ge=0)
    """Memory that Ray reserves per search actor. 0: none. Lean processes have limits of their own."""

    lean_workers_per_actor: int = setting(0, unit="count", ge=0)
    """Lean processes per search actor. 0: one per reserved CPU."""

    policy_actors: int = setting(0, unit="count", ge=0)
    """Actors that hold the model and serve all search actors. 0: each search actor has its own model."""

    gpus_per_policy_actor: float = setting(0.0, unit="count", ge=0)
    """GPUs that a policy actor reserves (fractions share a GPU)."""

    cpus_per_policy_actor: float = setting(1.0, unit="count", gt=0)
    """CPUs that a policy actor reserves."""

    policy_batch_states: int = setting(64, unit="states", ge=1)
    """A policy actor joins requests of several search actors up to this many states."""

    policy_batch_wait_ms: float = setting(5.0, unit="milliseconds", ge=0)
    """How long a policy actor waits for more requests to join."""

    max_restarts: int = setting(4, unit="count", ge=-1)
    """How often Ray starts an actor again that died. -1: without end."""

    max_theorem_losses: int = setting(2, unit="count", ge=1)
    """A theorem whose actor died this many times with it alone ends as `crashed`."""

    object_store_gib: float = setting(0.5, unit="GiB", gt=0)
    """Object store of a Ray that is started here."""

    start_timeout_s: float = setting(300.0, unit="seconds", gt=0)
    """How long to wait for the actors to be ready."""

    def __post_init__(self) -> None:
        checked(self)
        if self.gpus_per_policy_actor and not self.policy_actors:
            raise ValueError(
                f"ray.gpus_per_policy_actor is {self.gpus_per_policy_actor:g}, but there are no policy actors to get "
                "them; set ray.policy_actors to 1 or more"
            )

    @property
    def where(self) -> str:
        """The address to connect to; "" where Ray is to be started on this machine."""
        return self.address or os.environ.get(ADDRESS_VARIABLE, "")

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """From JSON or YAML. Raises ValueError for an unknown key, with the nearest one, and for a wrong type."""
        return cls(**coerced(cls, values))

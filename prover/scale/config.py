"""How a search is spread over Ray: one configuration, in the words that Ray's users know."""

import math
import os
from dataclasses import dataclass, fields
from typing import Any

ADDRESS_VARIABLE = "RAY_ADDRESS"


class ScaleError(RuntimeError):
    """Ray cannot be used, or was lost. The message says what was tried, what was found and what to do."""


@dataclass(frozen=True, slots=True)
class RayConfig:
    """Where Ray runs, and what each of its actors gets.

    A search actor runs whole theorem searches with a Lean of its own. With `policy_actors` the model is loaded there,
    and search actors ask it; without, each search actor loads the model itself (right for a small model on CPUs).
    """

    address: str = ""
    """`HOST:PORT` of a running cluster, `ray://HOST:PORT`, or `auto`. Empty: $RAY_ADDRESS, else Ray is started on this
    machine and stopped at the end."""

    search_actors: int = 0
    """Search actors (count). 0: as many as the cluster's CPUs hold."""

    cpus_per_search_actor: float = 1.0
    """CPUs that a search actor reserves (count): its Lean processes and, without policy actors, its model."""

    memory_per_search_actor_gib: float = 0.0
    """Memory that Ray reserves per search actor (GiB). 0: none. Lean processes have limits of their own."""

    lean_workers_per_actor: int = 0
    """Lean processes per search actor (count). 0: one per reserved CPU."""

    policy_actors: int = 0
    """Actors that hold the model and serve all search actors (count). 0: each search actor has its own model."""

    gpus_per_policy_actor: float = 0.0
    """GPUs that a policy actor reserves (count; fractions share a GPU)."""

    cpus_per_policy_actor: float = 1.0
    """CPUs that a policy actor reserves (count)."""

    policy_batch_states: int = 64
    """A policy actor joins requests of several search actors up to this many states (count)."""

    policy_batch_wait_ms: float = 5.0
    """How long a policy actor waits for more requests to join (milliseconds)."""

    max_restarts: int = 4
    """How often Ray starts an actor again that died (count). -1: without end."""

    max_theorem_losses: int = 2
    """A theorem whose actor died this many times with it alone ends as `crashed` (count)."""

    object_store_gib: float = 0.5
    """Object store of a Ray that is started here (GiB)."""

    start_timeout_s: float = 120.0
    """How long to wait for the actors to be ready (seconds)."""

    def __post_init__(self) -> None:
        least = {
            "search_actors": 0,
            "lean_workers_per_actor": 0,
            "policy_actors": 0,
            "policy_batch_states": 1,
            "max_restarts": -1,
            "max_theorem_losses": 1,
            "memory_per_search_actor_gib": 0.0,
            "gpus_per_policy_actor": 0.0,
            "policy_batch_wait_ms": 0.0,
        }
        for name, low in least.items():
            _require(name, getattr(self, name), f"at least {low}", getattr(self, name) >= low)
        for name in ("cpus_per_search_actor", "cpus_per_policy_actor", "object_store_gib", "start_timeout_s"):
            _require(name, getattr(self, name), "more than 0", getattr(self, name) > 0)
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
    def from_dict(cls, values: dict[str, Any]) -> "RayConfig":
        """Raises ValueError for an unknown key, with the keys that there are."""
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ValueError(f"ray.{key} is no setting; expected one of {', '.join(known)}")
        return cls(**values)


def _require(name: str, value: float, expected: str, holds: bool) -> None:
    if not holds or math.isnan(value):
        raise ValueError(f"ray.{name} is {value}; it must be {expected}")

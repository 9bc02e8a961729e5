"""Searching on many machines with Ray, behind the same functions as on one.

`RayCluster` connects to Ray (or starts one on this machine), opens the policy and Lean on its workers, and offers a
`search` that takes the place of `prover.search.search`. Importing this package imports no Ray.
"""

from typing import TYPE_CHECKING

from prover.scale.config import RayConfig, ScaleError
from prover.scale.specs import EnvironmentSpec, PolicySpec, ScorerSpec

if TYPE_CHECKING:
    from prover.scale.cluster import RayCluster

__all__ = ["EnvironmentSpec", "PolicySpec", "RayCluster", "RayConfig", "ScaleError", "ScorerSpec"]


def __getattr__(name: str) -> object:
    if name == "RayCluster":
        from prover.scale.cluster import RayCluster

        return RayCluster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""What the driver and the actors say to each other."""

from collections.abc import Callable
from dataclasses import dataclass

from prover.scale.specs import ScorerSpec
from prover.search.best_first import TheoremResult
from prover.search.config import SearchConfig
from prover.search.guidance import MixingCalibration
from prover.search.searcher import SearchProgress
from prover.theorems import Theorem

Reduce = Callable[[TheoremResult], object]
"""What is made of a result where it was found, so that a whole tree need not travel."""


@dataclass(frozen=True, slots=True)
class SearchJob:
    """Theorems for one search actor, and how to search them."""

    number: int
    theorems: tuple[Theorem, ...]
    config: SearchConfig
    calibration: MixingCalibration | None
    scorer: ScorerSpec | None
    reduce: Reduce | None


@dataclass(frozen=True, slots=True)
class Found:
    """A finished theorem: its name, whether it was proved, and the result (or what `reduce` made of it)."""

    name: str
    proved: bool
    expansions: int
    tactics: int
    value: object


@dataclass(frozen=True, slots=True)
class Taken:
    """What a search actor hands over: finished theorems, how far it is, and whether the job is done."""

    found: tuple[Found, ...]
    progress: SearchProgress | None
    finished: bool


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """What a policy is, without the policy."""

    policy_id: str
    fingerprint: str
    pooling: str
    encoding_width: int
    encoder_fingerprint: str
    hidden_size: int
    prompt_key: Callable[[str], str]
    """Picklable; it holds the prompt template, not the model."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a search actor works with; the same for all, or the search is refused."""

    node: str
    environment_name: str
    environment_fingerprint: str
    policy: PolicyFacts

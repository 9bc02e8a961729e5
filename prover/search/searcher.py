"""What a search is given and what it returns, whoever runs it: this process, or a cluster."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, Unpack

from prover.environments.base import ProofEnvironment
from prover.policy.base import TacticGenerator
from prover.search.best_first import TheoremResult, TheoremSearch
from prover.search.config import SearchConfig
from prover.search.guidance import Guidance, MixingCalibration, ValueScorer
from prover.search.memo import SearchMemo
from prover.theorems import Theorem


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """How far a search is."""

    theorems: int
    done: int
    proved: int
    active: int
    expansions: int
    expansions_left: int
    """At most, by the budgets of the theorems not done: what is proved sooner needs fewer."""
    tactics: int
    elapsed_s: float
    model_s: float
    """Seconds in the policy and the energy model, so far."""
    lean_s: float
    """Seconds in Lean calls, so far, summed over the calls (they overlap)."""
    open_searches: Callable[[], Sequence[TheoremSearch]] = tuple
    """The searches that are open, to look at at once; empty where they run in another process."""


@dataclass(slots=True)
class SearchReport:
    """What a search did. `results` are in the order of the theorems; those not finished (`interrupted`) are absent."""

    results: list[TheoremResult]
    guidance: Guidance
    interrupted: bool
    progress: SearchProgress
    waited_s: float
    """Wall seconds in which the main thread had nothing to do but wait for Lean."""

    @property
    def own_s(self) -> float:
        """Wall seconds in which the main thread was neither in the model nor waiting for Lean."""
        return max(0.0, self.progress.elapsed_s - self.progress.model_s - self.waited_s)


class SearchOptions(TypedDict, total=False):
    """What every searcher takes by keyword, besides theorems, environment, policy and config. All may be left out."""

    scorer: ValueScorer | None
    """The energy model. None: the policy alone guides the search."""
    calibration: MixingCalibration | None
    """How log-probability and energy are mixed. None: the scorer's own."""
    memo: SearchMemo | None
    """Answers of the policy and of Lean to take from, and to add to. None: nothing is remembered."""
    on_result: Callable[[Any], None] | None
    """Called in the caller's thread as each theorem ends, in no fixed order, with what `reduce` made of its result."""
    on_progress: Callable[[SearchProgress], None] | None
    """Called several times per second, in the caller's thread."""
    stop: Callable[[], bool] | None
    """Polled; once true, the search returns with what is finished."""
    keep_results: bool
    """True (the default): the report holds all results. False drops each one after `on_result`, for sets that do not
    fit in memory."""
    reduce: Callable[[TheoremResult], object] | None
    """What to make of each result before `on_result` gets it. None: `on_result` gets the `TheoremResult` itself."""


def check_options(options: SearchOptions) -> None:
    """Raises TypeError for a keyword that no searcher takes, as a function with fixed keywords would."""
    if unknown := sorted(set(options) - SearchOptions.__annotations__.keys()):
        raise TypeError(
            f"a search takes no keyword {unknown[0]!r}; expected {', '.join(SearchOptions.__annotations__)}"
        )


class Searcher(Protocol):
    """What searches: `prover.search.search` in this process, or `prover.scale.RayCluster.search` on a cluster."""

    def __call__(
        self,
        theorems: Iterable[Theorem],
        environment: ProofEnvironment,
        policy: TacticGenerator,
        config: SearchConfig,
        **options: Unpack[SearchOptions],
    ) -> SearchReport: ...

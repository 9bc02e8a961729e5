"""Where a search runs: its Lean, policy, memo and searcher, in this process or on a cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prover.environments.base import ProofEnvironment
from prover.policy.base import FingerprintedPolicy
from prover.search.engine import search
from prover.search.guidance import ValueScorer
from prover.search.memo import MemoCounts, SearchMemo
from prover.search.searcher import Searcher


@dataclass(frozen=True, slots=True)
class SearchPlace:
    """What a step needs to search, whatever machine does the work."""

    environment: ProofEnvironment
    policy: FingerprintedPolicy
    """The policy, or a stand-in for one that runs elsewhere."""
    memo: SearchMemo | None
    """The memo that `searcher` is given; None where the searcher has its own."""
    searcher: Searcher
    open_scorer: Callable[[Path, Path], ValueScorer]
    """(checkpoint folder, data folder) -> the energy model, as `searcher` takes it."""
    memo_counts: Callable[[], MemoCounts]
    """What has been asked of the memo so far."""


@contextmanager
def place_here(
    environment: ProofEnvironment,
    policy: FingerprintedPolicy,
    memo: Path,
    open_scorer: Callable[[Path, FingerprintedPolicy, Path], ValueScorer],
) -> Iterator[SearchPlace]:
    """This process. open_scorer: (checkpoint folder, policy, data folder) -> the energy model."""
    with SearchMemo(memo) as known:
        yield SearchPlace(
            environment,
            policy,
            known,
            search,
            lambda checkpoint, data: open_scorer(checkpoint, policy, data),
            lambda: known.counts,
        )

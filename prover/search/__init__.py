"""Best-first proof search: configuration, guidance, the search itself, its memo, and searches written to files."""

from prover.search.best_first import Ended, TheoremResult, TheoremSearch
from prover.search.config import MODES, SearchConfig, SearchConfigError
from prover.search.engine import SearchProgress, SearchReport, search
from prover.search.guidance import Guidance, MixingCalibration, ScoreError, ValueScorer
from prover.search.memo import MemoError, SearchMemo
from prover.search.run import search_to_files

__all__ = [
    "MODES",
    "Ended",
    "Guidance",
    "MemoError",
    "MixingCalibration",
    "ScoreError",
    "SearchConfig",
    "SearchConfigError",
    "SearchMemo",
    "SearchProgress",
    "SearchReport",
    "TheoremResult",
    "TheoremSearch",
    "ValueScorer",
    "search",
    "search_to_files",
]

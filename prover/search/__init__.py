"""Best-first proof search: configuration, guidance, the search itself, its memo, and searches written to files.

Names are imported when they are first used: reading the settings loads neither numpy nor polars.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from prover.search.config import SearchConfig, SearchConfigError
from prover.search.modes import MODES

if TYPE_CHECKING:
    from prover.search.best_first import Ended, TheoremResult, TheoremSearch
    from prover.search.engine import search
    from prover.search.guidance import Guidance, MixingCalibration, ScoreError, ValueScorer
    from prover.search.memo import MemoError, SearchMemo
    from prover.search.run import search_to_files
    from prover.search.searcher import Searcher, SearchOptions, SearchProgress, SearchReport

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
    "SearchOptions",
    "SearchProgress",
    "SearchReport",
    "Searcher",
    "TheoremResult",
    "TheoremSearch",
    "ValueScorer",
    "search",
    "search_to_files",
]

_MODULE_OF = {
    **dict.fromkeys(("Ended", "TheoremResult", "TheoremSearch"), "best_first"),
    **dict.fromkeys(("Guidance", "MixingCalibration", "ScoreError", "ValueScorer"), "guidance"),
    **dict.fromkeys(("MemoError", "SearchMemo"), "memo"),
    **dict.fromkeys(("SearchOptions", "SearchProgress", "SearchReport", "Searcher"), "searcher"),
    "search": "engine",
    "search_to_files": "run",
}


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(f"prover.search.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Theorem proving: theorem sets, Lean environments, tactic policies, best-first search, trajectories.

Sign convention, everywhere in this project: ENERGY, lower is better; SCORE = -energy, higher is better;
log-probability (nats), higher is better.

Names are imported when they are first used: `import prover` loads neither torch nor numpy. The search of many theorems
in memory is `prover.search.search`: `prover.search` itself is the package.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prover.environments import ProofEnvironment, open_environment
    from prover.policy import TacticCandidate, TacticGenerator, load_policy
    from prover.search import SearchConfig, SearchReport, TheoremResult, ValueScorer, search_to_files
    from prover.theorems import Theorem, TheoremSet

__all__ = [
    "ProofEnvironment",
    "SearchConfig",
    "SearchReport",
    "TacticCandidate",
    "TacticGenerator",
    "Theorem",
    "TheoremResult",
    "TheoremSet",
    "ValueScorer",
    "load_policy",
    "open_environment",
    "search_to_files",
]

_MODULE_OF = {
    **dict.fromkeys(("ProofEnvironment", "open_environment"), "prover.environments"),
    **dict.fromkeys(("TacticCandidate", "TacticGenerator", "load_policy"), "prover.policy"),
    **dict.fromkeys(("SearchConfig", "SearchReport", "TheoremResult", "ValueScorer"), "prover.search"),
    "search_to_files": "prover.search",
    **dict.fromkeys(("Theorem", "TheoremSet"), "prover.theorems"),
}


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The figures of a search, as plain values for JSON."""

from typing import NotRequired, TypedDict

from prover.trajectory.summary import SummaryFigures


class TracedCalls(TypedDict):
    """The calls that the search of one theorem made."""

    started: float
    """Unix time, seconds."""
    seconds: float
    ended: str
    expansions: int
    calls: list[tuple[str, float, float, int]]
    """Kind, start, seconds and theorems of each, as in `prover.search.best_first.Call`."""


class SearchFigures(SummaryFigures):
    """What `search_to_files` says of a search: the figures of all theorems in the output, and those of this call."""

    output: str
    search_id: str
    mode: str
    note: str
    """What a person should know of the mode, "" for nothing."""
    resumed: int
    """Theorems taken over from an earlier run."""
    searched: int
    """Theorems searched by this call."""
    labels: dict[str, int]
    """Rule -> nodes that it labelled, of the theorems searched by this call."""
    interrupted: bool
    waited_seconds: float
    own_seconds: float
    policy_counts: dict[str, int]
    """What happened to the policy's inputs and outputs in this call (`prover.policy.PolicyCounters`); empty for a
    policy that does not count."""
    policy_warnings: list[str]
    """Sentences about what was lost in more than 1% of the cases. They are logged too."""
    calls: NotRequired[dict[str, TracedCalls]]
    """Of the theorems that were traced, by name."""

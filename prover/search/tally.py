"""Counts of a search of many theorems, as far as it is."""

import time

from prover.search.best_first import Ask, AskCandidates, AskOutcomes, TheoremResult
from prover.search.searcher import SearchProgress


class Tally:
    """Counts theorems, expansions and tactics."""

    def __init__(self, theorems: int, budget: int) -> None:
        """theorems: of the whole search. budget: expansions per theorem."""
        self._theorems, self._budget = theorems, budget
        self._began = time.perf_counter()
        self._opened = self._done = self._proved = 0
        self._expansions = self._done_expansions = self._tactics = 0

    @property
    def active(self) -> int:
        """Theorems that are open."""
        return self._opened - self._done

    @property
    def complete(self) -> bool:
        """Whether every theorem is done."""
        return self._done == self._theorems

    def open(self, theorems: int) -> None:
        """Count theorems that begin."""
        self._opened += theorems

    def asked(self, ask: Ask) -> None:
        """Count what a search asks: candidates begin an expansion, outcomes are of tactics."""
        if isinstance(ask, AskCandidates):
            self._expansions += 1
        elif isinstance(ask, AskOutcomes):
            self._tactics += len(ask.tactics)

    def finish(self, result: TheoremResult) -> None:
        """Count a theorem that is done."""
        self._done += 1
        self._proved += result.proved
        self._done_expansions += result.expansions

    def progress(self, *, model_s: float, lean_s: float) -> SearchProgress:
        """The counts so far, with the seconds in the models and in Lean."""
        open_budgets = (self._theorems - self._done) * self._budget
        return SearchProgress(
            theorems=self._theorems,
            done=self._done,
            proved=self._proved,
            active=self.active,
            expansions=self._expansions,
            expansions_left=open_budgets - (self._expansions - self._done_expansions),
            tactics=self._tactics,
            elapsed_s=time.perf_counter() - self._began,
            model_s=model_s,
            lean_s=lean_s,
        )

"""Open theorems of a search, and what they ask in the wave that is being carried on."""

import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field

from prover.search.best_first import (
    Answer,
    Ask,
    AskCandidates,
    AskCertificate,
    AskOutcomes,
    AskRoot,
    AskScores,
    TheoremResult,
    TheoremSearch,
)
from prover.search.config import SearchConfig
from prover.search.guidance import Guidance
from prover.search.known import Known
from prover.theorems import Theorem


@dataclass(slots=True)
class Slot:
    """An open theorem: its search, and what is known before the search asks for it."""

    index: int
    """Place of the theorem among those of the search."""
    search: TheoremSearch
    steps: Generator[Ask, Answer, TheoremResult]
    known: Known = field(default_factory=Known)

    @classmethod
    def open(cls, index: int, theorem: Theorem, config: SearchConfig, guidance: Guidance) -> "Slot":
        """Begin a theorem. Its first ask is for its root state, which the caller has to bring."""
        search = TheoremSearch(theorem, config, guidance)
        slot = cls(index, search, search.run())
        ask = next(slot.steps)
        assert isinstance(ask, AskRoot)
        return slot

    def answer(self, answer: Answer) -> Ask | TheoremResult:
        """Answer what the search has asked; returns what it asks next, or its result."""
        began = time.perf_counter()
        try:
            ask = self.steps.send(answer)
        except StopIteration as end:
            result: TheoremResult = end.value
            return result
        self.search.meter.charge(own_s=time.perf_counter() - began)
        return ask


Answers = list[tuple[Slot, Answer]]
"""What slots asked for: each with the answer that its `Ask` names."""


@dataclass(slots=True)
class Asks:
    """What the theorems of one wave have asked and not been answered, by kind."""

    candidates: list[tuple[Slot, AskCandidates]] = field(default_factory=list)
    outcomes: list[tuple[Slot, AskOutcomes]] = field(default_factory=list)
    scores: list[tuple[Slot, AskScores]] = field(default_factory=list)
    claims: list[tuple[Slot, AskCertificate]] = field(default_factory=list)

    def add(self, slot: Slot, ask: Ask) -> None:
        """Put an ask with those of its kind."""
        match ask:
            case AskCandidates():
                self.candidates.append((slot, ask))
            case AskOutcomes():
                self.outcomes.append((slot, ask))
            case AskScores():
                self.scores.append((slot, ask))
            case AskCertificate():
                self.claims.append((slot, ask))
            case AskRoot():
                raise AssertionError("the root state is asked for once, when the theorem is opened")

    def take_candidates(self, at_least: int = 0, share: float = 0.0) -> list[tuple[Slot, AskCandidates]]:
        """Hand over the asks for candidates that are worth a call of the policy, which serves one count at a time: of
        the counts asked for by at least so many theorems, and at least this share of those of the commonest count."""
        sizes = Counter(ask.count for _, ask in self.candidates)
        least = max(at_least, share * max(sizes.values(), default=0))
        taken = [found for found in self.candidates if sizes[found[1].count] >= least]
        self.candidates = [found for found in self.candidates if sizes[found[1].count] < least]
        return taken

    def take_outcomes(self) -> list[tuple[Slot, AskOutcomes]]:
        """Hand over the asks for outcomes."""
        taken, self.outcomes = self.outcomes, []
        return taken

    def take_scores(self) -> list[tuple[Slot, AskScores]]:
        """Hand over the asks for scores."""
        taken, self.scores = self.scores, []
        return taken

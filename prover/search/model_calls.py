"""The models' calls of a search, the policy's and the energy model's, and the seconds they take."""

import time
from collections.abc import Sequence
from itertools import islice

from prover.search.best_first import AskCandidates, AskScores
from prover.search.guidance import ValueScorer
from prover.search.known import Knowledge
from prover.search.slots import Answers, Slot


class ModelCalls:
    """Asks the models for many theorems at once, and charges each theorem its share of the time."""

    def __init__(self, knowledge: Knowledge, scorer: ValueScorer | None) -> None:
        """knowledge: the policy, behind the memo. scorer: the energy model, where the mode needs one."""
        self._knowledge = knowledge
        self._scorer = scorer
        self.seconds = 0.0
        """In the policy and the energy model, so far."""

    def score(self, asks: list[tuple[Slot, AskScores]]) -> Answers:
        """The scores of each ask's texts."""
        assert self._scorer is not None, "Guidance.resolve lets no mode through that needs a scorer and has none"
        texts = [text for _, ask in asks for text in ask.texts]
        began = time.perf_counter()
        scores = iter([float(score) for score in self._scorer.score_states(texts)])
        self._charge("energy", [slot for slot, ask in asks for _ in ask.texts], began)
        return [(slot, list(islice(scores, len(ask.texts)))) for slot, ask in asks]

    def propose(self, asks: Sequence[tuple[Slot, AskCandidates]]) -> None:
        """Make the candidates that are asked for known to each slot."""
        began = time.perf_counter()
        asked = self._knowledge.candidates([(slot.known, ask.state, ask.count) for slot, ask in asks])
        self._charge("policy", [slot for (slot, _), was in zip(asks, asked, strict=True) if was], began)

    def _charge(self, kind: str, slots: Sequence[Slot], began: float) -> None:
        """Share the seconds since `began` among the slots, once for each time a slot is named. kind: of the call."""
        if not slots:
            return
        seconds = time.perf_counter() - began
        self.seconds += seconds
        for slot in slots:
            slot.search.meter.charge(model_s=seconds / len(slots))
        sharing = {slot.index: slot for slot in slots}
        for slot in sharing.values():
            slot.search.meter.took_part(kind, began, len(sharing))

"""The tactics of a server's answers, and what is said and counted of those that cannot be read."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prover.json_types import JsonObject
from prover.policy.base import PolicyCounters, TacticCandidate
from prover.policy.prompts import PromptTemplate
from prover.policy.server.answers import NoLogProbs, Scored, UnreadableChoice, score, text_of
from prover.policy.server.errors import ServerPolicyError

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ServerCounters:
    """What happened to a server's answers, beside what `PolicyCounters` counts. Since the policy was made."""

    states_short_of_candidates: int = 0
    """Fewer distinct tactics than asked for, after all samples."""
    first_log_probs_unknown: int = 0
    choices_left_out: Counter[str] = field(default_factory=Counter)
    """By reason."""


class AnswerReader:
    """Reads the completions of one server. Calls from several threads are safe.

    policy_counters: the policy's own, which are counted under `lock`.
    """

    def __init__(self, url: str, policy_counters: PolicyCounters, lock: threading.Lock) -> None:
        self.counters = ServerCounters()
        self._url = url
        self._policy = policy_counters
        self._lock = lock
        self._said: set[str] = set()

    def read(
        self,
        choices: Sequence[JsonObject],
        state: str,
        template: PromptTemplate,
        decode: Callable[[Sequence[int]], str] | None,
    ) -> list[TacticCandidate]:
        """The tactics of an answer with their log-probs; what cannot be read is left out and counted."""
        found: list[tuple[str, Scored]] = []
        without = texts = 0
        with self._lock:
            self._policy.candidates_read += len(choices)
        for choice in choices:
            try:
                text = text_of(choice)
                tactic = template.tactic(text, state)
                if tactic is None:
                    raise UnreadableChoice("no tactic")
                texts += 1
                found.append((tactic, score(choice, text, whole=template.several_tactics, decode=decode)))
            except NoLogProbs:
                without += 1
                self._leave_out("no log-probs")
            except UnreadableChoice as error:
                self._leave_out(error.reason)
        if without and without == texts:
            raise self.no_log_probs()
        if any(scored.first_unknown for _, scored in found):
            found = self._first_unknown(found)
        return [TacticCandidate(tactic, scored.log_prob, scored.n_tokens) for tactic, scored in found]

    def _first_unknown(self, found: list[tuple[str, Scored]]) -> list[tuple[str, Scored]]:
        """Log-probs without the first token's compare with each other, and with no others."""
        if not all(scored.first_unknown for _, scored in found):
            whole = [(tactic, scored) for tactic, scored in found if not scored.first_unknown]
            for _ in range(len(found) - len(whole)):
                self._leave_out("no log-prob of the first token")
            return whole
        with self._lock:
            self.counters.first_log_probs_unknown += len(found)
        self.say(
            "first",
            "%s gives no log-prob for the first token of an answer: they count from the second on.",
            self._url,
        )
        return found

    def _leave_out(self, reason: str) -> None:
        with self._lock:
            self.counters.choices_left_out[reason] += 1
            self._policy.candidates_unreadable += 1
        if reason not in ("no tactic", "cut off"):
            self.say(
                reason,
                "%s sent a completion that is left out: %s. Later ones are counted only.",
                self._url,
                reason,
            )

    def no_log_probs(self) -> ServerPolicyError:
        """What to raise where a server sends no log-probs at all."""
        return ServerPolicyError(
            f"{self._url} sent no usable log-probabilities (`logprobs`): the search orders by them. Start the "
            "server with log-probs enabled (vLLM: --max-logprobs 1 or more), or use another server."
        )

    def say(self, what: str, message: str, *values: object) -> None:
        """A warning, once for each `what`."""
        with self._lock:
            if what in self._said:
                return
            self._said.add(what)
        logger.warning(message, *values)

"""What is known before it is asked: answers tried ahead of their turn, and answers from the memo."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from prover.environments.base import (
    Complete,
    Crashed,
    Outcome,
    Progress,
    ProofEnvironment,
    ProofState,
    TimedOut,
    explains,
)
from prover.policy.base import TacticCandidate, TacticGenerator
from prover.policy.complete import as_policy
from prover.policy.context import StateText
from prover.search.memo import SearchMemo
from prover.theorems import Theorem

_RECENT_PROMPTS = 20_000


@dataclass(slots=True)
class Known:
    """Answers known for one theorem's search."""

    candidates: dict[tuple[str, int], list[TacticCandidate]] = field(default_factory=dict)
    """By (state text, how many were asked for)."""
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    """By (state text, tactic). The path in them may be another's: read them with `recall`."""

    def missing(self, state: ProofState, tactics: Iterable[str]) -> tuple[str, ...]:
        """Those of the tactics whose outcome is not known."""
        return tuple(tactic for tactic in tactics if (state.text, tactic) not in self.outcomes)

    def learn(self, state: ProofState, tactics: Iterable[str], outcomes: Iterable[Outcome], *, ahead: bool) -> None:
        """ahead: tried before its turn. A crash or a timeout is then dropped, so that it is tried again in its turn."""
        for tactic, outcome in zip(tactics, outcomes, strict=True):
            if not (ahead and isinstance(outcome, TimedOut | Crashed)):
                self.outcomes[state.text, tactic] = outcome

    def recall(self, state: ProofState, tactics: Iterable[str]) -> list[Outcome]:
        """Outcomes with the path that `state` has now: it may have been given a better one since they were learnt."""
        return [_repath(self.outcomes[state.text, tactic], state, tactic) for tactic in tactics]


def _repath(outcome: Outcome, state: ProofState, tactic: str) -> Outcome:
    path = (*state.tactics, tactic)
    match outcome:
        case Progress(state=reached, elapsed_ms=ms):
            return Progress(ProofState(state.theorem, path, reached.text), ms)
        case Complete(elapsed_ms=ms):
            return Complete(path, ms)
        case _:
            return outcome


class Knowledge:
    """The policy behind the memo, and Lean's outcomes in the memo, asked in bulk for many theorems."""

    def __init__(self, environment: ProofEnvironment, policy: TacticGenerator, memo: SearchMemo | None) -> None:
        # Words of rejection are no part of an environment's fingerprint, and must not be mixed up either.
        self._environment = environment.fingerprint + (" explained" if explains(environment) else "")
        self._policy = as_policy(policy)
        self._memo = memo
        # Besides saving calls, this keeps ties: a model's last digits vary with the batch, and the same prompt met
        # twice must not get two log-probs.
        self._recent: dict[tuple[str, int], list[TacticCandidate]] = {}

    def candidates(self, states: Sequence[tuple[Known, ProofState, int]]) -> list[bool]:
        """Fill in the candidates of each state, so many at most; a prompt that several states share is generated once.

        Returns which of the states the policy was asked for.
        """
        texts: dict[tuple[str, int], StateText] = {}
        keys: list[tuple[str, int] | None] = []
        for known, state, count in states:
            if (state.text, count) in known.candidates:
                keys.append(None)
                continue
            theorem = state.theorem
            text = StateText(state.text, name=theorem.name, header=theorem.header, history=state.tactics)
            key = self._policy.prompt_key(text), count
            keys.append(key)
            texts.setdefault(key, text)
        by_key = {key: self._recent[key] for key in texts if key in self._recent}
        fresh: set[tuple[str, int]] = set()
        for count in sorted({count for _, count in texts}):
            unknown = [key for key in texts if key[1] == count and key not in by_key]
            found, new = self._ask({key: texts[key] for key in unknown}, count)
            by_key |= found
            fresh |= new
        self._recent |= by_key
        while len(self._recent) > _RECENT_PROMPTS:
            del self._recent[next(iter(self._recent))]
        asked = []
        for (known, state, count), found_under in zip(states, keys, strict=True):
            was_known = (state.text, count) in known.candidates
            asked.append(found_under in fresh and not was_known)
            if found_under is not None:
                known.candidates.setdefault((state.text, count), by_key[found_under])
        return asked

    def _ask(
        self, texts: dict[tuple[str, int], StateText], count: int
    ) -> tuple[dict[tuple[str, int], list[TacticCandidate]], set[tuple[str, int]]]:
        """`count` candidates for each prompt, by (prompt key, count), and which of them are the policy's own words."""
        remembered: dict[str, list[TacticCandidate]] = {}
        policy = self._policy.fingerprint
        if self._memo is not None and policy is not None and texts:
            remembered = self._memo.candidates(policy, [prompt for prompt, _ in texts], count)
        new = {prompt: text for (prompt, _), text in texts.items() if prompt not in remembered}
        fresh: dict[str, list[TacticCandidate]] = {}
        if new:
            fresh = dict(zip(new, self._policy.generate(list(new.values()), count), strict=True))
            if self._memo is not None and policy is not None:
                self._memo.store_candidates(policy, count, fresh)
        found = {(prompt, count): some for prompt, some in (remembered | fresh).items()}
        return found, {(prompt, count) for prompt in fresh}

    def outcomes(self, asked: Sequence[tuple[Known, ProofState, Sequence[str]]]) -> None:
        """Bring what the memo knows of the tactics' outcomes into each `Known`."""
        if self._memo is None:
            return
        missing = [(known, state, t) for known, state, tactics in asked for t in known.missing(state, tactics)]
        found = self._memo.outcomes(self._environment, [(state, tactic) for _, state, tactic in missing])
        for known, state, tactic in missing:
            if (state, tactic) in found:
                known.outcomes[state.text, tactic] = found[state, tactic]

    def store_outcomes(self, fresh: dict[tuple[ProofState, str], Outcome]) -> None:
        """Remember outcomes, if there is a memo."""
        if self._memo is not None:
            self._memo.store_outcomes(self._environment, fresh)

    def roots(self, theorems: Sequence[Theorem]) -> dict[Theorem, ProofState]:
        """Root states that the memo has."""
        return {} if self._memo is None else self._memo.roots(self._environment, theorems)

    def store_roots(self, roots: Iterable[ProofState]) -> None:
        """Remember root states, if there is a memo."""
        if self._memo is not None:
            self._memo.store_roots(self._environment, roots)

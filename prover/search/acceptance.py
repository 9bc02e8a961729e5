"""A look at the first tactics of a policy: if Lean accepts none of them, the policy is spoken to in a wrong way."""

import logging
from collections.abc import Iterable, Sequence

from prover.environments.base import Complete, Crashed, Outcome, Progress, TimedOut

logger = logging.getLogger(__name__)

_STATES = 3
_TACTICS = 24


class FirstTactics:
    """Counts what Lean says to the policy's own candidates, until one is accepted or enough are rejected."""

    def __init__(self, policy: str) -> None:
        """policy: its name, for the warning."""
        self._policy = policy
        self._states = self._rejected = 0
        self._sample: list[str] = []
        self.settled = False
        """Whether there is no more to find out."""

    def see(self, own: Iterable[str], tactics: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """The outcomes of one state's tactics. own: those that the policy proposed; the others are probes."""
        if self.settled:
            return
        proposed = set(own)
        told = [(t, o) for t, o in zip(tactics, outcomes, strict=True) if t in proposed]
        self.settled = any(isinstance(outcome, Progress | Complete) for _, outcome in told)
        rejected = [tactic for tactic, outcome in told if not isinstance(outcome, Crashed | TimedOut)]
        self._states += bool(rejected)
        self._rejected += len(rejected)
        self._sample = (self._sample + rejected)[:3]
        if not self.settled and self._states >= _STATES and self._rejected >= _TACTICS:
            self.settled = True
            logger.warning(
                "Lean accepted none of the first %d tactics of %s, in %d states (for example %s). Is its prompt "
                "template the right one (--template)?",
                *(self._rejected, self._policy, self._states, "; ".join(repr(tactic[:60]) for tactic in self._sample)),
            )

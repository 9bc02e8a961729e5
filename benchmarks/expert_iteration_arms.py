"""The arms of `expert_iteration.py`: the loop as it is, and with one mechanism switched off."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arm:
    """Which mechanisms of the loop are on."""

    what: str
    """What differs from the whole loop."""
    tune: bool = True
    """Learn a policy from the proofs."""
    gate: bool = True
    """Adopt a tuned policy only where the gate says so; False: always."""
    energy: str = "calibrated"
    """Search mode of guided searches; "" where no energy model is trained."""
    curriculum: bool = True
    """Choose the theorems of a round."""
    growing_budgets: bool = True
    """Give a theorem that was not proved more budget and candidates at the next try."""
    widen: bool = True
    """Within a search, expand states again with more candidates when none is open."""
    shorten: bool = True
    """Remove needless steps from proofs before they are learnt."""
    spare_easy: bool = True
    """Learn half of the steps of easy theorems."""
    replay: bool = True
    """Learn the proofs of all rounds; False: of the latest alone."""
    deduplicate: bool = True
    """Learn steps that say the same once."""
    own_vectors: bool = True
    """The energy model reads the vectors of the policy in use, so it guides training only after a round in which the
    policy stayed; False: those of the first policy, so each training search can be guided."""
    from_current: bool = True
    """Tune the policy in use on the latest proofs, half of what is learnt being earlier ones; False: each tuning begins
    with the policy as it was given and learns all proofs."""


ARMS = {
    "full": Arm("the whole loop"),
    "frozen": Arm("the policy is never tuned", tune=False),
    "no-energy": Arm("no energy model", energy=""),
    "random-energy": Arm("a random energy in place of the trained one", energy="random-energy"),
    "no-curriculum": Arm("the next theorems in turn, one budget for all", curriculum=False),
    "one-budget": Arm("theorems are chosen, but all get one budget", growing_budgets=False),
    "no-widening": Arm("a state is expanded once", widen=False),
    "no-gate": Arm("each tuned policy is adopted", gate=False),
    "no-shortening": Arm("proofs are learnt as they were found", shorten=False),
    "easy-as-often": Arm("easy theorems are learnt as often as others", spare_easy=False),
    "no-replay": Arm("only the latest round's proofs are learnt", replay=False),
    "from-configured": Arm("each tuning begins with the first policy, on all proofs", from_current=False),
    "first-vectors": Arm("the energy model reads the first policy's vectors", own_vectors=False),
    "no-deduplication": Arm("the same step is learnt as often as it was found", deduplicate=False),
}

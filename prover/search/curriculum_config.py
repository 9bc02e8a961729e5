"""What can be set about the choice of training theorems. Without polars: orchestration reads the defaults here."""

from dataclasses import dataclass

from prover.settings import setting


@dataclass(frozen=True)
class CurriculumSettings:
    """How the training theorems of a round and their budgets are chosen."""

    curriculum: bool = False
    """Whether theorems near the edge of what can be proved are tried more often and with more budget, solved and
    hopeless ones less. False: the next `n_theorems` of the set, all with the same budget."""
    largest_budget: int = setting(8, unit="ratio", ge=1, le=1024)
    """A theorem that was not proved gets twice the budget at the next try, up to this many times `max_expansions`."""
    grow_candidates: bool = True
    """Whether every second try without a proof also asks for half as many candidates more per node, up to twice
    `n_candidates`."""
    hopeless_after: int = setting(5, unit="searches", ge=1)
    """After this many tries without a proof a theorem is tried rarely."""
    negate: bool = True
    """Whether a statement of unknown difficulty that was tried twice without a proof is also tried negated; what is
    proved false is not tried any more."""
    curriculum_seed: int = setting(0, ge=0)
    """Seed of the draw (number)."""

"""Proofs made shorter by Lean: steps that are not needed are left out, for as long as what is left is a proof.

A search writes down the first proof that it finds, detours and all. What is learnt from it should not have them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from prover.environments.base import Complete, Progress, ProofClaim, ProofEnvironment, ProofState, StepRequest
from prover.theorems import Theorem

LONGEST = 40
"""Longer proofs are taken as they are, in steps: each step is tried without, so the work grows with the square."""


@dataclass(frozen=True, slots=True)
class FoundProof:
    """A certified proof as the search wrote it down."""

    theorem: Theorem
    tactics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShortProof:
    """A certified proof from which no single step can be left out, state by state."""

    theorem: Theorem
    steps: tuple[tuple[str, str], ...]
    """(text of the state, tactic) from the root on."""
    removed: int
    """Steps of the proof found that are not needed."""

    @property
    def tactics(self) -> tuple[str, ...]:
        """The script."""
        return tuple(tactic for _, tactic in self.steps)


@dataclass(slots=True)
class _Walk:
    """A script that is being played: what was done so far, and what is still to come."""

    proof: int
    state: ProofState
    left: tuple[str, ...]
    done: tuple[tuple[ProofState, str], ...] = field(default=())


_Played = tuple[tuple[ProofState, str], ...]


def shorten_proofs(proofs: Sequence[FoundProof], environment: ProofEnvironment) -> list[ShortProof | None]:
    """Each proof without the steps that it does not need; None where Lean does not take it as it was (any more).

    One step is left out at a time: of all proofs that are left over, the shortest goes on, until nothing can be left
    out. All proofs are tried together, one call of Lean per step of the longest. A shorter proof is certified whole
    before it is believed; where that fails, the proof stays as it was found.
    """
    roots = environment.start([proof.theorem for proof in proofs])
    whole = [
        _Walk(index, root, proof.tactics)
        for index, (proof, root) in enumerate(zip(proofs, roots, strict=True))
        if isinstance(root, ProofState)
    ]
    found = {walk.proof: played for walk, played in _play(whole, environment)}
    best, growing = dict(found), {index for index, played in found.items() if 1 < len(played) <= LONGEST}
    while growing:
        attempts = [walk for index in sorted(growing) for walk in _without_one(index, best[index])]
        shorter: dict[int, _Played] = {}
        for walk, played in _play(attempts, environment):
            if len(played) < len(shorter.get(walk.proof, best[walk.proof])):
                shorter[walk.proof] = played
        best |= shorter
        growing = {index for index in shorter if len(best[index]) > 1}
    changed = [index for index in sorted(best) if len(best[index]) < len(found[index])]
    claims = [ProofClaim(proofs[index].theorem, tuple(tactic for _, tactic in best[index])) for index in changed]
    for index, certificate in zip(changed, environment.certify(claims) if claims else [], strict=True):
        if not certificate.certified:
            best[index] = found[index]
    return [
        ShortProof(
            proof.theorem,
            tuple((state.text, tactic) for state, tactic in best[index]),
            len(proof.tactics) - len(best[index]),
        )
        if index in best
        else None
        for index, proof in enumerate(proofs)
    ]


def _without_one(index: int, played: _Played) -> list[_Walk]:
    """The proof with each of its steps left out in turn, from the state before that step on."""
    return [
        _Walk(index, played[place][0], tuple(tactic for _, tactic in played[place + 1 :]), played[:place])
        for place in range(len(played))
        if place + 1 < len(played)  # without its last step a proof is not one
    ]


def _play(walks: Sequence[_Walk], environment: ProofEnvironment) -> list[tuple[_Walk, _Played]]:
    """Those that end in a complete proof, with their steps. What comes after the end of a proof is left out."""
    finished, open_walks = [], [walk for walk in walks if walk.left]
    while open_walks:
        outcomes = environment.step([StepRequest(walk.state, walk.left[:1]) for walk in open_walks])
        following = []
        for walk, (outcome,) in zip(open_walks, outcomes, strict=True):
            walk.done = (*walk.done, (walk.state, walk.left[0]))
            if isinstance(outcome, Complete):
                finished.append((walk, walk.done))
            elif isinstance(outcome, Progress) and len(walk.left) > 1:
                walk.state, walk.left = outcome.state, walk.left[1:]
                following.append(walk)
        open_walks = following
    return finished

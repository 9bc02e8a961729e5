"""Prefixes that token sequences share, so that a batch reads each of them once.

States of one theorem share the template, the header and most hypotheses; without this a wave would read them again for
every state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

MIN_SAVED_TOKENS = 256
"""Fewer saved tokens than this do not pay for the second pass through the model."""
MIN_SAVED_SHARE = 0.25
"""Nor does a smaller share of all tokens."""

_TRIED = 32  # ways to cut


@dataclass(frozen=True, slots=True)
class SharedPrefixes:
    """`prefixes`: each read once. `group`: the prefix of each sequence. `saved`: tokens that need not be read."""

    prefixes: list[list[int]]
    group: list[int]
    saved: int

    def rests(self, sequences: Sequence[Sequence[int]]) -> list[list[int]]:
        """What is left of each sequence behind its prefix."""
        return [
            list(sequence[len(self.prefixes[group]) :]) for sequence, group in zip(sequences, self.group, strict=True)
        ]


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens at the start that two sequences have in common."""
    for place, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return place
    return min(len(a), len(b))


def shared_prefixes(sequences: Sequence[Sequence[int]]) -> SharedPrefixes | None:
    """The grouping that saves most tokens, or None where it saves too few to pay.

    Sequences are sorted by their tokens and cut into runs of neighbours that share at least some number of tokens; of
    all such numbers the best one is taken. A sequence alone in its run is its own prefix.
    """
    if len(sequences) < 2:
        return None
    order = sorted(range(len(sequences)), key=lambda place: list(sequences[place]))
    common = [common_length(sequences[a], sequences[b]) for a, b in pairwise(order)]
    best: tuple[int, list[list[int]]] = (0, [])
    cuts = sorted({value for value in common if value > 0})
    for least in cuts[:: 1 + len(cuts) // _TRIED]:
        runs = _runs(order, common, least)
        saved = sum((len(run) - 1) * _length(sequences, run) for run in runs)
        if saved > best[0]:
            best = (saved, runs)
    saved, runs = best
    if saved < max(MIN_SAVED_TOKENS, MIN_SAVED_SHARE * sum(map(len, sequences))):
        return None
    group = [0] * len(sequences)
    for number, run in enumerate(runs):
        for place in run:
            group[place] = number
    prefixes = [list(sequences[run[0]][: _length(sequences, run)]) for run in runs]
    return SharedPrefixes(prefixes, group, saved)


def _runs(order: Sequence[int], common: Sequence[int], least: int) -> list[list[int]]:
    runs = [[order[0]]]
    for place, shared in zip(order[1:], common, strict=True):
        if shared >= least:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _length(sequences: Sequence[Sequence[int]], run: Sequence[int]) -> int:
    """Length of the prefix of a sorted run: what its first and its last sequence share."""
    return common_length(sequences[run[0]], sequences[run[-1]])

"""New training theorems for a round whose training set is exhausted: a data set of the iteration, with a digest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prover.settings import setting
from prover_assets.steps.history import iterations_before
from prover_assets.steps.theorem_sets import load_set, load_written, write_set
from prover_assets.store.layout import DataFolder, IterationFolder

if TYPE_CHECKING:
    from prover.search.curriculum import Record
    from prover.theorems import Theorem


@dataclass(frozen=True, slots=True)
class GrowthSettings:
    """Whether new theorems are made where the training set has too few left to learn from."""

    new_theorems: int = setting(0, unit="theorems", ge=0)
    """With the curriculum: where fewer theorems are unsolved than a round tries, make this many new ones, a little
    harder than what was proved. They are kept with the iteration, and stay in the pool. Needs a training set of
    propositional theorems with difficulties; 0 = never."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The theorems that a round chooses from."""

    theorems: tuple["Theorem", ...]
    generated: int = 0
    """New ones of this round."""
    digest: str = ""
    """Of the new ones."""
    note: str = ""
    """Why there are none although they are wanted and needed, as a sentence."""


def training_pool(
    wanted: int,
    n_theorems: int,
    records: Mapping[str, "Record"],
    data: DataFolder,
    iteration: IterationFolder,
) -> Pool:
    """The training set, what earlier iterations made, and what this one makes.

    wanted: new theorems where fewer than `n_theorems` are left without a proof. records: of the searches so far. The
    same files give the same theorems: an iteration that is taken up again has the ones that it had.
    """
    from prover.theorems import TheoremSet

    given = list(load_written(data, "train"))
    files = [other.new_theorems for other in iterations_before(data, iteration)]
    earlier = [theorem for file in files if file.exists() for theorem in load_set(str(file))]
    everything = (*given, *earlier)
    left = sum(1 for theorem in everything if theorem.name not in records or not records[theorem.name].proofs)
    if not wanted or left >= n_theorems:
        return Pool(everything)
    made = _make(wanted, everything, records, data, iteration)
    if isinstance(made, str):
        return Pool(everything, note=made)
    written = TheoremSet(f"new theorems of {iteration.key}", tuple(made))
    write_set(written, iteration.new_theorems)
    return Pool((*everything, *made), len(made), written.digest)


def _make(
    count: int,
    everything: Sequence["Theorem"],
    records: Mapping[str, "Record"],
    data: DataFolder,
    iteration: IterationFolder,
) -> "list[Theorem] | str":
    """New theorems, or why there can be none."""
    from prover.logic.harder import forms_of, harder_theorems

    proved = [
        t.difficulty for t in everything if t.difficulty is not None and t.name in records and records[t.name].proofs
    ]
    held_out = [theorem for split in ("valid", "test") for theorem in load_written(data, split)]
    known, others = forms_of(everything), forms_of(held_out)
    if known is None or others is None:
        return "no new theorems were made: the sets are not all propositional, and there is no generator for others"
    if not proved:
        return "no new theorems were made: no proved theorem has a known difficulty, so the next one is not known"
    middle = sorted(proved)[len(proved) // 2]
    prefix = f"new_{iteration.number:03d}"
    return harder_theorems(count, above=middle, exclude=known | others, seed=iteration.number, prefix=prefix)

"""New training theorems for a round whose training set is exhausted: a data set of the iteration, with a digest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prover.settings import setting
from prover_assets.steps.history import iterations_before
from prover_assets.steps.theorem_sets import load_set, load_written, worlds_of, write_set
from prover_assets.store.layout import DataFolder, IterationFolder

if TYPE_CHECKING:
    from prover.search.curriculum import Record
    from prover.theorems import Theorem

PROPOSITIONAL = "propositional"


@dataclass(frozen=True, slots=True)
class GrowthSettings:
    """Whether new theorems are made where the training set has too few left to learn from."""

    new_theorems: int = setting(0, unit="theorems", ge=0)
    """With the curriculum: where fewer theorems are unsolved than a round tries, make this many new ones, a little
    harder than what was proved. They are kept with the iteration, and stay in the pool. Needs theorems with
    difficulties of `propositional`, `first_order` or `arithmetic`; 0 = never."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The theorems that a round chooses from."""

    theorems: tuple["Theorem", ...]
    generated: int = 0
    """New ones of this round."""
    digest: str = ""
    """Of the new ones."""
    note: str = ""
    """Why there are none, or none of some worlds, although they are wanted and needed: a sentence for each."""


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

    files = [data.theorems("train"), *(other.new_theorems for other in iterations_before(data, iteration))]
    everything = list(load_written(data, "train"))
    everything += [theorem for file in files[1:] if file.exists() for theorem in load_set(str(file))]
    left = sum(1 for theorem in everything if theorem.name not in records or not records[theorem.name].proofs)
    if not wanted or left >= n_theorems:
        return Pool(tuple(everything))
    worlds = {name: world for file in files for name, world in worlds_of(file).items()}
    made, notes = _make(wanted, everything, worlds, records, data, iteration)
    note = "; ".join(notes)
    if not made:
        return Pool(tuple(everything), note=note)
    origins = {theorem.name: world for theorem, world in made.items()}
    written = TheoremSet(f"new theorems of {iteration.key}", tuple(made), origins=origins)
    write_set(written, iteration.new_theorems)
    return Pool((*everything, *made), len(made), written.digest, note)


def _make(
    count: int,
    everything: Sequence["Theorem"],
    worlds: Mapping[str, str],
    records: Mapping[str, "Record"],
    data: DataFolder,
    iteration: IterationFolder,
) -> "tuple[dict[Theorem, str], list[str]]":
    """New theorems and the world of each, about equally many of every world, and why there are none of some.

    worlds: theorem -> set that it is from; theorems without one are taken for propositional if they all are.
    """
    held_out = [theorem for split in ("valid", "test") for theorem in load_written(data, split)]
    groups: dict[str, list[Theorem]] = {}
    for theorem in everything:
        groups.setdefault(worlds.get(theorem.name, ""), []).append(theorem)
    made: dict[Theorem, str] = {}
    notes = []
    for place, (world, theorems) in enumerate(groups.items()):
        share = count // len(groups) + (place < count % len(groups))
        found = _harder(world, share, theorems, held_out, records, iteration.number)
        if isinstance(found, str):
            notes.append(f"no new theorems {f'of {world} ' if world else ''}were made: {found}")
        else:
            made |= dict.fromkeys(found, world or PROPOSITIONAL)
    return made, notes


def _harder(
    world: str,
    count: int,
    theorems: Sequence["Theorem"],
    held_out: Sequence["Theorem"],
    records: Mapping[str, "Record"],
    number: int,
) -> "list[Theorem] | str":
    """New theorems of one world, or why there can be none. number: of the iteration, and the seed."""
    from prover.logic import harder as propositional
    from prover.worlds import harder
    from prover.worlds.generate import WORLDS

    if world not in ("", PROPOSITIONAL, *WORLDS):
        return "there is no generator for them"
    forms = None
    if world not in WORLDS:
        forms = propositional.forms_of(theorems)
        if forms is None:
            return "the sets are not all propositional, and there is no generator for others"
    steps = [
        t.difficulty for t in theorems if t.difficulty is not None and t.name in records and records[t.name].proofs
    ]
    if not steps:
        return "no proved theorem has a known difficulty, so the next one is not known"
    middle = sorted(steps)[len(steps) // 2]
    if forms is not None:
        exclude = forms | propositional.known_forms(held_out)
        prefix = f"new_{number:03d}"
        return propositional.harder_theorems(count, above=middle, exclude=exclude, seed=number, prefix=prefix)
    prefix = f"new_{number:03d}_{WORLDS[world].short}"
    try:
        return harder.harder_theorems(
            world, count, above=middle, exclude=[*theorems, *held_out], seed=number, prefix=prefix
        )
    except RuntimeError as error:
        return str(error)

"""Which theorems a round tries, and with which budgets: more for those at the edge of what can be proved.

Everything follows from the summary files of the searches so far, the theorem set and a seed: nothing else is kept, so
a round that was lost, or files that were copied elsewhere, change nothing. The idea of a match-maker that hands out
growing budgets is AlphaProof's (Hubert et al., Nature 2025); the rule is ours.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from prover.lint.signature import read_signature
from prover.search.budgets import Budget
from prover.search.curriculum_config import CurriculumSettings
from prover.theorems import Theorem

NEGATE_AFTER = 2
"""Tries without a proof after which a statement that may be false is also tried negated."""
SAYS_NOTHING = ("crashed", "invalid")
"""Ends of a search that say nothing of whether the theorem can be proved."""


@dataclass(slots=True)
class Record:
    """What the searches so far say of one theorem."""

    tries: int = 0
    proofs: int = 0
    failures: int = 0
    """Tries without a proof since the last proof."""
    expansions: int | None = None
    """Expansions to the latest proof."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A theorem of the round with its budget."""

    theorem: Theorem
    budget: Budget
    kind: str
    """new, edge, solved, hopeless, or negated: the negation of a statement that may be false."""


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What a round tries, in the order of the theorem set."""

    chosen: tuple[Chosen, ...]
    pool: Mapping[str, int] = field(default_factory=dict)
    """Theorems of the whole set by kind; `disproved` are those whose negation was proved."""
    disproved: tuple[str, ...] = ()
    """Names of the statements that are false: Lean certified a proof of the negation. They are not tried any more."""

    made: Mapping[str, object] = field(default_factory=dict)
    """Theorems that were made for this round: their number and digest, or a sentence why there are none."""

    @property
    def theorems(self) -> list[Theorem]:
        """The theorems of the round."""
        return [item.theorem for item in self.chosen]

    @property
    def budgets(self) -> dict[str, Budget]:
        """Budget by theorem name."""
        return {item.theorem.name: item.budget for item in self.chosen}

    def to_dict(self) -> dict[str, object]:
        """Counts for a manifest: theorems of the pool and of the round by kind, and by budget."""
        kinds: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for item in self.chosen:
            kinds[item.kind] = kinds.get(item.kind, 0) + 1
            name = f"{item.budget.max_expansions} expansions, k = {item.budget.n_candidates}"
            sizes[name] = sizes.get(name, 0) + 1
        return {
            "pool": dict(self.pool),
            "tried": kinds,
            "budgets": sizes,
            "disproved": list(self.disproved),
            "new_theorems": dict(self.made),
        }


def read_records(summaries: Iterable[Path]) -> dict[str, Record]:
    """What summary files say, by theorem name. summaries: oldest first; those that are missing are left out."""
    import polars as pl

    records: dict[str, Record] = {}
    columns = ["theorem_name", "proved", "ended", "expansions_to_proof"]
    for path in summaries:
        if not path.exists():
            continue
        for name, proved, ended, expansions in pl.read_parquet(path, columns=columns).select(columns).iter_rows():
            if ended in SAYS_NOTHING:
                continue
            record = records.setdefault(name, Record())
            record.tries += 1
            if proved:
                record.proofs += 1
                record.failures, record.expansions = 0, expansions
            else:
                record.failures += 1
    return records


def plan_round(
    theorems: Sequence[Theorem],
    records: Mapping[str, Record],
    settings: CurriculumSettings,
    *,
    n_theorems: int,
    base: Budget,
    iteration: int,
) -> RoundPlan:
    """Draw theorems until together they may use `n_theorems` times the base budget.

    records: of the searches before this round (`read_records`). base: budget of a theorem that was not tried yet.
    Each theorem has a weight by its kind, and the draw is without replacement: the theorems with the smallest
    -log(u) / weight, where u in (0, 1) is a hash of seed, iteration and name (Efraimidis and Spirakis, 2006).
    """
    pool: dict[str, int] = {}
    drawn: list[tuple[float, int, Chosen]] = []
    disproved = []

    def draw(theorem: Theorem, place: int, kind: str, weight: float, budget: Budget) -> None:
        u = _uniform(f"{settings.curriculum_seed}/{iteration}/{theorem.name}")
        drawn.append((-math.log(u) / weight, place, Chosen(theorem, budget, kind)))

    for place, theorem in enumerate(theorems):
        record = records.get(theorem.name, Record())
        opposite = records.get(negation_name(theorem.name), Record())
        if opposite.proofs and not record.proofs:
            disproved.append(theorem.name)
            continue
        kind, weight = _weight(record, settings, base)
        pool[kind] = pool.get(kind, 0) + 1
        draw(theorem, place, kind, weight, _budget(record, settings, base))
        if _may_be_false(theorem, record, settings):
            draw(negation(theorem), place, "negated", 0.5 / (1 + opposite.tries), _budget(opposite, settings, base))
    drawn.sort(key=lambda item: item[:2])
    left, taken = n_theorems * base.max_expansions, []
    for _, place, chosen in drawn:
        if left <= 0:
            break
        taken.append((place, chosen))
        left -= chosen.budget.max_expansions
    taken.sort(key=lambda item: (item[0], item[1].theorem.name))
    if disproved:
        pool["disproved"] = len(disproved)
    return RoundPlan(tuple(chosen for _, chosen in taken), pool, tuple(disproved))


def _may_be_false(theorem: Theorem, record: Record, settings: CurriculumSettings) -> bool:
    """Whoever knows a statement's difficulty knows that it is true."""
    return settings.negate and theorem.difficulty is None and not record.proofs and record.failures >= NEGATE_AFTER


def negation(theorem: Theorem) -> Theorem:
    """The statement that the theorem's is false for some values of its variables: `: ¬ (∀ binders, goal)`.

    A proof of it shows that the theorem cannot be proved, as far as Lean is consistent.
    """
    signature = read_signature(theorem.statement)
    whole = f"∀ {signature.binders_text}, {signature.goal}" if signature.binders_text else signature.goal
    return replace(theorem, name=negation_name(theorem.name), statement=f": ¬ ({whole})")


def negation_name(name: str) -> str:
    """Of the negation of a theorem."""
    return f"{name}_is_false"


def _weight(record: Record, settings: CurriculumSettings, base: Budget) -> tuple[str, float]:
    """(kind, weight in the draw). What took most of the budget is at the edge, also when it was proved."""
    if record.tries == 0:
        return "new", 1.0
    if record.failures >= settings.hopeless_after:
        return "hopeless", 0.1
    if record.failures:
        return "edge", 1.0
    if record.expansions is not None and record.expansions > base.max_expansions / 2:
        return "edge", 0.5
    return "solved", 0.1 / record.proofs


def _budget(record: Record, settings: CurriculumSettings, base: Budget) -> Budget:
    factor = min(2 ** min(record.failures, 20), settings.largest_budget)
    grown = 1.0 + 0.5 * min(record.failures // 2, 2) if settings.grow_candidates else 1.0
    return Budget(base.max_expansions * factor, round(base.n_candidates * grown))


def _uniform(text: str) -> float:
    """In (0, 1), from a hash."""
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return (number + 0.5) / 2**64

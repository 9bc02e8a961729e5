"""What `expert_iteration.py` prints: the rounds of one arm, and the arms beside each other."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expert_iteration_arms import ARMS
from rich.table import Table

from prover.evaluation.bootstrap import paired_difference
from prover.evaluation.statistics import Expansions, area_under_solve_curve, paired_test


@dataclass(frozen=True, slots=True)
class Row:
    """One world in one round."""

    arm: str
    seed: int
    round: int
    world: str
    theorems: int
    policy_solved: int
    policy_area: float
    guided_solved: int
    guided_area: float
    proofs: int
    tactics: int
    """Tactics tried in the training search of the round."""
    seconds: float
    cpu: float
    energy: str
    tuning: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Held-out theorems in the last round."""

    alone: Expansions
    """With the policy alone."""
    guided: Expansions
    """With the energy as well."""


def rounds_table(rows: Sequence[Row], title: str) -> Table:
    """A row per round and world."""
    found = Table(title=title)
    columns = ("round", "world", "policy", "area", "guided", "area", "proofs", "tactics", "CPU s", "energy", "tuning")
    for column in columns:
        found.add_column(column, justify="left" if column in ("world", "energy", "tuning") else "right")
    for row in rows:
        whole = row.world == "all"
        shown = [f"{row.policy_solved}/{row.theorems}", f"{row.policy_area:.3f}"]
        shown += [f"{row.guided_solved}/{row.theorems}", f"{row.guided_area:.3f}"]
        last = [str(row.proofs), str(row.tactics), f"{row.cpu:.0f}", row.energy, row.tuning]
        found.add_row(str(row.round), row.world, *shown, *(last if whole else [""] * len(last)), end_section=whole)
    return found


def verdict_lines(rows: Sequence[Row], last: Outcome, name: str) -> list[str]:
    """What one arm came to, in sentences."""
    areas = [row.guided_area for row in rows if row.world == "all"]
    policy = [row.policy_area for row in rows if row.world == "all"]
    rises = sum(b > a for a, b in itertools.pairwise(areas))
    paired = paired_test(last.alone, last.guided, resamples=200)
    return [
        f"{name}: guided area {areas[0]:.3f} -> {areas[-1]:.3f} ({areas[-1] / max(areas[0], 1e-9):.2f}x), "
        f"rises in {rises} of {len(areas) - 1} steps; policy alone {policy[0]:.3f} -> {policy[-1]:.3f}",
        f"guided against policy alone in the last round: {paired.faster} faster, {paired.slower} slower, "
        f"p = {paired.p_value:.2g}",
    ]


def ablation_table(outcomes: Mapping[str, Sequence[Outcome]], *, lowest: int, highest: int) -> Table:
    """A row per arm: areas in the last round over all seeds, and how far they are from those of the first arm.

    The difference is paired by theorem and seed; its interval (95%) is a bootstrap over these pairs.
    """
    first = next(iter(outcomes.values()))
    found = Table(title=f"Held-out theorems in the last round, {len(first)} seeds")
    for column in ("arm", "what differs"):
        found.add_column(column)
    for column in ("policy area", "guided area", "policy against the first", "guided against the first"):
        found.add_column(column, justify="right")
    budgets = {"lowest": lowest, "highest": highest}
    for arm, these in outcomes.items():
        pairs = [
            (_joined(first, "alone"), _joined(these, "alone")),
            (_joined(first, "guided"), _joined(these, "guided")),
        ]
        areas = [f"{area_under_solve_curve(second, **budgets):.3f}" for _, second in pairs]
        differences = ["", ""]
        if these is not first:
            against = [paired_difference(before, after, **budgets) for before, after in pairs]
            differences = [f"{d.difference:+.3f} ({d.low:+.3f} to {d.high:+.3f})" for d in against]
        found.add_row(arm, ARMS[arm].what, *areas, *differences)
    return found


def _joined(outcomes: Sequence[Outcome], kind: str) -> dict[str, int | None]:
    """The searches of all seeds as one, each theorem once per seed."""
    return {
        f"{seed}/{name}": expansions
        for seed, outcome in enumerate(outcomes)
        for name, expansions in (outcome.alone if kind == "alone" else outcome.guided).items()
    }

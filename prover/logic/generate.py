"""Seeded random propositional theorems with a known number of elementary tactic steps.

    python -m prover.logic.generate            write the shipped sets again, byte for byte
    python -m prover.logic.generate --check    exit 1 unless the shipped file is what would be written

A statement is drawn at random and kept when the decision procedure proves it and `is_interesting` finds no fault with
it; its difficulty is the number of tactics of its shortest script. Statements that differ in names only count once
(`canonical_form`), over all splits and the textbook set.
"""

import argparse
import functools
import json
import random
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prover.logic.arena import FALSE_ID, Arena
from prover.logic.canonical import antecedents, canonical_form, canonical_statement, curried
from prover.logic.formulas import Formula, Sequent, Var, print_statement
from prover.logic.g4ip import Decider, StepLimitError
from prover.logic.proofs import ScriptLimitError, find_script
from prover.logic.sampling import GeneratorConfig, Sampler, tidy
from prover.theorems import Theorem

THEOREM_SETS = Path(__file__).resolve().parent.parent / "theorem_sets"
SHIPPED_FILE = THEOREM_SETS / "propositional.jsonl"
TEXTBOOK_FILE = THEOREM_SETS / "textbook.jsonl"


DEMO = GeneratorConfig()
"""The shipped theorems: 6 to 16 steps."""
EASY = GeneratorConfig(
    min_steps=1,
    max_steps=7,
    min_variables=2,
    min_leaves=2,
    max_leaves=9,
    max_hypotheses=4,
    max_waste=4,
    node_limit=1_000,
)
"""Training material of the shipped policy: 1 to 7 steps."""


def is_interesting(sequent: Sequent, max_waste: int = 1) -> bool:
    """Provable, and not for a silly reason.

    Not interesting: `A ∧ A` and the like anywhere; a hypothesis or antecedent that is not needed; hypotheses that
    contradict each other, unless that is what is to be shown; more than `max_waste` parts that could be anything (see
    `waste`).
    """
    found, goal_formula = antecedents(sequent)
    if goal_formula in found or any(_repeats(formula) for formula in (*found, goal_formula)):
        return False
    arena = Arena()
    numbers = [arena.add(formula) for formula in found]
    goal = arena.add(goal_formula)
    decider = Decider(arena)
    mask = 0
    for number in numbers:
        mask |= 1 << number
    try:
        if not decider.provable(mask, goal):
            return False
        if goal != FALSE_ID and decider.provable(mask, FALSE_ID):
            return False
        if any(decider.provable(mask & ~(1 << number), goal) for number in numbers):
            return False
        return waste(sequent, max_waste + 1) <= max_waste
    except StepLimitError:
        return False


def _repeats(formula: Formula) -> bool:
    if formula.left is None:
        return False
    if formula.right is None:
        return _repeats(formula.left)
    return formula.left == formula.right or _repeats(formula.left) or _repeats(formula.right)


def waste(sequent: Sequent, limit: int) -> int:
    """How many parts of a provable sequent could be anything, counted up to `limit`.

    Parts are replaced by fresh propositions from the outside in, and stay replaced while the sequent stays provable.
    """
    arena = Arena()
    decider = Decider(arena)
    formula = curried(sequent)
    count = 0
    paths: list[tuple[int, ...]] = [(0,), (1,)]
    while paths and count < limit:
        path = paths.pop()
        part = _part(formula, path)
        if part is None:
            continue
        looser = _put(formula, path, Var(f"_{count}"))
        if decider.provable(0, arena.add(looser)):
            formula = looser
            count += 1
        else:
            paths += [(*path, 0), (*path, 1)]
    return count


def _part(formula: Formula, path: tuple[int, ...]) -> Formula | None:
    part: Formula | None = formula
    for side in path:
        if part is None:
            return None
        part = part.right if side else part.left
    return part


def _put(formula: Formula, path: tuple[int, ...], new: Formula) -> Formula:
    if not path:
        return new
    left, right = formula.left, formula.right
    if path[0] == 0 and left is not None:
        left = _put(left, path[1:], new)
    elif right is not None:
        right = _put(right, path[1:], new)
    return Formula(formula.op, left, right)


def sequents(
    config: GeneratorConfig, seed: int, exclude: Collection[str] = ()
) -> Iterator[tuple[Sequent, tuple[str, ...], str]]:
    """An endless stream of (sequent, shortest script, canonical form), without repetitions and without `exclude`.

    `exclude` holds canonical forms. The same arguments give the same stream.
    """
    sampler = Sampler(random.Random(seed), config)
    seen: set[str] = set()
    while True:
        drawn = sampler.promising()
        if drawn is None:
            continue
        sequent = tidy(drawn)
        if len(sequent.variables) < config.min_variables or not is_interesting(sequent, config.max_waste):
            continue
        form = canonical_form(sequent)
        if form in seen or form in exclude:
            continue
        try:
            script = find_script(sequent, config.max_steps, config.node_limit)
        except ScriptLimitError:
            continue
        if script is None or len(script) < config.min_steps:
            continue
        if _is_plain(script) and sampler.rng.random() >= config.plain_share:
            continue
        seen.add(form)
        yield sequent, script, form


def _is_plain(script: tuple[str, ...]) -> bool:
    return not any(tactic.startswith(("apply", "have", "constructor")) or " | " in tactic for tactic in script)


GUARDED_TRAIN = 240
"""Training theorems that the shipped policy's own training avoids, besides everything held out: those that the first
iterations search. The later ones it may have met; nothing is measured on them."""


@functools.cache  # a second or so, of files that come with the package
def shipped_forms() -> frozenset[str]:
    """Canonical forms a policy must not be trained on: valid, test, textbook, and `GUARDED_TRAIN` training theorems."""
    forms: set[str] = set()
    for path in (SHIPPED_FILE, TEXTBOOK_FILE):
        with path.open(encoding="utf-8") as lines:
            entries = [json.loads(line) for line in lines]
        guarded = [entry for entry in entries if entry.get("split") == "train"][:GUARDED_TRAIN]
        held_out = [entry for entry in entries if entry.get("split") != "train"]
        forms.update(canonical_statement(entry["statement"]) for entry in guarded + held_out)
    return frozenset(forms)


def easy_proofs(
    seed: int, n: int, exclude: Collection[str] | None = None, config: GeneratorConfig = EASY
) -> Iterator[tuple[Theorem, tuple[str, ...]]]:
    """`n` easy theorems with their scripts, for training a policy; none of `shipped_forms` is among them.

    `exclude` holds canonical forms that must not occur; None stands for `shipped_forms()`. The first theorems of a
    stream do not depend on `n`.
    """
    stream = sequents(config, seed, shipped_forms() if exclude is None else exclude)
    for i, (sequent, script, _) in zip(range(n), stream, strict=False):
        yield Theorem(f"easy_{seed}_{i:06d}", print_statement(sequent), difficulty=len(script)), script


@dataclass(frozen=True, slots=True)
class ShippedConfig:
    """The shipped file: how many theorems each split has and how their difficulty is spread."""

    seed: int = 20_261_122
    """Seed of the stream that the theorems are taken from."""
    sizes: tuple[tuple[str, int], ...] = (("train", 720), ("valid", 120), ("test", 180))
    """Theorems in each split."""
    weights: tuple[tuple[int, float], ...] = tuple((steps, 1.0 if steps <= 11 else 0.6) for steps in range(6, 17))
    """Share of each difficulty; the knob that makes a set easier or harder as a whole."""


def shipped_theorems(shipped: ShippedConfig = ShippedConfig()) -> list[Theorem]:
    """The theorems of the shipped file, in its order: every stretch of a split has all difficulties in proportion."""
    with TEXTBOOK_FILE.open(encoding="utf-8") as lines:
        exclude = {canonical_statement(json.loads(line)["statement"]) for line in lines}
    wanted: dict[str, list[int]] = {split: spread(size, shipped.weights) for split, size in shipped.sizes}
    # Slots of one difficulty are filled in turn: first slot of each split, second of each split, ...
    slots: dict[int, list[tuple[int, str]]] = {}
    for split, difficulties in wanted.items():
        for position, steps in enumerate(difficulties):
            slots.setdefault(steps, []).append((position, split))
    for queue in slots.values():
        queue.sort(reverse=True)
    filled: dict[tuple[str, int], Theorem] = {}
    total = sum(map(len, slots.values()))
    for sequent, script, _ in sequents(DEMO, shipped.seed, exclude):
        if waiting := slots.get(len(script)):
            position, split = waiting.pop()
            name = f"prop_{split}_{position + 1:03d}"
            filled[split, position] = Theorem(name, print_statement(sequent), split=split, difficulty=len(script))
            if len(filled) == total:
                break
    return [filled[split, position] for split, size in shipped.sizes for position in range(size)]


def spread(n: int, weights: Sequence[tuple[int, float]]) -> list[int]:
    """`n` difficulties in proportion to their weights, mixed evenly: the next one is always the most overdue."""
    total = sum(weight for _, weight in weights)
    given = {steps: 0 for steps, _ in weights}
    order: list[int] = []
    for i in range(n):
        steps = max(weights, key=lambda entry: (i + 1) * entry[1] / total - given[entry[0]])[0]
        given[steps] += 1
        order.append(steps)
    return order


def to_jsonl(theorems: list[Theorem]) -> str:
    """One JSON object a line: name, statement, difficulty, split."""
    rows = ({"name": t.name, "statement": t.statement, "difficulty": t.difficulty, "split": t.split} for t in theorems)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m prover.logic.generate", description="Write the shipped propositional theorems again."
    )
    parser.add_argument("--output", type=Path, default=SHIPPED_FILE, help="file to write (default: the shipped one)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 unless the file is up to date")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    text = to_jsonl(shipped_theorems())
    seconds = time.perf_counter() - started
    if options.check:
        same = options.output.is_file() and options.output.read_text(encoding="utf-8") == text
        print(f"{options.output}: {'up to date' if same else 'differs from what would be written'} ({seconds:.0f} s)")
        return 0 if same else 1
    options.output.write_text(text, encoding="utf-8", newline="\n")
    print(f"{options.output}: {text.count(chr(10))} theorems in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Writes the generated theorem sets:  python -m prover.worlds.generate first_order arithmetic [--check]

Theorems are drawn from one random stream. One is taken if Lean accepts its script, if it is worth proving, if it is new
up to names, and if one of its difficulty is still wanted. So the same version writes the same bytes.
"""

import argparse
import json
import logging
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prover.environments.base import ProofClaim
from prover.logic.generate import spread
from prover.theorems import BUILTIN_FOLDER, Theorem
from prover.worlds.arithmetic import arithmetic_theorem
from prover.worlds.canonical import TooSymmetricError, canonical_statement, known_forms, lemma_forms
from prover.worlds.check import SIMP, Checker, one_step_tactics
from prover.worlds.draft import Made
from prover.worlds.first_order import first_order_theorem
from prover.worlds.meaning import plausible

log = logging.getLogger(__name__)
_BATCH = 120
_LONGEST = 240
_MOST_DRAWS = 50_000


@dataclass(frozen=True, slots=True)
class World:
    """How the theorems of one set are made."""

    name: str
    short: str
    """Begins the names of its theorems."""
    make: Callable[[random.Random, int], Made | None]
    """The next theorem of a stream, of about so many steps."""
    weights: tuple[tuple[int, float], ...]
    """Share of each difficulty."""
    automatic: float
    """Chance to keep a theorem that `simp` or `simp_all` closes; what one lemma closes is never kept."""
    arithmetic: bool = False
    sizes: tuple[tuple[str, int], ...] = (("train", 720), ("valid", 160), ("test", 220))
    seed: int = 20_261_129


WORLDS = {
    "first_order": World(
        "first_order", "fo", first_order_theorem, tuple((n, 1.0 if n <= 9 else 0.6) for n in range(4, 14)), 0.1
    ),
    "arithmetic": World(
        "arithmetic", "arith", arithmetic_theorem, tuple((n, 1.0 if n <= 8 else 0.6) for n in range(3, 13)), 0.25, True
    ),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A theorem that was taken, and what is known of it."""

    made: Made
    automatic: bool
    """Whether `simp` or `simp_all` closes it."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    made: Made
    form: str
    stays: bool
    """Whether it is kept if automation proves it."""


class _Stream:
    """Theorems of a world, one after the other, from one seed."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._random = random.Random(f"{world.name} {seed}")

    def batch(self, wanted: Mapping[int, int], seen: Collection[str]) -> list[_Candidate]:
        """The next `_BATCH` theorems of difficulties that are still wanted (difficulty -> how many), all new."""
        found: list[_Candidate] = []
        forms: set[str] = set()
        weights = [(steps, n) for steps, n in sorted(wanted.items()) if n]
        for _ in range(_MOST_DRAWS):
            candidate = self._draw(self._target(weights))
            if candidate is None or not wanted.get(len(candidate.made.script)):
                continue
            if candidate.form in seen or candidate.form in forms:
                continue
            forms.add(candidate.form)
            found.append(candidate)
            if len(found) == _BATCH:
                return found
        if not found:
            raise RuntimeError(f"{self._world.name}: no new theorem of {weights} steps in {_MOST_DRAWS} draws")
        return found

    def _target(self, weights: Sequence[tuple[int, int]]) -> int:
        left = self._random.random() * sum(n for _, n in weights)
        for steps, n in weights:
            left -= n
            if left < 0:
                return steps
        return weights[-1][0]

    def _draw(self, steps: int) -> _Candidate | None:
        made = self._world.make(self._random, max(2, steps - 1 + int(self._random.random() * 4)))
        if made is None or len(made.statement) > _LONGEST:
            return None
        if self._world.arithmetic and not plausible(made):
            return None
        try:
            form = canonical_statement(made.statement)
        except TooSymmetricError:
            return None
        return _Candidate(made, form, self._random.random() < self._world.automatic)


def choose(
    world: World,
    seed: int,
    difficulties: Sequence[int],
    exclude: Collection[str],
    checker: Checker,
    most_batches: int | None = None,
) -> dict[int, Chosen]:
    """A theorem for each place, of the difficulty wanted there; none of the canonical forms `exclude`, none twice.

    The places of one difficulty are filled in turn. most_batches: stop early, with some places open.
    """
    seen = set(exclude)
    waiting: dict[int, deque[int]] = {}
    for place, steps in enumerate(difficulties):
        waiting.setdefault(steps, deque()).append(place)
    stream = _Stream(world, seed)
    found: dict[int, Chosen] = {}
    batches = 0
    while len(found) < len(difficulties) and batches != most_batches:
        batches += 1
        drawn = stream.batch({steps: len(places) for steps, places in waiting.items()}, seen)
        verdicts = _judge(world, [candidate.made for candidate in drawn], checker)
        for candidate, automatic in zip(drawn, verdicts, strict=True):
            places = waiting[len(candidate.made.script)]
            if not places or automatic is None or (automatic and not candidate.stays):
                continue
            seen.add(candidate.form)
            found[places.popleft()] = Chosen(candidate.made, automatic)
        log.info("%s: %d of %d", world.name, len(found), len(difficulties))
    return found


def _judge(world: World, made: list[Made], checker: Checker) -> list[bool | None]:
    """For each theorem: None when its script fails or one step proves it, else whether automation does."""
    held = [replay is not None for replay in checker.replay(made)]
    verdicts: list[bool | None] = [None] * len(made)
    sound = [i for i, holds in enumerate(held) if holds]
    simple = checker.closed_by([made[i].statement for i in sound], SIMP)
    by_hypotheses: dict[int, list[int]] = {}
    for i in sound:
        by_hypotheses.setdefault(len(made[i].hypotheses), []).append(i)
    cheap: dict[int, bool] = {}
    for n, members in by_hypotheses.items():
        tactics = one_step_tactics(n, arithmetic=world.arithmetic)
        for i, closed in zip(members, checker.closed_by([made[i].statement for i in members], tactics), strict=True):
            cheap[i] = bool(closed)
    for i, closed in zip(sound, simple, strict=True):
        verdicts[i] = None if cheap[i] else bool(closed)
    return verdicts


def other_forms(but: Collection[str]) -> set[str]:
    """Canonical forms of the prelude's lemmas and of all shipped sets of these worlds, without those named `but`."""
    from prover.environments.script.embedded import prelude_modules

    forms: set[str] = set()
    for path in prelude_modules().values():
        forms |= lemma_forms(path.read_text("utf-8"))
    for name in ("nng", "first_order_classic", "lists", *WORLDS):
        path = BUILTIN_FOLDER / f"{name}.jsonl"
        if name not in but and path.is_file():
            with path.open(encoding="utf-8") as lines:
                forms |= known_forms(json.loads(line)["statement"] for line in lines)
    return forms


def generated(
    world_name: str,
    seed: int,
    n: int,
    *,
    steps: tuple[int, int],
    exclude: Collection[str] = (),
    checker: Checker | None = None,
) -> list[tuple[Theorem, tuple[str, ...]]]:
    """`n` new theorems of a world with proofs of `steps` (fewest, most) tactics, and the scripts that prove them.

    None is a lemma of the prelude or a theorem of a shipped set, up to names; nor one of the canonical forms `exclude`
    (`prover.worlds.canonical.canonical_statement`). The same arguments give the same theorems.
    """
    world = WORLDS[world_name]
    difficulties = spread(n, [(count, 1.0) for count in range(steps[0], steps[1] + 1)])
    forms = other_forms(()) | set(exclude)

    if checker is None:
        with Checker() as own:
            found = choose(world, seed, difficulties, forms, own)
    else:
        found = choose(world, seed, difficulties, forms, checker)
    made = [found[place].made for place in range(n)]
    return [
        (Theorem(f"{world.short}_{seed}_{i:04d}", m.statement, difficulty=len(m.script)), m.script)
        for i, m in enumerate(made)
    ]


def shipped(world: World, checker: Checker, most_batches: int | None = None) -> list[tuple[Theorem, Chosen]]:
    """The theorems of the shipped set in order, and how they were made; with `most_batches` those of the first draws.

    The first theorem of a difficulty goes to the first split, the next one to the second, and so on.
    """
    slots = [
        (i, split, steps) for split, size in world.sizes for i, steps in enumerate(spread(size, world.weights), start=1)
    ]
    order = sorted(range(len(slots)), key=lambda place: (slots[place][0], place))
    before = tuple(WORLDS)[: tuple(WORLDS).index(world.name)]  # sets are written one after the other
    exclude = other_forms([name for name in WORLDS if name not in before])
    found = choose(world, world.seed, [slots[place][2] for place in order], exclude, checker, most_batches)
    by_slot = {order[k]: chosen for k, chosen in found.items()}
    return [
        (
            Theorem(f"{world.short}_{split}_{i:03d}", by_slot[place].made.statement, split=split, difficulty=steps),
            by_slot[place],
        )
        for place, (i, split, steps) in enumerate(slots)
        if place in by_slot
    ]


def certify(made: Sequence[tuple[Theorem, Chosen]]) -> None:
    """Certify every script as search does, in a process of its own; raises RuntimeError where one fails."""
    from prover.environments import open_environment

    with open_environment() as environment:
        claims = [ProofClaim(theorem, chosen.made.script) for theorem, chosen in made]
        for start in range(0, len(claims), 50):
            for certificate in environment.certify(claims[start : start + 50]):
                if not certificate.certified or certificate.axioms:
                    said = certificate.reason or f"it rests on {', '.join(certificate.axioms)}"
                    raise RuntimeError(f"{certificate.claim.theorem.name} is not certified: {said}")


def to_jsonl(theorems: Sequence[Theorem]) -> str:
    """One JSON object a line: name, statement, difficulty, split."""
    rows = ({"name": t.name, "statement": t.statement, "difficulty": t.difficulty, "split": t.split} for t in theorems)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m prover.worlds.generate", description=__doc__)
    parser.add_argument("worlds", nargs="+", choices=sorted(WORLDS), help="sets to write")
    parser.add_argument("--folder", type=Path, default=BUILTIN_FOLDER, help="where to (default: the shipped ones)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 unless the files are up to date")
    parser.add_argument("--scripts", type=Path, default=None, help="folder to write the scripts of the theorems to")
    parser.add_argument("--no-certify", action="store_true", help="leave out the certificate of each script")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    same = True
    for name in options.worlds:
        started = time.perf_counter()
        with Checker() as checker:
            made = shipped(WORLDS[name], checker)
        if options.scripts is not None:
            rows = ({"name": theorem.name, "tactics": list(chosen.made.script)} for theorem, chosen in made)
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (options.scripts / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        if not options.no_certify:
            certify(made)
        text, path = to_jsonl([theorem for theorem, _ in made]), options.folder / f"{name}.jsonl"
        automatic = sum(chosen.automatic for _, chosen in made)
        print(
            f"{name}: {len(made)} theorems in {time.perf_counter() - started:.0f} s; `simp` or `simp_all` closes "
            f"{automatic} ({automatic / len(made):.1%}), one lemma, hypothesis or `rfl` 0"
        )
        if options.check:
            up_to_date = path.is_file() and path.read_text("utf-8") == text
            print(f"{path}: {'up to date' if up_to_date else 'differs from what would be written'}")
            same = same and up_to_date
        else:
            path.write_text(text, encoding="utf-8", newline="\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())

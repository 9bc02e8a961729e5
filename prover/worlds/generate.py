"""Writes the generated theorem sets:  python -m prover.worlds.generate first_order arithmetic [--check]

Each theorem has a place, and each place a random stream of its own: the first theorem of that stream with the wanted
difficulty which Lean accepts, which is worth proving, and which none before it equals up to names. So the same version
writes the same bytes.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prover.environments.base import ProofClaim
from prover.theorems import BUILTIN_FOLDER, Theorem
from prover.worlds.arithmetic import arithmetic_theorem
from prover.worlds.canonical import TooSymmetricError, canonical_statement, known_forms, lemma_forms
from prover.worlds.check import SIMP, Checker, one_step_tactics
from prover.worlds.draft import Made
from prover.worlds.first_order import first_order_theorem
from prover.worlds.meaning import plausible

_CANDIDATES = 2
_CHUNK = 40
_LONGEST = 240
_MOST_DRAWS = 20_000


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


def candidates(world: World, stream: random.Random, steps: int) -> Iterator[tuple[Made, str, bool]]:
    """(theorem, canonical form, whether it stays if it is automatic) of the wanted difficulty, from one stream."""
    for _ in range(_MOST_DRAWS):
        made = world.make(stream, max(2, steps - 1 + int(stream.random() * 4)))
        if made is None or len(made.script) != steps or len(made.statement) > _LONGEST:
            continue
        if world.arithmetic and not plausible(made):
            continue
        try:
            form = canonical_statement(made.statement)
        except TooSymmetricError:
            continue
        yield made, form, stream.random() < world.automatic
    raise RuntimeError(f"{world.name}: no theorem of {steps} steps in {_MOST_DRAWS} draws")


def choose(
    world: World, seed: int, difficulties: Sequence[int], exclude: Collection[str], checker: Checker
) -> Iterator[Chosen]:
    """A theorem for each place, of the difficulty wanted there; none of the canonical forms `exclude`, none twice."""
    seen = set(exclude)
    for start in range(0, len(difficulties), _CHUNK):
        places = list(range(start, min(start + _CHUNK, len(difficulties))))
        streams = {
            place: candidates(world, random.Random(f"{world.name} {seed} {place}"), difficulties[place])
            for place in places
        }
        found: dict[int, Chosen] = {}
        waiting = places
        while waiting:
            drawn = [
                (place, candidate)
                for place in waiting
                for candidate, _ in zip(streams[place], range(_CANDIDATES), strict=False)  # one more is passed over
            ]
            drawn = [(place, candidate) for place, candidate in drawn if candidate[1] not in seen]
            verdicts = _judge(world, [candidate[0] for _, candidate in drawn], checker)
            for (place, (made, form, stays)), verdict in zip(drawn, verdicts, strict=True):
                if place in found or form in seen or verdict is None or (verdict and not stays):
                    continue
                seen.add(form)
                found[place] = Chosen(made, verdict)
            waiting = [place for place in waiting if place not in found]
        yield from (found[place] for place in places)


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
    for name in ("nng", "first_order_classic", *WORLDS):
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

    def chosen(checker: Checker) -> list[Chosen]:
        return list(choose(world, seed, difficulties, forms, checker))

    if checker is None:
        with Checker() as own:
            found = chosen(own)
    else:
        found = chosen(checker)
    return [
        (Theorem(f"{world.short}_{seed}_{i:04d}", c.made.statement, difficulty=len(c.made.script)), c.made.script)
        for i, c in enumerate(found)
    ]


def shipped(world: World, checker: Checker, limit: int | None = None) -> tuple[list[Theorem], list[Chosen]]:
    """The theorems of the shipped set, or the first `limit`, in order, and how they were made."""
    places = [(split, i, steps) for split, size in world.sizes for i, steps in enumerate(spread(size, world.weights))]
    places = places[:limit]
    before = tuple(WORLDS)[: tuple(WORLDS).index(world.name)]  # sets are written one after the other
    exclude = other_forms([name for name in WORLDS if name not in before])
    chosen = list(choose(world, world.seed, [steps for _, _, steps in places], exclude, checker))
    theorems = [
        Theorem(f"{world.short}_{split}_{i + 1:03d}", found.made.statement, split=split, difficulty=steps)
        for (split, i, steps), found in zip(places, chosen, strict=True)
    ]
    return theorems, chosen


def certify(theorems: Sequence[Theorem], chosen: Sequence[Chosen]) -> None:
    """Certify every script as search does, in a process of its own; raises RuntimeError where one fails."""
    from prover.environments import open_environment

    with open_environment() as environment:
        claims = [ProofClaim(theorem, found.made.script) for theorem, found in zip(theorems, chosen, strict=True)]
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
    same = True
    for name in options.worlds:
        started = time.perf_counter()
        with Checker() as checker:
            theorems, chosen = shipped(WORLDS[name], checker)
        if options.scripts is not None:
            rows = ({"name": t.name, "tactics": list(c.made.script)} for t, c in zip(theorems, chosen, strict=True))
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (options.scripts / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        if not options.no_certify:
            certify(theorems, chosen)
        text, path = to_jsonl(theorems), options.folder / f"{name}.jsonl"
        automatic = sum(found.automatic for found in chosen)
        print(
            f"{name}: {len(theorems)} theorems in {time.perf_counter() - started:.0f} s; `simp` or `simp_all` closes "
            f"{automatic} ({automatic / len(theorems):.1%}), one lemma, hypothesis or `rfl` 0"
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

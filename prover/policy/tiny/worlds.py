"""Training pairs from first-order logic and arithmetic: generated theorems of bounded length, replayed by Lean."""

import logging
import random
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from prover.policy.tiny.data import TrainingPair, cached_rows
from prover.worlds.canonical import TooSymmetricError, canonical_statement
from prover.worlds.check import Checker
from prover.worlds.draft import Made
from prover.worlds.generate import WORLDS, World, other_forms
from prover.worlds.terms import NE, NOT

log = logging.getLogger(__name__)
_BATCH = 240
_LONGEST = 260


@dataclass(frozen=True, slots=True)
class WorldPair:
    """One step of a replayed proof. `left`: tactics from here to the end, this one among them."""

    theorem: int
    statement: str
    state: str
    tactic: str
    left: int


def world_pairs(world: World, seed: int, n_theorems: int, most_steps: int) -> Iterator[WorldPair]:
    """All steps of `n_theorems` theorems with scripts of at most `most_steps` tactics; same arguments, same pairs.

    None is a lemma of the prelude or a theorem of a shipped set, up to names.
    """
    rng = random.Random(f"pairs {world.name} {seed}")
    held_out = other_forms(())
    done = 0
    with Checker() as checker:
        while done < n_theorems:
            batch = [made for made in (_draw(world, rng, most_steps) for _ in range(_BATCH)) if made is not None]
            batch = [made for made in batch if not _is_one_of(made, held_out)]
            for made, replay in zip(batch, checker.replay(batch), strict=True):
                if replay is None or done == n_theorems:
                    continue
                for i, (state, tactic) in enumerate(zip(replay.states, made.script, strict=True)):
                    yield WorldPair(done, made.statement, state, tactic, len(made.script) - i)
                done += 1
            log.info("%s: %d theorems", world.name, done)


def _draw(world: World, rng: random.Random, most_steps: int) -> Made | None:
    made = world.make(rng, 1 + int(rng.random() * most_steps))
    if made is None or len(made.script) > most_steps or len(made.statement) > _LONGEST:
        return None
    return varied(made, rng)


def _is_one_of(made: Made, forms: Collection[str]) -> bool:
    try:
        return canonical_statement(made.statement) in forms
    except TooSymmetricError:
        return True


def varied(made: Made, rng: random.Random) -> Made:
    """The same proof in other words now and then: `exists`, `rcases`, several names at once, `unfold`."""
    script: list[str] = []
    for tactic in made.script:
        if witness := re.fullmatch(r"refine ⟨(.*), \?_⟩", tactic):
            tactic = f"exists {witness[1]}" if rng.random() < 0.2 else tactic
        elif opened := re.fullmatch(r"obtain (⟨.*⟩) := (h\d+|k\d+)", tactic):
            tactic = f"rcases {opened[2]} with {opened[1]}" if rng.random() < 0.4 else tactic
        elif tactic.startswith("intro ") and script and script[-1].startswith("intro") and rng.random() < 0.3:
            first = script.pop()
            several = "intros" if rng.random() < 0.4 else "intro"
            tactic = f"{several} {first.split(' ', 1)[1]} {tactic.split(' ', 1)[1]}"
        script.append(tactic)
    if made.goal.head in (NE, NOT) and rng.random() < 0.08:
        script.insert(0, f"unfold {'Ne' if made.goal.head == NE else 'Not'}")
    return replace(made, script=tuple(script))


def load_world_pairs(name: str, seed: int, n_theorems: int, most_steps: int, cache: Path) -> list[WorldPair]:
    """`world_pairs`, kept in `cache` as JSONL, without those that have become a shipped set's since."""
    what = f"{name} {seed} {n_theorems} {most_steps} 1"
    rows = cached_rows(cache, name, what, lambda: world_pairs(WORLDS[name], seed, n_theorems, most_steps))
    pairs = [WorldPair(*row) for row in rows]
    held_out = other_forms(())
    known: dict[str, bool] = {}
    for pair in pairs:
        if pair.statement not in known:
            known[pair.statement] = canonical_statement(pair.statement) in held_out
    kept = [pair for pair in pairs if not known[pair.statement]]
    log.info("%s: %d pairs, %d of shipped theorems left out", name, len(kept), len(pairs) - len(kept))
    return kept


def as_training_pairs(pairs: list[WorldPair], first: int) -> list[TrainingPair]:
    """Without what only this module needs; their theorems are numbered from `first` on."""
    return [TrainingPair(first + pair.theorem, pair.state, pair.tactic) for pair in pairs]

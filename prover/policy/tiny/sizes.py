"""What the shipped policy learns beside tactics: how far a state is from being proved.

The proof-size objective of Polu et al. 2022 (Formal Mathematics Statement Curriculum Learning): a model that has to
tell how long the remaining proof is, or that there is none, keeps in its hidden vectors what a value function needs.
Here it is a linear head on the pooled vectors, which training uses and the checkpoint does not contain.

The states are those along the easy proofs, and states that random tactics lead to from there; sizes come from the
decision procedure of `prover.logic`, for easy theorems only.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from prover.logic.formulas import Sequent, parse_statement, print_state
from prover.logic.g4ip import StepLimitError, decide
from prover.logic.generate import EASY, GeneratorConfig, easy_proofs, shipped_forms
from prover.logic.proofs import ScriptLimitError, find_script
from prover.logic.tactics import apply_tactic
from prover.policy.prompts import get_template
from prover.policy.tiny.architecture import make_tokenizer
from prover.policy.tiny.data import TEMPLATE, NameShuffler, cached_rows, check_split, legal_tactics, like_lengths

LARGEST_SIZE = 14
"""Sizes from here on are one class."""
N_CLASSES = LARGEST_SIZE + 1
"""Class 0: not provable; class n: n tactics are left."""
_NODE_LIMIT = 600
_MOST_TACTICS = 24


@dataclass(frozen=True, slots=True)
class SizedState:
    """`state`: whole state, all goals; `size`: class of the remaining proof; `theorem`: index of its theorem."""

    theorem: int
    state: str
    size: int


def sized_states(
    seed: int, n_theorems: int, astray_share: float, config: GeneratorConfig = EASY
) -> Iterator[SizedState]:
    """States of the proofs of `n_theorems` easy theorems, and for a share of them one that lies astray.

    Astray: one, two or three random tactics away from a state of the proof. Left out where the procedure gives up.
    """
    rng = random.Random(seed + 1)
    held_out = shipped_forms()
    for number, (theorem, script) in enumerate(easy_proofs(seed, n_theorems, config=config)):
        check_split(theorem.statement, held_out)
        goals: tuple[Sequent, ...] = (parse_statement(theorem.statement),)
        for done, tactic in enumerate(script):
            yield SizedState(number, print_state(goals), min(len(script) - done, LARGEST_SIZE))
            if rng.random() < astray_share:
                elsewhere = _wander(goals, rng)
                size = size_of(elsewhere) if elsewhere else None
                if size is not None:
                    yield SizedState(number, print_state(elsewhere), size)
            goals = apply_tactic(goals, tactic)


def _wander(goals: tuple[Sequent, ...], rng: random.Random) -> tuple[Sequent, ...]:
    for _ in range(rng.choice((1, 1, 2, 3))):
        tactics = legal_tactics(goals[0]) if goals else []
        if tactics:
            goals = apply_tactic(goals, rng.choice(tactics))
    return goals


def size_of(goals: Sequence[Sequent]) -> int | None:
    """The class of the fewest tactics that prove all goals; 0 when one is not provable, None when it is not known."""
    try:
        if not all(decide(goal) for goal in goals):
            return 0
        scripts = [find_script(goal, _MOST_TACTICS, _NODE_LIMIT) for goal in goals]
    except (ScriptLimitError, StepLimitError):
        return None
    if any(script is None for script in scripts):
        return LARGEST_SIZE
    return min(sum(len(script) for script in scripts if script is not None), LARGEST_SIZE)


def load_sizes(
    seed: int, n_theorems: int, astray_share: float, cache: Path, config: GeneratorConfig = EASY
) -> list[SizedState]:
    """`sized_states`, kept in `cache` as JSONL."""
    what = f"sizes {seed} {n_theorems} {astray_share} {config} {sorted(shipped_forms())}"
    states = cached_rows(cache, "sizes", what, lambda: sized_states(seed, n_theorems, astray_share, config))
    return [SizedState(*row) for row in states]


@dataclass(slots=True)
class SizedExample:
    """Token ids of a state as the encoder reads it, and the class of its size."""

    ids: list[int]
    size: int


def tokenize_states(states: Sequence[SizedState], longest: int = 320, *, worlds: bool = False) -> list[SizedExample]:
    """Examples in the order of the states; the few that are longer than `longest` tokens are left out."""
    if not states:
        return []
    template, tokenizer = get_template(TEMPLATE), make_tokenizer(worlds=worlds)
    texts = [template.encoding_text(state.state) for state in states]
    all_ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [
        SizedExample(ids, state.size) for ids, state in zip(all_ids, states, strict=True) if 0 < len(ids) <= longest
    ]


def size_batches(
    examples: Sequence[SizedExample], batch_size: int, n_steps: int, shuffler: NameShuffler, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """`n_steps` batches of states of like length: ids (B, L) int64 right-padded, lengths (B,), size classes (B,)."""
    lengths = np.array([len(example.ids) for example in examples])
    for rows in like_lengths(lengths, batch_size, n_steps, rng):
        yield _collate([examples[i] for i in rows], shuffler)


def _collate(chosen: Sequence[SizedExample], shuffler: NameShuffler) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    lengths = [len(example.ids) for example in chosen]
    ids = np.zeros((len(chosen), max(lengths)), dtype=np.int64)
    maps = shuffler.maps(len(chosen))
    for row, example in enumerate(chosen):
        ids[row, : lengths[row]] = maps[row][np.array(example.ids)]
    sizes = torch.tensor([example.size for example in chosen])
    return torch.from_numpy(ids), torch.tensor(lengths), sizes

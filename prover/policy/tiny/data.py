"""Training pairs of the shipped policy: (what the prompt shows, what should be said), from easy generated theorems.

The theorems are propositional with proofs of at most seven elementary tactics; none of those in `shipped_forms` (valid,
test, textbook and the first of train) is among them, up to renaming, and `check_split` looks again. States are those
that Lean prints at each tactic of a shortest proof.
"""

import hashlib
import json
import logging
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from prover.files import write_atomic
from prover.json_types import JsonList
from prover.logic.canonical import canonical_statement
from prover.logic.formulas import FALSE, Sequent, parse_statement, print_state
from prover.logic.generate import EASY, GeneratorConfig, easy_proofs, shipped_forms
from prover.logic.tactics import TacticError, apply_tactic, fresh_names
from prover.policy.prompts import PromptTemplate, get_template, main_goal
from prover.policy.tiny.architecture import END, make_tokenizer, vocabulary

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger(__name__)

TEMPLATE = "state-tactic/1"


class SplitError(RuntimeError):
    """Training data holds a theorem of a held-out set."""


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """One step of a proof. `state`: whole state, all goals, as Lean prints it; `theorem`: index of its theorem."""

    theorem: int
    state: str
    tactic: str


def proof_pairs(
    seed: int, n_theorems: int, legal_share: float, config: GeneratorConfig = EASY
) -> Iterator[TrainingPair]:
    """All steps of the proofs of `n_theorems` easy theorems; the same arguments give the same pairs.

    A `legal_share` of the states occurs a second time with another tactic that Lean accepts there, drawn at random: it
    teaches what can be done at all, so that what the model says beside its first choice is mostly accepted.
    Raises SplitError if a theorem is one of `shipped_forms`.
    """
    rng = random.Random(seed)
    held_out = shipped_forms()
    for number, (theorem, script) in enumerate(easy_proofs(seed, n_theorems, config=config)):
        check_split(theorem.statement, held_out)
        goals: tuple[Sequent, ...] = (parse_statement(theorem.statement),)
        for tactic in script:
            state = print_state(goals)
            yield TrainingPair(number, state, tactic)
            if rng.random() < legal_share:
                kinds: dict[str, list[str]] = {}  # `apply` is as likely as `left`, however many hypotheses there are
                for other in legal_tactics(goals[0]):
                    if other != tactic:
                        kinds.setdefault(_kind(other), []).append(other)
                if kinds:
                    yield TrainingPair(number, state, rng.choice(kinds[rng.choice(sorted(kinds))]))
            goals = apply_tactic(goals, tactic)


def legal_tactics(goal: Sequent) -> list[str]:
    """Every elementary tactic that applies to a goal, each with the next free names."""
    names = [h.name for h in goal.hypotheses if "✝" not in h.name]
    one, two = fresh_names([*names, *goal.variables], 2)
    tried = ["constructor", "left", "right", "contradiction", f"intro {one}"]
    if goal.goal != FALSE:
        tried.append("exfalso")
    for name in names:
        tried += [f"exact {name}", f"apply {name}", f"cases {name}", f"have {one} := {name} ?_"]
        tried += [f"rcases {name} with ⟨{one}, {two}⟩", f"rcases {name} with {one} | {one}"]
        tried += [f"have {one} := {name} {other}" for other in names]
    return [tactic for tactic in tried if _applies(goal, tactic)]


def _kind(tactic: str) -> str:
    words = tactic.split(" ")
    return f"{words[0]} {words[-1] if words[-1] == '?_' else ''}"


def _applies(goal: Sequent, tactic: str) -> bool:
    try:
        apply_tactic((goal,), tactic)
    except TacticError:
        return False
    return True


def check_split(statement: str, held_out: Collection[str]) -> None:
    """Raise SplitError if a training theorem is, up to renaming, in a shipped set. `held_out`: `shipped_forms()`."""
    if canonical_statement(statement) in held_out:
        raise SplitError(f"the training theorem `{statement}` is one of the shipped sets', up to renaming")


def load_pairs(
    seed: int, n_theorems: int, legal_share: float, cache: Path, config: GeneratorConfig = EASY
) -> list[TrainingPair]:
    """`proof_pairs`, kept in `cache` as JSONL, and checked against the held-out sets."""
    what = f"{seed} {n_theorems} {legal_share} {config} {sorted(shipped_forms())}"
    rows = cached_rows(cache, "pairs", what, lambda: proof_pairs(seed, n_theorems, legal_share, config))
    return [TrainingPair(*row) for row in rows]


def _write_rows(file: Path, rows: "Iterable[DataclassInstance]") -> None:
    with file.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(list(astuple(row)), ensure_ascii=False) + "\n")


def cached_rows(cache: Path, name: str, what: str, make: "Callable[[], Iterable[DataclassInstance]]") -> list[JsonList]:
    """The fields of the dataclass instances that `make` gives, kept as JSONL in a file of `cache` that `what` names."""
    file = cache / f"{name}-{hashlib.sha256(what.encode()).hexdigest()[:16]}.jsonl"
    if not file.is_file():
        log.info("making %s", file)
        write_atomic(file, lambda temporary: _write_rows(temporary, make()))
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@dataclass(slots=True)
class Example:
    """Token ids of prompt and completion (with its end)."""

    prompt: list[int]
    completion: list[int]


def tokenize_pairs(
    pairs: list[TrainingPair], whole_state_share: float, seed: int, *, worlds: bool = False
) -> list[Example]:
    """Examples in the order of the pairs. A share of the states with several goals is shown whole, main goal first, so
    that the model has read such texts when it is asked to encode them."""
    template, tokenizer = get_template(TEMPLATE), make_tokenizer(worlds=worlds)
    end = tokenizer.get_vocab()[END]
    rng = random.Random(seed)
    prompts, completions = [], []
    for pair in pairs:
        several = main_goal(pair.state) != pair.state
        if several and rng.random() < whole_state_share:
            prompts.append(_whole_state_prompt(template, pair.state))
            completions.append(_whole_state_completion(pair))
        else:
            prompts.append(template.prompt(pair.state))
            completions.append(template.completion(pair.tactic, pair.state))
    prompt_ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    completion_ids = tokenizer(completions, add_special_tokens=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    for pair, ids in zip(pairs, completion_ids, strict=True):
        if unknown in ids:
            raise ValueError(f"the tactic `{pair.tactic}` has a word outside the vocabulary")
    return [Example(p, [*c, end]) for p, c in zip(prompt_ids, completion_ids, strict=True)]


def _whole_state_prompt(template: PromptTemplate, state: str) -> str:
    return f"{template.encoding_text(state)}\n[TAC]"


def _whole_state_completion(pair: TrainingPair) -> str:
    from prover.policy.naming import name_state

    return name_state(pair.state).canonical_tactic(pair.tactic)


class NameShuffler:
    """Renames a batch's examples at random, so that h17 is as well known as h1: numbers of one class are permuted."""

    def __init__(self, rng: np.random.Generator, share: float, letters: str = "ph", *, worlds: bool = False) -> None:
        self.rng, self.share = rng, share
        words = vocabulary(worlds=worlds)
        self.size = len(words)
        self.classes = [
            np.array([i for i, w in enumerate(words) if w[0] == letter and w[1:].isdigit()]) for letter in letters
        ]

    def maps(self, n: int) -> np.ndarray:
        """(n, vocabulary) int64: for each example, the new id of each token."""
        maps = np.tile(np.arange(self.size), (n, 1))
        for ids in self.classes:
            chosen = self.rng.random(n) < self.share
            order = self.rng.random((int(chosen.sum()), len(ids))).argsort(axis=1)
            maps[np.ix_(chosen.nonzero()[0], ids)] = ids[order]
        return maps


def batches(
    examples: list[Example], batch_size: int, n_steps: int, shuffler: NameShuffler, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`n_steps` batches of (ids (B, L) int64 right-padded, targets (B, L) int64 with -100 where nothing is learnt).

    targets[i, j] is the token after ids[i, j], for the positions of the completion. Batches hold examples of like
    length.
    """
    lengths = np.array([len(e.prompt) + len(e.completion) for e in examples])
    for rows in like_lengths(lengths, batch_size, n_steps, rng):
        yield _collate([examples[i] for i in rows], shuffler)


def like_lengths(lengths: np.ndarray, batch_size: int, n_steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """`n_steps` batches as row numbers, of rows of like length. lengths: (n,), at least one.

    All rows are shuffled, cut into chunks of 32 batches, and each chunk is sorted; then all again.
    """
    step = 0
    while True:
        order = rng.permutation(len(lengths))
        for start in range(0, len(order), batch_size * 32):
            chunk = order[start : start + batch_size * 32]
            chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
            cut = [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
            for index in rng.permutation(len(cut)):
                if step == n_steps:
                    return
                yield cut[index]
                step += 1


def _collate(chosen: list[Example], shuffler: NameShuffler) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(e.prompt) + len(e.completion) for e in chosen) - 1
    ids = np.zeros((len(chosen), longest), dtype=np.int64)
    targets = np.full((len(chosen), longest), -100, dtype=np.int64)
    maps = shuffler.maps(len(chosen))
    for row, example in enumerate(chosen):
        text = maps[row][np.array(example.prompt + example.completion)]
        ids[row, : len(text) - 1] = text[:-1]
        targets[row, len(example.prompt) - 1 : len(text) - 1] = text[len(example.prompt) :]
    return torch.from_numpy(ids), torch.from_numpy(targets)

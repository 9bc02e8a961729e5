"""Soundness and leaks under load: PROVER_SOAK_TACTICS tactics (default 1,000), and four times as many for leaks.

`make soak` tries 50,000 and 200,000.
"""

import gc
import os
import random
from pathlib import Path

import psutil
import pytest
from tactic_zoo import canaries, candidates, propositional

from prover.environments import Complete, Crashed, ProofClaim, ProofState, StepRequest, open_environment

pytestmark = pytest.mark.slow

TACTICS = int(os.environ.get("PROVER_SOAK_TACTICS", "1000"))
FALSE, TRUE = 120, 80
HOSTILE = (
    "sorry",
    "exact sorryAx _ true",
    "admit",
    "native_decide",
    "exact (by native_decide)",
    'run_tac Lean.logInfo m!"x"',
    "exact bad\naxiom bad : False",
    "open True renaming intro → False in exact False",
    "set_option autoImplicit true in rfl",
    "exact «a\naxiom bad : False»",
    "theorem t : False := by assumption",
    "/- open",
    "-/",
    "#eval IO.println 1",
    "exact (unsafeCast () : False)",
    'macro "x" : tactic => `(tactic| sorry)',
    "end",
    "exact False.elim (by assumption)",
    "exact fun x => x x",
    "repeat (have := True.intro)",
    "decide",
    "exact Τrue.intro",
    "exact ¬¬¬",
    "exact absurd rfl id",
)
PIECES = (
    "sorry",
    "/-",
    "-/",
    "\n",
    "«",
    "»",
    "by ",
    "\u200b",
    "⟨",
    "⟩",
    ";",
    "#",
    "axiom ",
    "¬",
    "fun x =>",
    "(",
    ")",
    "--",
)
CALM = "exfalso"


def mutated(rng: random.Random, tactic: str) -> str:
    """The tactic with a few characters lost, doubled or put in."""
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(tactic) + 1)
        match rng.randrange(3):
            case 0:
                tactic = tactic[:place] + tactic[place + 1 :]
            case 1:
                tactic = tactic[:place] + rng.choice(PIECES) + tactic[place:]
            case _:
                tactic = tactic[:place] + tactic[place // 2 :]
    return tactic or "skip"


def hostile(rng: random.Random, text: str, n: int) -> tuple[str, ...]:
    """`n` tactics for a state: hostile ones, mutated ones and usual ones, about a third each."""
    usual = candidates(rng, text, n)
    drawn = []
    for tactic in usual:
        match rng.randrange(3):
            case 0:
                drawn.append(rng.choice(HOSTILE))
            case 1:
                drawn.append(mutated(rng, rng.choice([tactic, *HOSTILE])))
            case _:
                drawn.append(tactic)
    return tuple(dict.fromkeys(drawn))


def ours() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_hostile_tactics_prove_nothing_false_and_cost_no_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    rng = random.Random(16)
    theorems = [*canaries(rng, FALSE), *propositional(rng, TRUE, true=True)]
    false = {theorem.name for theorem in theorems[:FALSE]}
    before = {child.pid for child in ours()}
    tried, claims = 0, dict[ProofClaim, None]()
    with open_environment(workers=2) as lean:
        roots = [root for root in lean.start(theorems) if isinstance(root, ProofState)]
        assert len(roots) == FALSE + TRUE
        calm = [type(outcomes[0]) for outcomes in lean.step([StepRequest(root, (CALM,)) for root in roots])]
        while tried < TACTICS:
            requests = [StepRequest(root, (*hostile(rng, root.text, 8), CALM)) for root in roots]
            answers = lean.step(requests)
            for request, outcomes, expected in zip(requests, answers, calm, strict=True):
                assert len(outcomes) == len(request.tactics)
                tried += len(outcomes) - 1
                assert type(outcomes[-1]) in (expected, Crashed), (request.state.theorem.statement, outcomes[-1])
                for outcome in outcomes:
                    if isinstance(outcome, Complete):
                        claims[ProofClaim(request.state.theorem, outcome.tactics)] = None
            lost = sum(isinstance(outcomes[-1], Crashed) for outcomes in answers)
            assert lost <= len(roots) // 50, f"{lost} calm tactics were lost to their neighbours"
        certified = [found.claim for found in lean.certify(list(claims)) if found.certified]
    wrong = [claim for claim in certified if claim.theorem.name in false]
    assert wrong == []
    assert {child.pid for child in ours()} <= before, "processes are left"
    assert list(tmp_path.iterdir()) == [], "files are left"
    print(f"{tried} tactics, {len(claims)} claims, {len(certified)} certified, none of a false statement")


def test_a_long_run_keeps_its_memory_files_and_processes() -> None:
    rng = random.Random(17)
    theorems = list(propositional(rng, 40, true=True))
    seen: list[tuple[float, int, int]] = []  # MiB of this process, its open files, its processes
    tried, total = 0, 4 * TACTICS
    with open_environment(workers=2) as lean:
        roots = [root for root in lean.start(theorems) if isinstance(root, ProofState)]
        while tried < total:
            requests = [StepRequest(root, tuple(candidates(rng, root.text, 12))) for root in roots]
            tried += sum(len(outcomes) for outcomes in lean.step(requests))
            gc.collect()
            me = psutil.Process()
            seen.append((me.memory_info().rss / 2**20, me.num_fds(), len(ours())))
    warm, last = seen[len(seen) // 4], seen[-1]
    print(f"{tried} tactics: (MiB, open files, processes) {warm} after a quarter, {last} at the end")
    assert last[0] <= 1.10 * warm[0]
    assert last[1] <= warm[1] + 2
    assert last[2] <= warm[2]


def test_the_mutations_reach_lean() -> None:
    """Most hostile tactics are turned down by their text; enough of the mutated ones must get past that."""
    from prover.environments.isolation.refusal import refuse_tactic

    rng = random.Random(18)
    drawn = [tactic for _ in range(60) for tactic in hostile(rng, "p q : Prop\nh : p ∧ q\n⊢ q", 8)]
    past = [tactic for tactic in drawn if refuse_tactic(tactic) is None]
    assert len(drawn) // 4 < len(past) < len(drawn)

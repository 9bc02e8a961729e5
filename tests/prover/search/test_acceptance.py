"""A policy whose first tactics Lean never accepts is spoken to in a wrong way: said once, and not too soon."""

import logging

import pytest

from prover.environments.base import Complete, Crashed, Outcome, Progress, ProofState, Rejected, TimedOut
from prover.search import SearchConfig, search_to_files
from prover.search.acceptance import FirstTactics
from prover.theorems import Theorem
from tests.helpers.search_fakes import HashPolicy, HashWorld

NO, GONE, LATE = Rejected("no", 1.0), Crashed("gone", 1.0), TimedOut("late", 1.0)
YES: list[Outcome] = [Progress(ProofState(Theorem("t", ": p"), (), "⊢ 1"), 1.0), Complete(("x",), 1.0)]
TEN = [f"t{i}" for i in range(10)]


def warned(caplog: pytest.LogCaptureFixture) -> bool:
    return "accepted none of the first" in caplog.text


def test_rejections_alone_are_said_once_after_enough_of_them(caplog: pytest.LogCaptureFixture) -> None:
    first = FirstTactics("m@server:12")
    first.see(TEN, TEN, [NO] * 10)
    first.see(TEN, TEN, [NO] * 10)
    assert not warned(caplog)  # too few states
    first.see(TEN[:3], TEN[:3], [NO] * 3)
    assert not warned(caplog)  # too few tactics
    first.see(TEN[:1], TEN[:1], [NO])
    assert "none of the first 24 tactics of m@server:12, in 4 states (for example 't0'; 't1'; 't2')" in caplog.text
    assert "--template" in caplog.text
    caplog.clear()
    first.see(TEN, TEN, [NO] * 10)
    assert first.settled
    assert not warned(caplog)


@pytest.mark.parametrize("accepted", YES, ids=["progress", "complete"])
def test_one_accepted_tactic_settles_it(accepted: Outcome, caplog: pytest.LogCaptureFixture) -> None:
    first = FirstTactics("m")
    first.see(TEN, TEN, [NO] * 9 + [accepted])
    assert first.settled
    for _ in range(9):
        first.see(TEN, TEN, [NO] * 10)
    assert not warned(caplog)


def test_probes_do_not_count_for_the_policy(caplog: pytest.LogCaptureFixture) -> None:
    first = FirstTactics("m")
    for _ in range(3):
        first.see(TEN[:8], TEN, [NO] * 8 + [YES[0]] * 2)  # the probes get on, the policy does not
    assert warned(caplog)


@pytest.mark.parametrize("outcome", [GONE, LATE], ids=["crashed", "timed out"])
def test_what_lean_did_not_judge_counts_neither_way(outcome: Outcome, caplog: pytest.LogCaptureFixture) -> None:
    first = FirstTactics("m")
    for _ in range(9):
        first.see(TEN, TEN, [outcome] * 10)
    assert not first.settled
    assert not warned(caplog)


@pytest.mark.parametrize(("rejected", "said"), [(1.0, True), (0.3, False)])
def test_a_search_says_it(
    rejected: float, said: bool, caplog: pytest.LogCaptureFixture, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = HashWorld(complete=0.0, rejected=rejected)
    theorems = [Theorem(f"t{i}", f": p{i}") for i in range(6)]
    with caplog.at_level(logging.WARNING):
        search_to_files(theorems, tmp_path_factory.mktemp("out") / "x.parquet", world, HashPolicy(), SearchConfig())
    assert warned(caplog) is said

import logging
import sqlite3
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from prover.environments.base import Complete, Crashed, Outcome, Progress, ProofState, Rejected, TimedOut
from prover.policy.base import TacticCandidate
from prover.search import MemoError, SearchMemo
from prover.theorems import Theorem

THEOREM = Theorem("t", ": p → p")
STATE = ProofState(THEOREM, ("intro h",), "h : p\n⊢ p")


def test_what_is_stored_is_found_exactly(tmp_path):
    candidates = [TacticCandidate("exact h✝", -0.1 - 1e-17, 3), TacticCandidate('rcases h with ⟨a, "b"⟩', -1 / 3, 9)]
    outcomes: dict[tuple[ProofState, str], Outcome] = {
        (STATE, "a"): Progress(ProofState(THEOREM, ("intro h", "a"), "⊢ q"), 1.25),
        (STATE, "b"): Complete(("intro h", "b"), 0.5),
        (STATE, "c"): Rejected("no", 2.0),
        (STATE, "d"): Rejected("sorry is refused", 0.0, refused=True),
    }
    with SearchMemo(tmp_path / "deep" / "memo.sqlite") as memo:
        memo.store_candidates("policy", 8, {"prompt": candidates, "empty": []})
        memo.store_outcomes("lean", outcomes)
        memo.store_roots("lean", [ProofState(THEOREM, (), "⊢ p → p")])
    with SearchMemo(tmp_path / "deep" / "memo.sqlite") as memo:
        assert memo.candidates("policy", ["prompt", "empty", "other"], 8) == {"prompt": candidates, "empty": []}
        assert memo.outcomes("lean", [*outcomes, (STATE, "e")]) == outcomes
        assert memo.roots("lean", [THEOREM, Theorem("u", ": q")]) == {THEOREM: ProofState(THEOREM, (), "⊢ p → p")}
        assert (memo.counts.candidate_hits, memo.counts.candidate_misses) == (2, 1)
        assert (memo.counts.outcome_hits, memo.counts.outcome_misses) == (4, 1)


def test_everything_the_answer_depends_on_is_in_the_key():
    memo = SearchMemo()
    memo.store_candidates("policy", 8, {"prompt": []})
    assert memo.candidates("policy", ["prompt"], 9) == {}
    assert memo.candidates("policy2", ["prompt"], 8) == {}
    memo.store_outcomes("lean", {(STATE, "a"): Rejected("no", 1.0)})
    other_header = ProofState(Theorem("t", ": p → p", header="open Nat"), STATE.tactics, STATE.text)
    other_statement = ProofState(Theorem("t", ": p → p ∧ p"), STATE.tactics, STATE.text)
    other_namespace = ProofState(Theorem("Nat.t", ": p → p"), STATE.tactics, STATE.text)
    other_tag = ProofState(THEOREM, STATE.tactics, "case inl\n" + STATE.text)
    others = (other_header, other_statement, other_namespace, other_tag)
    assert memo.outcomes("lean", [(state, "a") for state in others]) == {}
    assert memo.outcomes("lean2", [(STATE, "a")]) == {}
    assert memo.outcomes("lean", [(STATE, "a ")]) == {}


def test_a_known_outcome_takes_the_path_of_the_state_that_asks():
    memo = SearchMemo()
    memo.store_outcomes("lean", {(STATE, "a"): Progress(ProofState(THEOREM, ("intro h", "a"), "⊢ q"), 1.0)})
    elsewhere = ProofState(Theorem("u", ": p → p"), ("skip", "intro h"), STATE.text)
    found = memo.outcomes("lean", [(elsewhere, "a")])
    assert found == {(elsewhere, "a"): Progress(ProofState(elsewhere.theorem, ("skip", "intro h", "a"), "⊢ q"), 1.0)}


def test_crashes_and_timeouts_are_not_remembered():
    memo = SearchMemo()
    memo.store_outcomes("lean", {(STATE, "a"): Crashed("", 1.0), (STATE, "b"): TimedOut("", 1.0)})
    assert memo.outcomes("lean", [(STATE, "a"), (STATE, "b")]) == {}


def test_a_file_that_is_no_memo_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "memo.sqlite").write_text("this is not a database, and is long enough to be looked at as one" * 20)
    with pytest.raises(MemoError, match="move it away"):
        SearchMemo(tmp_path / "memo.sqlite")
    (tmp_path / "file").write_text("")
    with pytest.raises(MemoError, match="folder"):
        SearchMemo(tmp_path / "file" / "memo.sqlite")


def test_a_memo_that_cannot_be_written_is_reported_once_and_done_without(tmp_path, caplog):
    with SearchMemo(tmp_path / "memo.sqlite") as memo:
        memo._db.execute("PRAGMA query_only = ON")
        with caplog.at_level(logging.WARNING):
            memo.store_outcomes("lean", {(STATE, "a"): Rejected("no", 1.0)})
            memo.store_outcomes("lean", {(STATE, "b"): Rejected("no", 1.0)})
        assert memo.outcomes("lean", [(STATE, "a")]) == {}
    assert len(caplog.records) == 1


def _write_many(path: Path, worker: int) -> int:
    with SearchMemo(path) as memo:
        for i in range(40):
            memo.store_candidates("policy", 8, {f"{i}": [TacticCandidate(f"t{i}", -1.0, worker)]})
    return worker


def test_several_processes_may_write_one_memo(tmp_path):
    path = tmp_path / "memo.sqlite"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_write_many, [path] * 3, range(3))) == [0, 1, 2]
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM candidates_1").fetchone() == (40,)


def test_a_new_memo_waits_for_the_process_that_is_making_it(tmp_path):
    path = tmp_path / "memo.sqlite"
    maker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    maker.execute("CREATE TABLE other (x)")
    maker.execute("BEGIN IMMEDIATE")  # SQLite answers "locked" at once to who asks for write-ahead logging meanwhile
    maker.execute("INSERT INTO other VALUES (1)")
    release = threading.Timer(0.3, lambda: maker.execute("ROLLBACK"))
    release.start()
    try:
        with SearchMemo(path) as memo:
            memo.store_candidates("policy", 8, {"prompt": [TacticCandidate("t", -1.0, 1)]})
            assert memo.candidates("policy", ["prompt"], 8)
    finally:
        release.join()
        maker.close()

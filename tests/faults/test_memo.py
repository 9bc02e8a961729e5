"""The memo under faults: a damaged answer is never used, and the advice fits the fault."""

import sqlite3
from pathlib import Path

import pytest
from faults import cuts, fill, flips, make_read_only, small_disk, try_damage

from prover.environments.base import Complete, Outcome, Progress, ProofState, Rejected
from prover.policy.base import TacticCandidate
from prover.search import MemoError, SearchMemo
from prover.theorems import Theorem

THEOREM = Theorem("t", ": p → p")
STATE = ProofState(THEOREM, ("intro h",), "h : p\n⊢ p")
OUTCOMES: dict[tuple[ProofState, str], Outcome] = {
    (STATE, f"tactic {i}"): (
        Complete(("intro h", f"tactic {i}"), 0.5),
        Rejected(f"no, for reason {i}", 2.0),
        Progress(ProofState(THEOREM, ("intro h", f"tactic {i}"), f"⊢ q{i}"), 1.0),
    )[i % 3]
    for i in range(60)
}
CANDIDATES = {f"prompt {i}": [TacticCandidate(f"exact h{i}", -0.5 * i, 3)] for i in range(60)}


def fill_memo(path: Path) -> None:
    with SearchMemo(path) as memo:
        memo.store_outcomes("lean", OUTCOMES)
        memo.store_candidates("policy", 8, CANDIDATES)
        memo._db.execute("PRAGMA journal_mode = DELETE")  # one file, without companions


def test_damage_costs_answers_and_never_changes_one(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"
    fill_memo(path)

    def read() -> tuple[int, int]:
        for companion in ("-wal", "-shm"):
            path.with_name(path.name + companion).unlink(missing_ok=True)
        with SearchMemo(path) as memo:
            outcomes = memo.outcomes("lean", list(OUTCOMES))
            candidates = memo.candidates("policy", list(CANDIDATES), 8)
        assert outcomes.items() <= OUTCOMES.items()
        assert candidates.items() <= CANDIDATES.items()
        return len(outcomes), len(candidates)

    data = path.read_bytes()
    flipped = try_damage(path, flips(data, seed=3), read, MemoError)
    cut = try_damage(path, cuts(data), read, MemoError)
    assert any(found != (60, 60) for found in flipped.read), "no flip hit an answer: this test shows nothing"
    assert all(found == (0, 0) or found == (60, 60) or sum(found) < 120 for found in [*flipped.read, *cut.read])
    assert all(str(path) in words for words in [*flipped.refusals, *cut.refusals])
    assert cut.refusals


def test_a_damaged_answer_is_stored_anew(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"
    fill_memo(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE candidates_1 SET value = replace(value, 'exact', 'exacT')")
    with SearchMemo(path) as memo:
        assert memo.candidates("policy", list(CANDIDATES), 8) == {}
        memo.store_candidates("policy", 8, CANDIDATES)
        assert memo.candidates("policy", list(CANDIDATES), 8) == CANDIDATES


def test_answers_of_before_digests_are_used(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"
    fill_memo(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE candidates_1 SET value = substr(value, 1, instr(value, char(10)) - 1)")
        db.execute("PRAGMA user_version = 0")
    with SearchMemo(path) as memo:
        assert memo.candidates("policy", list(CANDIDATES), 8) == CANDIDATES


def test_a_full_disk_asks_for_room_and_not_to_move_the_memo(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kib=256) as disk:
        fill(disk)
        with pytest.raises(MemoError, match=r"disk is full.*Make room.*--memo.*--no-memo") as raised:
            SearchMemo(disk / "memo.sqlite")
        assert "move" not in str(raised.value)


def test_a_disk_that_fills_up_meanwhile_costs_the_memo_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", kib=512) as disk, SearchMemo(disk / "memo.sqlite") as memo:
        memo.store_candidates("policy", 8, CANDIDATES)
        fill(disk)
        memo.store_outcomes("lean", {(STATE, f"{i} " * 500): Rejected("x" * 300, 1.0) for i in range(3000)})
        assert memo.candidates("policy", list(CANDIDATES), 8) == CANDIDATES
    assert "goes on without it. Make room" in caplog.text


def test_a_read_only_folder_is_said_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kib=512) as disk:
        fill_memo(disk / "memo.sqlite")
        make_read_only(disk)
        with pytest.raises(MemoError, match=r"read-only.*--no-memo") as raised:
            SearchMemo(disk / "memo.sqlite")
        assert "move" not in str(raised.value)


def test_a_memo_that_another_process_holds_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prover.search.memo._LOCK_TIMEOUT_S", 0.05)
    path = tmp_path / "memo.sqlite"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(MemoError, match="held by another process") as raised:
        SearchMemo(path)
    assert "move" not in str(raised.value)
    holder.close()


def test_a_memo_of_a_newer_version_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "memo.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 7")
    with pytest.raises(MemoError, match=r"newer version.*update this program") as raised:
        SearchMemo(path)
    assert "move" not in str(raised.value)

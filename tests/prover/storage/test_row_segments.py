"""The memo on a store: only what is new is sent, nothing that anyone remembered is lost, older layouts are read."""

import logging
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from faulty_proxy import Faults

from prover.policy.base import TacticCandidate
from prover.search.memo import SearchMemo
from prover.storage import mirror, row_segments
from prover.storage.mirror import Mirror
from prover.storage.store import Store

POLICY = "policy"


def remember(folder: Path, first: int, last: int) -> None:
    """Answers with these numbers, of some 300 bytes that cannot be compressed."""
    with SearchMemo(folder / "memo.sqlite") as memo:
        known = {
            f"prompt {i}": [TacticCandidate(random.Random(i).randbytes(150).hex(), -1.0, 3)] for i in range(first, last)
        }
        memo.store_candidates(POLICY, 1, known)


def remembered(folder: Path, most: int) -> list[int]:
    """Which of the answers below `most` are known, and as they were stored."""
    with SearchMemo(folder / "memo.sqlite") as memo:
        found = memo.candidates(POLICY, [f"prompt {i}" for i in range(most)], 1)
    return [
        i
        for i in range(most)
        if f"prompt {i}" in found and found[f"prompt {i}"][0].tactic == random.Random(i).randbytes(150).hex()
    ]


def machines(url: str, folder: Path, names: str) -> list[Mirror]:
    for name in names:
        (folder / name).mkdir(exist_ok=True)
    return [Mirror(Store(url), folder / name) for name in names]


def test_only_new_answers_are_sent(s3: Faults, tmp_path: Path) -> None:
    one, other = machines("s3://provers/memo", tmp_path, "ab")
    one.fetch()
    remember(one.local, 0, 2000)
    one.publish()
    whole = s3.received
    assert whole > 300_000
    remember(one.local, 2000, 2020)
    assert one.publish() == 1
    assert s3.received - whole < whole / 20
    sent = s3.received
    assert one.publish() == 0
    assert s3.received == sent
    other.fetch()
    assert remembered(other.local, 2100) == list(range(2020))


def test_what_two_machines_found_is_kept(memory: str, tmp_path: Path) -> None:
    one, other = machines(memory, tmp_path, "ab")
    one.fetch()
    remember(one.local, 0, 30)
    one.publish()
    other.fetch()
    remember(other.local, 30, 50)
    remember(one.local, 50, 60)  # not published before the other has published
    other.publish()
    one.fetch()
    assert remembered(one.local, 70) == list(range(60))
    one.publish()
    other.fetch()
    assert remembered(other.local, 70) == list(range(60))


def test_a_memo_that_was_published_whole_is_read_and_replaced_by_rows(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, third = machines(memory, tmp_path, "abc")
    with monkeypatch.context() as older:
        older.setattr(mirror, "DATABASES_OF_ROWS", frozenset())
        one.fetch()
        remember(one.local, 0, 30)
        one.publish()
    assert Store(memory).is_file("memo.sqlite")
    other.fetch()
    remember(other.local, 30, 40)
    other.publish()
    assert not [name for name in Store(memory).find() if name.endswith("memo.sqlite")]
    third.fetch()
    assert remembered(third.local, 50) == list(range(40))


def test_many_publications_leave_few_files(memory: str, tmp_path: Path) -> None:
    one, other = machines(memory, tmp_path, "ab")
    one.fetch()
    for i in range(70):
        remember(one.local, i, i + 1)
        one.publish()
    files = [name for name in Store(memory).find("memo.sqlite.segments")]
    assert len(files) <= 16
    other.fetch()
    assert remembered(other.local, 80) == list(range(70))


def test_a_damaged_memo_holds_up_nothing_else(memory: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, other = machines(memory, tmp_path, "ab")
    one.fetch()
    (one.local / "memo.sqlite").write_bytes(b"no database" * 100)
    (one.local / "report.json").write_bytes(b"{}")
    with caplog.at_level(logging.WARNING):
        assert one.publish() == 1
    assert "is not published" in caplog.text
    other.fetch()
    assert (other.local / "report.json").read_bytes() == b"{}"


def test_an_answer_that_is_no_text_costs_itself_alone(memory: str, tmp_path: Path) -> None:
    one, other = machines(memory, tmp_path, "ab")
    one.fetch()
    remember(one.local, 0, 10)
    with closing(sqlite3.connect(one.local / "memo.sqlite")) as opened, opened:
        opened.execute("INSERT INTO candidates_1 VALUES (?, CAST(? AS TEXT))", (b"k" * 16, b"\xff\xfe"))
    one.publish()
    other.fetch()
    assert remembered(other.local, 20) == list(range(10))


def test_files_of_others_make_no_tables_of_any_name(memory: str, tmp_path: Path) -> None:
    import pyarrow as pa

    one, other = machines(memory, tmp_path, "ab")
    one.fetch()
    remember(one.local, 0, 5)
    folder = row_segments.segments_of(one.local / "memo.sqlite")
    rows = {"table": ["x (y); --", "sqlite_master"], "key": [b"1", b"2"], "value": ["", ""]}
    row_segments._write(folder, iter([pa.table(rows, schema=row_segments._SCHEMA)]))
    one.publish()
    other.fetch()
    assert remembered(other.local, 10) == list(range(5))
    with closing(sqlite3.connect(other.local / "memo.sqlite")) as opened:
        names = {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == {"candidates_1", "outcomes_1", "joined_segments"}

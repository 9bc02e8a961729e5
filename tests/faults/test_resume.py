"""A killed search keeps what it finished: finished theorems reach the disk by time as well as by number."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from search_fakes import HashPolicy, HashScorer, HashWorld, theorems

import prover.trajectory.writer as writer_module
from prover.search import SearchConfig, SearchMemo, search_to_files
from prover.trajectory import TrajectoryWriter, read_summaries
from prover.trajectory.schema import KINDS, TheoremRows, sibling_path

CONFIG = SearchConfig(n_candidates=5, max_expansions=16)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(writer_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def a_theorem(tmp_path: Path, name: str) -> TheoremRows:
    """Rows of one searched theorem."""
    found: list[TheoremRows] = []
    taken = TrajectoryWriter.add
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrajectoryWriter, "add", lambda self, rows: (found.append(rows), taken(self, rows)))
        some = [theorem for theorem in theorems(30) if theorem.name == name]
        search_to_files(some, tmp_path / f"{name}.parquet", HashWorld(), HashPolicy(), CONFIG, scorer=HashScorer())
    return found[0]


def test_a_finished_theorem_is_written_within_seconds(tmp_path: Path, clock: list[float]) -> None:
    rows = [a_theorem(tmp_path, f"t{i}") for i in range(3)]
    output = tmp_path / "x.parquet"
    with TrajectoryWriter(output, search_id=rows[0].summary.search_id) as writer:
        writer.add(rows[0])
        writer.flush_if_due()
        assert not writer.finished
        clock[0] += 2.1  # a young run writes sooner, so that one that is killed at once keeps something
        writer.flush_if_due()
        assert writer.finished == {"t0"}
        clock[0] += 3600
        writer.flush_if_due()  # nothing is pending: no empty part
        writer.add(rows[1])
        clock[0] += 6
        writer.add(rows[2])
        writer.flush_if_due()
        assert writer.finished == {"t0"}
        clock[0] += 4  # 10 s since the oldest one, however old the run is
        writer.flush_if_due()
        assert writer.finished == {"t0", "t1", "t2"}
        assert len(list((tmp_path / "x.parts").glob("*.summary.parquet"))) == 2


def test_what_finished_is_written_while_a_long_theorem_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch fills and no further theorem ends: the running search itself must look at the clock."""
    monkeypatch.setattr(writer_module, "_FLUSH_FIRST_S", 0.0)
    monkeypatch.setattr(writer_module, "_FLUSH_SHARE", 1e9)
    seen: list[int] = []

    def look(progress: object) -> None:
        parts = tmp_path / "x.parts"
        seen.append(len(read_summaries(parts)) if list(parts.glob("*.summary.parquet")) else 0)

    config = SearchConfig(n_candidates=5, max_expansions=16, wave_size=1, cohorts=1)
    search_to_files(
        theorems(4), tmp_path / "x.parquet", HashWorld(), HashPolicy(), config, scorer=HashScorer(), on_progress=look
    )
    assert {1, 2, 3} <= set(seen)


SCRIPT = textwrap.dedent(
    """
    import sys, time
    from search_fakes import HashPolicy, HashScorer, HashWorld, theorems
    from prover.search import SearchConfig, SearchMemo, search_to_files

    class Slow(HashWorld):
        def step(self, requests):
            time.sleep(0.25)
            print("stepped", flush=True)
            return super().step(requests)

    with SearchMemo(sys.argv[2]) as memo:
        config = SearchConfig(n_candidates=5, max_expansions=400)
        world = Slow(complete=0.0)
        search_to_files(theorems(1), sys.argv[1], world, HashPolicy(), config, scorer=HashScorer(), memo=memo)
    """
)


def test_a_long_theorem_keeps_its_progress_in_the_memo(tmp_path: Path) -> None:
    """Killed within its only theorem: the same search again asks Lean only for what was not answered."""
    output, memo_file = tmp_path / "x.parquet", tmp_path / "memo.sqlite"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(output), str(memo_file)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    for _ in range(6):
        assert process.stdout.readline() == "stepped\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    world = HashWorld(complete=0.0)
    with SearchMemo(memo_file) as memo:
        config = SearchConfig(n_candidates=5, max_expansions=400)
        options = {"scorer": HashScorer(), "memo": memo, "resume": True}
        search_to_files(theorems(1), output, world, HashPolicy(), config, **options)
        assert memo.counts.outcome_hits >= 15


def test_a_damaged_part_is_searched_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    output, whole = tmp_path / "x.parquet", tmp_path / "whole.parquet"
    search_to_files(theorems(40), whole, HashWorld(), HashPolicy(), CONFIG, scorer=HashScorer())
    done = [0]
    search_to_files(
        theorems(40),
        output,
        HashWorld(),
        HashPolicy(),
        CONFIG,
        scorer=HashScorer(),
        on_progress=lambda progress: done.__setitem__(0, progress.done),
        stop=lambda: done[0] > 24,
    )
    finished = len(read_summaries(tmp_path / "x.parts"))
    assert finished > 16, "at least two parts"
    damaged = sibling_path(tmp_path / "x.parts" / "part-00000.parquet", "attempts")
    data = bytearray(damaged.read_bytes())
    data[len(data) // 3] ^= 4
    damaged.write_bytes(data)
    figures = search_to_files(theorems(40), output, HashWorld(), HashPolicy(), CONFIG, scorer=HashScorer(), resume=True)
    assert 0 < figures["resumed"] < finished
    assert f"{damaged}: its content is not what was written" in caplog.text
    for kind in KINDS:
        ours, theirs = sibling_path(output, kind), sibling_path(whole, kind)
        assert len(writer_module.read_table(ours)) == len(writer_module.read_table(theirs))

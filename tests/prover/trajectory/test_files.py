"""Writing, resuming and reading, through searches of the fake world."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from search_fakes import HashPolicy, HashScorer, HashWorld, theorems

from prover.search import SearchConfig, search_to_files
from prover.states import state_key
from prover.theorems import Theorem
from prover.trajectory import (
    INTERCHANGE_COLUMNS,
    NODE_SCHEMA,
    OutputError,
    TrajectoryError,
    TrajectoryWriter,
    WriteFailed,
    find_files,
    read_attempts,
    read_summaries,
    read_trajectories,
    summarize,
)
from prover.trajectory.schema import ATTEMPT_SCHEMA, SUMMARY_SCHEMA, TheoremRows
from prover.trajectory.writer import write_parquet

CONFIG = SearchConfig(n_candidates=5, max_expansions=16)
SHARES = {"complete": 0.01, "uncertified": 0.2, "timed_out": 0.01}
FACTS = [name for name in NODE_SCHEMA.names if name != "timestamp_ms"]


def write(output: Path, n: int = 20, **options) -> dict:
    some = [*theorems(n), Theorem("wrong", ": bad")]
    world = options.pop("world", None) or HashWorld(**SHARES)
    return search_to_files(some, output, world, HashPolicy(), CONFIG, scorer=HashScorer(), **options)


def test_the_first_twelve_columns_are_the_interchange_format():
    expected = [
        ("theorem_name", pa.string()),
        ("state_id", pa.uint64()),
        ("state_pp", pa.string()),
        ("tactic_applied", pa.string()),
        ("parent_state_id", pa.uint64()),
        ("label", pa.string()),
        ("depth_from_root", pa.uint32()),
        ("remaining_depth", pa.int32()),
        ("llm_log_prob", pa.float64()),
        ("ebm_score", pa.float64()),
        ("is_proof_complete", pa.bool_()),
        ("timestamp_ms", pa.uint64()),
    ]
    assert [(field.name, field.type) for field in NODE_SCHEMA][:12] == expected
    assert NODE_SCHEMA.names[12:] == [
        *("iteration", "search_id", "state_key", "n_goals", "expanded", "environment", "policy_id", "ebm_id", "seed")
    ]


def test_no_search_waits_for_pandas(tmp_path):
    """pyarrow and polars import it for some calls, which takes longer than the files of a search."""
    code = f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[2] / "helpers")!r})
        from search_fakes import HashPolicy, HashWorld, theorems
        from prover.search import SearchConfig, search_to_files
        search_to_files(theorems(3), {str(tmp_path / "x.parquet")!r}, HashWorld(), HashPolicy(), SearchConfig())
        print("pandas" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_three_files_agree(tmp_path):
    figures = write(tmp_path / "x.parquet", iteration=3)
    assert pq.read_schema(tmp_path / "x.parquet").equals(NODE_SCHEMA)
    assert pq.read_schema(tmp_path / "x.attempts.parquet").equals(ATTEMPT_SCHEMA)
    assert pq.read_schema(tmp_path / "x.summary.parquet").equals(SUMMARY_SCHEMA)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("x.attempts.parquet", "x.parquet", "x.summary.parquet")
    ]
    nodes = read_trajectories(tmp_path / "x.parquet")
    attempts = read_attempts(tmp_path / "x.parquet")
    summaries = read_summaries(tmp_path / "x.parquet")

    assert summaries["theorem_name"].to_list() == [*(f"t{i}" for i in range(20)), "wrong"]
    assert nodes["theorem_name"].unique(maintain_order=True).to_list() == [f"t{i}" for i in range(20)]
    assert nodes["state_id"].n_unique() == len(nodes)
    assert set(nodes["iteration"]) == {3}
    assert set(nodes["parent_state_id"].drop_nulls()) <= set(nodes["state_id"])
    assert set(attempts["child_state_id"].drop_nulls()) <= set(nodes["state_id"])
    assert attempts.filter("new_node")["child_state_id"].n_unique() == len(nodes) - 20

    roots = nodes.filter(pl.col("parent_state_id").is_null())
    assert (roots["depth_from_root"] == 0).all()
    assert (roots["tactic_applied"] == "").all()
    assert (roots["llm_log_prob"] == 0.0).all()
    step = nodes.join(
        nodes.select(pl.col("state_id").alias("parent_state_id"), "depth_from_root", "llm_log_prob"),
        on="parent_state_id",
        suffix="_parent",
    )
    assert (step["depth_from_root"] == step["depth_from_root_parent"] + 1).all()
    assert (step["llm_log_prob"] < step["llm_log_prob_parent"]).all()
    # scored: every state that could still be expanded, so neither claims nor the siblings of a finished proof
    unscored = nodes.filter(pl.col("ebm_score").is_null())
    last = attempts.join(summaries, on="theorem_name").filter(pl.col("expansion") == pl.col("expansions"), "proved")
    assert set(unscored.filter(pl.col("state_pp") != "")["state_id"]) <= set(last["child_state_id"])
    assert unscored["expanded"].sum() == 0

    proved = summaries.filter("proved")
    assert 0 < len(proved) < 20
    assert nodes.filter("is_proof_complete")["theorem_name"].to_list() == proved["theorem_name"].to_list()
    assert (proved["expansions"] == proved["expansions_to_proof"]).all()
    assert (proved["proof"].list.len() == nodes.filter("is_proof_complete")["depth_from_root"]).all()
    assert summaries.filter(~pl.col("proved"))["proof"].null_count() == 21 - len(proved)
    wrong = summaries.row(-1, named=True)
    assert (wrong["ended"], wrong["reason"], wrong["nodes"]) == ("invalid", "unknown identifier 'bad'", 0)

    assert figures["theorems"] == 21
    assert figures["proved"] == len(proved) == figures["solved_by_budget"][16]
    assert figures["invalid"] == ["wrong"]
    assert figures["claimed"] == summaries["claimed"].sum() > figures["proved"]
    assert figures["expansions"] == summaries["expansions"].sum() == len(attempts) / 5
    assert figures["nodes"] == len(nodes) == sum(figures["labels"].values())
    assert json.loads(json.dumps(figures))["output"] == str(tmp_path / "x.parquet")
    summed = summarize(tmp_path)
    assert {key: summed[key] for key in ("theorems", "proved", "claimed", "expansions", "tactics", "nodes")} == {
        key: figures[key] for key in ("theorems", "proved", "claimed", "expansions", "tactics", "nodes")
    }


def test_the_same_search_writes_the_same_rows(tmp_path):
    write(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", world=HashWorld(**SHARES, jitter_s=0.003))
    assert read_trajectories(tmp_path / "a.parquet")[FACTS].equals(read_trajectories(tmp_path / "b.parquet")[FACTS])


def test_without_energies_the_score_is_null_and_so_is_the_model(tmp_path):
    some = theorems(4)
    search_to_files(some, tmp_path / "x.parquet", HashWorld(), HashPolicy(), SearchConfig(mode="policy-mean"))
    nodes = read_trajectories(tmp_path)
    assert nodes["ebm_score"].null_count() == nodes["ebm_id"].null_count() == len(nodes)


def test_an_interrupted_search_goes_on_where_it_was(tmp_path):
    write(tmp_path / "whole.parquet")
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > 40

    world = HashWorld(**SHARES)
    figures = write(tmp_path / "x.parquet", stop=stop, world=world)
    assert figures["interrupted"]
    assert 0 < figures["theorems"] < 21
    assert not (tmp_path / "x.parquet").exists()
    assert len(read_summaries(tmp_path / "x.parts")) == figures["theorems"]
    assert find_files(tmp_path) == [tmp_path / "whole.parquet"]

    again = write(tmp_path / "x.parquet", resume=True)
    assert again["resumed"] == figures["theorems"]
    assert again["searched"] == 21 - again["resumed"]
    assert read_trajectories(tmp_path / "x.parquet")[FACTS].equals(read_trajectories(tmp_path / "whole.parquet")[FACTS])
    assert not (tmp_path / "x.parts").exists()


def test_a_finished_search_takes_more_theorems_with_resume(tmp_path):
    write(tmp_path / "whole.parquet", n=20)
    write(tmp_path / "x.parquet", n=7)
    world = HashWorld(**SHARES)
    figures = write(tmp_path / "x.parquet", n=20, resume=True, world=world)
    assert (figures["resumed"], figures["searched"]) == (8, 13)
    assert {theorem.name for batch in world.starts for theorem in batch} == {f"t{i}" for i in range(7, 20)}
    assert read_trajectories(tmp_path / "x.parquet")[FACTS].equals(read_trajectories(tmp_path / "whole.parquet")[FACTS])
    idle = HashWorld(**SHARES)
    assert write(tmp_path / "x.parquet", n=20, resume=True, world=idle)["searched"] == 0
    assert idle.starts == []


def test_merged_files_of_many_row_groups_are_taken_up_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr("prover.trajectory.part_files.ROWS_A_GROUP", 20)
    monkeypatch.setattr("prover.trajectory.part_files._ROWS_HELD", 30)
    write(tmp_path / "x.parquet", 20)
    whole = read_trajectories(tmp_path / "x.parquet").select(FACTS)
    assert pq.read_metadata(tmp_path / "x.parquet").num_row_groups > 5
    monkeypatch.setattr("prover.trajectory.writer.ROWS_A_GROUP", 20)
    opened = []
    real = pq.read_table
    monkeypatch.setattr(pq, "read_table", lambda path, **options: opened.append(Path(path)) or real(path, **options))
    write(tmp_path / "x.parquet", 22, resume=True)
    assert {path.name for path in opened} <= {"x.summary.parquet", "part-00000.summary.parquet"}
    monkeypatch.undo()
    more = read_trajectories(tmp_path / "x.parquet").select(FACTS)
    assert more.filter(pl.col("theorem_name").is_in(whole["theorem_name"].unique().implode())).equals(whole)
    assert len(more) > len(whole)


def test_a_column_whose_name_was_damaged_is_no_missing_column(tmp_path):
    write(tmp_path / "x.parquet")
    before, _, after = (tmp_path / "x.parquet").read_bytes().rpartition(b"label")
    (tmp_path / "x.parquet").write_bytes(before + b"labem" + after)
    with pytest.raises(TrajectoryError, match="not what was written"):
        read_trajectories(tmp_path / "x.parquet")


def test_columns_that_are_asked_for_are_the_same_rows(tmp_path):
    write(tmp_path / "x.parquet")
    whole = read_trajectories(tmp_path / "x.parquet")
    some = read_trajectories(tmp_path / "x.parquet", ["label", "theorem_name", "ebm_id"])
    assert some.equals(whole.select("theorem_name", "label", "ebm_id"))
    old = whole.select(NODE_SCHEMA.names[:12])
    old.write_parquet(tmp_path / "old.parquet")
    filled = read_trajectories(tmp_path / "old.parquet")
    assert read_trajectories(tmp_path / "old.parquet", ["state_key", "label"]).equals(
        filled.select("label", "state_key")
    )


def test_resuming_another_search_is_refused(tmp_path):
    write(tmp_path / "x.parquet", n=3)
    with pytest.raises(OutputError, match="another search"):
        write(tmp_path / "x.parquet", n=3, resume=True, iteration=1)
    assert write(tmp_path / "x.parquet", n=3, iteration=1)["resumed"] == 0


@pytest.mark.long
def test_a_kill_loses_only_the_batch_in_flight(tmp_path):
    """SIGKILL in the middle of a search: what was flushed is whole, and a resumed run ends as an undisturbed one."""
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from search_fakes import HashPolicy, HashScorer, HashWorld, theorems
        from prover.search import SearchConfig, search_to_files
        world = HashWorld(complete=0.01, jitter_s=0.02)
        config = SearchConfig(n_candidates=5, max_expansions=16, wave_size=8)
        def tell(progress):
            if list(Path(sys.argv[1]).parent.glob("x.parts/*.summary.parquet")):
                print("flushed", flush=True)
        search_to_files(theorems(120), sys.argv[1], world, HashPolicy(), config, scorer=HashScorer(), on_progress=tell,
                        resume=len(sys.argv) > 2)
        """
    )
    output = tmp_path / "x.parquet"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(output)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "flushed\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    (tmp_path / "x.parts" / "part-99998.parquet").write_bytes(b"torn")  # a part whose summary was never written
    (tmp_path / "x.parts" / "part-99999.parquet.tmp").write_bytes(b"torn")
    kept = sum(pq.read_metadata(path).num_rows for path in tmp_path.glob("x.parts/*.summary.parquet"))
    config = SearchConfig(n_candidates=5, max_expansions=16, wave_size=8)
    world = HashWorld(complete=0.01)
    figures = search_to_files(theorems(120), output, world, HashPolicy(), config, scorer=HashScorer(), resume=True)
    assert figures["resumed"] == kept > 0
    whole = tmp_path / "whole.parquet"
    search_to_files(theorems(120), whole, HashWorld(complete=0.01), HashPolicy(), config, scorer=HashScorer())
    assert read_trajectories(output)[FACTS].equals(read_trajectories(whole)[FACTS])


def test_output_that_cannot_be_written_is_said_before_the_search_starts(tmp_path, monkeypatch):
    world = HashWorld()
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.parquet").mkdir()
    for output, words in (
        (tmp_path / "file" / "x.parquet", "cannot write in"),
        (tmp_path / "x.csv", "ends in .parquet"),
        (tmp_path / "folder.parquet", "is a folder"),
    ):
        with pytest.raises(OutputError, match=words):
            write(output, world=world)
    usage = os.statvfs(tmp_path)
    assert usage.f_bavail > 0
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2**20})())
    with pytest.raises(OutputError, match="1 MiB free"):
        write(tmp_path / "x.parquet", world=world)
    assert world.starts == []


def test_a_theorem_given_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="t0 is given more than once"):
        search_to_files(theorems(1) * 2, tmp_path / "x.parquet", HashWorld(), HashPolicy(), CONFIG, scorer=HashScorer())


def test_a_writer_takes_each_theorem_once(tmp_path):
    write(tmp_path / "x.parquet", n=1)
    with TrajectoryWriter(tmp_path / "y.parquet", search_id="s") as writer:
        rows = _rows(tmp_path / "x.parquet")
        writer.add(rows)
        with pytest.raises(OutputError, match="already"):
            writer.add(rows)


def test_two_writers_of_one_output_do_not_mix(tmp_path):
    """Parts of a second run would replace those of the first, which then merged rows that are not its own."""
    output = tmp_path / "y.parquet"
    write(tmp_path / "x.parquet", n=1)
    rows = _rows(tmp_path / "x.parquet")
    search_id = rows.summary.search_id
    first = TrajectoryWriter(output, search_id=search_id, batch=1)
    first.add(rows)
    for resume in (False, True):
        with pytest.raises(OutputError, match=rf"process {os.getpid()}\) is writing .*y\.parquet"):
            TrajectoryWriter(output, search_id=search_id, resume=resume)
    first.close()
    with TrajectoryWriter(output, search_id=search_id, resume=True) as second:
        assert second.finished == {rows.summary.theorem_name}
        assert second.finish() == output
    with pytest.raises(OutputError, match="another search"):
        TrajectoryWriter(output, search_id="t", resume=True)
    TrajectoryWriter(output, search_id="t").close()
    assert sorted(path.name for path in tmp_path.glob("y.*")) == [
        *("y.attempts.parquet", "y.parquet", "y.summary.parquet")
    ]


def test_a_writer_of_another_process_is_named(tmp_path):
    script = """
import sys
from prover.trajectory import TrajectoryWriter
with TrajectoryWriter(sys.argv[1], search_id="s"):
    print("open", flush=True)
    sys.stdin.read()
"""
    output = tmp_path / "x.parquet"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(output)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        world = HashWorld(**SHARES)
        with pytest.raises(OutputError, match=f"process {other.pid}"):
            write(output, world=world)
        assert world.starts == []
        other.stdin.close()
    assert write(output)["theorems"] == 21


def _rows(file: Path) -> TheoremRows:
    from prover.trajectory import SummaryRecord

    return TheoremRows([], [], SummaryRecord(**read_summaries(file).row(-1, named=True)))


def _foreign(tmp_path: Path) -> Path:
    write(tmp_path / "own.parquet", n=5)
    table = pq.read_table(tmp_path / "own.parquet").select(INTERCHANGE_COLUMNS)
    narrow = table.set_column(6, "depth_from_root", table["depth_from_root"].cast(pa.int16()))
    (tmp_path / "elsewhere").mkdir()
    pq.write_table(narrow, tmp_path / "elsewhere" / "f.parquet")
    return tmp_path / "elsewhere" / "f.parquet"


def test_files_with_the_twelve_columns_alone_are_filled(tmp_path):
    file = _foreign(tmp_path)
    own, foreign = read_trajectories(tmp_path / "own.parquet"), read_trajectories(file)
    assert foreign.schema == own.schema
    assert foreign[:, :12].equals(own[:, :12])
    assert foreign["state_key"].to_list() == [state_key(text) for text in own["state_pp"]]
    assert foreign["n_goals"].equals(own["n_goals"])
    assert set(foreign["search_id"]) == {"external:f"}
    assert foreign["seed"].null_count() == foreign["iteration"].null_count() == len(foreign)
    grown = set(own["parent_state_id"].drop_nulls())
    assert foreign["expanded"].to_list() == [state_id in grown for state_id in own["state_id"]]
    figures = summarize(file)
    assert figures["theorems"] == 5
    assert figures["proved"] == own["is_proof_complete"].sum()


def test_files_folders_and_globs_are_found_once(tmp_path):
    file = _foreign(tmp_path)
    both = {tmp_path / "own.parquet", file}
    assert set(find_files(tmp_path)) == both
    assert set(find_files([tmp_path / "own.parquet", tmp_path, str(tmp_path / "**" / "*.parquet")])) == both
    assert len(find_files([tmp_path, tmp_path])) == 2
    (tmp_path / ".validation.tmp").mkdir()  # of a step at work
    shutil.copy(file, tmp_path / ".validation.tmp" / "before.parquet")
    assert set(find_files(tmp_path)) == both
    (tmp_path / "ebm").mkdir()
    pq.write_table(pa.table({"step": [1], "loss": [0.5]}), tmp_path / "ebm" / "metrics.parquet")
    assert set(find_files([tmp_path, str(tmp_path / "**" / "*.parquet")])) == both, "a checkpoint beside them is none"
    with pytest.raises(TrajectoryError, match="'theorem_name' is missing"):
        read_trajectories(tmp_path / "ebm" / "metrics.parquet")
    with pytest.raises(TrajectoryError, match="no trajectory file there"):
        find_files(tmp_path / "nothing*.parquet")
    for read in (read_trajectories, read_summaries, read_attempts, summarize):
        with pytest.raises(TrajectoryError, match="no trajectory files were given"):
            read([])


def test_what_is_wrong_with_a_file_is_said_by_file_and_column(tmp_path):
    file = _foreign(tmp_path)
    table = pq.read_table(file)
    place = table.column_names.index
    wrong = {
        "depth_from_root": table.drop_columns(["depth_from_root"]),
        "label": table.set_column(place("label"), "label", pa.array(["good"] * len(table))),
        "llm_log_prob": table.set_column(place("llm_log_prob"), "llm_log_prob", pa.array(["x"] * len(table))),
        "remaining_depth": table.set_column(
            place("remaining_depth"), "remaining_depth", pa.array([2**40] * len(table), pa.int64())
        ),
        "state_pp": table.set_column(place("state_pp"), "state_pp", pa.array([None] * len(table), pa.string())),
    }
    for column, bad in wrong.items():
        path = tmp_path / f"bad-{column}.parquet"
        pq.write_table(bad, path)
        with pytest.raises(TrajectoryError) as caught:
            read_trajectories(path)
        assert str(path) in str(caught.value)
        assert repr(column) in str(caught.value)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    for source in (tmp_path / "torn.parquet", tmp_path):
        with pytest.raises(TrajectoryError, match=r"torn\.parquet|bad-"):
            read_trajectories(source)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    schema = pa.schema([("a", pa.int32())])
    table = pa.table({"a": [1]}, schema=schema)
    write_parquet(tmp_path / "x.parquet", [table], schema)

    def failing():
        yield table
        raise OSError(28, "No space left on device")

    with pytest.raises(WriteFailed, match="No space left"):
        write_parquet(tmp_path / "x.parquet", failing(), schema)
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_a_disk_that_fills_up_keeps_what_was_flushed(tmp_path, monkeypatch):
    import prover.trajectory.writer as module

    real, written = module.write_parquet, 0

    def filling(path, tables, schema):
        nonlocal written
        written += 1
        if written > 3:  # the three files of the first part
            raise WriteFailed("cannot write: No space left on device")
        real(path, tables, schema)

    monkeypatch.setattr(module, "write_parquet", filling)
    monkeypatch.setattr(module, "_FLUSH_FIRST_S", 3600.0)  # on a slow machine a part would be written early
    monkeypatch.setattr(module, "FLUSH_EVERY_S", 3600.0)
    with pytest.raises(WriteFailed, match="No space left"):
        write(tmp_path / "x.parquet", n=40)
    monkeypatch.undo()
    assert write(tmp_path / "x.parquet", n=40, resume=True)["resumed"] == 16


def test_a_resumed_run_keeps_a_theorem_only_if_it_is_still_the_same(tmp_path):
    """Else a theorem of the same name, with another statement or header, would count as proved by the old proof."""
    before, output = theorems(3), tmp_path / "x.parquet"
    search_to_files(before, output, HashWorld(), HashPolicy(), CONFIG, scorer=HashScorer())
    after = [before[0], replace(before[1], statement=": False"), replace(before[2], header="open Nat")]
    world = HashWorld()
    figures = search_to_files(after, output, world, HashPolicy(), CONFIG, scorer=HashScorer(), resume=True)
    assert (figures["resumed"], figures["searched"], figures["theorems"]) == (1, 2, 3)
    summaries = read_summaries(output)
    assert [(row["statement"], row["header"]) for row in summaries.iter_rows(named=True)] == [
        (theorem.statement, theorem.header) for theorem in after
    ]


def test_a_resumed_run_tries_crashed_theorems_again(tmp_path):
    output = tmp_path / "x.parquet"
    write(tmp_path / "made.parquet", n=1)
    rows = _rows(tmp_path / "made.parquet")
    crashed = replace(rows, summary=replace(rows.summary, ended="crashed", proved=False, certified=False))
    search_id = rows.summary.search_id
    with TrajectoryWriter(output, search_id=search_id) as first:
        first.add(crashed)
        first.finish()
    with TrajectoryWriter(output, search_id=search_id, resume=True) as second:
        assert second.finished == set()
        second.add(rows)
        second.finish()
    assert read_summaries(output)["ended"].to_list() == [rows.summary.ended]


ROWS = {
    "theorem_name": ["a", "a", "a"],
    "state_id": [1, 2, 3],
    "state_pp": ["⊢ p", "⊢ q", ""],
    "tactic_applied": ["", "s", "t"],
    "parent_state_id": [None, 1, 2],
    "label": ["positive", "positive", "positive"],
    "depth_from_root": [0, 1, 2],
    "remaining_depth": [2, 1, 0],
    "llm_log_prob": [0.0, -1.0, -2.0],
    "ebm_score": [None, None, 1.0],
    "is_proof_complete": [False, False, True],
    "timestamp_ms": [0, 0, 0],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state_id": [1.0, 2.0, 2.0**53 + 2]}, r"row 3, column 'state_id' is a floating-point number above"),
        ({"parent_state_id": [None, 2.0**60, 2.0]}, r"row 2, column 'parent_state_id' is a floating-point number"),
        ({"state_id": [1.0, 2.5, 3.0]}, r"row 2, column 'state_id' is not a whole number"),
        ({"state_id": [1.0, float("nan"), 3.0]}, r"row 2, column 'state_id' is not a"),
        ({"state_id": [1, 2, 2]}, r"row 2, column 'state_id' is 2, as in another row"),
        ({"parent_state_id": [None, 1, 7]}, r"row 3, column 'parent_state_id' is 7, which is no row's"),
        ({"theorem_name": ["a", "a", "b"]}, r"row 3, column 'parent_state_id' is 2, which is no row's"),
        ({"parent_state_id": [None, 3, 2]}, r"row [23], column 'parent_state_id' leads back to its own row"),
        ({"parent_state_id": [None, 2, 2]}, r"row 2, column 'parent_state_id' leads back to its own row"),
        ({"llm_log_prob": [0.0, float("-inf"), -2.0]}, r"row 2, column 'llm_log_prob' is -inf; expected a finite"),
        ({"llm_log_prob": [0.0, -1.0, float("nan")]}, r"row 3, column 'llm_log_prob' is nan; expected a finite"),
        ({"ebm_score": [None, float("inf"), 1.0]}, r"row 2, column 'ebm_score' is inf; expected a finite"),
    ],
)
def test_rows_that_would_spoil_training_are_named(tmp_path, change, message):
    pl.DataFrame(ROWS | change, strict=False).write_parquet(tmp_path / "f.parquet")
    with pytest.raises(TrajectoryError, match=rf"f\.parquet: {message}"):
        read_trajectories(tmp_path / "f.parquet")


def test_whole_numbers_written_as_floats_are_ids_again(tmp_path):
    floats = {"state_id": [1.0, 2.0, 2.0**53 - 1], "parent_state_id": [None, 1.0, 2.0]}
    pl.DataFrame(ROWS | floats).write_parquet(tmp_path / "f.parquet")
    frame = read_trajectories(tmp_path / "f.parquet")
    assert frame["state_id"].to_list() == [1, 2, 2**53 - 1]
    assert frame["parent_state_id"].to_list() == [None, 1, 2]


def test_ids_of_two_theorems_may_be_equal(tmp_path):
    other = ROWS | {"theorem_name": ["b"] * 3}
    pl.concat([pl.DataFrame(ROWS), pl.DataFrame(other)]).write_parquet(tmp_path / "f.parquet")
    assert len(read_trajectories(tmp_path / "f.parquet")) == 6

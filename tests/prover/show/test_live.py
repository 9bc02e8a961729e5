"""`prover live`: what a watcher sees of a search that runs, that ended, that was cut off; and what it does to it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from search_fakes import HashPolicy, HashScorer, HashWorld

from prover import cli
from prover.cli_output import BAD_INPUT
from prover.search import SearchConfig, SearchProgress, search_to_files
from prover.search import glimpse as glimpses
from prover.show import live_cli
from prover.show.live import FINISHED, RUNNING, UNFINISHED, LiveSearch, LiveView, newest_search
from prover.show.live_terminal import screen
from prover.theorems import Theorem
from prover.trajectory import read_trajectories

THEOREMS = [Theorem(f"t{number}", f": statement {number}") for number in range(6)]
CONFIG = SearchConfig(max_expansions=24, n_candidates=4, mode="energy-only", wave_size=3, cohorts=1)


def search(output: Path, on_progress: Callable[[SearchProgress], None] | None = None, **options: object) -> None:
    search_to_files(
        THEOREMS, output, HashWorld(), HashPolicy(), CONFIG, scorer=HashScorer(), on_progress=on_progress, **options
    )


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the watcher's file is due, and parts are written as theorems end."""
    monkeypatch.setattr(glimpses, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(glimpses, "MOST_SHARE", 1e9)
    monkeypatch.setattr("prover.trajectory.writer._FLUSH_FIRST_S", 0.0)
    monkeypatch.setattr("prover.trajectory.writer.FLUSH_EVERY_S", 0.0)


def text_of(view: LiveView) -> str:
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(screen(view))
    return console.export_text()


def test_a_watcher_sees_the_tree_grow_and_theorems_land(tmp_path: Path, no_waiting: None):
    output = tmp_path / "x.parquet"
    watched = LiveSearch(output)
    seen: list[LiveView] = []
    search(output, lambda progress: seen.append(watched.look()))
    running = [view for view in seen if view.state == RUNNING]
    assert running[-1].theorems == len(THEOREMS)
    counts = [(view.done, view.expansions) for view in running]
    assert counts == sorted(counts)
    assert any(0 < len(view.landed) < len(THEOREMS) for view in running)
    sizes = [view.searches[0]["size"] for view in running if view.searches]
    assert max(sizes) > 4
    largest = max((view for view in running if view.searches), key=lambda view: view.searches[0]["size"])
    shown = largest.searches[0]
    assert shown["frontier"]
    assert all(shown["nodes"][place][3] is None for place in shown["frontier"])  # open: not expanded
    assert all(isinstance(node[2], float) for node in shown["nodes"])
    text = text_of(largest)
    for words in ("running", "expansions/s", "energy", "⊢", shown["name"]):
        assert words in text
    ended = watched.look()
    assert (ended.state, ended.done, len(ended.landed)) == (FINISHED, len(THEOREMS), len(THEOREMS))


def test_watching_changes_nothing_and_leaves_nothing(tmp_path: Path, no_waiting: None):
    alone, seen = tmp_path / "alone.parquet", tmp_path / "seen.parquet"
    search(alone)
    watched = LiveSearch(seen)
    search(seen, lambda progress: watched.look() and None)
    watched.close()
    columns = ("theorem_name", "state_pp", "tactic_applied", "ebm_score", "expanded", "label")
    assert read_trajectories(alone).select(columns).equals(read_trajectories(seen).select(columns))
    assert sorted(path.name.removeprefix("seen") for path in tmp_path.glob("seen*")) == sorted(
        path.name.removeprefix("alone") for path in tmp_path.glob("alone*")
    )


def test_a_search_that_nobody_watches_writes_nothing_to_look_at(tmp_path: Path, no_waiting: None):
    output = tmp_path / "x.parquet"
    there: list[bool] = []
    search(output, lambda progress: there.append(glimpses.live_file(output).exists()))
    assert there
    assert not any(there)
    glimpses.watched_file(output).touch()
    os.utime(glimpses.watched_file(output), (0, 0))  # of a watcher that is long gone
    search(output, lambda progress: there.append(glimpses.live_file(output).exists()))
    assert not any(there)


def test_a_search_that_was_cut_off_shows_what_it_finished(tmp_path: Path, no_waiting: None):
    output = tmp_path / "x.parquet"
    done = 0

    def count(progress: SearchProgress) -> None:
        nonlocal done
        done = progress.done

    search(output, count, stop=lambda: done >= 2)
    view = LiveSearch(output.with_suffix(".parts")).look()
    assert view.state == UNFINISHED
    assert 2 <= len(view.landed) < len(THEOREMS)
    assert view.theorems is None
    assert "nobody is writing it" in text_of(view)


def test_large_trees_are_cut_to_the_newest_nodes_with_their_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(glimpses, "MOST_NODES", 10)
    monkeypatch.setattr(glimpses, "MOST_FRONTIER", 2)
    found: list[dict] = []
    search(tmp_path / "x.parquet", lambda progress: found.append(glimpses.glimpse(progress)))
    trees = [tree for one in found for tree in one["searches"] if tree["size"] > 20]
    assert trees
    for tree in trees:
        assert len(tree["nodes"]) < tree["size"]
        assert [node[0] is None for node in tree["nodes"]] == [True] + [False] * (len(tree["nodes"]) - 1)
        for place in range(len(tree["nodes"])):
            path = [place]
            while tree["nodes"][path[-1]][0] is not None:
                path.append(tree["nodes"][path[-1]][0])
                assert len(path) <= len(tree["nodes"])
            assert path[-1] == 0
    json.dumps(found)


def test_the_command_prints_a_finished_search_and_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import typer

    app = typer.Typer()
    app.command("other")(lambda: None)  # with one command alone, typer leaves its name out
    live_cli.register(app)
    monkeypatch.setenv("PROVER_DATA", str(tmp_path))
    assert cli.run(app, ["live"]) == BAD_INPUT
    assert "no search has written to" in capsys.readouterr().err
    search(tmp_path / "iterations" / "x.parquet")
    assert cli.run(app, ["live"]) == 0
    out = capsys.readouterr().out
    assert "─ finished ─" in out
    assert "6 of 6 theorems" in out
    assert cli.run(app, ["live", str(tmp_path / "y.parquet")]) == BAD_INPUT
    assert "no search has written there" in capsys.readouterr().err


def test_what_a_data_file_says_is_never_read_as_markup_or_as_control(tmp_path: Path, no_waiting: None):
    output = tmp_path / "x.parquet"
    output.with_suffix(".parts").mkdir()
    watched = LiveSearch(output)
    for hostile in ("[", "{}", "[1]", '{"at": "now"}'):
        glimpses.live_file(output).write_text(hostile)
        assert watched.look().state == UNFINISHED
    view = LiveView(
        output, RUNNING, 1, 0, 0, 1, None, None, 1.0, 0.0, 0.0, (),
        ({"name": "[red]\x1b[2J", "expansions": 1, "size": 1, "nodes": [[None, "", None, None, "⊢ [bold]\x1b]0;x\x07"]],
          "frontier": [0]},),
    )  # fmt: skip
    text = text_of(view)
    assert "[red]" in text
    assert "[bold]" in text
    assert "\x1b" not in text


def test_the_newest_search_is_a_running_one(tmp_path: Path):
    assert newest_search(tmp_path) is None
    search(tmp_path / "old.parquet")
    assert newest_search(tmp_path) == tmp_path / "old.parquet"
    (tmp_path / "deep" / "new.parts").mkdir(parents=True)
    assert newest_search(tmp_path) == tmp_path / "deep" / "new.parquet"


def test_a_glimpse_that_takes_long_is_made_as_rarely_as_its_share_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "x.parquet"
    glimpses.watched_file(output).touch()
    now, written = 0.0, []

    def write(progress: object) -> None:
        nonlocal now
        written.append(now)
        now += 0.05  # seconds that a slow disk takes

    clock = SimpleNamespace(monotonic=lambda: now, perf_counter=lambda: now, time=time.time)
    monkeypatch.setattr(glimpses, "time", clock)
    shower = glimpses.Glimpses(output)
    monkeypatch.setattr(shower, "_write", write)
    while now < 100:
        shower.write_if_watched(None)  # type: ignore[arg-type]
        now += 0.01
    assert len(written) > 10
    assert 0.05 * len(written) / now <= 0.012

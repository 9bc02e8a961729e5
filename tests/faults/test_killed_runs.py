"""`make run` killed at seeded writes of any of its steps, and started again: the same as undisturbed.

Over the maze of tests/prover_assets, whose Lean and policy cost nothing, and on the embedded Lean with the shipped
policy. A few kills in the slow tests, as many as PROVER_KILLS says in `make soak`. test_kills.py kills searches at
moments instead of writes.
"""

import contextlib
import functools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from killed_project import ENDED, SEARCHES, Project

from prover.parquet import read_table
from prover.trajectory import read_trajectories

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("killed_runs")]

KILLS = int(os.environ.get("PROVER_KILLS", "4"))
PER_RUN = 5
"""Kills of one run, one after another."""
MOVED_AFTER = 2
"""After so many kills the data folder is moved."""
CHAINS = [("maze", PER_RUN), ("lean", PER_RUN)] * (KILLS // (2 * PER_RUN)) or [("maze", KILLS), ("lean", 2)]
"""The runs: in which world, and how often each is killed."""


@pytest.fixture(scope="module")
def undisturbed_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """A run to its end in a world, made when a test first asks for it."""

    @functools.cache
    def made(world: str) -> Project:
        project = Project.written(tmp_path_factory.mktemp("undisturbed"), world)
        done = project.make_run()
        assert done.returncode == 0, done.stderr
        assert project.left_behind() == project.temporary_files() == project.processes() == []
        return project

    return made


def drawn(undisturbed: Project, chain: int, kills: int) -> list[str]:
    """Seeded points of one chain of kills; the steps take turns, so that all chains together are in all of them."""
    writes = undisturbed.writes()
    steps, draw = list(writes), random.Random(chain)
    turn = sorted((chain + kill * len(CHAINS)) % len(steps) for kill in range(kills))
    return [f"{steps[i]}:{draw.randint(1, writes[steps[i]])}" for i in turn]


def require_whole(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is torn, doubled, left behind or open."""
    for name in SEARCHES:
        nodes = read_trajectories(project.data.root / f"{name}.parquet")
        assert nodes.select("theorem_name", "state_id").is_duplicated().sum() == 0
    for path in project.data.root.rglob("*.parquet"):
        read_table(path)
    assert project.left_behind() == []
    dagster, mlflow = project.statuses(monkeypatch)
    assert dagster.count("SUCCESS") >= 1
    assert set(dagster) <= ENDED[0], dagster
    assert set(mlflow) <= ENDED[1], mlflow


@pytest.mark.parametrize("chain", range(len(CHAINS)), ids=[f"{world}-{i}" for i, (world, _) in enumerate(CHAINS)])
def test_a_killed_run_goes_on_and_ends_as_if_undisturbed(
    tmp_path: Path, undisturbed_in: Callable[[str], Project], chain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, n = CHAINS[chain]
    undisturbed = undisturbed_in(world)
    points = drawn(undisturbed, chain, n)
    project, kept = Project.written(tmp_path / "project", world), dict[tuple[str, str], int]()
    for kills in range(1, n + 2):
        done = project.make_run(*points[kills - 1 : kills])
        assert "Traceback" not in done.stderr, done.stderr
        assert project.processes() == [], points[:kills]
        on_disk = project.finished()
        again = [key for key, at in kept.items() if on_disk.get(key) != at]
        assert not again, f"finished, and searched again or lost: {again} ({points[:kills]})"
        kept = on_disk
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        project.age_temporary_files()
        if kills == MOVED_AFTER:
            project.move()
    assert done.returncode == 0
    assert kills > min(n, MOVED_AFTER), f"too few kills: this test shows nothing ({points})"
    assert project.outcome() == undisturbed.outcome()
    require_whole(project, monkeypatch)
    assert project.temporary_files() == []


@pytest.mark.parametrize("victim", ["host", "lean"])
def test_a_run_whose_lean_is_killed_goes_on_by_itself(
    tmp_path: Path, undisturbed_in: Callable[[str], Project], victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of Lean is killed in each step that searches."""
    undisturbed = undisturbed_in("lean")
    draw, writes = random.Random(victim), undisturbed.writes()
    searching = ("baseline_trajectories", "trajectories", "ebm_checkpoint", "guided_trajectories")
    points = [f"{step}:{draw.randint(1, writes[step] // 2)}" for step in searching]
    project = Project.written(tmp_path / "project", "lean")
    done = project.make_run(*points, victim=victim)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    kills = [line for line in project.writes() if line.endswith(victim)]
    assert len(kills) >= 2, f"too few kills: this test shows nothing ({points}, {kills})"
    assert project.processes() == project.temporary_files() == []
    found, wanted = project.outcome(), undisturbed.outcome()
    if victim == "host":  # the file that it was given is given to another
        assert found == wanted
    for name in SEARCHES:
        assert [row["theorem_name"] for row in found[name]] == [row["theorem_name"] for row in wanted[name]]
    require_whole(project, monkeypatch)


@pytest.mark.skipif(KILLS < 2 * PER_RUN, reason="a minute of two cores: in `make soak`")
def test_a_run_of_the_ui_whose_worker_is_killed_ends_and_make_run_goes_on(
    tmp_path: Path, undisturbed_in: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process of a step is killed while it searches. Dagster closes its run, and the next start MLflow's."""
    project = Project.written(tmp_path / "project", "lean")
    launched, log = project.launch(), project.root / "launched.log"
    workers: list[psutil.Process] = []
    while not workers:  # of trajectories, on which nearly all else depends
        assert launched.poll() is None, log.read_text("utf-8")
        time.sleep(0.05)
        if " - trajectories - STEP_START" in log.read_text("utf-8"):
            workers = searching_workers(launched.pid)
    workers[0].kill()
    assert launched.wait(timeout=600) != 0
    assert " - trajectories - STEP_FAILURE" in log.read_text("utf-8")
    assert project.processes() == []
    project.age_temporary_files()
    done = project.make_run()
    assert done.returncode == 0, done.stderr
    assert project.outcome() == undisturbed_in("lean").outcome()
    require_whole(project, monkeypatch)
    assert project.processes() == project.temporary_files() == []


def searching_workers(pid: int) -> list[psutil.Process]:
    """Descendants of a process that have a warm host of Lean."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = child.parent()
            if parent is not None and any(argument.endswith("embedded_host.py") for argument in child.cmdline()):
                found.append(parent)
    return found

"""The next of many iterations is found with a few questions, however many there are."""

import dagster as dg
import pytest

from prover_assets.defs.jobs import ITERATION_ASSETS
from prover_assets.operate.housekeeping import carry_out, plan
from prover_assets.operate.next import _files, next_iteration, remaining_assets
from prover_assets.store.champion import POLICY_ALONE, write_champion
from prover_assets.store.iterations import iteration_key
from prover_assets.store.layout import DataFolder


def make_iterations(project, first: int, last: int) -> None:
    """Iterations that are finished, as far as files and Dagster's records tell."""
    data = DataFolder(project.data)
    for number in range(first, last):
        key = iteration_key(number)
        project.instance.add_dynamic_partitions("iteration", [key])
        for name, path in _files(data, data.iteration(key)).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            project.instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=key))


def queries(project, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """The next iteration, and the number of questions to Dagster's storage on the way."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    asked = []

    def count(*arguments: object) -> None:
        asked.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", count)
    try:
        key = next_iteration(project.instance, DataFolder(project.data)).key
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    return key, len(asked)


def test_the_number_of_questions_does_not_grow(project, monkeypatch: pytest.MonkeyPatch) -> None:
    make_iterations(project, 0, 3)
    few = queries(project, monkeypatch)
    make_iterations(project, 3, 15)
    many = queries(project, monkeypatch)
    assert (few[0], many[0]) == ("iter_003", "iter_015")
    assert many[1] == few[1]


def test_what_lacks_something_is_still_found(project) -> None:
    data = DataFolder(project.data)
    make_iterations(project, 0, 4)
    data.iteration(2).guided.manifest.unlink()
    found = next_iteration(project.instance, data)
    assert (found.key, found.remaining) == ("iter_002", ITERATION_ASSETS[3:])
    data.iteration(2).guided.manifest.touch()
    project.instance.add_dynamic_partitions("iteration", ["iter_004"])
    assert next_iteration(project.instance, data).key == "iter_004"


@pytest.mark.parametrize("trajectories", [False, True])
def test_a_cleaned_iteration_is_finished_and_stays_so(project, trajectories: bool) -> None:
    data = DataFolder(project.data)
    make_iterations(project, 0, 5)
    for number in range(5):
        write_champion(data.iteration(number), POLICY_ALONE)
        (data.iteration(number).guided.nodes).write_bytes(b"rows")
        (data.iteration(number).trajectories.nodes).write_bytes(b"rows")
    chosen = plan(data, keep=2, trajectories=trajectories)
    assert data.iteration(0).guided.manifest in [path for path, _ in chosen]
    carry_out(data, chosen)
    assert not data.iteration(0).guided.manifest.exists()
    assert next_iteration(project.instance, data).key == "iter_005"
    assert remaining_assets(project.instance, data, "iter_000") == ()
    assert plan(data, keep=2, trajectories=trajectories) == []
    data.iteration(1).report_file.unlink()  # lost, not cleaned
    assert next_iteration(project.instance, data).key == "iter_001"

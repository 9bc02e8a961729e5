"""Further heads of a run that was stopped: what it finished is neither trained nor searched again."""

from pathlib import Path
from typing import Any

import pytest

from prover_assets.defs.jobs import BASELINE_ASSETS, ITERATION_ASSETS
from prover_assets.steps import head_seeds
from prover_assets.steps.head_seeds import HeadFiles
from prover_assets.store.layout import DataFolder

SMALL = {"total_steps": 40, "warmup_steps": 5}


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds that heads are trained with, one after another."""
    from ebm.training import from_files

    seeds: list[int] = []
    real = from_files.train_from_files

    def counted(files: Any, encoder: Any, output: Path, config: Any, **options: Any) -> Any:
        seeds.append(config.seed)
        return real(files, encoder, output, config, **options)

    monkeypatch.setattr(from_files, "train_from_files", counted)
    return seeds


def test_what_a_stopped_run_finished_is_kept(
    project: Any, trainings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.config = {"ebm_checkpoint": SMALL, "guided_trajectories": {"head_seeds": 3, "random_control": False}}
    made = ITERATION_ASSETS[: ITERATION_ASSETS.index("guided_trajectories")]
    project.run(*BASELINE_ASSETS, *made, partition="iter_000")
    (first,) = trainings
    heads = [HeadFiles(offset, DataFolder(project.data).iteration(0)) for offset in (1, 2)]
    searched: list[Path] = []
    real = head_seeds.run_search

    def stopped(theorems: Any, files: Any, *rest: Any, **options: Any) -> Any:
        searched.append(files.nodes)
        if files.nodes == heads[1].search.nodes:
            raise OSError("stopped here")
        return real(theorems, files, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(head_seeds, "run_search", stopped)
        assert not project.run("guided_trajectories", partition="iter_000", raises=False).success
    assert trainings == [first, first + 1, first + 2]
    assert searched == [head.search.nodes for head in heads]
    finished = heads[0].search.nodes.stat().st_mtime_ns

    project.run("guided_trajectories", partition="iter_000")
    assert trainings == [first, first + 1, first + 2], "no head was trained again"
    assert heads[0].search.nodes.stat().st_mtime_ns == finished, "and no search made again"
    assert heads[1].search.nodes.exists()

    # Asked for once more after it was reported, it is made anew, as every step is.
    project.run("guided_trajectories", partition="iter_000")
    assert trainings == [first, *2 * [first + 1, first + 2]]


@pytest.mark.long
def test_a_head_of_other_inputs_or_a_damaged_one_is_trained_again(project: Any, trainings: list[int]) -> None:
    project.config = {"ebm_checkpoint": SMALL, "guided_trajectories": {"head_seeds": 2, "random_control": False}}
    made = ITERATION_ASSETS[: ITERATION_ASSETS.index("guided_trajectories")]
    project.run(*BASELINE_ASSETS, *made, partition="iter_000")
    head = HeadFiles(1, DataFolder(project.data).iteration(0))
    (first,) = trainings

    def stop_and_go_on(change: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(head_seeds, "run_search", _stop)
            assert not project.run("guided_trajectories", partition="iter_000", raises=False).success
        change()
        del trainings[:]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(head_seeds, "run_search", _stop)
            assert not project.run("guided_trajectories", partition="iter_000", raises=False).success

    stop_and_go_on(lambda: None)
    assert trainings == []
    weights = head.checkpoint / "model.safetensors"
    stop_and_go_on(lambda: weights.write_bytes(weights.read_bytes()[:-1] + b"\x01"))
    assert trainings == [first + 1]
    stop_and_go_on(lambda: head.made_from.write_text("{}", encoding="utf-8"))
    assert trainings == [first + 1]


def _stop(*_: Any, **__: Any) -> None:
    raise OSError("stopped here")

"""What "unsynced" means: exactly what was made from something that has changed since."""

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from prover_assets.defs.jobs import BASELINE_ASSETS, ITERATION_ASSETS

EVERYTHING = (*BASELINE_ASSETS, *ITERATION_ASSETS)


def unsynced(project, partition: str = "iter_000") -> set[str]:
    """The assets that the UI marks as unsynced."""
    graph = project.job.asset_layer.asset_graph
    resolver = CachingStaleStatusResolver(project.instance, graph, LoadingContextForTest(project.instance))
    found = set()
    for name in EVERYTHING:
        key = dg.AssetKey(name)
        status = resolver.get_status(key, partition if graph.get(key).is_partitioned else None)
        if status == StaleStatus.STALE:
            found.add(name)
    return found


def test_what_was_just_made_is_in_sync(made):
    assert unsynced(made) == set()


@pytest.mark.long
def test_an_asset_made_again_without_a_change_marks_nothing(made):
    made.run("trajectories", "state_embeddings", partition="iter_000")
    assert unsynced(made) == set()


@pytest.mark.slow
def test_other_search_settings_mark_what_was_made_from_the_old_search_step_by_step(made):
    made.config = {"trajectories": {"max_expansions": 12}}
    made.run("trajectories", partition="iter_000")
    assert unsynced(made) == {"state_embeddings", "ebm_checkpoint"}
    made.run("state_embeddings", "ebm_checkpoint", partition="iter_000")
    assert unsynced(made) == {"guided_trajectories", "iteration_report"}


def test_other_theorems_mark_whatever_reads_them(made):
    path = made.root / "test.jsonl"
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-1]) + "\n", encoding="utf-8")
    made.run("theorems")
    assert unsynced(made) == {"baseline_trajectories", "trajectories", "ebm_checkpoint", "guided_trajectories"}


def test_another_baseline_marks_what_is_measured_against_it(made):
    made.config = {"baseline_trajectories": {"max_expansions": 8}}
    made.run("baseline_trajectories")
    assert unsynced(made) == {"guided_trajectories", "iteration_report"}


@pytest.mark.long
def test_another_training_marks_what_uses_the_model(made):
    made.config = {"ebm_checkpoint": {"seed": 1}}
    made.run("ebm_checkpoint", partition="iter_000")
    assert unsynced(made) == {"guided_trajectories", "iteration_report"}

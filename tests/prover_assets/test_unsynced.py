"""What Dagster calls unsynced: exactly what depends on a change."""

from datetime import UTC, datetime

import dagster as dg

from prover_assets.layout import DataFolder


def stale(project, partition: str = "iter_000") -> set[str]:
    """Assets that are unsynced, of those that were made."""
    from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView, TemporalContext
    from dagster._core.definitions.data_version import CachingStaleStatusResolver

    graph = project.definitions.resolve_asset_graph()
    now = TemporalContext(effective_dt=datetime.now(UTC), last_event_id=None)
    view = AssetGraphView(temporal_context=now, instance=project.instance, asset_graph=graph)
    resolver = CachingStaleStatusResolver(instance=project.instance, asset_graph=graph, loading_context=view)
    found = set()
    for key in graph.executable_asset_keys:
        partitioned = graph.get(key).partitions_def is not None
        status = resolver.get_status(key, partition if partitioned else None)
        if status.value == "STALE":
            found.add(key.to_user_string())
    return found


def test_nothing_is_unsynced_after_an_iteration_and_what_depends_on_a_change_is(new_project):
    project = new_project()
    assert project.run(partition="iter_000").success
    assert stale(project) == set()

    # The same theorems again: the same data version, so nothing is marked.
    project.run("theorems")
    assert stale(project) == set()

    # The same embeddings again: as above.
    project.run("state_embeddings", partition="iter_000")
    assert stale(project) == set()

    # A search with another budget: what was made from its trajectories is marked, and nothing else.
    project.config = {"trajectories": {"max_expansions": 20}}
    project.run("trajectories", partition="iter_000")
    assert stale(project) == {"state_embeddings", "ebm_checkpoint"}

    # Another theorem set: what was searched with the old one is marked.
    project.config = {"theorems": {"valid_limit": 5}}
    project.run("theorems")
    assert stale(project) >= {"trajectories", "baseline_trajectories", "ebm_checkpoint", "guided_trajectories"}


def test_another_policy_marks_what_it_made(new_project, monkeypatch, tmp_path):
    project = new_project()
    assert project.run("theorems", "trajectories", partition="iter_000").success
    versions = project.definitions.resolve_asset_graph().get(dg.AssetKey("trajectories")).code_version
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setenv("PROVER_POLICY", str(tmp_path / "model"))
    from prover_assets.versions import policy_version

    assert versions.endswith("-shipped")
    assert policy_version() != "shipped"
    before = policy_version()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"yet other weights")
    assert policy_version() != before
    assert DataFolder(project.data).iteration("iter_000").trajectories.nodes.exists()

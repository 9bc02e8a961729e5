"""A real Ray with two nodes on this machine: the same results as alone, and what happens when something is killed.

Slow: starting Ray takes some ten seconds each time.
"""

import os
import re
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray_nodes import MIB, STORE_BYTES, TwoNodes, two_nodes
from scale_fakes import SHARES, FullHashPolicy, HashPolicySpec, HashWorldSpec, with_ballast
from search_fakes import HashWorld, theorems

from prover.environments import open_environment
from prover.policy import open_policy
from prover.scale import EnvironmentSpec, PolicySpec, RayCluster, RayConfig, ScaleError
from prover.scale.connect import connected
from prover.search import SearchConfig, SearchProgress, search, search_to_files
from prover.search.best_first import TheoremResult
from prover.theorems import TheoremSet
from prover.trajectory import read_trajectories

# Ray is not imported here: whether it demands a token is settled before its first import.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra [ray] is not installed: pip install -e '.[ray]'"),
]

HELPERS = str(Path(__file__).parents[2] / "helpers")
CONFIG = SearchConfig(max_expansions=20, n_candidates=5, wave_size=4, mode="policy-mean")
PATIENT = {"start_timeout_s": 300.0}


@pytest.fixture(autouse=True)
def _helpers_on_the_workers_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([HELPERS, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def told(result: TheoremResult) -> tuple[Any, ...]:
    nodes = [(node.key, node.parent, node.tactic, node.log_prob, node.expansion) for node in result.tree.nodes]
    return result.theorem.name, result.ended, result.proof, result.expansions, nodes


def alone(n: int) -> list[tuple[Any, ...]]:
    return [told(result) for result in search(theorems(n), HashWorld(**SHARES), FullHashPolicy(), CONFIG).results]


@pytest.fixture(scope="module")
def cluster_of_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    with two_nodes(tmp_path_factory.mktemp("ray")) as nodes:
        yield nodes


@pytest.fixture
def nodes(cluster_of_two: TwoNodes) -> TwoNodes:
    """A head and a second node, both up; shared by the tests that leave the head alone."""
    cluster_of_two.add_second()
    return cluster_of_two


def test_one_machine_starts_ray_and_finds_what_it_finds_alone() -> None:
    """With 1, 2 and 8 actors, with a policy of their own and with one that batches for all."""
    expected = alone(24)
    with connected(RayConfig(**PATIENT)):  # started once: a cluster that finds Ray running uses it
        for actors, policies in ((1, 0), (2, 1), (8, 0)):
            config = RayConfig(search_actors=actors, cpus_per_search_actor=1 / 8, policy_actors=policies,
                               cpus_per_policy_actor=0.5, **PATIENT)  # fmt: skip
            with RayCluster(config, HashWorldSpec(), HashPolicySpec()) as cluster:
                assert cluster.n_actors == actors
                report = cluster.search(theorems(24), cluster.environment, cluster.policy, CONFIG)
            assert [told(result) for result in report.results] == expected, (actors, policies)


def test_the_real_lean_and_policy_write_the_same_files(tmp_path: Path):
    some = list(TheoremSet.load("propositional:test", limit=6))
    settings = SearchConfig(max_expansions=8, n_candidates=8)
    with open_environment() as lean:
        here = search_to_files(some, tmp_path / "here.parquet", lean, open_policy(threads=1), settings)
    config = RayConfig(search_actors=2, **PATIENT)
    with RayCluster(config, EnvironmentSpec(), PolicySpec(), memo=tmp_path / "memo.sqlite") as cluster:
        there = search_to_files(
            some, tmp_path / "there.parquet", cluster.environment, cluster.policy, settings, searcher=cluster.search
        )
    assert there["search_id"] == here["search_id"]
    assert there["proved"] == here["proved"]
    first, second = read_trajectories(tmp_path / "here.parquet"), read_trajectories(tmp_path / "there.parquet")
    floats = ["llm_log_prob", "ebm_score"]  # a matrix product rounds by its size, so by who asked together
    assert first.drop("timestamp_ms", *floats).equals(second.drop("timestamp_ms", *floats))
    assert first["llm_log_prob"].to_list() == pytest.approx(second["llm_log_prob"].to_list(), abs=1e-4)
    assert (tmp_path / "memo.sqlite").exists()


def test_a_node_is_killed_in_mid_run(nodes: TwoNodes) -> None:
    config = RayConfig(address=nodes.address, search_actors=2, **PATIENT)
    with RayCluster(config, HashWorldSpec(jitter_s=0.05), HashPolicySpec()) as cluster:
        done: list[str] = []

        def strike(result: TheoremResult) -> None:
            done.append(result.theorem.name)
            if len(done) == 5 and nodes.second is not None:
                nodes.kill(nodes.second)

        report = cluster.search(theorems(60), cluster.environment, cluster.policy, CONFIG, on_result=strike)
    assert len(done) == 60, "nothing is lost, nothing arrives twice"
    assert [told(result) for result in report.results] == alone(60)


def test_actors_are_killed_in_mid_run(nodes: TwoNodes) -> None:
    """Each search actor once, by its process, and the actor with the policy."""
    config = RayConfig(address=nodes.address, search_actors=2, cpus_per_search_actor=0.5, policy_actors=1,
                       cpus_per_policy_actor=0.5, **PATIENT)  # fmt: skip
    with RayCluster(config, HashWorldSpec(jitter_s=0.05), HashPolicySpec()) as cluster:
        done: list[str] = []
        victims = {5: cluster._actors[0], 15: cluster._policies[0], 25: cluster._actors[1]}

        def strike(result: TheoremResult) -> None:
            done.append(result.theorem.name)
            if victim := victims.get(len(done)):
                cluster._ray.kill(victim, no_restart=False)

        report = cluster.search(theorems(60), cluster.environment, cluster.policy, CONFIG, on_result=strike)
    assert len(done) == 60
    assert [told(result) for result in report.results] == alone(60)


def test_the_object_store_is_full(nodes: TwoNodes) -> None:
    """Held by others up to its last byte, and results of a megabyte each: Ray spills to disk, nothing is lost."""
    config = RayConfig(address=nodes.address, search_actors=2, **PATIENT)
    arrived: dict[str, int] = {}
    with RayCluster(config, HashWorldSpec(), HashPolicySpec()) as cluster:
        held = [cluster._ray.put(np.full(MIB, i, dtype=np.uint8)) for i in range(STORE_BYTES // MIB + 30)]
        cluster.search(
            theorems(60),
            cluster.environment,
            cluster.policy,
            CONFIG,
            reduce=with_ballast,
            on_result=lambda found: arrived.update({found[0]: len(found[2])}),
        )
        spilled = nodes.spilled_bytes()
        assert [int(cluster._ray.get(each)[0]) for each in held] == list(range(len(held)))
    assert arrived == {theorem.name: MIB for theorem in theorems(60)}
    assert spilled > 0, "the store was never full: this test shows nothing"


def test_a_node_without_the_lean_wheel_is_named_before_any_work(nodes: TwoNodes) -> None:
    nodes.add_without_lean()
    config = RayConfig(address=nodes.address, search_actors=1, **PATIENT)
    with pytest.raises(ScaleError, match="not ready") as raised:
        RayCluster(config, EnvironmentSpec(), HashPolicySpec()).__enter__()
    assert re.fullmatch(
        r"the Ray cluster is not ready\. node [\d.]+ \([0-9a-f]{8}\): it has no embedded Lean: [^;]*", str(raised.value)
    ), "one node of the three, and what it lacks"
    nodes.remove_without_lean()


@pytest.mark.parametrize("again", [False, True], ids=["gone", "restarted"])
def test_the_head_is_lost_and_the_search_ends_clearly_and_goes_on_later(tmp_path: Path, again: bool) -> None:
    """Killed with the node beside it; then, at the same port, a new head that knows nothing of the search."""
    some, output = theorems(60), tmp_path / "out.parquet"
    struck: list[int] = []
    with two_nodes(tmp_path) as nodes:
        nodes.add_second()
        config = RayConfig(address=nodes.address, search_actors=2, **PATIENT)
        cluster = RayCluster(config, HashWorldSpec(jitter_s=0.05), HashPolicySpec())

        def strike(progress: SearchProgress) -> None:
            if progress.done >= 5 and not struck:
                struck.append(progress.done)
                nodes.kill_head(again=again)

        with cluster, pytest.raises(ScaleError, match=r"head of the Ray cluster .* go on with --resume"):
            search_to_files(
                some,
                output,
                cluster.environment,
                cluster.policy,
                CONFIG,
                searcher=cluster.search,
                on_progress=strike,
            )
    figures = search_to_files(some, output, HashWorld(**SHARES), FullHashPolicy(), CONFIG, resume=True)
    assert figures["theorems"] == 60
    assert figures["resumed"] >= 5


def test_what_is_wrong_with_a_cluster_is_said_before_any_work(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ScaleError, match=f"no Ray cluster answers at {address}.*use this machine alone"):
        RayCluster(RayConfig(address=address), HashWorldSpec(), HashPolicySpec()).__enter__()
    too_many = RayConfig(search_actors=1000, **PATIENT)
    with pytest.raises(ScaleError, match="1000 search actors with 1 CPUs each do not fit"):
        RayCluster(too_many, HashWorldSpec(), HashPolicySpec()).__enter__()
    missing = PolicySpec(where=str(tmp_path / "no-model"))
    with pytest.raises(ScaleError, match=r"node 127\.0\.0\.2 .* has no folder .*no-model"):
        RayCluster(RayConfig(**PATIENT), HashWorldSpec(), missing).__enter__()

"""A real Ray with two nodes on this machine: the same results as alone, and what happens when something is killed.

Slow: starting Ray takes some ten seconds each time.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scale_fakes import SHARES, FullHashPolicy, HashPolicySpec, HashWorldSpec
from search_fakes import HashWorld, theorems

from prover.environments import open_environment
from prover.policy import open_policy
from prover.scale import EnvironmentSpec, PolicySpec, RayCluster, RayConfig, ScaleError
from prover.search import SearchConfig, SearchProgress, search, search_to_files
from prover.search.best_first import TheoremResult
from prover.theorems import TheoremSet
from prover.trajectory import read_trajectories

pytest.importorskip("ray", reason="the extra [ray] is not installed: pip install -e '.[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

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


class TwoNodes:
    """A head and a second raylet, started with Ray's own command, each a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        # Not below pytest's folder: the path of a Unix socket is short.
        self._temporary = f"/tmp/ray-test-{os.getpid()}-{self.port}"
        self.head = self._start("--head", f"--port={self.port}", "--include-dashboard=false",
                                f"--temp-dir={self._temporary}", "--object-store-memory=100000000")  # fmt: skip
        self.second: subprocess.Popen[bytes] | None = None

    def add_second(self) -> None:
        self.second = self._start(f"--address={self.address}", "--object-store-memory=100000000")

    def _start(self, *options: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--node-ip-address=127.0.0.1",
                   "--num-cpus=1", "--block", "--disable-usage-stats", *options]  # fmt: skip
        with (self._folder / "ray.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def close(self) -> None:
        for process in (self.second, self.head):
            if process is not None:
                self.kill(process)
        subprocess.run(["pkill", "-9", "-f", self._temporary], check=False)
        shutil.rmtree(self._temporary, ignore_errors=True)

    def wait_until_up(self, n_nodes: int) -> None:
        give_up = time.monotonic() + 400
        while time.monotonic() < give_up:
            found = subprocess.run(
                [sys.executable, "-c", _COUNT_NODES, self.address], capture_output=True, text=True, check=False
            )
            if found.stdout.strip().endswith(str(n_nodes)):
                return
            time.sleep(1)
        raise AssertionError(f"{n_nodes} nodes are not up: {(self._folder / 'ray-1.log').read_text()[-500:]}")


_COUNT_NODES = """
import logging, sys, ray
ray.init(address=sys.argv[1], logging_level=logging.ERROR, log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()))
"""


@contextmanager
def two_nodes(folder: Path) -> Iterator[TwoNodes]:
    nodes = TwoNodes(folder)
    try:
        nodes.wait_until_up(1)
        nodes.add_second()
        nodes.wait_until_up(2)
        yield nodes
    finally:
        nodes.close()


def test_one_machine_starts_ray_and_finds_what_it_finds_alone():
    """With 1, 2 and 8 actors, with a policy of their own and with one that batches for all."""
    expected = alone(24)
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


def test_a_node_and_an_actor_are_killed_in_mid_run(tmp_path: Path):
    with two_nodes(tmp_path) as nodes:
        config = RayConfig(address=nodes.address, search_actors=2, **PATIENT)
        with RayCluster(config, HashWorldSpec(jitter_s=0.05), HashPolicySpec()) as cluster:
            done: list[str] = []

            def strike(result: TheoremResult) -> None:
                done.append(result.theorem.name)
                if len(done) == 5 and nodes.second is not None:
                    nodes.kill(nodes.second)

            report = cluster.search(theorems(60), cluster.environment, cluster.policy, CONFIG, on_result=strike)
    assert sorted(done) == sorted(theorem.name for theorem in theorems(60))
    assert [told(result) for result in report.results] == alone(60)


def test_the_head_is_lost_and_the_search_ends_clearly_and_goes_on_later(tmp_path: Path):
    some, output = theorems(60), tmp_path / "out.parquet"
    with two_nodes(tmp_path) as nodes:
        config = RayConfig(address=nodes.address, search_actors=2, **PATIENT)
        cluster = RayCluster(config, HashWorldSpec(jitter_s=0.05), HashPolicySpec())

        def strike(progress: SearchProgress) -> None:
            if progress.done >= 5:
                nodes.kill(nodes.head)
                if nodes.second is not None:  # its actor would go on without the head, and finish
                    nodes.kill(nodes.second)

        with cluster, pytest.raises(ScaleError, match="go on with --resume"):
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

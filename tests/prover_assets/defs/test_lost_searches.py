"""Searches that Lean crashed on: incomplete, said so, and made again by the next run. What we refuse is told apart."""

import dagster as dg
import pytest

from prover.environments.base import Crashed, Failure, ProofState, Rejected
from prover.environments.isolation.refusal import REFUSED
from prover.theorems import Theorem
from prover_assets.operate.outdated import outdated
from prover_assets.report.facts import invalid_theorems, read, refused_theorems, search_counts
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder


def data_of(project) -> DataFolder:
    return DataFolder(project.data)


def world_of(project) -> type:
    with project.lean().environment() as world:
        return type(world)


def crashing(project, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Lean dies at the start of these theorems, as it did under a umask that hid its own files from it."""
    world = world_of(project)
    plain = world._root

    def root(theorem: Theorem) -> ProofState | Failure:
        return Crashed("the process died", 1.0) if theorem.name in names else plain(theorem)

    monkeypatch.setattr(world, "_root", staticmethod(root))


def outdated_baseline(project) -> str:
    data = data_of(project)
    lean, policy = project.lean(), project.policy()
    return outdated(data, data.iteration("iter_000"), lean, policy, ["baseline_trajectories"]).get(
        "baseline_trajectories", ""
    )


@pytest.mark.long
def test_a_baseline_lost_to_crashes_is_incomplete_and_the_next_run_makes_it_again(project, monkeypatch):
    with monkeypatch.context() as umask:
        crashing(project, umask, "test1", "test4", "test7")
        assert project.run("theorems", "baseline_trajectories").success
    manifest = read_json(data_of(project).baseline.manifest)
    assert not manifest["complete"]
    assert "3 of 12 theorems were lost to crashes of Lean" in manifest["lost"]
    assert "3 of 12" in project.metadata("baseline_trajectories")["incomplete"]
    assert "3 of 12" in outdated_baseline(project)
    # Lean is well again: the theorems that were searched stay, the three are tried once more.
    assert project.run("baseline_trajectories").success
    manifest = read_json(data_of(project).baseline.manifest)
    assert manifest["complete"]
    assert manifest["lost"] == ""
    assert manifest["figures"]["resumed"] == 9
    summary = read(data_of(project).baseline.summary)
    assert summary.height == summary["theorem_name"].n_unique() == 12
    assert "crashed" not in summary["ended"].to_list()
    assert outdated_baseline(project) == ""


@pytest.mark.long
def test_what_a_lean_that_died_for_once_has_lost_is_searched_once_more(project, monkeypatch):
    """As when its process was killed: the run goes on by itself, and comes to what it would have come to."""
    world = world_of(project)
    plain, died = world._root, list[str]()

    def root(theorem: Theorem) -> ProofState | Failure:
        if theorem.name in ("test1", "test4") and theorem.name not in died:
            died.append(theorem.name)
            return Crashed("the process was killed", 1.0)
        return plain(theorem)

    monkeypatch.setattr(world, "_root", staticmethod(root))
    assert project.run("theorems", "baseline_trajectories").success
    manifest = read_json(data_of(project).baseline.manifest)
    assert died == ["test1", "test4"]
    assert manifest["complete"]
    assert (manifest["figures"]["theorems"], manifest["figures"]["searched"]) == (12, 12)
    summary = read(data_of(project).baseline.summary)
    assert summary.height == summary["theorem_name"].n_unique() == 12
    assert "crashed" not in summary["ended"].to_list()
    assert "crashed" not in manifest["figures"]["ended"]


@pytest.mark.long
def test_one_crash_in_many_is_counted_and_the_search_is_complete(project, monkeypatch):
    project.config = {"trajectories": {"n_theorems": 40}}
    crashing(project, monkeypatch, "train3")
    assert project.run("theorems", "trajectories", partition="iter_000").success
    manifest = read_json(data_of(project).iteration("iter_000").trajectories.manifest)
    assert (manifest["complete"], manifest["lost"]) == (True, "")


def test_what_we_refuse_is_told_apart_from_what_lean_does_not_accept(project, monkeypatch):
    world = world_of(project)
    plain = world._root

    def root(theorem: Theorem) -> ProofState | Failure:
        if theorem.name == "train2":
            return Rejected(f"{REFUSED}the header holds `include`. Lean was not asked. Write it out", 0.0, refused=True)
        return Rejected("unknown identifier 'bad'", 1.0) if theorem.name == "train5" else plain(theorem)

    monkeypatch.setattr(world, "_root", staticmethod(root))
    assert project.run("theorems", "trajectories", partition="iter_000").success
    summary = read(data_of(project).iteration("iter_000").trajectories.summary)
    assert [name for name, _ in invalid_theorems(summary)] == ["train5"]
    assert [name for name, _ in refused_theorems(summary)] == ["train2"]
    counts = search_counts(summary)
    assert (counts["invalid"], counts["refused"]) == (1, 1)
    metadata = project.metadata("trajectories", "iter_000")
    assert "train5" in metadata["invalid_theorems"]
    assert "train2" not in metadata["invalid_theorems"]
    assert "Write it out" in metadata["refused_theorems"]
    assert (metadata["invalid"], metadata["refused"]) == (1, 1)


def test_the_check_says_both():
    from prover_assets.defs.checks import PARSED, search_checks

    counts = dict.fromkeys(("proved", "proved_uncertified", "uncertified", "claimed", "crashed", "timed_out"), 0)
    told = search_checks(
        {**counts, "theorems": 4, "invalid": 1, "refused": 1}, [("a", "unknown b")], [("c", "refused: it runs. Do d")]
    )
    (found,) = [check for check in told if check.check_name == PARSED]
    assert not found.passed
    assert isinstance(found, dg.AssetCheckResult)
    assert found.description == (
        "Lean does not accept 1 of 4 statements: a: unknown b. We refused 1, before Lean was asked: c: refused: it "
        "runs. Do d"
    )

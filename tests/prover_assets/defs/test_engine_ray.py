"""The engine of a step is a setting of its Lean: the same search on Ray's actors, into the same files."""

from pathlib import Path

import pytest

from prover.search import SearchConfig
from prover.theorems import TheoremSet
from prover_assets.defs.resources import LeanResource, PolicyResource
from prover_assets.steps.search import run_search
from prover_assets.store.layout import DataFolder
from prover_assets.store.manifest import read_manifest


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_step_searches_on_ray_and_its_manifest_says_what_a_local_one_says(tmp_path: Path):
    pytest.importorskip("ray", reason="the extra [ray] is not installed: pip install -e '.[ray]'")
    theorems = list(TheoremSet.load("propositional:test", limit=4))
    config = SearchConfig(max_expansions=6, mode="policy-mean")
    found = {}
    for engine in ("local", "ray"):
        data = DataFolder(tmp_path / engine)
        data.prepare()
        files = data.iteration(0).trajectories
        lean = LeanResource(engine=engine, ray={"search_actors": 1} if engine == "ray" else {})
        run_search(theorems, files, data, lean, PolicyResource(), config, iteration=0, update=lambda *_: None)
        found[engine] = read_manifest(files)
    local, ray = found["local"], found["ray"]
    assert local is not None
    assert ray is not None
    assert ray.complete
    for name in ("theorems", "policy_fingerprint", "environment_fingerprint", "fingerprint", "candidates_asked"):
        assert getattr(ray, name) == getattr(local, name), name
    assert ray.figures["proved"] == local.figures["proved"]
    assert ray.figures["tactics"] == local.figures["tactics"]


def test_an_unknown_setting_of_ray_is_named_with_the_nearest_one(tmp_path: Path):
    lean = LeanResource(engine="ray", ray={"search_actor": 1})
    with (
        pytest.raises(ValueError, match="search_actor is no setting; did you mean 'search_actors'"),
        lean.searching(PolicyResource(), tmp_path),
    ):
        pass

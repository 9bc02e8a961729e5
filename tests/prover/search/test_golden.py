"""Golden trees: the order of expansion in every mode must not drift without being noticed.

To accept a change that is meant: `UPDATE_GOLDEN=1 pytest tests/prover/search/test_golden.py`, and look at the diff.
"""

import json
import os
from pathlib import Path

import pytest
from search_fakes import HashPolicy, HashScorer, HashWorld, theorems

from prover.search import MODES, SearchConfig, search

GOLDEN = Path(__file__).parent / "golden_trees.json"


def trees(mode: str) -> dict[str, list]:
    """For each theorem: (state, tactic before it, parent) of the expanded nodes, in the order of expansion."""
    config = SearchConfig(mode=mode, max_expansions=12, n_candidates=5, seed=7)
    world = HashWorld(complete=0.01, uncertified=0.3, timed_out=0.02)
    found = {}
    for result in search(theorems(6), world, HashPolicy(), config, scorer=HashScorer()).results:
        expanded = sorted((n for n in result.tree.nodes if n.expansion is not None), key=lambda n: n.expansion or 0)
        path = [f"{n.state.text} by {n.tactic or '-'} from {n.parent}" for n in expanded]
        found[result.theorem.name] = [result.ended.value, *path]
    return found


@pytest.mark.parametrize("mode", MODES)
def test_the_order_of_expansion_is_the_golden_one(mode: str):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        golden[mode] = trees(mode)
        GOLDEN.write_text(json.dumps(golden, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert trees(mode) == golden[mode]


def test_the_modes_differ():
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert set(golden) == set(MODES)
    assert len({json.dumps(tree) for tree in golden.values()}) == len(MODES)

"""What a policy is tuned on."""

from pathlib import Path

import pytest
from search_fakes import HashPolicy, HashWorld, theorems

from prover.search import SearchConfig, search_to_files
from prover.trajectory import read_summaries
from prover_assets.steps.lessons import LessonSettings, lessons_of
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder, IterationFolder


class Lean:
    """Lends the hash world, and counts how often."""

    def __init__(self) -> None:
        self.lent = 0

    def environment(self) -> HashWorld:
        self.lent += 1
        return HashWorld(complete=0.1)


@pytest.fixture
def history(tmp_path: Path) -> list[IterationFolder]:
    data = DataFolder(tmp_path)
    folders = [data.iteration(number) for number in range(2)]
    config = SearchConfig(max_expansions=12, n_candidates=4, mode="policy-mean")
    for number, folder in enumerate(folders):
        some = theorems(24)[12 * number : 12 * number + 12]
        search_to_files(some, folder.trajectories.nodes, HashWorld(complete=0.1), HashPolicy(), config)
    return folders


def lessons(history, lean=None, **settings):
    return lessons_of(history, lean or Lean(), LessonSettings(**settings), lambda *_: None)


def test_all_proofs_are_learnt_each_step_once_newest_apart(history):
    found = lessons(history, shorten=False, easy_expansions=0)
    assert found.newest
    assert found.older
    assert len({*found.newest, *found.older}) == len(found.newest) + len(found.older)
    proved = [set(read_summaries(folder.trajectories.nodes).filter("proved")["theorem_name"]) for folder in history]
    assert {step.theorem for step in found.older} == proved[0]
    assert {step.theorem for step in found.newest} == proved[1]
    assert [(key, n) for key, n, _ in found.learnt_from] == [("iter_000", len(proved[0])), ("iter_001", len(proved[1]))]


def test_easy_theorems_are_learnt_less_often_and_others_always(history):
    everything = lessons(history, shorten=False, easy_expansions=0)
    half = lessons(history, shorten=False, easy_expansions=4, easy_share=0.5)
    none = lessons(history, shorten=False, easy_expansions=4, easy_share=0.0)
    expansions = dict(
        row
        for folder in history
        for row in read_summaries(folder.trajectories.nodes).select("theorem_name", "expansions_to_proof").iter_rows()
    )
    hard = {step for step in (*everything.newest, *everything.older) if expansions[step.theorem] > 4}
    assert {*none.newest, *none.older} == hard
    assert hard < {*half.newest, *half.older} < {*everything.newest, *everything.older}
    assert none.spared > half.spared > everything.spared == 0


def test_lean_shortens_an_iteration_once_until_its_search_is_another(history):
    lean = Lean()
    first = lessons(history, lean)
    assert lean.lent == 2
    assert read_json(history[0].lessons)["proofs"]
    assert lessons(history, lean) == first
    assert lean.lent == 2
    lessons(history, lean, shorten=False)
    lessons(history, lean)
    assert lean.lent == 4, "other settings are other lessons"

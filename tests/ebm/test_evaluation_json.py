"""What `prover eval --json` prints is JSON, and what cannot be compared is said before any search."""

import json
from pathlib import Path

import pytest
from search_fakes import HashScorer, ScriptedPolicy, ScriptedWorld, theorems

from ebm.evaluation import evaluate_modes
from prover.evaluation.comparison import EvaluationError
from prover.search import MixingCalibration, SearchConfig, SearchConfigError

TABLE = {("root", "go"): "next"}
CANDIDATES = {"root": {"go": -0.1}, "next": {"stay": -0.1}}
CONFIG = SearchConfig(max_expansions=8, n_candidates=2)


def evaluate(folder: Path, modes: tuple[str, ...], scorer: HashScorer | None = None):
    mixing = None if scorer is None else MixingCalibration(0.0, 1.0, 1.0, beta=1.0)
    return evaluate_modes(
        theorems(2),
        ScriptedWorld(TABLE),
        ScriptedPolicy(CANDIDATES),
        CONFIG,
        folder,
        modes=modes,
        budgets=(2, 8),
        scorer=scorer,
        mixing=mixing,
    )


def test_a_ratio_that_nothing_measures_is_null(tmp_path: Path) -> None:
    figures = evaluate(tmp_path, ("policy-mean", "breadth-first")).to_dict()
    assert figures["paired"]["ratio"] is None
    assert figures["paired"]["tied"] == 2
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_a_mode_that_cannot_be_had_is_said_before_the_first_search(tmp_path: Path) -> None:
    with pytest.raises(SearchConfigError, match="'energy-only', which needs an energy model"):
        evaluate(tmp_path, ("policy-mean", "energy-only"))
    with pytest.raises(SearchConfigError, match="did you mean 'calibrated'"):
        evaluate(tmp_path, ("policy-mean", "calibrate"), HashScorer(len))
    assert list(tmp_path.iterdir()) == []


def test_a_mode_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="give each once"):
        evaluate(tmp_path, ("policy-mean", "policy-mean"))

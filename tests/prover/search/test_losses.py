"""What a policy loses of its inputs and outputs is in the figures of a search, and said above one percent."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from prover.cli import app
from prover.policy import PolicyCounters, TacticCandidate
from prover.search import SearchConfig, search_to_files
from prover.theorems import Theorem
from prover.trajectory import summarize
from prover.trajectory.schema import footer_counts
from tests.helpers.search_fakes import HashPolicy, HashWorld


class _Counting(HashPolicy):
    """Shortens one prompt in `every`."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self.counters = PolicyCounters(states_generated=7, prompts_shortened=7)  # of an earlier search

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        for _ in states:
            self.counters.states_generated += 1
            if self.counters.states_generated % self.every == 0:
                self.counters.prompts_shortened += 1
                self.counters.hypotheses_dropped += 3
        return super().generate(states, n_candidates)


@pytest.mark.parametrize(("every", "said"), [(10, True), (100_000, False)])
def test_losses_are_counted_per_search_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, every: int, said: bool
) -> None:
    policy = _Counting(every)
    theorems = [Theorem(f"t{i}", f": p{i}") for i in range(5)]
    with caplog.at_level(logging.WARNING):
        figures = search_to_files(
            theorems, tmp_path / "out.parquet", HashWorld(), policy, SearchConfig(max_expansions=20)
        )
    counts = figures["policy_counts"]
    assert counts["states_generated"] == policy.counters.states_generated - 7 > 20
    assert counts["prompts_shortened"] == policy.counters.prompts_shortened - 7
    assert counts["hypotheses_dropped"] == 3 * counts["prompts_shortened"]
    assert bool(figures["policy_warnings"]) is said
    assert ("prompts lost hypotheses" in caplog.text) is said
    assert summarize(tmp_path / "out.parquet")["policy_counts"] == counts


def test_counts_of_a_resumed_search_add_up(tmp_path: Path) -> None:
    theorems = [Theorem(f"t{i}", f": p{i}") for i in range(6)]
    counted: Counter[str] = Counter()
    for some in (theorems[:2], theorems[:4], theorems, theorems):
        policy = _Counting(10)
        figures = search_to_files(
            some, tmp_path / "out.parquet", HashWorld(), policy, SearchConfig(max_expansions=20), resume=True
        )
        counted.update(figures["policy_counts"])
    assert summarize(tmp_path / "out.parquet")["policy_counts"] == dict(counted)
    assert counted["states_generated"] > figures["policy_counts"]["states_generated"] == 0


def test_summary_shows_what_the_policy_lost(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    search_to_files([Theorem("t", ": p")], output, HashWorld(), _Counting(2), SearchConfig(max_expansions=9))
    shown = CliRunner().invoke(app, ["summary", str(output), "--json"])
    figures = json.loads(shown.stdout.splitlines()[-1])
    assert figures["policy_counts"]["prompts_shortened"] > 0
    assert "prompts lost hypotheses" in figures["policy_warnings"][0]
    assert "Warning: " in shown.stderr
    assert "policy: prompts shortened" in CliRunner().invoke(app, ["summary", str(output)]).stdout


@pytest.mark.parametrize("footer", [b"{", b"[]", b'{"policy_counts": 3}', b'{"policy_counts": ["x", {"a": "1"}]}'])
def test_a_footer_made_elsewhere_counts_nothing(footer: bytes) -> None:
    schema = pa.schema([]).with_metadata({b"prover": footer})
    assert not any(footer_counts(schema))


def test_a_policy_that_does_not_count_has_no_figures(tmp_path: Path) -> None:
    figures = search_to_files(
        [Theorem("t", ": p")], tmp_path / "out.parquet", HashWorld(), HashPolicy(), SearchConfig(max_expansions=2)
    )
    assert (figures["policy_counts"], figures["policy_warnings"]) == ({}, [])


def test_each_kind_of_loss_has_its_sentence() -> None:
    counters = PolicyCounters(
        states_generated=100,
        states_encoded=100,
        prompts_shortened=2,
        hypotheses_dropped=5,
        prompts_too_long=3,
        encodings_truncated=4,
        candidates_read=800,
        candidates_unreadable=400,
    )
    sentences = counters.warnings()
    assert [sentence.split(" ", 1)[0] for sentence in sentences] == ["2", "3", "4", "400"]
    assert "5 in all" in sentences[0]
    assert "template" in sentences[3]
    few = PolicyCounters(candidates_read=800, candidates_unreadable=16)
    assert "template" not in few.warnings()[0], "the model itself knows its template"
    assert not counters.warnings(share=0.5)
    assert not PolicyCounters().warnings()

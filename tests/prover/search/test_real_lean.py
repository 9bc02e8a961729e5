"""The search over the embedded Lean and the shipped policy: the vertical slice below the assets."""

from collections.abc import Iterator

import polars as pl
import pytest

from prover.environments import ProofClaim, ProofEnvironment, open_environment
from prover.environments.script.embedded import LeanUnavailable
from prover.policy import TacticGenerator, load_policy
from prover.search import SearchConfig, SearchMemo, search_to_files
from prover.theorems import Theorem, TheoremSet
from prover.trajectory import label_noise, read_attempts, read_summaries, read_trajectories

THEOREMS = [
    *TheoremSet.load("textbook", limit=10),
    Theorem("false_statement", "(p q : Prop) : p ∨ q → p ∧ q"),
    Theorem("not_a_statement", "(p : Prop) : p ∧ unknown_name"),
]
CONFIG = SearchConfig(mode="policy-mean", max_expansions=8, n_candidates=6)


@pytest.fixture(scope="module")
def lean() -> Iterator[ProofEnvironment]:
    try:
        environment = open_environment()
    except LeanUnavailable as error:
        pytest.skip(str(error))
    with environment:
        yield environment


@pytest.fixture(scope="module")
def policy() -> TacticGenerator:
    return load_policy(threads=1)


def test_a_search_of_real_theorems(lean, policy, tmp_path):
    output = tmp_path / "x.parquet"
    with SearchMemo(tmp_path / "memo.sqlite") as memo:
        figures = search_to_files(THEOREMS, output, lean, policy, CONFIG, memo=memo)
        again = search_to_files(THEOREMS, tmp_path / "y.parquet", lean, policy, CONFIG, memo=memo)
        assert memo.counts.candidate_misses <= memo.counts.candidate_hits
    assert figures["invalid"] == ["not_a_statement"]
    assert 4 <= figures["proved"] == figures["claimed"] <= 10
    summaries, nodes, attempts = read_summaries(output), read_trajectories(output), read_attempts(output)
    assert "unknown_name" in summaries.row(-1, named=True)["reason"]
    assert set(attempts["outcome"]) <= {"progress", "complete", "rejected", "refused"}

    proofs = summaries.filter("proved")
    claims = [
        ProofClaim(Theorem(row["theorem_name"], row["statement"]), tuple(row["proof"]))
        for row in proofs.iter_rows(named=True)
    ]
    assert all(certificate.certified for certificate in lean.certify(claims))
    assert "false_statement" not in proofs["theorem_name"].to_list()

    noise = {entry.label: entry for entry in label_noise(nodes)}
    assert noise["positive"].provable == noise["positive"].decided == noise["positive"].states > 0

    assert again["proved"] == figures["proved"]
    columns = [name for name in nodes.columns if name != "timestamp_ms"]
    assert read_trajectories(tmp_path / "y.parquet")[columns].equals(nodes[columns])


def test_the_same_trees_however_the_work_is_cut(lean, policy, tmp_path):
    chosen = THEOREMS[:8]
    trees = []
    for number, speed in enumerate(({"cohorts": 1, "wave_size": 3}, {"cohorts": 2, "fill_wave_to": 24})):
        config = SearchConfig(**{**CONFIG.to_dict(), **speed})
        output = tmp_path / f"{number}.parquet"
        search_to_files(chosen, output, lean, policy, config)
        frame = read_trajectories(output).select("theorem_name", "state_pp", "tactic_applied", "expanded", "label")
        trees.append(frame.with_columns(pl.col("state_pp").str.strip_chars()))
    assert trees[0].equals(trees[1])

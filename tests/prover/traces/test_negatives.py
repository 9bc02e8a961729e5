"""The policy's other tactics along known proofs, judged by the embedded Lean."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prover.environments import open_environment
from prover.policy import TacticCandidate
from prover.traces.export import export_trajectories
from prover.traces.negatives import generate_negatives
from prover.trajectory import read_attempts, read_summaries, read_trajectories

TACTICS = ["constructor", "exfalso", "exact h", "assumption", "exact hq", "exact sorry"]


class Fixed:
    """A policy that always says the same."""

    hidden_size = 1

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        said = [TacticCandidate(tactic, -1.0 - place, 1) for place, tactic in enumerate(TACTICS)]
        return [said[:n_candidates] for _ in states]

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        return np.zeros((len(states), 1), dtype=np.float32)


def test_what_does_not_lead_on_is_negative_and_what_does_is_positive(tmp_path: Path) -> None:
    source = tmp_path / "proofs.jsonl"
    entries = [
        {
            "name": "a",
            "statement": "(p q : Prop) (hp : p) (hq : q) : q ∧ p",
            "proof": "by\n  constructor\n  · exact hq\n  · exact hp",
        },
        {"name": "wrong", "statement": "(p q : Prop) (h : p) : q", "proof": "by exact h"},
    ]
    source.write_text("\n".join(json.dumps(entry) for entry in entries), encoding="utf-8")
    output = tmp_path / "out.parquet"
    with open_environment("embedded", workers=1) as lean:
        report = generate_negatives(source, output, lean, Fixed(), n_candidates=6)
    assert (report.proofs, report.states, len(report.refused)) == (1, 3, 1)
    tried = read_attempts(output).select("expansion", "tactic", "outcome").rows()
    assert [row for row in tried if row[0] == 1] == [
        (1, "constructor", "progress"),
        (1, "exfalso", "progress"),
        (1, "exact h", "rejected"),
        (1, "assumption", "rejected"),
        (1, "exact hq", "rejected"),
        (1, "exact sorry", "refused"),
    ]
    # At the last state the known tactic is none of the policy's: it is tried all the same.
    assert [row[1:] for row in tried if row[0] == 3][-1] == ("exact hp", "complete")
    nodes = read_trajectories(output)
    labels = {
        (row[0].rpartition("⊢ ")[2], row[1], row[2])
        for row in nodes.select("state_pp", "label", "tactic_applied").rows()
    }
    assert ("False", "negative", "exfalso") in labels
    assert ("q ∧ p", "positive", "") in labels
    assert nodes.filter(nodes["label"] == "positive")["remaining_depth"].to_list()[0] == 3
    assert read_summaries(output)["certified"].to_list() == [True]
    export_trajectories(output, tmp_path / "pairs.jsonl", "pairs")
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()]
    assert pairs
    assert all("⊢ False" in pair["worse"] and "⊢ False" not in pair["better"] for pair in pairs)

"""Whole proofs: how their text is split, and what Lean makes of the parts."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover.environments import ProofEnvironment, open_environment
from prover.proofs import read_claims
from prover.traces.imports import import_traces
from prover.traces.structured import SplitError, script_of, split
from prover.trajectory import read_attempts, read_trajectories


@pytest.fixture(scope="module")
def lean() -> Iterator[ProofEnvironment]:
    with open_environment("embedded", workers=1) as environment:
        yield environment


SWAP_OR = "(p q : Prop) (h : p ∨ q) : q ∨ p"
PROOFS: list[tuple[str, str, str, list[str] | str]] = [
    (
        "bullets",
        "(p q : Prop) (hp : p) (hq : q) : q ∧ p",
        "by\n  constructor -- two goals\n  · exact hq\n  . exact hp",
        ["constructor", "exact hq", "exact hp"],
    ),
    (
        "cases_with",
        SWAP_OR,
        "by\n  cases h with\n  | inl a => exact Or.inr a\n  | inr b =>\n    left\n    exact b",
        ["cases h", "case' inl a => skip", "exact Or.inr a", "case' inr b => skip", "left", "exact b"],
    ),
    (
        "have_block",
        "(p q : Prop) (h : p ∧ q) : q ∧ p",
        ":= by\n  have hq : q := by\n    exact h.right\n  exact ⟨hq, h.left⟩",
        ["refine have hq : q := ?_; ?_", "exact h.right", "exact ⟨hq, h.left⟩"],
    ),
    (
        "case_and_next",
        SWAP_OR,
        "by\n  cases h\n  case inr h =>\n    left\n    exact h\n  next h => right; exact h",
        ["cases h", "case' inr h => skip", "left", "exact h", "rename_i h", "right", "exact h"],
    ),
    (
        "reaches_beyond",
        "(p : Prop) (h : p) : p ∧ p",
        "by\n  constructor\n  · all_goals exact h\n  · exact h",
        ["constructor", "· all_goals exact h", "exact h"],
    ),
    ("term", "(p : Prop) (h : p) : p", "theorem term (p : Prop) (h : p) : p :=\n  h", ["exact h"]),
    ("wrong", "(p q : Prop) (h : p) : q", "by exact h", "Lean does not take `exact h`"),
    ("cheat", "(p q : Prop) (h : p) : q", "by sorry", "the tactic holds `sorry`"),
    ("unfinished", "(p : Prop) (h : p) : p ∧ p", "by\n  constructor\n  exact h", "leaves 1 goals open"),
    ("too_long", "(p : Prop) (h : p) : p", "by\n  exact h\n  exact h", "no goal is left for `exact h`"),
]


def test_proofs_are_replayed_state_by_state_and_certified(tmp_path: Path, lean: ProofEnvironment) -> None:
    source = tmp_path / "proofs.jsonl"
    entries = [{"name": name, "statement": statement, "proof": proof} for name, statement, proof, _ in PROOFS]
    source.write_text("\n".join(json.dumps(entry) for entry in entries), encoding="utf-8")
    report = import_traces(source, tmp_path / "out.parquet", environment=lean)
    tried = read_attempts(tmp_path / "out.parquet")
    refused = {problem.message.split(":")[0]: problem.message for problem in report.refused}
    for name, _, _, expected in PROOFS:
        if isinstance(expected, list):
            assert tried.filter(tried["theorem_name"] == name)["tactic"].to_list() == expected
        else:
            assert expected in refused[name]
    assert report.certified == report.traces == sum(isinstance(proof[3], list) for proof in PROOFS)
    assert (report.blocks, report.whole_blocks) == (9, 1)
    claims = read_claims(tmp_path / "out.parquet")
    assert all(certificate.certified for certificate in lean.certify(claims))
    nodes = read_trajectories(tmp_path / "out.parquet")
    roots = nodes.filter(nodes["depth_from_root"] == 0)
    started = dict(zip(roots["theorem_name"], roots["state_pp"], strict=True))
    for claim, state in zip(claims, lean.start([claim.theorem for claim in claims]), strict=True):
        assert started[claim.theorem.name] == getattr(state, "text", None)


def test_how_a_script_is_split() -> None:
    assert script_of("/- a /- b -/ -/ by simp") == "simp"
    assert script_of("theorem t (x : Nat := by exact 3) : x = x := by\n  rfl") == "rfl"
    assert [item.text for item in split("simp [a,\n  b]\n  at h\nexact x")] == ["simp [a,\n  b]\n  at h", "exact x"]
    assert [item.text for item in split("intro h; exact h\nfirst | a; b | c")] == [
        "intro h",
        "exact h",
        "first | a; b | c",
    ]
    calc = "calc a = b := h\n  _ = c := g"
    assert [item.text for item in split(calc)] == [calc]
    for text, message in [("by", "is empty"), ("  a\nb", "left of the first"), ("/- a", "comment that does not end")]:
        with pytest.raises(SplitError, match=message):
            split(script_of(text) if text != "  a\nb" else text)
    deep = "exact h"
    for _ in range(60):
        deep = "· " + deep.replace("\n", "\n  ")
    with pytest.raises(SplitError, match="nested deeper"):
        split(deep)

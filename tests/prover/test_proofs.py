"""Proofs in files: what is read, and where a fault is."""

import json
from pathlib import Path

import pytest

from prover.environments import ProofClaim
from prover.proofs import ProofFileError, read_claims
from prover.theorems import Theorem, TheoremFileError


def lines(folder: Path, *rows: object) -> Path:
    path = folder / "proofs.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def test_a_proof_is_a_list_of_tactics_or_one_text(tmp_path):
    path = lines(
        tmp_path,
        {"name": "a", "statement": "p → p", "proof": ["intro h", "exact h"], "note": "\u2028 and \x85 end no line"},
        {"name": "b", "statement": "True", "proof": "trivial"},
        {"name": "c", "statement": "True", "tactics": ["trivial"], "proof": None},
    )
    assert read_claims(path) == [
        ProofClaim(Theorem("a", ": p → p"), ("intro h", "exact h")),
        ProofClaim(Theorem("b", ": True"), ("trivial",)),
        ProofClaim(Theorem("c", ": True"), ("trivial",)),
    ]


def test_every_fault_is_named_by_file_line_and_field(tmp_path):
    theorem = {"statement": "True"}
    path = lines(
        tmp_path,
        {"name": "a", "proof": "trivial"} | theorem,
        {"name": "b"} | theorem,
        {"name": "c", "proof": 3} | theorem,
        {"name": "d", "tactics": []} | theorem,
        {"name": "e", "proof": ["trivial", ""]} | theorem,
    )
    with pytest.raises(ProofFileError) as error:
        read_claims(path)
    expected = "; expected a list of tactics or one text"
    assert str(error.value).splitlines() == [
        f"{path}, line 2, field `proof`: b: is missing{expected}",
        f"{path}, line 3, field `proof`: c: is 3{expected}",
        f"{path}, line 4, field `tactics`: d: is []{expected}",
        f"{path}, line 5, field `proof`: e: is ['trivial', '']{expected}",
    ]


def test_the_line_of_a_json_document_is_that_of_the_entry(tmp_path):
    path = tmp_path / "proofs.json"
    path.write_text('{"theorems": [\n{"name": "a", "statement": "True", "proof": "trivial"},\n\n{"name": "b",\n')
    with pytest.raises(TheoremFileError, match=r"proofs.json, line 5: is not JSON"):
        read_claims(path)
    path.write_text(path.read_text() + '"statement": "True"}]}')
    with pytest.raises(ProofFileError, match=r"proofs.json, line 4, field `proof`: b: is missing"):
        read_claims(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ProofFileError, match=r"no file '.*nowhere.jsonl'"):
        read_claims(tmp_path / "nowhere.jsonl")

"""Rows that were read wrongly once (tests/data/theorem_cases): each is read right or refused."""

import json
from pathlib import Path

import pytest

from prover.environments import ProofClaim, ProofState, open_environment
from prover.environments.base import Rejected
from prover.environments.script.environment import LeanScript
from prover.theorems import Theorem, TheoremFileError, TheoremSet

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data/theorem_cases/statements.jsonl").read_text("utf-8").splitlines()
]
FALSE = ("two declarations in one text", "name and declaration differ")
# Fine here, and Lean then says that this prelude lacks a name or a notation.
FOR_LEAN = ("`#` before a name is a notation, not a command",)


def load(folder: Path, *rows: object) -> list[Theorem]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return list(TheoremSet.load(path))


@pytest.fixture(scope="module")
def lean():
    with open_environment() as environment:
        assert isinstance(environment, LeanScript)
        yield environment


@pytest.mark.parametrize("case", [c for c in CASES if c["kind"] not in FALSE + FOR_LEAN], ids=lambda c: c["kind"][:20])
def test_a_fine_row_is_loaded_and_proved(tmp_path: Path, lean: LeanScript, case: dict) -> None:
    (theorem,) = load(tmp_path, case["row"])
    if theorem.header.startswith("import"):
        assert theorem.header == "import Mathlib\nopen Nat"
        theorem = Theorem(theorem.name, theorem.statement, "open Nat")
    (root,) = lean.start([theorem])
    assert isinstance(root, ProofState), root
    proof = ("intro h", "exact h") if "→ p" in theorem.statement else ("exact h",)
    (certificate,) = lean.certify([ProofClaim(theorem, proof)])
    assert certificate.certified, certificate.reason


@pytest.mark.parametrize("case", [c for c in CASES if c["kind"] in FALSE], ids=lambda c: c["row"].get("name"))
def test_a_false_row_is_never_proved(tmp_path: Path, lean: LeanScript, case: dict) -> None:
    if case["kind"] == "name and declaration differ":
        with pytest.raises(TheoremFileError, match="is `main3`, and the statement declares `other`"):
            load(tmp_path, case["row"])
        return
    (theorem,) = load(tmp_path, case["row"])
    assert theorem.name.startswith("main")
    assert "q" in theorem.statement
    (root,) = lean.start([theorem])
    assert isinstance(root, Rejected)
    assert root.refused
    assert "Lean was not asked" in root.message
    for proof in ("exact h", "exact helper p h", "simp_all"):
        assert not lean.certify([ProofClaim(theorem, (proof,))])[0].certified


def test_a_notation_is_left_to_lean(tmp_path: Path, lean: LeanScript) -> None:
    (theorem,) = load(tmp_path, *(case["row"] for case in CASES if case["kind"] in FOR_LEAN))
    (root,) = lean.start([theorem])
    assert isinstance(root, Rejected)
    assert not root.refused
    assert "command" not in root.message


def test_names_of_the_cases(tmp_path: Path) -> None:
    rows = {json.dumps(case["row"]): case for case in CASES if "name" not in case["row"]}
    named = {load(tmp_path, case["row"])[0].name for case in rows.values() if case["kind"] not in FALSE}
    assert named == {
        "h_xⱼ",
        "«Erdős 12»",
        "imports_in_stmt",
        "attr",
        "Foo.trailing_end",
        "fence",
        "pattern",
    }

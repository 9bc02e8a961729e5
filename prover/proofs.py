"""Proofs in files: claims to certify again, whoever made them, and Lean files of proofs that were found."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prover.environments.base import ProofClaim
from prover.theorems import Theorem, TheoremSet

_PROOF_FIELDS = ("proof", "tactics")


class ProofFileError(ValueError):
    """A file of proofs that cannot be used; the message names the file, the entry and the field."""


def read_claims(source: str | Path) -> list[ProofClaim]:
    """The proofs in a file, in its order.

    A trajectory file (`X.parquet`, with its `X.summary.parquet`): the proofs that the search found. JSON or JSON Lines:
    a theorem file (see `TheoremSet.load`) whose entries also have `proof`, a list of tactics or one text.
    Raises `ProofFileError`, and what `TheoremSet.load` and `read_summaries` raise.
    """
    path = Path(source)
    if path.suffix in (".json", ".jsonl"):
        theorems = TheoremSet.load(path)
        return [_claim(path, theorem, entry) for theorem, entry in zip(theorems, _entries(path), strict=True)]
    from prover.trajectory import read_summaries

    rows = read_summaries(path)
    if not len(rows):
        raise ProofFileError(f"{path}: no summary file beside it, so it holds no proofs")
    proved = rows.filter(rows["proof"].is_not_null())
    return [
        ProofClaim(Theorem(row["theorem_name"], row["statement"], header=row["header"]), tuple(row["proof"]))
        for row in proved.iter_rows(named=True)
    ]


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file that `TheoremSet.load` has accepted."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".jsonl":
        yield from (json.loads(line) for line in text.splitlines() if line.strip())
    else:
        entries = json.loads(text)
        yield from entries if isinstance(entries, list) else entries["theorems"]


def _claim(path: Path, theorem: Theorem, entry: dict[str, Any]) -> ProofClaim:
    proof = next((entry[field] for field in _PROOF_FIELDS if entry.get(field)), None)
    tactics = [proof] if isinstance(proof, str) else proof
    if not isinstance(tactics, list) or not all(isinstance(tactic, str) for tactic in tactics):
        raise ProofFileError(f"{path}: {theorem.name}: expected `proof`, a list of tactics or one text; got {proof!r}")
    return ProofClaim(theorem, tuple(tactics))


def plain_proof_file(claim: ProofClaim) -> str:
    """The theorem's header and the proof: what a Lean with the usual library accepts as it stands."""
    from prover.environments.certify import proof_text

    header = claim.theorem.header.strip()
    return (f"{header}\n\n" if header else "") + proof_text(claim.theorem, claim.tactics)


def export_proofs(claims: Sequence[ProofClaim], folder: Path, text_of: Callable[[ProofClaim], str]) -> list[Path]:
    """Write `NAME.lean` for each claim into `folder`, and return the files in order.

    text_of: the whole file of a claim. A name that cannot be a file name has the characters in question replaced; two
    claims that would get the same file are numbered. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for claim in claims:
        stem = re.sub(r"[^\w.'-]", "_", claim.theorem.name).lstrip(".") or "proof"
        path = folder / f"{stem}.lean"
        number = 2
        while path in written:
            path = folder / f"{stem}-{number}.lean"
            number += 1
        path.write_text(text_of(claim), encoding="utf-8")
        written.append(path)
    return written

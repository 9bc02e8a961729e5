"""Proofs in files: claims to certify again, whoever made them, and Lean files of proofs that were found."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from prover.environments.base import Certificate, ProofClaim
from prover.json_types import JsonObject
from prover.theorems import Problem, Theorem, describe, read_entries

_PROOF_FIELDS = ("proof", "tactics")
_PRELUDE = "Prover"  # the module that exported files of the embedded Lean import, from beside them
_EXPECTED = "expected a list of tactics or one text"


class ProofFileError(ValueError):
    """A file of proofs that cannot be used; the message names the file, the line and the field of every fault."""


def read_claims(source: str | Path, layout: str | None = None) -> list[ProofClaim]:
    """The proofs in a file, in its order.

    A trajectory file (`X.parquet`, with its `X.summary.parquet`): the proofs that the search found. JSON or JSON Lines:
    a theorem file (see `TheoremSet.load`) whose entries also have `proof` or `tactics`, a list of tactics or one text.
    layout: of a theorem file, overrules the guess (see `TheoremSet.load`).

    Raises `ProofFileError`, and what `read_entries` and `read_summaries` raise.
    """
    path = Path(source)
    if path.suffix in (".json", ".jsonl"):
        if not path.is_file():
            raise ProofFileError(f"no file {str(path)!r}")
        return _claims(path, layout)
    from prover.trajectory import read_summaries

    rows = read_summaries(path)
    if not len(rows):
        raise ProofFileError(f"{path}: no summary file beside it, so it holds no proofs")
    proved = rows.filter(rows["proof"].is_not_null())
    return [
        ProofClaim(Theorem(row["theorem_name"], row["statement"], header=row["header"]), tuple(row["proof"]))
        for row in proved.iter_rows(named=True)
    ]


def _claims(path: Path, layout: str | None) -> list[ProofClaim]:
    claims: list[ProofClaim] = []
    problems: list[Problem] = []
    for line, entry, theorem in read_entries(path, layout):
        field, proof = _proof(entry)
        tactics = [proof] if isinstance(proof, str) else proof
        if isinstance(tactics, list) and tactics and all(isinstance(tactic, str) and tactic for tactic in tactics):
            claims.append(ProofClaim(theorem, tuple(tactics)))
        else:
            found = "is missing" if proof is None else f"is {proof!r:.60}"
            problems.append(Problem(str(path), line, field, f"{theorem.name}: {found}; {_EXPECTED}"))
    if problems:
        raise ProofFileError(describe(problems))
    return claims


def _proof(entry: JsonObject) -> tuple[str, object]:
    """(field, value) of the proof in an entry; None where there is none."""
    return next(((field, entry[field]) for field in _PROOF_FIELDS if entry.get(field) is not None), ("proof", None))


def failures(certificates: Sequence[Certificate]) -> dict[str, str]:
    """Theorem name -> reason of the claims that were not certified; `NAME (2)` is a second claim of one theorem."""
    reasons: dict[str, str] = {}
    for certificate in certificates:
        if not certificate.certified:
            name = key = certificate.claim.theorem.name
            number = 2
            while key in reasons:
                key, number = f"{name} ({number})", number + 1
            reasons[key] = certificate.reason
    return reasons


def export_proofs(claims: Sequence[ProofClaim], folder: Path, text_of: Callable[[ProofClaim], str]) -> list[Path]:
    """Write `NAME.lean` for each claim into `folder`, and return the files in order.

    text_of: the whole file of a claim. A name that cannot be a file name has the characters in question replaced; two
    claims that would get the same file are numbered. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for claim in claims:
        stem = re.sub(r"[^\w.'-]", "_", claim.theorem.name).lstrip(".") or "proof"
        stem = f"{stem}_" if stem == _PRELUDE else stem
        path = folder / f"{stem}.lean"
        number = 2
        while path in written:
            path = folder / f"{stem}-{number}.lean"
            number += 1
        path.write_text(text_of(claim), encoding="utf-8")
        written.append(path)
    return written

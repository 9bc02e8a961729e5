"""Which statements elaborate under which Lean: written by `prover lint-theorems`, read back by `prover search`.

A JSON file: {"schema": "whitelist/1", "leans": {FINGERPRINT: {"name": ..., "statements": {HASH: "" or why not}}}}. The
hash covers what elaboration depends on: the header, the name's namespace and the statement. The fingerprint is the
environment's, so that a verdict is never taken from another Lean, prelude or project.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from prover.environments.base import (
    Certificate,
    Failure,
    Outcome,
    ProofClaim,
    ProofEnvironment,
    ProofState,
    Rejected,
    StepRequest,
    explains,
)
from prover.files import write_atomic
from prover.json_types import JsonObject
from prover.theorems import Theorem

SCHEMA = "whitelist/1"


class WhitelistError(ValueError):
    """The file is no whitelist. The message names it, what was found and what to do."""


def statement_hash(theorem: Theorem) -> str:
    """32 hex digits over header, namespace and statement."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (theorem.header, theorem.name.rpartition(".")[0], theorem.statement):
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


def read_whitelist(path: Path) -> JsonObject:
    """The document in a whitelist file. Raises `WhitelistError`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WhitelistError(f"{path}: cannot be read as a whitelist: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise WhitelistError(
            f"{path}: is no whitelist ({SCHEMA}); write one with `prover lint-theorems FILE --whitelist {path}`"
        )
    leans = document.get("leans")
    entries = list(leans.values()) if isinstance(leans, dict) else [None]
    for entry in entries:
        statements = entry.get("statements") if isinstance(entry, dict) else None
        if not isinstance(statements, dict) or not all(isinstance(text, str) for text in statements.values()):
            raise WhitelistError(f"{path}: its field `leans` is damaged; write the file again")
    return document


def write_whitelist(path: Path, environment: ProofEnvironment, verdicts: Mapping[Theorem, str]) -> int:
    """Add verdicts (theorem -> "" or why Lean does not accept it) to a whitelist; how many it then has of this Lean.

    Verdicts of other Leans stay. The file appears whole or not at all. Raises `WhitelistError`, OSError.
    """
    document: JsonObject = read_whitelist(path) if path.exists() else {"schema": SCHEMA, "leans": {}}
    entry = document["leans"].setdefault(environment.fingerprint, {"name": environment.name, "statements": {}})
    entry["statements"].update({statement_hash(theorem): reason for theorem, reason in verdicts.items()})
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return len(entry["statements"])


class WhitelistedEnvironment:
    """An environment that knows which statements Lean does not accept, and does not ask again.

    Its fingerprint is that of the environment behind it: a whitelist changes what a search costs, not what it finds.
    """

    def __init__(self, environment: ProofEnvironment, path: Path) -> None:
        """Raises `WhitelistError`."""
        self._environment = environment
        entry = read_whitelist(path)["leans"].get(environment.fingerprint)
        self._reasons: dict[str, str] = {} if entry is None else entry["statements"]
        self.name = environment.name
        self.fingerprint = environment.fingerprint
        self.explain = explains(environment)

    @property
    def known(self) -> int:
        """Statements that the whitelist has a verdict on, under this Lean."""
        return len(self._reasons)

    def start(self, theorems: Sequence[Theorem]) -> list[ProofState | Failure]:
        answers: list[ProofState | Failure | None] = []
        for theorem in theorems:
            reason = self._reasons.get(statement_hash(theorem), "")
            answers.append(Rejected(f"{reason} (from the whitelist)", 0.0) if reason else None)
        asked = [theorem for theorem, answer in zip(theorems, answers, strict=True) if answer is None]
        rest = iter(self._environment.start(asked) if asked else [])
        return [answer if answer is not None else next(rest) for answer in answers]

    def step(self, requests: Sequence[StepRequest]) -> list[list[Outcome]]:
        return self._environment.step(requests)

    def certify(self, claims: Sequence[ProofClaim]) -> list[Certificate]:
        return self._environment.certify(claims)

    def proof_file(self, claim: ProofClaim) -> str:
        return self._environment.proof_file(claim)

    def close(self) -> None:
        self._environment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

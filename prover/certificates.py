"""Proofs given away: Lean files with the proof first, a JSON certificate beside each, and how to check all of them.

A folder of proofs of the embedded Lean also has the prelude, once, as modules that the files import; `CHECK.md` in it
says the one command with which a plain Lean checks everything.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from prover.environments.base import Certificate, ProofClaim, ProofEnvironment
from prover.environments.certify import proof_file
from prover.environments.recheck.check import NoSecondOpinion, SecondOpinion, second_opinion
from prover.environments.script.embedded import MINILIB, ROOT_MODULE, prelude_modules
from prover.environments.script.environment import LeanScript
from prover.environments.script.process import EmbeddedRunner
from prover.proofs import export_proofs, failures

SCHEMA = "certificate/1"


@dataclass(slots=True)
class Opinions:
    """What checkers said of the certified claims, by position. `missing`: why there is no verdict."""

    given: dict[int, SecondOpinion] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)

    def refused(self, certificates: Sequence[Certificate]) -> dict[str, str]:
        """Theorem -> what the checker said, of proofs that it does not accept."""
        return {
            certificates[index].claim.theorem.name: f"{opinion.checker} does not accept it: {opinion.detail}"
            for index, opinion in self.given.items()
            if not opinion.accepted
        }


@dataclass(slots=True)
class Exported:
    """What was written into a folder. Paths are in it."""

    files: list[Path]
    certificates: list[Path]
    failed: dict[str, str]
    """Theorem -> why its proof was not written."""
    opinions: Opinions


def opinions_on(
    certificates: Sequence[Certificate], environment: ProofEnvironment, checker: Path | None = None
) -> Opinions:
    """A second opinion on each certified claim: of the program `checker`, or of the kernel alone where it is None.

    Both need the embedded Lean; for another the opinions are missing, and say so.
    """
    found = Opinions()
    runner = environment.runner if isinstance(environment, LeanScript) else None
    for index, certificate in enumerate(certificates):
        if not certificate.certified:
            continue
        if not isinstance(runner, EmbeddedRunner) or not isinstance(environment, LeanScript):
            found.missing[index] = (
                f"proofs of {environment.name} are not exported from here: use lean4export in the project"
            )
            continue
        try:
            found.given[index], _ = second_opinion(
                runner,
                certificate.claim,
                checker,
                max_heartbeats=environment.certified_heartbeats,
                wall_s=environment.certify_s,
            )
        except NoSecondOpinion as error:
            found.missing[index] = str(error)
    return found


def export_folder(
    certificates: Sequence[Certificate],
    folder: Path,
    environment: ProofEnvironment,
    *,
    checker: Path | None = None,
    recheck: bool = True,
    single_file: bool = False,
) -> Exported:
    """Write the proofs that hold into `folder`: `NAME.lean`, `NAME.json`, `CHECK.md` and, once, the prelude.

    checker, recheck: a second opinion, see `opinions_on`; a proof that it does not accept is not written. single_file:
    the prelude inside every file, below a comment that shows the proof, instead of beside it. Raises OSError.
    """
    opinions = opinions_on(certificates, environment, checker) if recheck or checker is not None else Opinions()
    refused = opinions.refused(certificates)
    kept = [
        index
        for index, certificate in enumerate(certificates)
        if certificate.certified and (index not in opinions.given or opinions.given[index].accepted)
    ]
    embedded = isinstance(environment, LeanScript) and isinstance(environment.runner, EmbeddedRunner)

    def text_of(claim: ProofClaim) -> str:
        if isinstance(environment, LeanScript) and embedded:
            if single_file:
                return _proof_first(claim, environment.proof_file(claim))
            return proof_file(environment.runner.preamble, claim, environment.certified_heartbeats)
        return environment.proof_file(claim)

    files = export_proofs([certificates[index].claim for index in kept], folder, text_of)
    written = []
    for index, path in zip(kept, files, strict=True):
        record = certificate_record(certificates[index], environment, path)
        opinion = opinions.given.get(index)
        record["checker"] = None if opinion is None else opinion.to_dict()
        if opinion is None:
            record["checker_note"] = opinions.missing.get(index, "no second opinion was asked for")
        target = path.with_suffix(".json")
        target.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        written.append(target)
    if files and embedded:
        if not single_file:
            _copy_prelude(folder)
        version = environment.runner.version if isinstance(environment, LeanScript) else ""
        (folder / "CHECK.md").write_text(_how_to_check(version, single_file), encoding="utf-8")
    return Exported(files, written, failures(certificates) | refused, opinions)


def certificate_record(certificate: Certificate, environment: ProofEnvironment, file: Path) -> dict[str, object]:
    """A certificate as JSON: what was proved, by which Lean on which library, from which axioms, when."""
    claim, theorem = certificate.claim, certificate.claim.theorem
    runner = environment.runner if isinstance(environment, LeanScript) else None
    library: dict[str, str] = {}
    if isinstance(runner, EmbeddedRunner):
        library = {"prelude_digest": runner.prelude_key}
    elif runner is not None:
        library = {"project_digest": hashlib.blake2b(runner.fingerprint.encode(), digest_size=16).hexdigest()}
    return {
        "schema": SCHEMA,
        "theorem": theorem.name,
        "statement": theorem.statement,
        "header": theorem.header,
        "tactics": list(claim.tactics),
        "file": file.name,
        "file_digest": hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest(),
        "certified": certificate.certified,
        "axioms": list(certificate.axioms),
        "elapsed_ms": round(certificate.elapsed_ms, 1),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "lean": {
            "version": environment.name.split(":")[1] if ":" in environment.name else environment.name,
            "environment": environment.name,
            "fingerprint": environment.fingerprint,
            **library,
        },
    }


def _proof_first(claim: ProofClaim, whole: str) -> str:
    """A file that needs nothing beside it: the proof as a comment on top, the prelude and the proof itself below."""
    shown = proof_file("", claim, 0).strip().replace("/-", "/ -").replace("-/", "- /")
    return f"/- The proof; what it needs, and the proof itself for Lean, are below.\n\n{shown}\n-/\n{whole}"


def _copy_prelude(folder: Path) -> None:
    for path in prelude_modules().values():
        target = folder / path.relative_to(MINILIB)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _how_to_check(version: str, single_file: bool) -> str:
    """The text of CHECK.md."""
    if single_file:
        build = 'for f in *.lean; do lean "$f" || echo "FAILED $f"; done'
    else:
        modules = " ".join(module.replace(".", "/") for module in prelude_modules())
        build = (
            f"for m in {modules}; do LEAN_PATH=. lean --root=. -o $m.olean $m.lean || exit; done; "
            f'for f in *.lean; do [ "$f" = {ROOT_MODULE}.lean ] || LEAN_PATH=. lean "$f" || echo "FAILED $f"; done'
        )
    return (
        "# Checking these proofs\n\n"
        f"With Lean {version} on the PATH (`elan default leanprover/lean4:v{version}`), in this folder:\n\n"
        f"    {build}\n\n"
        "Lean prints nothing for a proof that holds. To see its axioms, add `#print axioms NAME` to the file's end.\n"
        "Each `NAME.json` says what was proved, by which Lean and on which axioms, and what the second checker said.\n"
    )

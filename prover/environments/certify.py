"""Certification: a claim becomes a proof when a fresh Lean process accepts it whole.

The claim's tactics are written out under the theorem's own name and original statement and elaborated in a process of
their own. Certified means: no error; no `sorry`; axioms within {propext, Classical.choice, Quot.sound}; the theorem is
not its own axiom, and was not there to be quoted (its name is new, its module is not imported). Stepping never runs the
kernel; this does.
"""

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from prover.environments.base import Certificate, ProofClaim
from prover.environments.isolation.refusal import REFUSED, refuse_tactic, refuse_theorem
from prover.environments.script.premises import refuse_imports, without_import
from prover.environments.script.process import LeanRunner, RunResult
from prover.environments.script.source import file_head, indented, uses_sorry
from prover.theorems import Theorem

ALLOWED_AXIOMS = frozenset({"propext", "Classical.choice", "Quot.sound"})
_LEANS_HEARTBEATS = 200_000  # `maxHeartbeats` where nobody sets it
# Else `Classical.choice` is `choice` below `open Classical`, and `Other.propext` is `propext` below `open Other`.
_WHOLE_NAMES = (
    "set_option pp.fullNames true",
    "set_option pp.privateNames true",
    "set_option pp.universes false",
)
_AXIOMS = re.compile(
    r"^'(?P<name>.+?)' (?:does not depend on any axioms|depends on axioms: \[(?P<axioms>[^\]]*)\])", re.DOTALL
)


def proof_text(theorem: Theorem, tactics: Sequence[str]) -> str:
    """`theorem NAME SIGNATURE := by` and the script, as one would write it down."""
    lines = [f"{theorem.declaration} := by"]
    for tactic in tactics:
        lines += indented(tactic, 2)
    return "\n".join(lines) + "\n"


def proof_file(preamble: str, claim: ProofClaim, max_heartbeats: int) -> str:
    """A Lean file with the claim's theorem and proof, below the preamble and the theorem's header.

    It sets the heartbeat limit under which the claim is certified, if that is more than Lean's default.
    """
    header = claim.theorem.header
    if "\nimport " not in preamble:  # the prelude, or the part that the header imports, stands there as text
        header = without_import(header)
    head = file_head(preamble, header, max_heartbeats if max_heartbeats > _LEANS_HEARTBEATS else None)
    proof = proof_text(claim.theorem, claim.tactics)
    return "\n".join(head).strip() + f"\n\n{proof}" if head else proof


def certificate_text(preamble: str, claim: ProofClaim, max_heartbeats: int) -> str:
    """The whole file whose acceptance certifies the claim."""
    theorem = claim.theorem
    head = "\n".join(file_head(preamble, theorem.header, max_heartbeats))
    # An `open` in the header may give the name a second meaning, so the question names it from the root.
    question = [*_WHOLE_NAMES, f"#print axioms _root_.{theorem.full_name.removeprefix('_root_.')}"]
    return f"{head}\n{proof_text(theorem, claim.tactics)}\n" + "\n".join(question) + "\n"


def compilable_text(preamble: str, claim: ProofClaim, max_heartbeats: int) -> str:
    """As `certificate_text`, without the question: what is compiled for a second opinion."""
    head = "\n".join(file_head(preamble, claim.theorem.header, max_heartbeats))
    return f"{head}\n{proof_text(claim.theorem, claim.tactics)}\n"


def refuse_claim(claim: ProofClaim, *, takes_imports: bool) -> str | None:
    """Why a claim must not reach Lean, for people; None when it may."""
    theorem = claim.theorem
    refused = refuse_theorem(theorem.name, theorem.statement, theorem.header)
    if refused:
        return refused
    if not claim.tactics:
        return "the claim holds no tactics"
    for tactic in claim.tactics:
        refused = refuse_tactic(tactic.replace("\r\n", "\n"), theorem.statement)  # written out with Unix line ends
        if refused:
            return refused
    refused = refuse_imports(theorem.header, takes_imports=takes_imports)
    if refused:
        return refused
    if theorem.file_path:
        # The path may begin above the project (.lake/packages/mathlib/Mathlib/...), a module's name never does.
        path = "." + ".".join(PurePosixPath(theorem.file_path).with_suffix("").parts)
        for module in map(_unquoted, re.findall(r"\bimport\s+(?:all\s+)?(\S+)", theorem.header)):
            if path.endswith(f".{module}"):
                return f"the header imports the theorem's own module {module}, which could be quoted as its proof"
    return None


def _unquoted(name: str) -> str:
    return name.replace("«", "").replace("»", "")


def _names_theorem(listed: str, theorem: Theorem) -> bool:
    """Whether Lean's name for what it listed is the theorem's; the header may have opened a namespace around it."""
    name, listed = (_unquoted(each).removeprefix("_root_.") for each in (theorem.full_name, listed))
    return listed == name


def judge(claim: ProofClaim, result: RunResult) -> tuple[str, tuple[str, ...]]:
    """(reason why not, axioms) from the run of `certificate_text`; the reason is "" when the claim is certified."""
    if result.ended != "exited":
        return f"Lean did not finish: {result.detail}", ()
    errors = [str(message["data"]) for message in result.messages if message.get("severity") == "error"]
    if errors:
        return f"Lean reports an error: {errors[0]}", ()
    if any(uses_sorry(message) for message in result.messages):
        return "the proof uses `sorry`", ()
    found = _AXIOMS.match(str(result.messages[-1]["data"])) if result.messages else None
    if found is None or not _names_theorem(found["name"], claim.theorem):
        return f"Lean did not list the theorem's axioms{': ' + result.detail if result.detail else ''}", ()
    listed = (name.strip().removeprefix("_root_.") for name in (found["axioms"] or "").split(","))
    axioms = tuple(name for name in listed if name)
    extra = [name for name in axioms if name not in ALLOWED_AXIOMS]
    if extra:
        return f"the proof rests on other axioms: {', '.join(extra)}", axioms
    return "", axioms


def certify_claims(
    runner: LeanRunner, claims: Sequence[ProofClaim], *, max_heartbeats: int, wall_s: float
) -> list[Certificate]:
    """A certificate for each claim, in order; each claim in a process of its own, `runner.workers` at a time."""

    def certify(claim: ProofClaim) -> Certificate:
        started = time.perf_counter()
        axioms: tuple[str, ...] = ()
        reason = refuse_claim(claim, takes_imports=runner.takes_imports)
        if reason:
            reason = reason if reason.startswith(REFUSED) else f"{REFUSED}{reason}"
        else:
            text = certificate_text(runner.preamble, claim, max_heartbeats)
            reason, axioms = judge(claim, runner.run(text, wall_s=wall_s, fresh=True))
        return Certificate(claim, not reason, reason or "", axioms, (time.perf_counter() - started) * 1000)

    if len(claims) <= 1:
        return [certify(claim) for claim in claims]
    with ThreadPoolExecutor(runner.workers) as pool:
        return list(pool.map(certify, claims))

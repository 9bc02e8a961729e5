"""Checks that ask Lean: whether statements elaborate, and what a few cheap tactics make of them."""

from collections.abc import Sequence
from dataclasses import replace

from prover.environments.base import Complete, ProofClaim, ProofEnvironment, ProofState, Rejected, StepRequest
from prover.lint.findings import Finding
from prover.lint.signature import read_signature
from prover.theorems import Theorem

_CHUNK = 512  # statements in one call
_FALSE_FIRST = "intro h₀\nexact h₀ False"
_PROBE = Theorem("lint_probe", ": 0 = 0")


def available(environment: ProofEnvironment, tactics: Sequence[str]) -> list[str]:
    """Those of the tactics that this Lean has: they prove `0 = 0`."""
    (root,) = environment.start([_PROBE])
    if not isinstance(root, ProofState):
        return list(tactics)  # a Lean without numerals: let it say no to each
    (outcomes,) = environment.step([StepRequest(root, tuple(tactics))])
    return [tactic for tactic, outcome in zip(tactics, outcomes, strict=True) if isinstance(outcome, Complete)]


def check_by_lean(
    theorems: Sequence[Theorem], lines: Sequence[int | None], environment: ProofEnvironment, tactics: Sequence[str]
) -> tuple[list[Finding], dict[Theorem, str]]:
    """(findings, theorem -> "" where Lean accepts it, else why not).

    The second says nothing of theorems that Lean was not asked about (refused by us) or gave no answer on.
    """
    findings: list[Finding] = []
    verdicts: dict[Theorem, str] = {}
    for first in range(0, len(theorems), _CHUNK):
        chunk = list(zip(theorems[first : first + _CHUNK], lines[first : first + _CHUNK], strict=True))
        roots = environment.start([theorem for theorem, _ in chunk])
        standing: list[tuple[Theorem, int | None, ProofState]] = []
        for (theorem, line), root in zip(chunk, roots, strict=True):
            if isinstance(root, ProofState):
                verdicts[theorem] = ""
                standing.append((theorem, line, root))
            elif isinstance(root, Rejected) and root.refused:
                detail = f"refused by us, before Lean: {_first_line(root.message)}"
                findings.append(Finding(theorem.name, "does-not-elaborate", detail, line))
            elif isinstance(root, Rejected):
                verdicts[theorem] = root.message
                findings.append(Finding(theorem.name, "does-not-elaborate", _first_line(root.message), line))
            else:
                findings.append(Finding(theorem.name, "no-answer", _first_line(root.message), line))
        if tactics and standing:
            findings += _cheap(standing, environment, tactics)
    return findings, verdicts


def _cheap(
    standing: Sequence[tuple[Theorem, int | None, ProofState]], environment: ProofEnvironment, tactics: Sequence[str]
) -> list[Finding]:
    direct = list(tactics)
    hypotheses_only = [f"exfalso\n{tactic}" for tactic in tactics]
    hypotheses_only += [f"intros\nexfalso\n{tactic}" for tactic in tactics]
    found: list[Finding] = []
    requests = [StepRequest(root, (*direct, *hypotheses_only)) for _, _, root in standing]
    claims: list[tuple[ProofClaim, Finding]] = []
    for (theorem, line, _), outcomes in zip(standing, environment.step(requests), strict=True):
        for (check, some), answers in zip(
            (("trivial", direct), ("contradictory", hypotheses_only)),
            (outcomes[: len(direct)], outcomes[len(direct) :]),
            strict=True,
        ):
            first = next((o for o in answers if isinstance(o, Complete)), None)
            if first is not None:
                tactic = some[answers.index(first)].replace("\n", "; ")
                claims.append((ProofClaim(theorem, first.tactics), Finding(theorem.name, check, f"`{tactic}`", line)))
    claims += _negations(standing, environment, tactics)
    certificates = environment.certify([claim for claim, _ in claims]) if claims else []
    for (_, finding), certificate in zip(claims, certificates, strict=True):
        if certificate.certified:
            found.append(finding)
    return found


def _negations(
    standing: Sequence[tuple[Theorem, int | None, ProofState]], environment: ProofEnvironment, tactics: Sequence[str]
) -> list[tuple[ProofClaim, Finding]]:
    negated = [(replace(theorem, statement=negation(theorem.statement)), line) for theorem, line, _ in standing]
    roots = environment.start([theorem for theorem, _ in negated])
    asked = [
        (theorem, line, root)
        for (theorem, line), root in zip(negated, roots, strict=True)
        if isinstance(root, ProofState)
    ]
    some = (*tactics, *(f"intro h₀\n{tactic}" for tactic in tactics), _FALSE_FIRST)
    claims = []
    for (theorem, line, _), outcomes in zip(
        asked, environment.step([StepRequest(root, some) for _, _, root in asked]), strict=True
    ):
        first = next((o for o in outcomes if isinstance(o, Complete)), None)
        if first is not None:
            tactic = some[outcomes.index(first)].replace("\n", "; ")
            finding = Finding(theorem.name, "negation-provable", f"`{tactic}`", line)
            claims.append((ProofClaim(theorem, first.tactics), finding))
    return claims


def negation(statement: str) -> str:
    """`(p : Prop) (h : p) : q` as `: ¬ (∀ (p : Prop) (h : p), q)`."""
    signature = read_signature(statement)
    if not signature.binders_text:
        return f": ¬ ({signature.goal})"
    return f": ¬ (∀ {signature.binders_text}, {signature.goal})"


def _first_line(message: str) -> str:
    line = message.split("\n")[0]
    return line if len(line) <= 200 else line[:199] + "…"

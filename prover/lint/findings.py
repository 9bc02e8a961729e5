"""What a lint reports."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

CHECKS: dict[str, str] = {
    "unreadable": "the entry is no theorem of ours; the reader says why",
    "from-states": "the whole file: statements are made from printed proof states, which Lean may not read back",
    "two-sorries": "more than one `sorry`: an answer is to be filled in, besides the proof",
    "duplicate": "the same statement as another one, up to the names of its variables and hypotheses",
    "unused-variable": "a variable that occurs nowhere else in the statement",
    "unused-hypothesis": "a hypothesis that shares no variable with the goal, directly or through others",
    "division-by-zero": "`/ 0`, which Lean defines as 0",
    "natural-subtraction": "`a - b` on natural numbers, which is 0 where b is larger",
    "shadowed": "a variable bound again under the same name",
    "does-not-elaborate": "Lean does not accept the statement",
    "no-answer": "Lean crashed or ran out of time on it",
    "contradictory": "the hypotheses alone prove False by a cheap tactic",
    "trivial": "a cheap tactic proves it",
    "negation-provable": "a cheap tactic proves its negation",
}
"""Check -> what it finds. Those from `does-not-elaborate` on ask Lean."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found at one theorem. `line`: of the file, from 1 (the row of a table); None where it is not known."""

    theorem: str
    check: str
    detail: str
    line: int | None = None


@dataclass(slots=True)
class LintReport:
    """Findings about one theorem set, in the order of the set and of `CHECKS`."""

    source: str
    theorems: int
    set_digest: str
    findings: list[Finding] = field(default_factory=list)
    lean: str = ""
    """Name of the environment that was asked; "" for a lint of the text alone."""
    tactics: list[str] = field(default_factory=list)
    """The cheap tactics that this Lean has, out of those asked for."""

    @property
    def counts(self) -> dict[str, int]:
        """Check -> findings, in the order of `CHECKS`; checks that found nothing are left out."""
        found = Counter(finding.check for finding in self.findings)
        return {check: found[check] for check in CHECKS if found[check]}

    @property
    def digest(self) -> str:
        """32 hex digits over the set, the Lean and all that was found: two lints of one digest say the same."""
        content = {
            "version": "lint/1",
            "set": self.set_digest,
            "lean": self.lean,
            "tactics": self.tactics,
            "findings": [[f.theorem, f.check, f.detail] for f in self.findings],
        }
        return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()

    def sort(self, names: Sequence[str]) -> None:
        """Put the findings into the order of the theorems, and of `CHECKS` at each; those of no theorem come first."""
        place = {name: number for number, name in enumerate(names)}
        order = {check: number for number, check in enumerate(CHECKS)}
        self.findings.sort(key=lambda found: (place.get(found.theorem, -1), order[found.check], found.detail))

    def to_dict(self) -> dict[str, object]:
        """What `--json` prints."""
        return {
            "source": self.source,
            "theorems": self.theorems,
            "set_digest": self.set_digest,
            "lint_digest": self.digest,
            "lean": self.lean,
            "tactics": self.tactics,
            "counts": self.counts,
            "findings": [asdict(finding) for finding in self.findings],
        }

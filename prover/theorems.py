"""Theorems and theorem sets: loading, validation, digests, splits."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Theorem:
    """A statement to prove.

    `statement` is the Lean signature after the name, e.g. `(p q : Prop) (h : p ∧ q) : q ∧ p`; a bare proposition gets
    its leading colon when loaded. `header` is what has to stand above the theorem (imports, opens, options).
    `difficulty`: known number of elementary tactic steps of a proof, where the set's maker knows it.
    """

    name: str
    statement: str
    header: str = ""
    split: str | None = None
    difficulty: int | None = None
    file_path: str | None = None
    line_number: int | None = None

    @property
    def declaration(self) -> str:
        """`theorem NAME SIGNATURE`, without `:=`."""
        return f"theorem {self.name} {self.statement}"


class TheoremSet:
    """To be built: see design section 2."""

"""A theorem to prove."""

from dataclasses import dataclass

from prover.theorem_files.commands import open_namespace


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
        """`theorem NAME SIGNATURE`, without `:=`, as it stands below the header."""
        return f"theorem {self.written_name} {self.statement}"

    @property
    def written_name(self) -> str:
        """The name as it is written below the header: without a namespace that the header leaves open."""
        namespace = open_namespace(self.header)
        return self.name.removeprefix(f"{namespace}.") if namespace else self.name

    @property
    def full_name(self) -> str:
        """The name that the theorem has in the end, whether or not `name` has the header's open namespace in it."""
        namespace = open_namespace(self.header)
        return f"{namespace}.{self.written_name}" if namespace else self.name

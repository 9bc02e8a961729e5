"""Names by Lean's own rules: what is accepted here is what the embedded Lean accepts."""

import random
import re

import pytest

from prover.environments import open_environment
from prover.environments.script.environment import LeanScript
from prover.theorem_files.names import KEYWORDS, TheoremTextError, check_name
from prover.theorem_text import read_statement

PIECES = (
    list("abzAZ019_'!?.·-+/ ")
    + list("«»×÷éÿĀſƀαλωΑΠΣΩϊϻϼἀ῾῿ℵ⅏⅐𝒜𝖟𝖠₀₉₊ₐₜₚᵢᵪᵫⱼⱽªµ")
    + ["a", "b", "«a b»", "«»", "«a.b»", "«x/y»", "«Σ»", *sorted(KEYWORDS)]
)


def generated_names(n: int) -> list[str]:
    rng = random.Random(11)
    names: dict[str, None] = {}
    while len(names) < n:
        parts = [
            "".join(rng.choice(PIECES) for _ in range(rng.choice((1, 1, 2, 3, 4))))
            for _ in range(rng.choice((1, 1, 2, 3)))
        ]
        if spreads(name := ".".join(parts)) and rng.random() < 0.9:
            continue  # Lean has to be asked about each of these in a process of its own
        if name == name.strip():  # else it is another name
            names[name] = None
    return list(names)


def accepted_here(name: str) -> bool:
    try:
        check_name(name)
        declaration = read_statement(f"theorem {name} : True := by sorry")
    except TheoremTextError:
        return False
    return (declaration.name, declaration.statement) == (name, ": True")


def spreads(name: str) -> bool:
    """Whether Lean might read on behind the name's line, or stop there: comments, quoted names, an `import`."""
    return "import" in name or "/-" in name or "«" in re.sub("«[^»]*»", "", name)


def accepted_by_lean(lean: LeanScript, names: list[str]) -> list[bool]:
    """Each name is declared on a line of its own, in a namespace of its own, by `sorry`, of which Lean warns."""
    runner = lean._runner
    lines = runner.preamble.splitlines()
    first = len(lines) + 2
    for number, name in enumerate(names):
        lines += [f"namespace N{number}", f"theorem {name} : True := sorry", f"end N{number}"]
    result = runner.run("\n".join(lines) + "\n", wall_s=120)
    assert (result.ended, result.detail) == ("exited", "")
    lines_of = {
        severity: {message["pos"]["line"] for message in result.messages if message["severity"] == severity}
        for severity in ("error", "warning")
    }
    taken = lines_of["warning"] - lines_of["error"]
    return [first + 3 * number in taken for number in range(len(names))]


@pytest.mark.parametrize("n", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_generated_names_are_accepted_by_both_or_by_neither(n: int) -> None:
    names = generated_names(n)
    ours = [accepted_here(name) for name in names]
    alone = [name for name in names if spreads(name)]
    together = [name for name in names if not spreads(name)]
    with open_environment() as lean:
        assert isinstance(lean, LeanScript)
        theirs: dict[str, bool] = {}
        for first in range(0, len(together), 200):  # Lean keeps what it says of wrong lines in memory
            some = together[first : first + 200]
            theirs |= zip(some, accepted_by_lean(lean, some), strict=True)
        theirs |= {name: accepted_by_lean(lean, [name])[0] for name in alone}
    differ = [(name, mine, theirs[name]) for name, mine in zip(names, ours, strict=True) if mine != theirs[name]]
    assert differ == []
    assert 0.15 * n < sum(ours) < 0.85 * n


@pytest.mark.parametrize("name", ["«a\nb»", "«a\u202eb»", "x" * 201, "_root_.a"])
def test_what_lean_would_take_and_we_do_not(name: str) -> None:
    with pytest.raises(TheoremTextError):
        check_name(name)

"""Canonical names: a proof state as a small vocabulary can say it, and a tactic back in the state's own names.

Provability does not depend on what things are called, so a model with a vocabulary of a few hundred words should not
have to learn `hpq`, `h₁` and `A_implies_B` one by one. Every declared name becomes a class letter and a number:

    p1, p2, ...  propositions (`p : Prop`), numbered by first use
    t1, t2, ...  types (`α : Type`)
    x1, x2, ...  things over a type: elements, functions, predicates (`x : α`, `f : α → Prop`, `n : Nat`)
    h1, h2, ...  everything else, that is hypotheses, in the order shown
    u1, u2, ...  names with a dagger, which no tactic can say
    y1, y2, ...  variables bound by ∀, ∃, fun

A tactic's new names are n1, n2, ... in the model's language and become names that the state does not use yet.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_NAME = r"[^\W\d](?:\w|['!?✝⁰¹²³⁴-⁹₀-₉])*"
IDENTIFIER = re.compile(rf"(?<![\w.'✝])({_NAME})")
"""A name, or the first component of a dotted one: `h` in `h.left`, `Or` in `Or.inl`; never the `left` after a dot."""
_DECLARATION = re.compile(rf"^((?:{_NAME} )+): (.*)$")
_BINDER = re.compile(rf"(?:[∀∃λ]!?\s*|\bfun\s+|\()((?:{_NAME}\s*)+)(?=[:,]|=>|↦)")
_GROUND_TYPES = frozenset({"Nat", "ℕ", "Int", "ℤ", "ℚ", "ℝ", "Bool", "MyNat"})

_WORDS = """
    intro intros exact apply refine constructor cases rcases rintro obtain left right exfalso contradiction assumption
    have show from by fun with at using specialize exists use rfl trivial symm subst rw induction revert clear next
    case inl inr mk And Or Iff Not False True Exists Eq absurd id Prop Type Sort Nat ℕ
    zero succ generalizing unfold Ne
"""
TACTIC_WORDS = frozenset(_WORDS.split())
"""Words of tactics that are never a new name. Dotted parts (`.left`) need not be listed."""


@dataclass(frozen=True, slots=True)
class Naming:
    """The names of one state. `to_canonical`: the state's name -> p1, h3, ...; `used`: every identifier in the text."""

    to_canonical: Mapping[str, str]
    used: frozenset[str]
    to_original: Mapping[str, str] = field(repr=False)

    def canonical(self, text: str) -> str:
        """`text` with every declared name replaced; other words are left alone."""
        return IDENTIFIER.sub(lambda match: self.to_canonical.get(match[1], match[1]), text)

    def canonical_tactic(self, tactic: str) -> str:
        """A tactic of this state in canonical names: declared names replaced, new ones as n1, n2, ..."""
        fresh: dict[str, str] = {}

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name in self.to_canonical:
                return self.to_canonical[name]
            if name in TACTIC_WORDS or name == "_":
                return name
            return fresh.setdefault(name, f"n{len(fresh) + 1}")

        return IDENTIFIER.sub(replace, tactic)

    def original_tactic(self, tactic: str) -> str | None:
        """A canonical tactic in the state's own names; None if it speaks of something that the state does not have."""
        fresh: dict[str, str] = {}
        unknown = False
        counter = 0

        def replace(match: re.Match[str]) -> str:
            nonlocal unknown, counter
            name = match[1]
            original = self.to_original.get(name)
            if original is not None:
                unknown |= "✝" in original
                return original
            if not _CANONICAL.fullmatch(name):
                return name
            if name[0] != "n" and name[0] != "y":
                unknown = True  # h9 where there are eight hypotheses
                return name
            if name not in fresh:
                while True:
                    counter += 1
                    candidate = f"h{counter}"
                    if candidate not in self.used:
                        break
                fresh[name] = candidate
            return fresh[name]

        text = IDENTIFIER.sub(replace, tactic)
        return None if unknown else text


_CANONICAL = re.compile(r"[ptxhuyn]\d+")


def declarations(text: str) -> Iterable[tuple[list[str], str]]:
    """(names, first line of their type) of every unindented `a b : T` line, in order, over all goals of a state."""
    for line in text.split("\n"):
        match = _DECLARATION.match(line)
        if match and not line.startswith("⊢"):
            yield match[1].split(), match[2]


def name_state(text: str) -> Naming:
    """Canonical names for a normalised state text (`prover.states.normalise`), one goal or several."""
    classes: dict[str, str] = {}
    over_types: set[str] = set()
    for names, kind in declarations(text):
        head = IDENTIFIER.search(kind)
        head_name = head[1] if head else ""
        if kind == "Prop":
            letter = "p"
        elif kind.startswith(("Type", "Sort")):
            letter = "t"
            over_types.update(names)
        elif head_name in over_types or (head_name in _GROUND_TYPES and "=" not in kind):
            letter = "x"
        else:
            letter = "h"
        for name in names:
            classes.setdefault(name, "u" if "✝" in name else letter)
    for match in _BINDER.finditer(text):
        for name in IDENTIFIER.findall(match[1]):
            classes.setdefault(name, "y")

    to_canonical: dict[str, str] = {}
    counts: dict[str, int] = {}

    def number(name: str, letter: str) -> None:
        counts[letter] = counts.get(letter, 0) + 1
        to_canonical[name] = f"{letter}{counts[letter]}"

    for name, letter in classes.items():  # in the order shown
        if letter != "p":
            number(name, letter)
    used = set()
    body = "\n".join(line for line in text.split("\n") if not line.endswith(" : Prop"))
    for name in IDENTIFIER.findall(body):
        used.add(name)
        if classes.get(name) == "p" and name not in to_canonical:
            number(name, "p")
    for name, letter in classes.items():  # declared and not used
        if name not in to_canonical:
            number(name, letter)
    used.update(classes)
    return Naming(to_canonical, frozenset(used), {canonical: name for name, canonical in to_canonical.items()})

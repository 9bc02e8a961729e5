"""Lean's names, by Lean's own rules (`Lean.isIdFirst`, `Lean.isIdRest`), and which of them a theorem may have here."""

import re

MAX_NAME_BYTES = 200
"""Longest name, in UTF-8 bytes: names become parts of file names."""

# Lean.isLetterLike: accented Latin without × and ÷, Greek without λ Π Σ, Greek extended, letterlike symbols, script and
# fraktur letters. Lean.isSubScriptAlnum: subscript digits and letters, and ⱼ, which stands apart.
LETTERLIKE = "À-ÖØ-öø-ſα-κμ-ωΑ-ΟΡΤ-Ωϊ-ϻἀ-῾℀-⅏\U0001d49c-\U0001d59f"
SUBSCRIPTS = "₀-₉ₐ-ₜᵢ-ᵪⱼ"
PLAIN = rf"[A-Za-z_{LETTERLIKE}][A-Za-z0-9_'!?{LETTERLIKE}{SUBSCRIPTS}]*"
QUOTED = r"«[^»]*»"
NAME = rf"(?:{PLAIN}|{QUOTED})(?:\.(?:{PLAIN}|{QUOTED}))*"
"""Regular expression of an identifier, dotted or not."""

_NAME = re.compile(NAME)
_PLAIN_ASCII = re.compile(r"[A-Za-z][A-Za-z0-9_']*(?:\.[A-Za-z][A-Za-z0-9_']*)*")
_PARTS = re.compile(rf"{PLAIN}|{QUOTED}")


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


_COMMAND_WORDS = """
    theorem example def abbrev axiom opaque instance inductive structure class mutual end namespace section variable
    universe export import public private protected noncomputable unsafe partial attribute macro macro_rules syntax
    elab elab_rules notation infix infixl infixr prefix postfix initialize builtin_initialize set_option local scoped
    declare_syntax_cat omit include lemma prelude run_cmd run_elab run_meta register_option
    """
_OTHER_KEYWORDS = """
    where deriving extends open fun forall exists let have show from suffices if then else match with do by in at using
    return for while unless try catch finally mut calc Prop Type Sort sorry _ nomatch nofun decreasing_by termination_by
    """
# What the embedded Lean accepts as a name: `lemma`, `prelude` and the like are words of libraries, or of no binder.
_SOMETIMES_NAMES = words("lemma prelude run_cmd run_elab run_meta register_option calc exists")
COMMANDS = frozenset(_COMMAND_WORDS.split())
KEYWORDS = COMMANDS.union(_OTHER_KEYWORDS.split()) - _SOMETIMES_NAMES


class TheoremTextError(ValueError):
    """The text is not a theorem's name, statement or source; says what was given and what was expected."""


def is_name(text: str) -> bool:
    """Whether the text has the form of an identifier of Lean's, dotted or not; keywords have it, too."""
    return _NAME.fullmatch(text) is not None


def name_parts(name: str) -> list[str]:
    """The parts between the dots of a name; `«a.b»` is one part."""
    return _PARTS.findall(name)


def unquoted(name: str) -> str:
    """The name without `«` and `»` where a part does not need them."""
    parts = name_parts(name)
    plain = (part[1:-1] if part.startswith("«") else part for part in parts)
    return ".".join(part if re.fullmatch(PLAIN, part) else f"«{part}»" for part in plain)


def check_name(name: str) -> None:
    """Raise TheoremTextError unless `name` can be declared in Lean, is printable and short enough for a file name."""
    if _PLAIN_ASCII.fullmatch(name) and len(name) <= MAX_NAME_BYTES and name not in KEYWORDS:
        return  # as most are; all that follows is about the others
    if not name:
        raise TheoremTextError("is empty; expected a Lean name such as `and_comm`")
    if not is_name(name):
        raise TheoremTextError(
            f"{show(name)} is not a Lean name; expected something like `and_comm` or `Nat.add_comm'`"
        )
    if not name.isprintable():
        raise TheoremTextError(f"{show(name)} is refused: it has a character in it that nobody sees, or a line end")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise TheoremTextError(f"{show(name)} is {len(name.encode())} bytes long; expected at most {MAX_NAME_BYTES}")
    if name in KEYWORDS:
        raise TheoremTextError(f"{show(name)} is a Lean keyword; choose another name, or write `«{name}»`")
    if "«»" in name_parts(name)[:-1]:
        raise TheoremTextError(f"{show(name)} is in the namespace `«»`, which Lean does not allow; give it a name")
    if "_root_" in name_parts(name):
        raise TheoremTextError(f"{show(name)} has `_root_` in it; write the name that the theorem has in the end")


def show(text: str, limit: int = 80) -> str:
    """The text for an error message: one line, shortened, unprintable characters escaped."""
    shown = ascii(text)[1:-1] if any(not c.isprintable() and c != "\n" for c in text) else text.replace("\n", " ")
    return f"`{shown if len(shown) <= limit else shown[: limit - 3] + '...'}`"

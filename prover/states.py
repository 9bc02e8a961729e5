"""Proof-state text as Lean prints it: keys, goal counts, the main goal.

A state's text is Lean's own print-out: goals separated by a blank line, each an optional `case TAG` line, hypothesis
lines (`h : p ∧ q`) and a line that starts with the turnstile `⊢`. The empty text is a finished proof.
"""

import hashlib
import re

KEY_VERSION = "state-key/1"

# What Lean does not print: where there is none of it, only the tags have to go. Several searches for little are faster
# than one for all, and every state of a search comes through here.
# Each begins with what is rare, so that the matcher skips to it, and looks back from there.
_TRAILING_BLANK = re.compile(r"\n(?<=[^\S\n]\n)")
_CASE = r"case (?:(?<=\n\ncase )|(?<=\Acase ))[^\n]*"
_TAG = re.compile(rf"{_CASE}\n")
_ODD_TAG = re.compile(rf"{_CASE}(?:\ncase |\n\n|\Z)")


def _is_odd(text: str) -> bool:
    """Whether `normalise` has to look at each line: the text has blanks or tags where Lean prints none."""
    return (
        "\r" in text
        or "\n\n\n" in text
        or text[:1] == "\n"
        or text[-1:].isspace()
        or _TRAILING_BLANK.search(text) is not None
    )


def normalise(text: str) -> str:
    """The text that a state's key is made of.

    Removed, because no provability depends on it: carriage returns, trailing blanks, blank lines at either end, and the
    `case TAG` line above a goal (the tag says which tactic made the goal, not what has to be proved).
    Kept, because tactics depend on it: hypothesis names, inaccessible daggers (`h✝`), the order of hypotheses and the
    order of goals. So two states that differ in anything a tactic can see, other than a case tag, keep different keys.
    """
    if not _is_odd(text):
        if "case " not in text:
            return text
        if _ODD_TAG.search(text) is None:
            return _TAG.sub("", text)
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    kept: list[str] = []
    at_goal_start = True
    for line in lines:
        if at_goal_start and line.startswith("case "):
            continue
        at_goal_start = line == ""
        if at_goal_start and (not kept or kept[-1] == ""):
            continue
        kept.append(line)
    while kept and kept[-1] == "":
        kept.pop()
    return "\n".join(kept)


def state_key(text: str) -> str:
    """Content address of a state: 32 hex digits of BLAKE2b over the normalised text (see `normalise`)."""
    return hashlib.blake2b(f"{KEY_VERSION}\n{normalise(text)}".encode(), digest_size=16).hexdigest()


def goals_of(text: str) -> list[str]:
    """The goals of a state in Lean's order, main goal first, each without its `case` line."""
    normalised = normalise(text)
    return normalised.split("\n\n") if normalised else []


def count_goals(text: str) -> int:
    """Number of open goals; 0 for the empty text."""
    normalised = normalise(text)
    return normalised.count("\n\n") + 1 if normalised else 0

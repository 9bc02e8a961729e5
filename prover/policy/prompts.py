"""Prompt templates: what the model is shown, and how its completion is read. Named and versioned.

A template's name is part of every fingerprint. A change in wording is a new version: vectors and candidates made with
the old one are then not found, instead of being mixed with new ones.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from prover.policy.naming import Naming, name_state
from prover.states import goals_of, normalise


class PromptTemplate(Protocol):
    """How one family of models is spoken to. All methods are pure functions of the state's text."""

    @property
    def name(self) -> str:
        """Name and version, e.g. `state-tactic/1`."""
        ...

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts of single tokens that end a tactic, beside the tokenizer's end-of-sequence and any line break."""
        ...

    @property
    def add_special_tokens(self) -> bool:
        """Whether the tokenizer adds its own first token (BOS) to the prompt."""
        ...

    def prompt(self, state: str) -> str:
        """What stands before the tactic."""
        ...

    def tactic(self, completion: str, state: str) -> str | None:
        """The tactic in a completion, in the state's own names; None if there is none in it."""
        ...

    @property
    def end(self) -> str | None:
        """What a completion ends with in training; None: the tokenizer's end-of-sequence token."""
        ...

    def completion(self, tactic: str, state: str) -> str:
        """What the model should have said to propose `tactic`, without its end: the inverse of `tactic`."""
        ...

    def encoding_text(self, state: str) -> str:
        """The text whose hidden vectors stand for the whole state."""
        ...

    def shorten(self, state: str) -> str | None:
        """The state without its oldest hypothesis of the main goal; None when there is none left to drop."""
        ...


def main_goal(state: str) -> str:
    """The first goal, without case tag; "" for a finished proof."""
    goals = goals_of(state)
    return goals[0] if goals else ""


def prompt_key(template: PromptTemplate, state: str) -> str:
    """States with the same key get the same candidates: they share the main goal, which is all a prompt is made of.

    Made of the goal in its own names, not of the prompt: two states may share a prompt up to renaming and still need
    their tactics in different names.
    """
    text = f"{template.name}\n{main_goal(state)}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def drop_first_line(goal: str) -> str | None:
    """A goal without its first hypothesis (with that line's continuation lines); None for a bare conclusion."""
    lines = goal.split("\n")
    if lines[0].startswith("⊢"):
        return None
    rest = 1
    while rest < len(lines) and lines[rest].startswith(" "):
        rest += 1
    return "\n".join(lines[rest:]) or None


_NO_SPACE_BEFORE = re.compile(r" (?=[),⟩\]]|\.[^\W\d])")
_NO_SPACE_AFTER = re.compile(r"(?<=[(⟨\[¬←@]) ")


def spaced(words: str) -> str:
    """Words with single spaces between them as Lean would print them: `⟨ h1 , h2 .left ⟩` -> `⟨h1, h2.left⟩`."""
    return _NO_SPACE_AFTER.sub("", _NO_SPACE_BEFORE.sub("", words)).strip()


class StateTactic:
    """`state-tactic/1`, the shipped tiny model's language: canonical names, main goal, `[TAC]`.

    Lines that only declare propositions (`p q : Prop`) are left out: p1, p2, ... are propositions by name. The encoded
    text is all goals in the same canonical names, separated by `[GOAL]`, so that states equal up to renaming get one
    vector.
    """

    name = "state-tactic/1"
    stop: tuple[str, ...] = ()
    add_special_tokens = False
    end = None

    @staticmethod
    @lru_cache(maxsize=4096)
    def _named(goals: str) -> tuple[str, Naming]:
        naming = name_state(goals)
        kept = "\n".join(line for line in goals.split("\n") if not line.endswith(" : Prop"))
        return naming.canonical(kept), naming

    def prompt(self, state: str) -> str:
        """Text to complete: the main goal under canonical names, and the mark after which a tactic follows."""
        return f"{self._named(main_goal(state))[0]}\n[TAC]"

    def tactic(self, completion: str, state: str) -> str | None:
        """The tactic in a completion, in the state's own names; None if there is none."""
        naming = self._named(main_goal(state))[1]
        return naming.original_tactic(spaced(completion)) or None

    def completion(self, tactic: str, state: str) -> str:
        """The completion that means `tactic`: the opposite of `tactic`."""
        return self._named(main_goal(state))[1].canonical_tactic(tactic)

    def encoding_text(self, state: str) -> str:
        """Text whose hidden vectors stand for the state: all goals, under canonical names."""
        text = self._named(normalise(state))[0]
        return text.replace("\n\n", "\n[GOAL]\n")

    def shorten(self, state: str) -> str | None:
        """The state with less in it, for prompts that are too long; None if nothing can be left out."""
        return drop_first_line(main_goal(state))


@dataclass(frozen=True)
class PlainTemplate:
    """A template that shows the main goal in its own names. `wrap` turns the goal's text into the prompt."""

    name: str
    wrap: Callable[[str], str]
    stop: tuple[str, ...]
    add_special_tokens: bool
    indent: str = ""
    """What stands before the tactic on its line."""
    end: str | None = "\n"

    def prompt(self, state: str) -> str:
        """Text to complete: the main goal, wrapped."""
        return self.wrap(main_goal(state))

    def tactic(self, completion: str, state: str) -> str | None:
        """The first line of a completion; None if that is no tactic."""
        line = completion.strip().split("\n", 1)[0].strip()
        return None if not line or line.startswith(("--", "/-", "```")) else line

    def completion(self, tactic: str, state: str) -> str:
        """The completion that means `tactic`: the opposite of `tactic`."""
        return self.indent + tactic

    def encoding_text(self, state: str) -> str:
        """Text whose hidden vectors stand for the state: all goals."""
        return normalise(state)

    def shorten(self, state: str) -> str | None:
        """The state with less in it, for prompts that are too long; None if nothing can be left out."""
        return drop_first_line(main_goal(state))


def goal_as_example(goal: str) -> str:
    """A printed goal restated as a Lean signature: `h : p` lines become binders. A display for a prompt, not for Lean:
    names with a dagger stay as they are, and `x : α := v` keeps its value in the type."""
    binders: list[str] = []
    conclusion: list[str] = []
    for line in goal.split("\n"):
        if line.startswith("⊢") or conclusion:
            conclusion.append(line.removeprefix("⊢").strip())
        elif line.startswith(" ") and binders:
            binders[-1] += " " + line.strip()
        else:
            binders.append(line.strip())
    signature = "".join(f" ({binder})" for binder in binders)
    return f"example{signature} : {' '.join(conclusion)} := by"


def _deepseek_prover_v2(goal: str) -> str:
    statement = goal_as_example(goal)
    return (
        "<｜begin▁of▁sentence｜><｜User｜>Complete the following Lean 4 code:\n\n"
        f"```lean4\n{statement}\n  sorry\n```<｜Assistant｜>```lean4\n{statement}\n"
    )  # the model writes the indentation itself: a prompt that ends in blanks would split its tokens unnaturally


_TEMPLATES: dict[str, PromptTemplate] = {
    template.name: template
    for template in (
        StateTactic(),
        # DeepSeek-Prover-V2 (7B, 671B), the model card's format without a proof plan: the turn markers are the
        # tokenizer's own, and the answer is opened up to the place where the first tactic stands.
        PlainTemplate("deepseek-prover-v2/1", _deepseek_prover_v2, ("```",), add_special_tokens=False, indent="  "),
        # The format of models fine-tuned on (state, tactic) pairs in the manner of GPT-f and llmstep.
        PlainTemplate(
            "goal-proofstep/1",
            "[GOAL]{}[PROOFSTEP]".format,
            ("[GOAL]", "[PROOFSTEP]"),
            add_special_tokens=True,
            end=None,
        ),
        # Any code model that was never trained on states: the state as a comment above the next line of a proof.
        PlainTemplate("state-comment/1", "/- Lean 4 proof state:\n{}\n-/\n".format, (), True, indent="  "),
    )
}


def template_names() -> list[str]:
    """Names of all templates, sorted."""
    return sorted(_TEMPLATES)


def get_template(name: str) -> PromptTemplate:
    """The template called `name`; ValueError with the known names otherwise."""
    try:
        return _TEMPLATES[name]
    except KeyError:
        raise ValueError(f"unknown prompt template {name!r}; known: {', '.join(template_names())}") from None

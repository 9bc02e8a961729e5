"""Prompt templates: what the model is shown, and how its completion is read. Named and versioned.

A template's name is part of every fingerprint. A change in wording is a new version: vectors and candidates made with
the old one are then not found, instead of being mixed with new ones.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from prover.policy.context import in_context
from prover.policy.goals import drop_first_line, main_goal
from prover.policy.naming import Naming, name_state
from prover.policy.template_file import CONTEXT_VARIABLES, STATE_VARIABLES, SUFFIX, FileTemplate, read_template
from prover.settings import nearest
from prover.states import normalise

TEMPLATES_FOLDER = Path(__file__).parent / "templates"
STATE_COMMENT = "state-comment/1"
"""For models that no other template is for."""
_ENCODER_DECODERS = ("byt5", "reprover")
ENCODER_DECODER = (
    "{} is an encoder-decoder (ReProver's ByT5 is one), which this product does not run: its policies are causal "
    "language models, whose hidden states it reads. Use a causal step prover, such as BFS-Prover"
)


class PromptTemplate(Protocol):
    """How one family of models is spoken to. All methods are pure functions of the state's text, and of its context
    where `variables` says so (`prover.policy.context.StateText`)."""

    @property
    def name(self) -> str:
        """Name and version, e.g. `state-tactic/1`."""
        ...

    @property
    def variables(self) -> frozenset[str]:
        """What the prompt shows, of `prover.policy.template_file.VARIABLES`."""
        ...

    @property
    def several_tactics(self) -> bool:
        """Whether a whole answer, of several lines, is one step; else its first line is."""
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


def prompt_key(template: PromptTemplate, state: str) -> str:
    """States with the same key get the same candidates: they share everything that their prompts show.

    For most templates that is the main goal. Made of the goal in its own names, not of the prompt: two states may share
    a prompt up to renaming and still need their tactics in different names.
    """
    shown = [template.name, normalise(state) if template.variables & STATE_VARIABLES else main_goal(state)]
    place = in_context(state)
    context = {"name": place.name, "header": place.header.strip(), "history": "\n".join(place.history)}
    shown += [f"{name}\n{context[name]}" for name in sorted(template.variables & CONTEXT_VARIABLES)]
    return hashlib.blake2b("\n".join(shown).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


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
    variables: frozenset[str] = frozenset({"goal"})
    several_tactics = False
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


def _built_in() -> dict[str, PromptTemplate]:
    """The shipped model's own template and those of `templates/`, by name."""
    files = [read_template(path) for path in sorted(TEMPLATES_FOLDER.glob(f"*{SUFFIX}"))]
    return {"state-tactic/1": StateTactic(), **{template.name: template for template in files}}


@lru_cache(maxsize=1)
def _templates() -> dict[str, PromptTemplate]:
    return _built_in()


def template_names() -> list[str]:
    """Names of all built-in templates, sorted."""
    return sorted(_templates())


def get_template(name: str) -> PromptTemplate:
    """The built-in template called `name`, or the one in the file of that name (`FILE.jinja`).

    Raises ValueError with the known names, and TemplateFileError (a ValueError) for a file that cannot be used.
    """
    if name in _templates():
        return _templates()[name]
    if name.endswith(SUFFIX):
        return read_template(Path(name).expanduser())
    raise ValueError(
        f"unknown prompt template {name!r}; {nearest(name, template_names())} A file of your own must end in {SUFFIX}"
    )


def template_for(*model_names: str) -> str | None:
    """Name of the built-in template for a model of one of these names; None where no template is known for them.

    Raises ValueError for a model that no causal policy can be made of.
    """
    for given in filter(None, model_names):
        name = given.lower()
        if any(part in name for part in _ENCODER_DECODERS):
            raise ValueError(ENCODER_DECODER.format(given))
        for template in _templates().values():
            if isinstance(template, FileTemplate) and any(part in name for part in template.head.models):
                return template.name
    return None


def template_identity(template: PromptTemplate) -> str:
    """What a fingerprint says of a template: the name of a built-in one, name and digest of a user's own."""
    if _templates().get(template.name) == template or not isinstance(template, FileTemplate):
        return template.name
    return f"{template.name} {hashlib.sha256(template.text.encode()).hexdigest()}"

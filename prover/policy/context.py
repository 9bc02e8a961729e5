"""A state's text that also knows where it stands: for prompts that show the theorem's name, header or history."""

from typing import Self


class StateText(str):
    """A proof state's text with its theorem's name and header and the tactics so far.

    It is the text, wherever a text is expected. Only a prompt template that asks for more looks at the rest.
    """

    name: str
    """Name of the theorem; "" where it is not known."""
    header: str
    """What stands above the theorem in its file."""
    history: tuple[str, ...]
    """Tactics from the root to this state, in order."""

    def __new__(cls, text: str, *, name: str = "", header: str = "", history: tuple[str, ...] = ()) -> Self:
        made = super().__new__(cls, text)
        made.name, made.header, made.history = name, header, history
        return made

    def with_text(self, text: str) -> Self:
        """Another text in the same place, e.g. one with fewer hypotheses."""
        return type(self)(text, name=self.name, header=self.header, history=self.history)


def in_context(state: str) -> StateText:
    """`state` itself where it has a context, else the text in an empty one."""
    return state if isinstance(state, StateText) else StateText(state)

"""What a trace is, and the text of its states."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prover.states import normalise

NO_GOALS = ("no goals", "no goals.", "goals accomplished", "goals accomplished 🎉", "goals accomplished!")
"""What others write for a finished proof (compared in lower case); ours is the empty text."""


class TraceError(ValueError):
    """A trace that cannot be used. `field` names the part at fault; the message says what was found and expected."""

    def __init__(self, field: str | None, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(message if field is None else f"field `{field}`: {message}")


class Step(NamedTuple):
    """One tactic: the whole state before it, its text, and the whole state after it ("" when no goals are left)."""

    before: str
    tactic: str
    after: str


@dataclass(frozen=True, slots=True)
class Trace:
    """The steps of one proof, in order. The first step's `before` is the root."""

    name: str
    steps: tuple[Step, ...]
    statement: str = ""
    """The Lean signature, "" where the file does not say it."""
    header: str = ""
    certified: bool = False
    """Our Lean has elaborated the whole proof against the statement and accepted it."""
    proof: tuple[str, ...] | None = None
    """The certified script, where there is one."""
    log_probs: tuple[float, ...] = field(default=())
    """Of each step's tactic, nats; empty where the file has none."""
    remaining: tuple[tuple[str, int], ...] = field(default=())
    """(state, tactics left) where the file says so; what the steps themselves show comes first."""


def state_text(text: str) -> str:
    """A foreign state as Lean prints it now: Unix line ends, no trailing blanks, "" when no goals are left.

    Raises TraceError for text that is no proof state: without a turnstile in each goal, or with an invisible character.
    """
    if text.strip().lower() in ("", *NO_GOALS):
        return ""
    cleaned = text.replace("\r\n", "\n").replace("\r", "\n")
    bad = next((c for c in cleaned if ord(c) < 32 and c not in "\n\t"), None)
    if bad is not None:
        raise TraceError(None, f"holds the control character U+{ord(bad):04X}; expected a printed proof state")
    try:
        cleaned.encode("utf-8")
    except UnicodeEncodeError:
        raise TraceError(None, "holds half of a character (a lone surrogate); expected UTF-8 text") from None
    lines = [line.rstrip() for line in cleaned.split("\n")]
    goals = [goal.strip("\n") for goal in re.split(r"\n(?:[ \t]*\n)+", "\n".join(lines).strip("\n"))]
    for goal in goals:
        if not re.search(r"^⊢ ?\S?", goal, re.MULTILINE):
            shown = " ".join(goal.split())[:80]
            raise TraceError(None, f"has a goal without a line that begins with `⊢`: `{shown}`")
    return "\n\n".join(goals)


def goals(text: str) -> list[str]:
    """The goals of a state in order, each with its `case` line; [] for a finished one."""
    return text.split("\n\n") if text else []


def bare(goal: str) -> str:
    """A goal without its `case` line: what tells two goals apart."""
    return normalise(goal)


def goal_text(hypotheses: Iterable[tuple[Sequence[str], str, str | None]], target: str, tag: str | None) -> str:
    """A goal as Lean prints it: hypotheses are (names, type, value or None).

    Lean prints neighbours of one type on one line (`p q : Prop`) unless they have a value; so does this.
    """
    lines: list[str] = [f"case {tag}"] if tag else []
    pending: list[str] = []
    pending_type = ""

    def put_pending() -> None:
        if pending:
            gap = "" if pending_type.startswith("\n") else " "
            lines.append(f"{' '.join(pending)} :{gap}{pending_type}")
            pending.clear()

    for names, kind, value in hypotheses:
        if value is not None:
            put_pending()
            lines += [f"{name} : {kind} := {value}" for name in names]
            continue
        if kind != pending_type:
            put_pending()
        pending_type = kind
        pending += names
    put_pending()
    return "\n".join([*lines, f"⊢ {target}"])


_HYPOTHESIS = re.compile(r"(?P<names>[^\s:()\[\]{}⊢]+(?: [^\s:()\[\]{}⊢]+)*) :(?P<rest>[ \n].*)", re.DOTALL)


def regroup(goal: str) -> str:
    """A goal with a hypothesis per line, with neighbours of one type on one line, as Lean prints them.

    A goal in which a line cannot be read as `names : type` is left as it is.
    """
    lines = goal.split("\n")
    tag = lines.pop(0).removeprefix("case ") if lines and lines[0].startswith("case ") else None
    entries: list[str] = []
    target: list[str] = []
    for line in lines:
        if target or line.startswith("⊢"):
            target.append(line)
        elif line.startswith((" ", "\t")) and entries:
            entries[-1] += "\n" + line
        else:
            entries.append(line)
    hypotheses: list[tuple[Sequence[str], str, str | None]] = []
    for entry in entries:
        match = _HYPOTHESIS.fullmatch(entry)
        if match is None:
            return goal
        names, rest = match["names"].split(), match["rest"].removeprefix(" ")
        if " := " in rest or ":=\n" in rest:  # a `let` variable: never joined with a neighbour
            kind, _, value = rest.partition(" := ")
            hypotheses.append((names, kind, value))
        else:
            hypotheses.append((names, rest, None))
    return goal_text(hypotheses, "\n".join(target).removeprefix("⊢ "), tag)


def linear(name: str, rows: Sequence[Step], **fields: object) -> list[Trace]:
    """Traces from rows in the order of the proof, in which a state may show the goals in focus alone.

    Inside `·` or `case` Lean prints the goal in focus alone, and so do the traces made from it; a search, which knows
    no focus, sees the other goals behind it. So the goals out of focus are added, and the states have the keys of
    searched states. A tactic that works on all goals is then wrapped in `focus`. Rows that start from a goal which no
    row before left open (the body of a `have`, say) begin a trace of their own, named `NAME#2`, `NAME#3`, ...
    """
    chains: list[list[Step]] = []
    left_open: list[list[str]] = []  # by each chain
    for before, tactic, after in rows:
        wanted = goals(before)
        if not wanted:
            raise TraceError("state_before", "has no goals, so that no tactic can follow")
        place, at = _place(left_open, wanted)
        if place == len(chains):
            chains.append([])
            left_open.append(list(wanted))
        present = left_open[place]
        if at:  # the goal is not the first: Lean's own tactic brings it there
            present = present[at:] + present[:at]
            chains[place].append(Step("\n\n".join(left_open[place]), f"rotate_left {at}", "\n\n".join(present)))
        hidden = present[len(wanted) :]
        left_open[place] = goals(after) + hidden
        text = f"focus ({tactic})" if hidden and _TAKES_ALL.search(tactic) else tactic
        chains[place].append(Step("\n\n".join(wanted + hidden), text, "\n\n".join(left_open[place])))
    names = [name, *(f"{name}#{number}" for number in range(2, len(chains) + 1))]
    return [Trace(names[i], tuple(chain), **(fields if i == 0 else {})) for i, chain in enumerate(chains)]  # type: ignore[arg-type]


def _place(left_open: Sequence[Sequence[str]], wanted: Sequence[str]) -> tuple[int, int]:
    """(chain, position among its open goals) of the goals that a row begins with; a new chain where none has them.

    The latest chain comes first, for what stands inside a block belongs to it.
    """
    keys = [bare(goal) for goal in wanted]
    for place in range(len(left_open) - 1, -1, -1):
        present = [bare(goal) for goal in left_open[place]]
        for at in range(len(present) - len(keys) + 1):
            if present[at : at + len(keys)] == keys:
                return place, at
    return len(left_open), 0


_TAKES_ALL = re.compile(r"\b(?:all_goals|any_goals|iterate|repeat|rotate_left|rotate_right|swap|pick_goal|done)\b")

"""The Lean text of a wave, and the reading of Lean's answer: pure functions, no process.

A *trial* is one theorem that replays a tactic prefix and then tries candidates, each inside an alternative that always
fails, so that Lean backtracks before the next one:

    theorem _proverTrial0 (p q : Prop) (h : p ∧ q) : q ∧ p := by
      <prefix tactics>
      first
      | (<candidate>
        )
        trace_state
        fail
      ...
      | all_goals sorry

The message of `trace_state` survives the backtracking and is the state after the candidate (empty: no goals left). The
parentheses make a candidate complete by itself: text such as `intro h <;>` cannot reach for our next line. The final
`sorry` gives the warning by which we know that Lean came to the end of the trial. It is no `example`: that would see
every `variable` of the header, and a theorem sees those only that its statement is about.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from prover.environments.script.premises import split_head
from prover.json_types import JsonObject
from prover.theorem_text import join_headers
from prover.theorems import Theorem

HEAD, PREFIX, TAIL = -1, -2, -3
"""Slots of a trial's lines that belong to no candidate."""

TRIAL_NAME = "_proverTrial"
"""Begins the names of trials; the refusal list knows it."""

COPY_LEMMA = "def proverCopy.{x} {α : Sort x} (a _ : α) : α := a"
"""Turns one goal into two equal ones."""

_RUNTIME_LIMIT = re.compile(r"\(deterministic\) timeout|maximum number of heartbeats|maximum recursion depth")
_LOGS_ERRORS = re.compile(
    r"(?<![\w.])(?:rename_i|next|case'?|conv|match|nomatch|nofun|if)\b"
    r"|\brintro\b[^\n]*\?"
    r"|(?:\b(?:fun|have|let|intro)\b|λ)\s*[(⟨|.]"
)
_TAKES_APART = re.compile(r"\b(?:obtain|rcases)\b")
# A pattern that says what kind of thing a name is fails where there is no such name. Any other value that does not
# elaborate becomes a hypothesis of an unknown type: `obtain h := no_such_lemma x`.
_PATTERN = r"(?:⟨[\w✝' ,⟨⟩|-]*|[\w✝']+ *\|[\w✝' ,⟨⟩|-]*)"
_PLAIN_TAKES_APART = re.compile(rf"(?:obtain +{_PATTERN} *:= *[\w✝']+|rcases +[\w✝']+ +with +{_PATTERN})")
# A field of something whose type is left open, such as `(id _).elim`.
_FIELD_OF_UNKNOWN = re.compile(r"(?=.*(?<![\w.'])(?:_|\?\w*)(?![\w'])).*\)\.\w", re.DOTALL)
_PLAIN_CLOSER = re.compile(
    r"(?:assumption|contradiction|trivial|rfl|(?:exact|apply|refine) (?!.*(?:\bby\b|\(\d))[\w.' ⟨⟩(),]+)"
)
_DOUBTFUL = re.compile(r"\A(?:[^a-z(·{<]|\w*\d\b)|\bwith\s+(?:\||with\b)")
_LAST_PART = re.compile(r"(^|\.)(?:«[^«»]*»|[^.«»]+)$")
_SETS_HEARTBEATS = re.compile(r"^\s*set_option\s+maxHeartbeats\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Slot:
    """A candidate: where its outcome belongs (`row`, `column` of the answer) and its text."""

    row: int
    column: int
    tactic: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One theorem. `round`: how often its candidates have been tried; `alone`: a process for this trial only.

    `wild`: its one candidate might declare something that outlasts it, if it does not parse.
    """

    theorem: Theorem
    prefix: tuple[str, ...]
    slots: tuple[Slot, ...]
    round: int = 0
    alone: bool = False
    wild: bool = False


@dataclass(slots=True)
class TrialAnswer:
    """What Lean said about one trial."""

    traces: dict[int, list[str]] = field(default_factory=dict)
    """State texts printed after a candidate, by its position among the trial's slots."""
    errors: dict[int, list[str]] = field(default_factory=dict)
    """Error messages by candidate position, or under HEAD, PREFIX, TAIL."""
    finished: bool = False
    """Lean elaborated the trial to its last line (or complained about it, which it does at its end)."""

    def first_error(self, slot: int) -> str:
        """Lean's first error for a candidate; empty if there is none."""
        return self.errors[slot][0] if self.errors.get(slot) else ""


def hit_limit(message: str) -> bool:
    """Whether an error message says that heartbeats or recursion depth ran out, rather than that a tactic failed."""
    return _RUNTIME_LIMIT.search(message) is not None


def left_open(message: str) -> bool:
    """Whether an error message says that a value, such as the `x` of an applied `∀ x`, was never determined."""
    return "declaration has metavariables" in message or message.startswith("don't know how to synthesize")


def may_log_errors(tactic: str, *, complete: bool) -> bool:
    """Whether a tactic may complain and go on all the same: backtracking loses what it said.

    What would complete a proof is trusted only in its plainest forms.
    """
    return (
        _LOGS_ERRORS.search(tactic) is not None
        or (_TAKES_APART.search(tactic) is not None and not _PLAIN_TAKES_APART.fullmatch(tactic.strip()))
        or _FIELD_OF_UNKNOWN.match(tactic) is not None
        or (complete and not _PLAIN_CLOSER.fullmatch(tactic))
    )


def may_not_parse(tactic: str) -> bool:
    """Whether a tactic looks as if Lean could not read it: it begins like no tactic, or its patterns do.

    A guess, which decides nothing but the order of candidates: one that does not parse ends its theorem, and all that
    come behind it have to be tried again, in another process.
    """
    return _DOUBTFUL.search(clean(tactic)) is not None


def uses_sorry(message: JsonObject) -> bool:
    """Whether this is Lean's warning about `sorry` (older versions quote the word and do not name the kind)."""
    return (
        message.get("kind") == "hasSorry" or re.match(r"declaration uses ['`]sorry", str(message["data"])) is not None
    )


def clean(tactic: str) -> str:
    """Tactic text as it is pasted: Unix line ends, no blank lines around it, no trailing blanks."""
    lines = [line.rstrip() for line in tactic.replace("\r\n", "\n").split("\n")]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    margin = len(lines[0]) - len(lines[0].lstrip(" ")) if lines else 0
    return "\n".join(line[margin:] if line[:margin].isspace() else line for line in lines)


def indented(tactic: str, spaces: int) -> list[str]:
    """The lines of a tactic, all moved right by the same amount."""
    return [" " * spaces + line if line else "" for line in clean(tactic).split("\n")]


def file_head(preamble: str, header: str, max_heartbeats: int | None) -> list[str]:
    """First lines of a file: the Lean's preamble, the theorems' header, a limit unless the header sets its own."""
    lines = join_headers(*split_head(preamble, header)).splitlines()  # both may declare the same universe
    if max_heartbeats is not None and not _SETS_HEARTBEATS.search(header):
        lines.append(f"set_option maxHeartbeats {max_heartbeats}")
    return lines


def wave_head(preamble: str, header: str, max_heartbeats: int) -> list[str]:
    """`file_head` for a wave.

    Without the linters, which have nothing to say that a wave would read; with the errors of a theorem that does not
    parse to its end: one of them may say that an earlier candidate used up the budget.
    """
    head = file_head(preamble, header, max_heartbeats)
    return [*head, "set_option linter.all false", "set_option showPartialSyntaxErrors true"]


class WaveText:
    """Builds a file of trials and remembers which line belongs to which trial and candidate."""

    def __init__(self, head: Sequence[str]) -> None:
        self._lines = list(head)
        self._starts: list[int] = [0]
        self._owners: list[tuple[int, int]] = [(-1, HEAD)]
        self._trace_lines: dict[int, tuple[int, int]] = {}
        self._head_lines: dict[int, int] = {}
        self.trials = 0

    def _mark(self, slot: int) -> None:
        self._starts.append(len(self._lines) + 1)
        self._owners.append((self.trials, slot))

    def _trace(self, indent: int, slot: int) -> None:
        self._lines.append(" " * indent + "trace_state")
        self._trace_lines[len(self._lines)] = (self.trials, slot)

    def add(self, trial: Trial) -> None:
        """A trial that steps candidates."""
        self._replay(trial)
        self._lines.append("  first")
        for position, slot in enumerate(trial.slots):
            self._mark(position)
            body = indented(slot.tactic, 5)
            self._lines += [f"  | ({body[0][5:]}", *body[1:], "    )"]
            self._trace(4, position)
            self._lines.append("    fail")
        self._close("  | all_goals sorry")

    def add_confirmed(self, trial: Trial) -> None:
        """A trial whose first candidate follows its prefix as in a finished script, so that errors it logs are kept."""
        self._replay(trial)
        self._mark(0)
        self._lines += indented(trial.slots[0].tactic, 2)
        self._close()

    def add_explained(self, trial: Trial) -> None:
        """A trial whose candidates are all known to fail: each on a copy of the main goal, so that Lean reports why.

        Needs `COPY_LEMMA` above. A failing block of the focusing dot logs its error and lets the next block go on.
        """
        self._replay(trial)
        n_copies = len(trial.slots)
        self._lines.append(f"  refine {'proverCopy ?_ (' * n_copies}?_{')' * n_copies}")
        for position, slot in enumerate(trial.slots):
            self._mark(position)
            body = indented(slot.tactic, 5)
            self._lines += [f"  · ({body[0][5:]}", *body[1:], "    )"]
        self._close()

    def add_root(self, theorem: Theorem) -> None:
        """A trial that only states the theorem and prints its first state."""
        self._open(theorem)
        self._mark(0)
        self._trace(2, 0)
        self._close()

    def add_names(self, theorems: Sequence[Theorem]) -> None:
        """After a root trial of each of these theorems: declare its name, for Lean to say if it cannot.

        Not before all are stated, so that none is there for another to be read with.
        """
        for number, theorem in enumerate(theorems):
            self._starts.append(len(self._lines) + 1)
            self._owners.append((number, HEAD))
            self._lines.append(f"axiom {theorem.written_name} : Prop")

    def _replay(self, trial: Trial) -> None:
        self._open(trial.theorem)
        self._mark(PREFIX)
        for tactic in trial.prefix:
            self._lines += indented(tactic, 2)

    def _open(self, theorem: Theorem) -> None:
        self._mark(HEAD)
        self._head_lines[len(self._lines) + 1] = self.trials
        self._lines += f"theorem {self._name(theorem)} {theorem.statement} := by".splitlines()

    def _name(self, theorem: Theorem) -> str:
        """A name of this trial's own in the theorem's namespace, so that Lean reads the two alike.

        An underscore begins it, for then nothing that searches lemmas finds it (what is stated here, nobody proved).
        """
        return _LAST_PART.sub(rf"\g<1>{TRIAL_NAME}{self.trials}", theorem.written_name)

    def _close(self, ending: str = "  all_goals sorry") -> None:
        self._mark(TAIL)
        self._lines += [ending, ""]
        self.trials += 1

    @property
    def text(self) -> str:
        """The Lean file of the wave."""
        return "\n".join(self._lines) + "\n"

    def read(self, messages: Sequence[JsonObject]) -> tuple[list[TrialAnswer], list[str]]:
        """(an answer a trial, errors about the file's head) from Lean's messages about `text`."""
        answers = [TrialAnswer() for _ in range(self.trials)]
        head_errors: list[str] = []
        unplaced: list[str] = []
        for message in messages:
            line = message["pos"].get("line", 0)
            severity, data = message.get("severity"), str(message["data"])
            if severity == "information" and line in self._trace_lines:
                trial, slot = self._trace_lines[line]
                answers[trial].traces.setdefault(slot, []).append(data)
            elif severity == "error":
                trial, slot = self._owners[bisect_right(self._starts, line) - 1]
                if trial < 0:
                    at_start = line == 1 and message["pos"].get("column") == 0
                    (unplaced if at_start else head_errors).append(data)
                else:
                    answers[trial].errors.setdefault(slot, []).append(data)
                    answers[trial].finished = True
            elif severity == "warning" and line in self._head_lines and uses_sorry(message):
                answers[self._head_lines[line]].finished = True
        # Of what does not parse, Lean may not know where it is, and says that it is where the file begins.
        if not any(answer.errors for answer in answers):
            head_errors = unplaced + head_errors
        return answers, head_errors

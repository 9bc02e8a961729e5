"""What a reply of the Lean REPL says, as a type. Pure functions over raw JSON replies; no process, no lean-interact.

The trap this module is about: `"goals": []` is not a proof. The REPL empties the goal list also when a tactic failed
and Lean's error recovery admitted the goal, when the term still has holes, when `sorry` closed it and when the kernel
turned the term down. Only `"proofStatus": "Completed"`, with no error message and no sorry, is a claim.

Replies come in three shapes (field names are the REPL's; empty lists are left out):
    tactic   {"proofState": 3, "goals": [...], "proofStatus": "...", "messages": [...], "sorries": [...]}
    command  {"env": 1, "messages": [...], "sorries": [{"proofState": 0, "goal": "...", "pos": ...}]}
    error    {"message": "..."}
A reply that is an error and an answer at once is neither. REPLs made before March 2025 have no `proofStatus`; an empty
goal list of theirs is never a claim.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from prover.json_types import JsonList, JsonObject


class ServerFailure(Exception):
    """There is no reply, and the server can no longer be used; says nothing about what was asked."""


class ServerUnusable(ServerFailure):
    """The server was found dead, or out of step, before the request was sent: nothing was tried."""


class ServerTimedOut(ServerFailure):
    """No reply within the wall-clock limit of the call."""


@dataclass(frozen=True, slots=True)
class OpenGoals:
    """The tactic was accepted and goals remain. `proof_state` names the new state inside the process that answered."""

    goals: tuple[str, ...]
    proof_state: int

    @property
    def text(self) -> str:
        """The state as this project writes it: the goals, Lean's own print-out, joined by a blank line."""
        return "\n\n".join(self.goals)


@dataclass(frozen=True, slots=True)
class Finished:
    """A claim: no goals, accepted by the kernel, no error, no sorry. Certification has the last word."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A header was elaborated; `env` names the environment after it inside the process that answered."""

    env: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Lean turned the tactic (or the statement) down; `message` is Lean's."""

    message: str


@dataclass(frozen=True, slots=True)
class LimitReached:
    """Lean stopped at its own limit (heartbeats, recursion, the REPL's own clock)."""

    message: str


@dataclass(frozen=True, slots=True)
class StateLost:
    """The process does not know the state or environment that was named: rebuild it; the tactic was not tried."""

    message: str


@dataclass(frozen=True, slots=True)
class Garbled:
    """Not a reply of the REPL, or one that contradicts itself."""

    message: str


TacticVerdict = OpenGoals | Finished | Failed | LimitReached | StateLost | Garbled
RootVerdict = OpenGoals | Failed | LimitReached | StateLost | Garbled
HeaderVerdict = Loaded | Failed | LimitReached | StateLost | Garbled

COMPLETED = "Completed"

_LIMIT = re.compile(
    r"\(deterministic\) timeout"  # heartbeats: "(deterministic) timeout at `whnf`, maximum number of heartbeats ..."
    r"|\(kernel\) deterministic timeout"
    r"|maximum number of heartbeats"
    r"|maximum recursion depth has been reached"
    r"|\(kernel\) deep recursion"
    r"|\(kernel\) (excessive memory consumption|interrupted)"
    r"|\AOperation timed out"  # a REPL built with its own clock
)
_LOST = re.compile(r"\AUnknown (proof state|environment|incremental state)\b", re.IGNORECASE)
_NOT_A_REQUEST = re.compile(r"\ACould not parse\b")
# In old and new quotation marks, and in the words of REPLs that add a warning of their own.
_SORRY_WARNING = re.compile(r"declaration uses [`'‘]?sorry|\AProof contains sorry")
_NOT_ERRORS = frozenset({"trace", "info", "information", "warning"})
_ERROR_PREFIX = "Lean error:\n"
_ANSWER_FIELDS = frozenset({"goals", "proofState", "proofStatus", "env"})
_SEQUENCE = re.compile(r"\A<input>:\d+:\d+: expected end of input")


def classify_reply(reply: object) -> TacticVerdict:
    """Verdict on the reply to one tactic. Never raises: what is not a tactic reply is `Garbled`."""
    if not isinstance(reply, Mapping):
        return Garbled(f"expected a JSON object, got {type(reply).__name__}")
    if _is_error_reply(reply):
        return _error_verdict(reply["message"])
    malformed = _malformed(reply)
    if malformed is not None:
        return Garbled(malformed)
    goals, status = reply.get("goals"), reply.get("proofStatus")
    if not _is_list_of(goals, str):
        return Garbled(f"expected `goals` to be a list of texts, got {_short(goals)}")
    if status is not None and not isinstance(status, str):
        return Garbled(f"expected `proofStatus` to be text, got {_short(status)}")

    errors = error_messages(reply)
    if errors:
        return _failure("\n".join(errors))
    if uses_sorry(reply):
        return Failed("the tactic leaves a gap: sorry")
    if goals:
        if not all(goal.strip() for goal in goals):
            return Garbled("an open goal is blank")
        if status == COMPLETED:
            return Garbled(f"`proofStatus` is {COMPLETED}, but {len(goals)} goals are listed")
        if status is not None and status.startswith("Error"):
            return _failure(status)
        proof_state = reply.get("proofState")
        if not _is_id(proof_state):
            return Garbled(f"expected `proofState` to be a number, got {_short(proof_state)}")
        return OpenGoals(tuple(goals), proof_state)
    if status is None:
        return Failed(
            "no goals are listed, but this REPL reports no proofStatus, so that is not a proof; use a newer REPL"
        )
    if status != COMPLETED:
        return _failure(f"no goals are listed, but the proof is not complete: {status}")
    return Finished()


def classify_root(reply: object) -> RootVerdict:
    """Verdict on the reply to `theorem NAME STATEMENT := by sorry`: exactly one gap, and nothing wrong beside it."""
    wrong = _command_failure(reply)
    if wrong is not None:
        return wrong
    assert isinstance(reply, Mapping)
    sorries = reply.get("sorries") or []
    if len(sorries) != 1:
        return Failed(f"expected one open proof, got {len(sorries)}; a statement must not contain sorry")
    goal, proof_state = sorries[0].get("goal"), sorries[0].get("proofState")
    if not isinstance(goal, str) or not goal.strip() or not _is_id(proof_state):
        return Garbled(f"expected the open proof to have a goal and a proof state, got {_short(sorries[0])}")
    return OpenGoals((goal,), proof_state)


def classify_header(reply: object) -> HeaderVerdict:
    """Verdict on the reply to a theorem's header (imports, opens, options)."""
    wrong = _command_failure(reply)
    if wrong is not None:
        return wrong
    assert isinstance(reply, Mapping)
    env = reply.get("env")
    return Loaded(env) if _is_id(env) else Garbled(f"expected `env` to be a number, got {_short(env)}")


def needs_sequence_brackets(verdict: TacticVerdict) -> bool:
    """True when the REPL, which parses one tactic, stopped after the first of several (`t; u`, or two lines)."""
    return isinstance(verdict, Failed) and _SEQUENCE.match(verdict.message) is not None


def file_messages(reply: JsonObject) -> list[JsonObject]:
    """The reply to a whole file as `lean --json` would have printed it: what certification reads.

    A sorry that the reply lists, or a message of a kind that is not understood, becomes an error.
    """
    wrong = _command_failure(reply)
    found: list[JsonObject] = []
    if wrong is not None:
        found.append({"severity": "error", "pos": {"line": 0, "column": 0}, "data": wrong.message})
    elif uses_sorry(reply):
        found.append({"severity": "error", "pos": {"line": 0, "column": 0}, "data": "the file uses `sorry`"})
    for message in reply.get("messages") or []:
        if isinstance(message, Mapping) and message.get("severity") in _NOT_ERRORS:
            severity = "information" if message["severity"] == "info" else message["severity"]
            found.append({"pos": {"line": 0, "column": 0}, "data": "", **message, "severity": severity})
    return found


def error_messages(reply: JsonObject) -> list[str]:
    """Texts of the reply's messages that are errors, in order; a severity that nobody knows counts as one."""
    return [str(m.get("data", "")) for m in reply.get("messages") or [] if m.get("severity") not in _NOT_ERRORS]


def uses_sorry(reply: JsonObject) -> bool:
    """True when the reply lists a sorry, or says in a message or in its status that there is one."""
    if reply.get("sorries"):
        return True
    messages = reply.get("messages") or []
    if any(m.get("severity") != "info" and _SORRY_WARNING.search(str(m.get("data", ""))) for m in messages):
        return True
    status = reply.get("proofStatus")
    return isinstance(status, str) and "sorry" in status and not status.startswith("Error")


def _command_failure(reply: object) -> Failed | LimitReached | StateLost | Garbled | None:
    """What is wrong with the reply to a command; None when it was elaborated without error."""
    if not isinstance(reply, Mapping):
        return Garbled(f"expected a JSON object, got {type(reply).__name__}")
    if _is_error_reply(reply):
        return _error_verdict(reply["message"])
    malformed = _malformed(reply)
    if malformed is not None:
        return Garbled(malformed)
    errors = error_messages(reply)
    return _failure("\n".join(errors)) if errors else None


def _error_verdict(message: str) -> Failed | LimitReached | StateLost | Garbled:
    if _LOST.match(message):
        return StateLost(message)
    if _NOT_A_REQUEST.match(message):
        return Garbled(message)
    return _failure(message.removeprefix(_ERROR_PREFIX))


def _failure(message: str) -> Failed | LimitReached:
    return LimitReached(message) if _LIMIT.search(message) else Failed(message)


def _is_error_reply(reply: JsonObject) -> bool:
    """A text `message`, and nothing that only an answered request has (other REPLs add fields beside it)."""
    return isinstance(reply.get("message"), str) and not _ANSWER_FIELDS.intersection(reply)


def _malformed(reply: JsonObject) -> str | None:
    """What is wrong with the fields of an answer that every verdict reads; None when nothing is."""
    if reply.get("message") is not None:
        return f"it is an error and an answer at once: `message` is {_short(reply['message'])}"
    for field in ("messages", "sorries"):
        value = reply.get(field)
        if value is not None and not _is_list_of(value, Mapping):
            return f"expected `{field}` to be a list of objects, got {_short(value)}"
    return None


def _is_list_of(value: object, kind: type) -> TypeGuard[JsonList]:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _short(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."

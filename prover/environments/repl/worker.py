"""One worker of the REPL environment: a server, the states it knows, and how they are rebuilt.

A state's number inside the REPL means nothing in another process, and after a restart an old number may name another
theorem's state without any error. So a number is kept as a `Handle` with the generation of the process that gave it,
is used in that generation only, and a state without a handle is rebuilt by replaying its tactics from the theorem.
"""

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from prover.environments.base import (
    Complete,
    Crashed,
    Failure,
    Outcome,
    Progress,
    ProofState,
    Rejected,
    StepRequest,
    TimedOut,
)
from prover.environments.repl.reply import (
    Failed,
    Finished,
    Garbled,
    LimitReached,
    Loaded,
    OpenGoals,
    ServerFailure,
    ServerTimedOut,
    ServerUnusable,
    StateLost,
    TacticVerdict,
    classify_header,
    classify_reply,
    classify_root,
    needs_sequence_brackets,
)
from prover.environments.script.source import clean, indented
from prover.json_types import JsonObject
from prover.theorems import Theorem

logger = logging.getLogger(__name__)

MEMORY_CHECK_EVERY = 32
"""Requests between two looks at a server's memory; a look costs some milliseconds."""
_METAVARIABLE = re.compile(r"\?[\w.✝]*\d+")


@dataclass(frozen=True, slots=True)
class ReplLimits:
    """Limits of a server and of each call. Seconds are wall-clock, memory is per server."""

    tactic_s: float = 30.0
    """One tactic; twice that when it is replayed to rebuild a state."""
    statement_s: float = 60.0
    """Elaborating a theorem's statement."""
    header_s: float = 600.0
    """Loading a header; the first `import Mathlib` after a boot reads gigabytes."""
    certify_s: float = 900.0
    """Certifying one proof: header, statement and proof in a fresh process."""
    certify_max_heartbeats: int = 2_000_000
    """Lean's `maxHeartbeats` for a whole proof that is certified; ten times Lean's default, which each tactic had."""
    requests_per_server: int = 2000
    """The REPL keeps every state it ever made, so a server is replaced after so many requests."""
    server_s: float = 3600.0
    """A server is replaced at this age, too."""
    memory_mib: int = 6144
    """Killed above it. Counts what the process has for itself, not the shared pages of compiled libraries."""
    reply_mib: int = 64
    """Longest reply."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"ReplLimits.{name} is {value!r}; expected a number above 0")


@dataclass(frozen=True, slots=True)
class Handle:
    """A state's or environment's number inside the process of one generation."""

    generation: int
    number: int


class Server(Protocol):
    """A REPL process: `server.ReplServer`."""

    memory_bytes: int

    def ask(self, request: Mapping[str, object], seconds: float) -> JsonObject:
        """The reply. Raises ServerFailure, and the process is dead then."""
        ...

    def private_bytes(self) -> int:
        """Private memory of the process and its children, in bytes."""
        ...

    def interrupt(self) -> None:
        """End the call that is under way, from another thread."""
        ...

    def kill(self) -> None:
        """End the process at once."""
        ...


class HeaderRejected(Exception):
    """Lean turned the header down; the same for every theorem that has it."""


class ReplayFailed(Exception):
    """A state could not be rebuilt, though its tactics had been accepted before."""


StateKey = tuple[Theorem, tuple[str, ...]]
T = TypeVar("T")


class HeaderRecord:
    """What all workers know of headers, so that one that cannot be loaded is not tried again for every theorem."""

    MAX_FAILURES = 3

    def __init__(self) -> None:
        self.rejected: dict[str, str] = {}
        self._failures: Counter[str] = Counter()
        self._last_failure: dict[str, str] = {}

    def check(self, header: str) -> None:
        """Raises HeaderRejected or ServerFailure where loading `header` is known to fail."""
        if header in self.rejected:
            raise HeaderRejected(self.rejected[header])
        if self._failures[header] >= self.MAX_FAILURES:
            raise ServerFailure(
                f"the header failed to load {self._failures[header]} times in a row, so it is not tried again "
                f"(last: {self._last_failure[header]}); raise ReplLimits.header_s or .memory_mib, or use fewer workers"
            )

    def loaded(self, header: str) -> None:
        """The header was imported: its earlier failures no longer count."""
        self._failures.pop(header, None)

    def failed(self, header: str, why: ServerFailure) -> None:
        """A server died or gave up on the header."""
        self._failures[header] += 1
        self._last_failure[header] = str(why)


class Worker:
    """A server and its states. Used by one thread; `interrupt` and `knows` may be called by others."""

    def __init__(self, open_server: Callable[[], Server], limits: ReplLimits, record: HeaderRecord) -> None:
        self._open_server = open_server
        self._limits = limits
        self._record = record
        self._server: Server | None = None
        self._second_server: Server | None = None
        self._generation = 0
        self._born = 0.0
        self._requests = 0
        self._headers: dict[str, Handle] = {}
        self._states: dict[StateKey, Handle] = {}

    def knows(self, state: ProofState) -> bool:
        """True when stepping `state` here needs no replay."""
        return (state.theorem, state.tactics) in self._states

    def has_loaded(self, header: str) -> bool:
        """True when opening a theorem with this header imports nothing."""
        return not header.strip() or header in self._headers

    def root(self, theorem: Theorem) -> ProofState | Failure:
        """Root state of a theorem, or why there is none."""
        started = time.monotonic()
        try:
            goals = self._persistently(lambda: self._open_theorem(theorem))
        except HeaderRejected as error:
            return Rejected(f"the theorem's header does not elaborate: {error}", _ms(started))
        except ServerTimedOut as error:
            return TimedOut(str(error), _ms(started))
        except ServerFailure as error:
            return Crashed(str(error), _ms(started))
        match goals:
            case OpenGoals():
                return ProofState(theorem, (), goals.text)
            case LimitReached(message):
                return TimedOut(message, _ms(started))
            case Failed(message):
                return Rejected(message, _ms(started))

    def step(self, request: StepRequest) -> list[Outcome]:
        """Outcomes of the request's tactics, each tried in the same state."""
        return [self._step(request.state, tactic) for tactic in request.tactics]

    def elaborate(self, source: str, seconds: float) -> JsonObject:
        """Reply to a whole file, in a process of its own that is then thrown away. Raises ServerFailure."""
        self._second_server = self._open_server()
        try:
            return self._second_server.ask({"cmd": source}, seconds)
        finally:
            self._second_server.kill()
            self._second_server = None

    def interrupt(self) -> None:
        """Kill what runs, from another thread."""
        for server in (self._server, self._second_server):
            if server is not None:
                server.interrupt()

    def close(self) -> None:
        """Kill the server; what it knew is forgotten."""
        server, self._server = self._server, None
        self._headers.clear()
        self._states.clear()
        if server is not None:
            server.kill()

    # One tactic

    def _step(self, state: ProofState, tactic: str) -> Outcome:
        untried = ""
        for _ in range(2):
            started = time.monotonic()
            try:
                handle = self._persistently(lambda: self._handle(state))
            except (ServerFailure, HeaderRejected, ReplayFailed) as error:
                return Crashed(f"the state could not be rebuilt: {error}", _ms(started))
            started = time.monotonic()
            try:
                verdict = self._try_tactic(handle, tactic, self._limits.tactic_s)
            except ServerUnusable as error:
                untried = str(error)
            except ServerTimedOut as error:
                self.close()
                return TimedOut(str(error), _ms(started))
            except ServerFailure as error:
                self.close()
                return Crashed(str(error), _ms(started))
            else:
                if not isinstance(verdict, StateLost):
                    return self._outcome(state, tactic, verdict, _ms(started))
                untried = f"the Lean server lost the state: {verdict.message}"
            self.close()  # a server that is out of step, or forgets one state, cannot be trusted with the others
        return Crashed(f"{untried} (twice)", _ms(started))

    def _outcome(self, state: ProofState, tactic: str, verdict: TacticVerdict, elapsed_ms: float) -> Outcome:
        script = (*state.tactics, tactic)
        match verdict:
            case OpenGoals():
                self._states[state.theorem, script] = Handle(self._generation, verdict.proof_state)
                return Progress(ProofState(state.theorem, script, verdict.text), elapsed_ms)
            case Finished():
                return Complete(script, elapsed_ms)
            case Failed(message):
                return Rejected(message, elapsed_ms)
            case LimitReached(message):
                return TimedOut(message, elapsed_ms)
            case Garbled(message) | StateLost(message):
                self.close()
                return Crashed(f"the Lean server answered nonsense: {message}", elapsed_ms)

    def _try_tactic(self, handle: Handle, tactic: str, seconds: float) -> TacticVerdict:
        """Verdict on a tactic; several in one text (`t; u`) are put in brackets, since the REPL parses one."""
        deadline = time.monotonic() + seconds
        verdict = classify_reply(self._ask({"tactic": clean(tactic), "proofState": handle.number}, seconds))
        if needs_sequence_brackets(verdict):
            sequence = "\n".join(["(", *indented(tactic, 2), ")"])
            left = max(0.1, deadline - time.monotonic())
            verdict = classify_reply(self._ask({"tactic": sequence, "proofState": handle.number}, left))
        return verdict

    # States and their numbers

    def _handle(self, state: ProofState) -> Handle:
        """The state's number in the running server, rebuilt when it has none there."""
        self._replace_spent_server()
        known = self._states.get((state.theorem, state.tactics))
        if known is not None and known.generation == self._generation:
            return known
        depth = len(state.tactics)
        while depth > 0 and (state.theorem, state.tactics[:depth]) not in self._states:
            depth -= 1
        if (state.theorem, ()) not in self._states:
            root = self._open_theorem(state.theorem)
            if not isinstance(root, OpenGoals):
                raise ReplayFailed(f"the statement, accepted before, now gives: {root.message}")
            text = root.text
        for index in range(depth, len(state.tactics)):
            handle = self._states[state.theorem, state.tactics[:index]]
            verdict = self._try_tactic(handle, state.tactics[index], 2 * self._limits.tactic_s)
            if isinstance(verdict, StateLost | Garbled):
                raise ServerFailure(f"the Lean server answered nonsense: {verdict.message}")
            if not isinstance(verdict, OpenGoals):
                now = "leaves no goals" if isinstance(verdict, Finished) else f"gives: {verdict.message}"
                raise ReplayFailed(f"tactic {index + 1} of {len(state.tactics)}, which had left goals, now {now}")
            self._states[state.theorem, state.tactics[: index + 1]] = Handle(self._generation, verdict.proof_state)
            text = verdict.text
        if _without_numbers(text) != _without_numbers(state.text):
            del self._states[state.theorem, state.tactics]
            raise ReplayFailed("replaying its tactics led to another state")
        return self._states[state.theorem, state.tactics]

    def _open_theorem(self, theorem: Theorem) -> OpenGoals | Failed | LimitReached:
        """Elaborate the statement and remember its root state."""
        self._replace_spent_server()
        command: dict[str, object] = {"cmd": f"{theorem.declaration} := by sorry"}
        if theorem.header.strip():
            command["env"] = self._open_header(theorem.header).number
        verdict = classify_root(self._ask(command, self._limits.statement_s, "the theorem's statement"))
        if isinstance(verdict, StateLost | Garbled):
            raise ServerFailure(f"the Lean server answered nonsense: {verdict.message}")
        if isinstance(verdict, OpenGoals):
            self._states[theorem, ()] = Handle(self._generation, verdict.proof_state)
        return verdict

    def _open_header(self, header: str) -> Handle:
        """The environment after the header (imports, opens, options), loaded once per server."""
        known = self._headers.get(header)
        if known is not None and known.generation == self._generation:
            return known
        self._record.check(header)
        try:
            verdict = classify_header(self._ask({"cmd": header}, self._limits.header_s, "the theorem's header"))
            if isinstance(verdict, StateLost | Garbled):
                raise ServerFailure(f"the Lean server answered nonsense: {verdict.message}")
        except ServerFailure as error:
            self._record.failed(header, error)
            raise
        if not isinstance(verdict, Loaded):
            self._record.rejected[header] = verdict.message
            raise HeaderRejected(verdict.message)
        self._record.loaded(header)
        self._headers[header] = Handle(self._generation, verdict.env)
        return self._headers[header]

    # The server

    def _persistently(self, action: Callable[[], T]) -> T:
        """Do `action`; when the server fails under it, once more on a new one."""
        try:
            return action()
        except ServerFailure as error:
            logger.info("Lean server replaced: %s", error)
            self.close()
        try:
            return action()
        except ServerFailure:
            self.close()
            raise

    def _ask(self, request: Mapping[str, object], seconds: float, what: str = "the tactic") -> JsonObject:
        if self._server is None:
            self._server = self._open_server()
            self._generation += 1
            self._born = time.monotonic()
            self._requests = 0
        self._requests += 1
        try:
            return self._server.ask(request, seconds)
        except ServerFailure as error:
            raise type(error)(f"{what}: {error}") from error

    def _replace_spent_server(self) -> None:
        """Between requests: replace a server that is old, has served its number, or is close to its memory limit."""
        if self._server is None:
            return
        spent = self._requests >= self._limits.requests_per_server or (
            time.monotonic() - self._born >= self._limits.server_s
        )
        if not spent and self._requests > 0 and self._requests % MEMORY_CHECK_EVERY == 0:
            spent = self._server.private_bytes() > 0.8 * self._server.memory_bytes
        if spent:
            self.close()


def _without_numbers(text: str) -> str:
    """State text less the numbers of metavariables (`?m.41`), which differ from one process to the next."""
    return _METAVARIABLE.sub("?", text)


def _ms(started: float) -> float:
    return (time.monotonic() - started) * 1000

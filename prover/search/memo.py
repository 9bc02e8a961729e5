"""Remembered candidates and outcomes, so that a second search of the same theorems is cheap and comparisons are paired.

What is remembered can never change a result, only its cost: keys cover all that the answer depends on, crashes and
timeouts are never stored, and expansions are counted the same whether the answer was known or not. Each answer is
stored with a digest; a damaged one is asked for again.
"""

import contextlib
import hashlib
import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from prover.environments.base import Complete, Outcome, Progress, ProofState, Rejected
from prover.json_types import JsonList
from prover.policy.base import TacticCandidate
from prover.search.node import MESSAGE_LIMIT
from prover.sqlite_faults import SqliteFault, fault_of
from prover.theorems import Theorem

logger = logging.getLogger(__name__)

_TABLES = """
CREATE TABLE IF NOT EXISTS candidates_1 (key BLOB PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcomes_1 (key BLOB PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_VERSION = 1  # PRAGMA user_version; a file with a larger one was made by a later program
_DIGEST_DIGITS = 16  # of an answer's digest, after a line break: JSON as written here has none
_LOCK_TIMEOUT_S = 30.0
_QUERY_KEYS = 500  # keys in one SELECT; SQLite's own limit on variables is 999 in old builds


class MemoError(RuntimeError):
    """The memo file cannot be used; the message says what to do."""


@dataclass(slots=True)
class MemoCounts:
    """What this process asked of the memo."""

    candidate_hits: int = 0
    candidate_misses: int = 0
    outcome_hits: int = 0
    outcome_misses: int = 0


class SearchMemo:
    """A SQLite file (WAL mode) that several processes may open, or memory when `path` is None.

    Used from one thread. Values are never changed once written. If writing fails half way through a search (a full
    disk), or reading (a damaged file), that is logged once and the search goes on without it.

    Raises MemoError where it cannot be opened: what is wrong, and what to do.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.counts = MemoCounts()
        self._writable = self._readable = True
        self._damaged = 0
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MemoError(
                    f"cannot make the folder of the memo {self.path}: {error.strerror or error}; {_ELSEWHERE}"
                ) from error
        try:
            self._db = sqlite3.connect(str(self.path or ":memory:"), timeout=_LOCK_TIMEOUT_S, isolation_level=None)
            self._enter_wal()
            self._db.execute("PRAGMA synchronous = NORMAL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise MemoError(
                    f"the memo {self.path} was made by a newer version of this program (format {version}, this one "
                    f"writes {_VERSION}): update this program, or {_ELSEWHERE}"
                )
            self._db.executescript(_TABLES)
            if version < _VERSION:
                self._db.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error as error:
            fault = fault_of(error, self.path)
            raise MemoError(f"the memo {self.path} {fault} ({error}). {_REMEDIES[fault]}") from error

    def _enter_wal(self) -> None:
        """Switch to write-ahead logging. SQLite refuses this at once, without waiting for its time-out, while another
        process does the same to a new file; that one is done in a moment."""
        give_up = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)

    # -- candidates: by (policy fingerprint, prompt, k) ----------------------------------------------------------

    def candidates(self, policy: str, prompts: Sequence[str], k: int) -> dict[str, list[TacticCandidate]]:
        """Those of `prompts` (prompt keys) that are known for this policy fingerprint and k."""
        keys = {prompt: _digest("candidates", policy, str(k), prompt) for prompt in prompts}
        found = self.read_rows("candidates_1", keys.values())
        hits = {prompt: found[key] for prompt, key in keys.items() if key in found}
        self.counts.candidate_hits += len(hits)
        self.counts.candidate_misses += len(keys) - len(hits)
        return {prompt: [TacticCandidate(*row) for row in value] for prompt, value in hits.items()}

    def store_candidates(self, policy: str, k: int, candidates: Mapping[str, Sequence[TacticCandidate]]) -> None:
        """candidates: by prompt key."""
        rows = []
        for prompt, some in candidates.items():
            value = _dump([[c.tactic, c.log_prob, c.n_tokens] for c in some])
            rows.append((_digest("candidates", policy, str(k), prompt), value))
        self.write_rows("candidates_1", rows)

    # -- outcomes: by (environment fingerprint, theorem, exact state text, tactic) --------------------------------

    def outcomes(
        self, environment: str, asked: Sequence[tuple[ProofState, str]]
    ) -> dict[tuple[ProofState, str], Outcome]:
        """Those of `asked` (state, tactic) that are known, with the paths of the states they were asked for."""
        keys = dict(zip(asked, _outcome_keys(environment, asked), strict=True))
        found = self.read_rows("outcomes_1", keys.values())
        hits = {pair: _load_outcome(found[key], *pair) for pair, key in keys.items() if key in found}
        self.counts.outcome_hits += len(hits)
        self.counts.outcome_misses += len(keys) - len(hits)
        return hits

    def store_outcomes(self, environment: str, outcomes: Mapping[tuple[ProofState, str], Outcome]) -> None:
        """Crashes and timeouts are passed over: they say nothing about the tactic."""
        values = [_dump_outcome(outcome) for outcome in outcomes.values()]
        keys = _outcome_keys(environment, outcomes)
        rows = [(key, value) for key, value in zip(keys, values, strict=True) if value is not None]
        self.write_rows("outcomes_1", rows)

    # -- root states: the outcome of the empty tactic in the empty state -------------------------------------------

    def roots(self, environment: str, theorems: Sequence[Theorem]) -> dict[Theorem, ProofState]:
        """Root states of those theorems that have been started before."""
        keys = {theorem: _outcome_key(environment, ProofState(theorem, (), ""), "") for theorem in theorems}
        found = self.read_rows("outcomes_1", keys.values())
        return {theorem: ProofState(theorem, (), found[key][1]) for theorem, key in keys.items() if key in found}

    def store_roots(self, environment: str, roots: Iterable[ProofState]) -> None:
        """Remember the root states of theorems in an environment, by its fingerprint."""
        rows = []
        for root in roots:
            key = _outcome_key(environment, ProofState(root.theorem, (), ""), "")
            rows.append((key, _dump(["root", root.text])))
        self.write_rows("outcomes_1", rows)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def read_rows(self, table: str, keys: Iterable[bytes]) -> dict[bytes, JsonList]:
        """The answers, as JSON lists, of those keys that have one."""
        distinct = list(dict.fromkeys(keys)) if self._readable else []
        found: dict[bytes, JsonList] = {}
        for start in range(0, len(distinct), _QUERY_KEYS):
            some = distinct[start : start + _QUERY_KEYS]
            marks = ",".join("?" * len(some))
            try:
                rows = self._db.execute(f"SELECT key, value FROM {table} WHERE key IN ({marks})", some).fetchall()
            except sqlite3.Error as error:
                self._readable = False
                fault = fault_of(error, self.path)
                logger.warning(
                    "The memo %s %s (%s); the search goes on without it. %s", self.path, fault, error, _REMEDIES[fault]
                )
                return {}
            answers, damaged = _parsed(rows)
            found |= answers
            for key in damaged:
                self._pass_over(table, key)
        return found

    def _pass_over(self, table: str, key: bytes) -> None:
        """A damaged answer is as good as none: it is removed, asked for again and stored anew."""
        with contextlib.suppress(sqlite3.Error):  # where nothing can be written, it is passed over every time
            self._db.execute(f"DELETE FROM {table} WHERE key = ?", (key,))
        self._damaged += 1
        if self._damaged == 1:
            logger.warning(
                "The memo %s holds a damaged answer: it is passed over and asked for again. %s",
                self.path,
                _REMEDIES[SqliteFault.DAMAGED],
            )

    def write_rows(self, table: str, rows: Iterable[tuple[bytes, str]]) -> None:
        """Write rows of the memo, in one transaction."""
        rows = list(rows)
        if not rows or not self._writable:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            sealed = [(key, _sealed(key, value)) for key, value in rows]
            self._db.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", sealed)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._writable = False
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            fault = fault_of(error, self.path)
            logger.warning(
                "The memo %s cannot be written (%s); the search goes on without it. %s",
                self.path,
                error,
                _REMEDIES[fault],
            )


_ELSEWHERE = "on the command line, choose another file with --memo or none with --no-memo"
_REMEDIES = {
    SqliteFault.LOCKED: f"Wait for that process to end, or stop it; or, {_ELSEWHERE}",
    SqliteFault.FULL: f"Make room on that disk; or, {_ELSEWHERE}",
    SqliteFault.READ_ONLY: f"Make the folder writable; or, {_ELSEWHERE}",
    SqliteFault.DAMAGED: "It only saves time: move it away, and it is made anew",
    SqliteFault.UNREADABLE: f"Look at the disk; or, {_ELSEWHERE}",
    SqliteFault.OTHER: f"To go on without it: {_ELSEWHERE}",
}


def _sealed(key: bytes, value: str) -> str:
    return f"{value}\n{_value_digest(key, value)}"


def _parsed(rows: Iterable[tuple[bytes, str]]) -> tuple[dict[bytes, JsonList], list[bytes]]:
    """(answers as JSON lists, keys of damaged answers) of stored rows.

    Answers whose digest fits are parsed together, which is much faster than one by one. Older answers have no digest:
    each of them is parsed alone, so that a damaged one cannot spoil another.
    """
    sealed: dict[bytes, str] = {}
    found: dict[bytes, JsonList] = {}
    damaged: list[bytes] = []
    for key, stored in rows:
        try:
            value, line_break, digest = stored.rpartition("\n")
            if not line_break:
                found[key] = json.loads(stored)
            elif digest == _value_digest(key, value):
                sealed[key] = value
            else:
                damaged.append(key)
        except (ValueError, TypeError, AttributeError):  # no text at all, where the file itself is damaged
            damaged.append(key)
    found.update(zip(sealed, json.loads(f"[{','.join(sealed.values())}]"), strict=True))
    return found, damaged


def _value_digest(key: bytes, value: str) -> str:
    raw = value.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, key=key, digest_size=_DIGEST_DIGITS // 2).hexdigest()


def _begun(*parts: str) -> "hashlib.blake2b":
    """The digest of a key whose last parts are still to come."""
    return hashlib.blake2b(b"".join(map(_part, parts)), digest_size=16)


def _part(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8, "big") + raw


def _digest(*parts: str) -> bytes:
    return _begun(*parts).digest()


def _outcome_keys(environment: str, pairs: Iterable[tuple[ProofState, str]]) -> list[bytes]:
    """The key of each (state, tactic). Of the theorem, it has statement, header, and the namespace of its name, in
    which Lean reads both. The tactics of one state follow each other: what they share is digested once."""
    keys: list[bytes] = []
    last: ProofState | None = None
    begun = _begun()
    for state, tactic in pairs:
        if state is not last:
            theorem = state.theorem
            namespace = theorem.name.rpartition(".")[0]
            begun = _begun("outcome", environment, namespace, theorem.header, theorem.statement, state.text)
            last = state
        digest = begun.copy()
        digest.update(_part(tactic))
        keys.append(digest.digest())
    return keys


def _outcome_key(environment: str, state: ProofState, tactic: str) -> bytes:
    return _outcome_keys(environment, [(state, tactic)])[0]


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _dump_outcome(outcome: Outcome) -> str | None:
    match outcome:
        case Progress(state=state, elapsed_ms=ms):
            return _dump(["progress", state.text, ms])
        case Complete(elapsed_ms=ms):
            return _dump(["complete", ms])
        case Rejected(message=message, elapsed_ms=ms, refused=refused):
            return _dump(["rejected", message[:MESSAGE_LIMIT], ms, refused])
        case _:
            return None


def _load_outcome(value: JsonList, state: ProofState, tactic: str) -> Outcome:
    kind, *rest = value
    path = (*state.tactics, tactic)
    match kind:
        case "progress":
            return Progress(ProofState(state.theorem, path, rest[0]), rest[1])
        case "complete":
            return Complete(path, rest[0])
        case "rejected":
            return Rejected(*rest)
    raise MemoError(f"the memo has an outcome of kind {kind!r}, which this version does not know; move the memo away")

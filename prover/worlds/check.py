"""Asking the embedded Lean about many theorems at once: whether their scripts hold, and what closes them cheaply."""

from collections.abc import Sequence
from dataclasses import dataclass

from prover.environments.isolation.sandbox import ProcessLimits
from prover.environments.script.process import EmbeddedRunner
from prover.environments.script.source import indented, uses_sorry
from prover.worlds.draft import Made

_BATCH = 60
_SECONDS = 60.0
_HEARTBEATS = 20_000
_MANY_HEARTBEATS = 4_000_000  # a limit holds for all the tactics that are tried on a statement together
LEMMAS = """
    add_zero add_succ add_one zero_add succ_add add_comm add_assoc add_left_comm add_right_comm succ_ne_zero
    add_right_cancel add_left_cancel mul_zero mul_succ zero_mul succ_mul mul_comm mul_one one_mul mul_add add_mul
    mul_assoc mul_left_comm le_refl le_succ le_trans zero_le le_add_right le_add_left exists_of_le succ_le_succ
    le_of_succ_le_succ not_succ_le_zero not_succ_le_self le_total le_antisymm add_le_add_right add_le_add_left
    add_le_add succ.inj'
""".split()  # noqa: SIM905
"""The lemmas of the prelude that theorems of arithmetic are about, without `Nat.`."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A script that Lean accepted. `states[i]` is what it printed before tactic i: all goals."""

    states: tuple[str, ...]


class Checker:
    """A warm embedded Lean. Close it, or use it in a `with` block."""

    def __init__(self) -> None:
        self._runner = EmbeddedRunner(1, ProcessLimits())

    def __enter__(self) -> "Checker":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._runner.close()

    def replay(self, theorems: Sequence[Made]) -> list[Replay | None]:
        """For each theorem the states along its script; None where Lean does not accept it whole.

        The theorem is elaborated to its end and goes through the kernel. Theorems share a process in batches.
        """
        results: list[Replay | None] = []
        for start in range(0, len(theorems), _BATCH):
            results += self._replay(theorems[start : start + _BATCH])
        return results

    def _replay(self, theorems: Sequence[Made]) -> list[Replay | None]:
        lines = self._head()
        owners: dict[int, tuple[int, int]] = {}
        for number, made in enumerate(theorems):
            owners[len(lines) + 1] = (number, -1)
            lines.append(f"theorem world{number} {made.statement} := by")
            for step, tactic in enumerate(made.script):
                owners[len(lines) + 1] = (number, step)
                lines.append("  trace_state")
                lines += indented(tactic, 2)
            owners[len(lines) + 1] = (number, len(made.script))
            lines.append("")
        return self._states(lines, owners, theorems)

    def _states(
        self, lines: list[str], owners: dict[int, tuple[int, int]], theorems: Sequence[Made]
    ) -> list[Replay | None]:
        result = self._runner.run("\n".join(lines) + "\n", wall_s=_SECONDS)
        if result.ended != "exited":
            if len(theorems) == 1:
                return [None]
            half = len(theorems) // 2
            return self._replay(theorems[:half]) + self._replay(theorems[half:])
        starts = sorted(owners)
        bad: set[int] = set()
        states: list[dict[int, str]] = [{} for _ in theorems]
        for message in result.messages:
            line = message["pos"].get("line", 0)
            at = max((start for start in starts if start <= line), default=0)
            number, step = owners.get(at, (-1, -1))
            if message.get("severity") == "error" or uses_sorry(message):
                bad.add(number)
            elif line in owners and step >= 0:
                states[number][step] = str(message["data"])
        if -1 in bad:
            return [None] * len(theorems)
        return [
            Replay(tuple(found[i] for i in range(len(made.script))))
            if number not in bad and sorted(found) == list(range(len(made.script))) and "" not in found.values()
            else None
            for number, (made, found) in enumerate(zip(theorems, states, strict=True))
        ]

    def closed_by(self, statements: Sequence[str], tactics: Sequence[str]) -> list[frozenset[int]]:
        """For each statement, which of the tactics (by place in the list) proves it alone."""
        closed: list[frozenset[int]] = []
        for start in range(0, len(statements), 20):
            closed += self._closed_by(statements[start : start + 20], tactics)
        return closed

    def _closed_by(self, statements: Sequence[str], tactics: Sequence[str]) -> list[frozenset[int]]:
        lines = self._head(_MANY_HEARTBEATS)
        owners: dict[int, tuple[int, int]] = {}
        for number, statement in enumerate(statements):
            lines.append(f"theorem world{number} {statement} := by")
            for place, tactic in enumerate(tactics):
                lines += ["  first", *indented(f"| ({tactic}", 2), "     done"]
                owners[len(lines) + 1] = (number, place)
                lines += ["     trace_state", "     fail)", "  | skip"]
            lines += ["  all_goals sorry", ""]
        result = self._runner.run("\n".join(lines) + "\n", wall_s=_SECONDS)
        if result.ended != "exited" and len(statements) > 1:
            half = len(statements) // 2
            return self._closed_by(statements[:half], tactics) + self._closed_by(statements[half:], tactics)
        found: list[set[int]] = [set() for _ in statements]
        for message in result.messages:
            owner = owners.get(message["pos"].get("line", 0))
            if owner is not None and message.get("severity") == "information" and not str(message["data"]).strip():
                found[owner[0]].add(owner[1])
        return [frozenset(places) for places in found]

    def _head(self, heartbeats: int = _HEARTBEATS) -> list[str]:
        return [
            *self._runner.preamble.splitlines(),
            f"set_option maxHeartbeats {heartbeats}",
            "set_option linter.all false",
        ]


SIMP = ("intros; simp", "simp_all")
"""Automation that closes a theorem outright."""
_AFTER_INTROS = ("rfl", "assumption", "contradiction", "trivial", "constructor <;> assumption")
_LOGIC = """
    And.symm Or.symm Iff.symm Eq.symm Eq.trans Ne.symm not_not_intro mt absurd Or.resolve_left Or.resolve_right
""".split()  # noqa: SIM905
_NOT_EQUATIONS = frozenset({"le_total", "le_trans", "le_antisymm"})


def one_step_tactics(n_hypotheses: int, *, arithmetic: bool) -> list[str]:
    """Tactics that close a theorem worth little: `rfl` and the like, or one lemma or hypothesis with what is there."""
    tactics = [f"intros; {tactic}" for tactic in _AFTER_INTROS]
    lemmas = [f"Nat.{lemma}" for lemma in LEMMAS] if arithmetic else _LOGIC
    for used in [*lemmas, *(f"h{i}" for i in range(1, n_hypotheses + 1))]:
        tactics.append(f"intros; apply {used} <;> assumption")
        tactics.append(f"intros; symm; apply {used} <;> assumption")
    if arithmetic:
        tactics += [f"intros; rw [Nat.{lemma}]" for lemma in LEMMAS if lemma not in _NOT_EQUATIONS]
    return tactics

"""Lake projects with heavy imports (Mathlib), through a pool of REPL servers of lean-interact (extra `[lean]`).

A server loads a theorem's header once and keeps the environment; each theorem is opened in it with `sorry` for a proof,
and tactics are tried one by one on the states that follow. What the REPL answers is judged in `reply`, how a
state survives the death of its server in `worker`. A claim is certified in a fresh process, whole.
"""

import os
import shutil
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prover.environments.base import (
    Certificate,
    Failure,
    Outcome,
    ProofClaim,
    ProofState,
    Rejected,
    StepRequest,
)
from prover.environments.certify import certify_claims, proof_file
from prover.environments.isolation.refusal import (
    REFUSAL_VERSION,
    refuse_tactic,
    refuse_theorem,
)
from prover.environments.isolation.sandbox import ProcessLimits
from prover.environments.repl.pool import WorkerPool
from prover.environments.repl.reply import ServerFailure, ServerTimedOut, file_messages
from prover.environments.repl.setup import configure, fingerprint, sandboxed
from prover.environments.repl.worker import HeaderRecord, ReplLimits, Worker
from prover.environments.script.process import RunResult, scratch_folder
from prover.environments.script.source import clean
from prover.theorems import Theorem

if TYPE_CHECKING:
    from prover.environments.repl.server import ReplServer

BACKEND_VERSION = "lean-repl/1"
_LIBRARY_MIB = 32 * 1024
"""Address space allowed on top of `ReplLimits.memory_mib` for compiled libraries, which are mapped, not copied."""


class LeanReplEnvironment:
    """A pool of Lean REPL servers in a Lake project. Methods may be called from several threads at a time.

    `elapsed_ms` of an outcome is the wall time of its own call, without the replay that may have come before it.
    """

    def __init__(
        self,
        lean_project: str | os.PathLike[str] | None = None,
        *,
        workers: int | None = None,
        limits: ReplLimits | None = None,
        lake_path: str | os.PathLike[str] = "lake",
        local_repl_path: str | os.PathLike[str] | None = None,
        build_repl: bool = True,
        sandbox: bool = True,
    ) -> None:
        """Check the project and get the REPL ready; servers start when there is work for them.

        Args:
            lean_project: folder of a Lake project that is built (`lake build`). None: Lean alone, without a project.
            workers: servers in the pool; 2 when None. Each takes some gigabytes with Mathlib.
            limits: see `ReplLimits`.
            lake_path: the `lake` to run.
            local_repl_path: folder of a checkout of the REPL; $PROVER_LEAN_REPL when None, and when that is not set
                lean-interact's own for the project's Lean version, which it clones and builds the first time.
            build_repl: run `lake build` in the REPL's folder first.
            sandbox: limit the REPL processes (see `launch`). Off only for tactics that are trusted.

        Raises LeanUnavailable when Lean, the project or the REPL cannot be used; the message says what to do.
        """
        if workers is not None and workers < 1:
            raise ValueError(f"workers is {workers}; expected at least 1")
        self.limits = limits or ReplLimits()
        config = configure(lean_project, lake_path, local_repl_path, build_repl)
        self.version = config.lean_version or "unknown"
        self.name = f"lean-repl:{self.version}:{Path(config.working_dir).name}"
        self.fingerprint = fingerprint(config, [BACKEND_VERSION, REFUSAL_VERSION, asdict(self.limits), sandbox])
        self._scratch = scratch_folder()
        self._config = sandboxed(config, self._process_limits(), self._scratch) if sandbox else config
        record = HeaderRecord()
        self._workers = [Worker(self._open_server, self.limits, record) for _ in range(workers or 2)]
        self._pool = WorkerPool(self._workers)
        # Also at the interpreter's end, for one that was never closed: a busy Lean would outlive us.
        self._finalizer = weakref.finalize(self, _release, self._pool, self._scratch)

    def start(self, theorems: Sequence[Theorem]) -> list[ProofState | Failure]:
        """Root states, in order. A theorem that does not elaborate is a `Rejected` with Lean's message."""
        started: list[Rejected | Future[ProofState | Failure]] = []
        for theorem in theorems:
            refusal = _refuse_theorem(theorem)
            started.append(Rejected(refusal, 0.0, refused=True) if refusal else self._submit_root(theorem))
        return [item.result() if isinstance(item, Future) else item for item in started]

    def step(self, requests: Sequence[StepRequest]) -> list[list[Outcome]]:
        """Outcomes, one per tactic, in the order asked. One bad tactic never costs another its outcome."""
        asked: list[tuple[list[str | None], Future[list[Outcome]] | None]] = []
        for request in requests:
            refused_theorem = _refuse_theorem(request.state.theorem)
            statement = request.state.theorem.statement
            refusals = [refused_theorem or refuse_tactic(clean(tactic), statement) for tactic in request.tactics]
            allowed = tuple(t for t, refusal in zip(request.tactics, refusals, strict=True) if refusal is None)
            asked.append((refusals, self._submit_step(request.state, allowed) if allowed else None))
        answers: list[list[Outcome]] = []
        for refusals, future in asked:
            tried = iter(future.result() if future else [])
            answers.append([next(tried) if refusal is None else Rejected(refusal, 0.0, True) for refusal in refusals])
        return answers

    def certify(self, claims: Sequence[ProofClaim]) -> list[Certificate]:
        """Elaborate each claim whole against its original statement, each in a fresh process."""
        runner = _FreshServers(self.name, self.version, self.fingerprint, len(self._workers), self._pool)
        heartbeats, seconds = self.limits.certify_max_heartbeats, self.limits.certify_s
        return certify_claims(runner, claims, max_heartbeats=heartbeats, wall_s=seconds)

    def proof_file(self, claim: ProofClaim) -> str:
        """A Lean file that proves the claim's theorem, for the project's Lean (`prover export-proofs`)."""
        return proof_file("", claim, self.limits.certify_max_heartbeats)

    def close(self) -> None:
        """Kill every server. Calls that are under way end with an exception or a `Crashed`."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _submit_root(self, theorem: Theorem) -> Future[ProofState | Failure]:
        def cost(worker: Worker) -> int:
            return 0 if worker.has_loaded(theorem.header) else 1

        return self._pool.submit(lambda worker: worker.root(theorem), cost)

    def _submit_step(self, state: ProofState, tactics: tuple[str, ...]) -> Future[list[Outcome]]:
        def cost(worker: Worker) -> int:
            if worker.knows(state):
                return 0
            return 2 if any(other.knows(state) for other in self._workers) else 1

        return self._pool.submit(lambda worker: worker.step(StepRequest(state, tactics)), cost)

    def _open_server(self) -> "ReplServer":
        from prover.environments.repl.server import ReplServer

        limits = self.limits
        try:
            return ReplServer(self._config, memory_bytes=limits.memory_mib << 20, reply_bytes=limits.reply_mib << 20)
        except (OSError, ChildProcessError) as error:
            raise ServerFailure(f"the Lean server could not be started: {error}") from error

    def _process_limits(self) -> ProcessLimits:
        """A second fence around a server, behind the clock and the memory watch of `ReplServer`."""
        return ProcessLimits(
            memory_mib=self.limits.memory_mib + _LIBRARY_MIB,
            cpu_s=int((self.limits.server_s + self.limits.header_s) * (os.cpu_count() or 1)),
            open_files=4096,  # Mathlib is thousands of files
            processes=1 << 15,  # counted over all of the user's; forking is refused anyhow
        )


@dataclass(slots=True)
class _FreshServers:
    """A `LeanRunner`, as certification wants one: every file in a REPL server of its own, within the pool's size."""

    name: str
    version: str
    fingerprint: str
    workers: int
    pool: WorkerPool[Worker]
    preamble: str = ""
    takes_imports: bool = True

    def run(self, text: str, *, wall_s: float, fresh: bool = True) -> RunResult:
        """Elaborate `text`, always in a fresh process."""
        started = time.monotonic()
        try:
            reply = self.pool.submit(lambda worker: worker.elaborate(text, wall_s), lambda _: 1).result()
        except ServerTimedOut as error:
            return RunResult([], "timeout", str(error), time.monotonic() - started, 0)
        except ServerFailure as error:
            return RunResult([], "died", str(error), time.monotonic() - started, 0)
        return RunResult(file_messages(reply), "exited", "", time.monotonic() - started, 0)

    def close(self) -> None:
        """Nothing to close: every server ends with its file."""


def _release(pool: WorkerPool[Worker], scratch: Path) -> None:
    pool.close()
    shutil.rmtree(scratch, ignore_errors=True)


def _refuse_theorem(theorem: Theorem) -> str | None:
    return refuse_theorem(theorem.name, theorem.statement, theorem.header)

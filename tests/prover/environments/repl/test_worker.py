"""The worker and the pool, against a server in memory: these run without lean-interact."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from prover.environments.base import Complete, Crashed, Progress, ProofState, Rejected, StepRequest, TimedOut
from prover.environments.repl.pool import PoolClosed, WorkerPool
from prover.environments.repl.reply import ServerFailure, ServerTimedOut, ServerUnusable
from prover.environments.repl.worker import HeaderRecord, ReplLimits, Worker
from prover.theorems import Theorem

Script = Callable[[dict, int], dict | Exception | None]


class FakeServer:
    """Answers like the REPL about a proof that counts down; `script` may replace the answer to a request."""

    memory_bytes = 1000

    def __init__(
        self, script: Callable[[dict, int], dict | Exception | None], requests: list[dict], serial: int
    ) -> None:
        self.script, self.requests, self.serial = script, requests, serial
        self.states: list[str] = []
        self.envs = 0
        self.killed = False
        self.used = 0

    def ask(self, request: dict, seconds: float) -> dict:
        assert not self.killed
        assert seconds > 0
        self.requests.append({**request, "server": self.serial, "seconds": seconds})
        answer = self.script(request, self.serial)
        if isinstance(answer, Exception):
            raise answer
        return answer if answer is not None else self.answer(request)

    def answer(self, request: dict) -> dict:
        if "tactic" in request:
            goal = self.states[request["proofState"]]
            if request["tactic"] == "qed":
                return {"goals": [], "proofState": self.new(""), "proofStatus": "Completed"}
            goal = f"{goal}.{request['tactic']}"
            return {"goals": [goal], "proofState": self.new(goal), "proofStatus": "Incomplete: open goals remain"}
        self.envs += 1
        if request["cmd"].endswith("sorry"):
            goal = "⊢ " + request["cmd"].split(": ")[1].split(" :=")[0]
            return {"env": self.envs, "sorries": [{"goal": goal, "proofState": self.new(goal)}]}
        return {"env": self.envs}

    def new(self, state: str) -> int:
        self.states.append(state)
        return len(self.states) - 1

    def private_bytes(self) -> int:
        return self.used

    def interrupt(self) -> None:
        self.killed = True

    def kill(self) -> None:
        self.killed = True


class Lab:
    """A worker, the servers it opened and the requests that they got."""

    def __init__(self, script=lambda request, serial: None, **limits) -> None:
        self.servers: list[FakeServer] = []
        self.requests: list[dict] = []

        def open_server() -> FakeServer:
            self.servers.append(FakeServer(script, self.requests, len(self.servers)))
            return self.servers[-1]

        self.record = HeaderRecord()
        self.worker = Worker(open_server, ReplLimits(**limits), self.record)

    def root(self, statement: str = ": p", header: str = "") -> ProofState:
        root = self.worker.root(Theorem("t", statement, header))
        assert isinstance(root, ProofState), root
        return root

    def step(self, state: ProofState, *tactics: str):
        return self.worker.step(StepRequest(state, tactics))

    def tactics(self, server: int) -> list[str]:
        return [r["tactic"] for r in self.requests if r["server"] == server and "tactic" in r]


def deep(lab: Lab, *tactics: str) -> ProofState:
    state = lab.root()
    for tactic in tactics:
        (outcome,) = lab.step(state, tactic)
        state = outcome.state
    return state


def test_a_known_state_is_stepped_without_replay():
    lab = Lab()
    state = deep(lab, "a", "b")
    outcomes = lab.step(state, "c", "qed")
    assert [type(o) for o in outcomes] == [Progress, Complete]
    assert outcomes[0].state.text == "⊢ p.a.b.c"
    assert outcomes[1].tactics == ("a", "b", "qed")
    assert lab.tactics(0) == ["a", "b", "c", "qed"]


def test_a_dead_server_costs_a_replay_of_the_prefix_and_nothing_else():
    lab = Lab(lambda request, serial: ServerFailure("dead") if request.get("tactic") == "bad" else None)
    state = deep(lab, "a", "b")
    outcomes = lab.step(state, "bad", "c", "d")
    assert [type(o) for o in outcomes] == [Crashed, Progress, Progress]
    assert "dead" in outcomes[0].message
    assert lab.tactics(1) == ["a", "b", "c", "d"]
    assert lab.servers[0].killed


def test_the_clock_is_a_timeout_and_the_replay_has_twice_as_long():
    lab = Lab(lambda request, _: ServerTimedOut("slow") if request.get("tactic") == "slow" else None, tactic_s=3)
    state = deep(lab, "a")
    slow, quick = lab.step(state, "slow", "b")
    assert isinstance(slow, TimedOut)
    assert isinstance(quick, Progress)
    assert [r["seconds"] for r in lab.requests if r.get("tactic") == "a"] == [3, 6]
    assert [r["seconds"] for r in lab.requests if r.get("tactic") == "b"] == [3]


def test_a_tactic_that_never_reached_the_server_is_tried_again():
    lab = Lab(lambda request, serial: ServerUnusable("gone") if request.get("tactic") == "b" and serial == 0 else None)
    (outcome,) = lab.step(deep(lab, "a"), "b")
    assert isinstance(outcome, Progress)
    always = Lab(lambda request, _: ServerUnusable("gone") if request.get("tactic") == "b" else None)
    (outcome,) = always.step(deep(always, "a"), "b")
    assert isinstance(outcome, Crashed)
    assert len(always.servers) == 2


def test_a_failing_replay_is_repeated_once_on_a_new_server():
    def script(request, serial):
        if request.get("tactic") == "bad":
            return ServerFailure("dead")
        return ServerFailure("dead again") if request.get("tactic") == "a" and serial == 1 else None

    lab = Lab(script)
    bad, good = lab.step(deep(lab, "a"), "bad", "b")
    assert isinstance(bad, Crashed)
    assert isinstance(good, Progress)
    assert len(lab.servers) == 3


def test_replay_that_leads_elsewhere_is_a_crash():
    def script(request, serial):
        if request.get("tactic") == "bad":
            return ServerFailure("dead")
        if request.get("tactic") == "a" and serial > 0:
            return {"message": "Lean error:\nsimp made no progress"}
        return None

    lab = Lab(script)
    _, outcome = lab.step(deep(lab, "a"), "bad", "b")
    assert isinstance(outcome, Crashed)
    assert "tactic 1 of 1" in outcome.message
    assert "simp made no progress" in outcome.message


def test_a_state_made_elsewhere_is_rebuilt_from_its_tactics():
    """A state from a file, or from another worker."""
    lab = Lab()
    stranger = ProofState(Theorem("t", ": p"), ("a", "b"), "⊢ p.a.b")
    assert not lab.worker.knows(stranger)
    (outcome,) = lab.step(stranger, "c")
    assert outcome.state.text == "⊢ p.a.b.c"
    forged = ProofState(Theorem("t", ": p"), ("a", "a"), "⊢ False")
    (outcome,) = lab.step(forged, "c")
    assert isinstance(outcome, Crashed)


def test_the_header_is_one_environment_for_all_its_theorems():
    lab = Lab()
    for name in "abc":
        lab.worker.root(Theorem(name, ": p", "import Mathlib\nopen Real"))
    commands = [r for r in lab.requests if "cmd" in r]
    assert [r.get("env") for r in commands] == [None, 1, 1, 1]
    lab.worker.root(Theorem("d", ": p", "open Nat"))
    assert lab.requests[-1]["env"] == 5
    lab.worker.root(Theorem("e", ": p", "  \n"))
    assert "env" not in lab.requests[-1]


def test_a_header_that_keeps_killing_servers_is_given_up_for_all_workers():
    lab = Lab(lambda request, _: ServerFailure("out of memory") if request.get("cmd") == "import Big" else None)
    answers = [lab.worker.root(Theorem(f"t{i}", ": p", "import Big")) for i in range(4)]
    assert all(isinstance(answer, Crashed) for answer in answers)
    assert "3 times in a row" in answers[-1].message
    assert "memory_mib" in answers[-1].message
    assert len([r for r in lab.requests if r["cmd"] == "import Big"]) == 3
    assert isinstance(lab.worker.root(Theorem("other", ": p")), ProofState)


def test_a_memory_hungry_server_is_replaced_between_requests():
    lab = Lab()
    state = lab.root()
    lab.servers[0].used = 900
    for _ in range(40):
        assert isinstance(lab.step(state, "a")[0], Progress)
    assert len(lab.servers) == 2


def test_roots_that_fail():
    lab = Lab(lambda request, _: {"env": 0, "sorries": []} if "no_gap" in request["cmd"] else None)
    assert isinstance(lab.worker.root(Theorem("no_gap", ": p")), Rejected)
    slow = Lab(lambda request, _: ServerTimedOut("no reply within 60 s"))
    assert isinstance(slow.worker.root(Theorem("t", ": p")), TimedOut)
    odd = Lab(lambda request, _: {"goals": 3})
    outcome = odd.worker.root(Theorem("t", ": p"))
    assert isinstance(outcome, Rejected)  # a reply without an open proof


def test_closing_forgets_every_number():
    lab = Lab()
    state = deep(lab, "a")
    assert lab.worker.knows(state)
    lab.worker.close()
    assert not lab.worker.knows(state)
    assert isinstance(lab.step(state, "b")[0], Progress)
    assert lab.tactics(1) == ["a", "b"]


# The pool


class Clerk:
    def __init__(self, name: str) -> None:
        self.name = name
        self.stop = threading.Event()
        self.closed = False

    def interrupt(self) -> None:
        self.stop.set()

    def close(self) -> None:
        self.closed = True


@contextmanager
def pool_of(*names: str) -> Iterator[tuple[WorkerPool[Clerk], list[Clerk]]]:
    clerks = [Clerk(name) for name in names]
    pool = WorkerPool(clerks)
    try:
        yield pool, clerks
    finally:
        pool.close()
        assert all(clerk.closed for clerk in clerks)


def test_work_goes_to_the_worker_that_knows_the_state():
    with pool_of("a", "b") as (pool, _):
        gate, busy = threading.Event(), threading.Semaphore(0)
        blocked = [pool.submit(lambda _: busy.release() or gate.wait(5), lambda _: 0) for _ in range(2)]
        for _ in blocked:
            assert busy.acquire(timeout=5)

        def at_home(clerk: Clerk) -> str:
            time.sleep(0.02)
            return clerk.name

        futures = [pool.submit(at_home, lambda clerk, home=home: int(clerk.name != home)) for home in "abbaab"]
        gate.set()
        assert [f.result(5) for f in blocked] == [True, True]
        assert [f.result(5) for f in futures] == list("abbaab")


def test_an_idle_worker_takes_what_another_knows():
    with pool_of("a", "b") as (pool, _):
        started: list[str] = []
        busy = threading.Event()

        def work(clerk: Clerk) -> None:
            started.append(clerk.name)
            busy.set()
            clerk.stop.wait(30)

        pool.submit(work, lambda _: 0)
        assert busy.wait(5)
        assert (
            pool.submit(lambda clerk: clerk.name, lambda clerk: int(clerk.name != started[0])).result(5) != started[0]
        )


def test_an_exception_reaches_the_one_who_asked_and_no_one_else():
    with pool_of("a") as (pool, _):
        failed = pool.submit(lambda _: 1 // 0, lambda _: 0)
        assert pool.submit(lambda clerk: clerk.name, lambda _: 0).result(5) == "a"
        with pytest.raises(ZeroDivisionError):
            failed.result(5)


def test_closing_interrupts_and_drops_what_waits():
    with pool_of("a") as (pool, clerks):
        running = pool.submit(lambda clerk: clerk.stop.wait(30), lambda _: 0)
        waiting = pool.submit(lambda clerk: clerk.name, lambda _: 0)
        time.sleep(0.05)
        pool.close()
        assert running.result(5) is True
        with pytest.raises(PoolClosed):
            waiting.result(5)
        with pytest.raises(PoolClosed):
            pool.submit(lambda clerk: clerk.name, lambda _: 0)
        assert clerks[0].closed


# The documentation


def test_the_documented_limits_are_the_defaults():
    text = (Path(__file__).parents[4] / "docs" / "lean-repl.md").read_text("utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE))
    assert {name: float(value) for name, value in documented.items()} == asdict(ReplLimits())

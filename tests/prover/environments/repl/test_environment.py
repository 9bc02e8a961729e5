"""The REPL environment over lean-interact's real client, against stand-in servers: recorded, toy, hostile."""

import importlib.metadata
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("lean_interact", reason="the extra [lean] (lean-interact) is not installed")

from prover.environments import open_environment
from prover.environments.base import (
    Complete,
    Crashed,
    Progress,
    ProofClaim,
    ProofEnvironment,
    ProofState,
    Rejected,
    StepRequest,
    TimedOut,
)
from prover.environments.repl.environment import LeanReplEnvironment
from prover.environments.repl.pool import PoolClosed
from prover.environments.repl.worker import ReplLimits
from prover.environments.script.embedded import LeanUnavailable
from prover.environments.script.environment import LeanLimits
from prover.theorems import Theorem

HERE = Path(__file__).parent
DATA = HERE.parents[2] / "data" / "lean_repl_recorded"
STATEMENT = re.compile(r"\A(?:theorem (\S+)|example|def (\S+))\s+(.*?)\s*:=\s*(?:by\s+)?sorry\Z", re.DOTALL)
CALM = ReplLimits(memory_mib=256, reply_mib=4)
HASTY = ReplLimits(tactic_s=0.8, header_s=0.4, certify_s=0.8)


class StandIn:
    """A folder with a `lake` that is a stand-in, and a log of what reached the servers."""

    def __init__(self, folder: Path, recordings: Path = DATA / "pairs.jsonl") -> None:
        self.folder = folder
        self.lake = folder / "lake"
        self._log = folder / "log"
        self.project = folder / "project"
        self.project.mkdir()
        (self.project / "lean-toolchain").write_text("leanprover/lean4:v4.33.0-rc2\n")
        (folder / "repl").mkdir()
        (folder / "repl" / "lean-toolchain").write_text("leanprover/lean4:v4.33.0-rc2\n")
        script = HERE / "repl_standin.py"
        self._write(self.lake, f'exec "{sys.executable}" -I -S "{script}" "{recordings}" "{self._log}"')

    def _write(self, path: Path, command: str) -> None:
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)

    def open(self, *, workers: int = 1, limits: ReplLimits = CALM, **options) -> LeanReplEnvironment:
        return LeanReplEnvironment(
            self.project,
            workers=workers,
            limits=limits,
            lake_path=self.lake,
            local_repl_path=self.folder / "repl",
            build_repl=False,
            **options,
        )

    def log(self) -> list[str]:
        return self._log.read_text("utf-8").splitlines() if self._log.exists() else []

    def processes(self) -> list[int]:
        return [int(line.split()[1]) for line in self.log() if line.startswith("start ")]

    def commands(self) -> list[str]:
        requests = [json.loads(line) for line in self.log() if line.startswith("{")]
        return [request["cmd"] for request in requests if "cmd" in request]


@pytest.fixture
def standin(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


@pytest.fixture
def environment(standin: StandIn) -> Iterator[LeanReplEnvironment]:
    with standin.open() as environment:
        yield environment


def root(environment: LeanReplEnvironment, name: str = "toy", statement: str = ": p", header: str = "") -> ProofState:
    (state,) = environment.start([Theorem(name, statement, header)])
    assert isinstance(state, ProofState), state
    return state


def step(environment: LeanReplEnvironment, state: ProofState, *tactics: str):
    return environment.step([StepRequest(state, tactics)])[0]


# Recorded traffic


def recorded_sessions():
    """(line, header, statement, open proof, [(request, verdict, reply)]) for each recorded proof."""
    pairs = [json.loads(line) for line in (DATA / "pairs.jsonl").read_text("utf-8").splitlines()]
    verdicts = {
        (v["test"], v["step"]): v["verdict"]
        for v in map(json.loads, (DATA / "verdicts.jsonl").read_text("utf-8").splitlines())
    }
    commands = {(p["test"], p["step"]): p["request"]["cmd"] for p in pairs if "cmd" in p["request"]}
    envs = {(p["test"], p["response"].get("env")): p["step"] for p in pairs if "cmd" in p["request"]}
    sessions = []
    for line, pair in enumerate(pairs):
        test, found = pair["test"], STATEMENT.match(pair["request"].get("cmd", ""))
        sorries = pair["response"].get("sorries", [])
        if not found or len(sorries) != 1:
            continue
        header = commands.get((test, envs.get((test, pair["request"].get("env")))), "")
        known, steps = {sorries[0]["proofState"]}, []
        for other in pairs:
            request, reply = other["request"], other["response"]
            if other["test"] == test and "tactic" in request and request["proofState"] in known:
                steps.append((request, verdicts[test, other["step"]], reply))
                known.add(reply.get("proofState"))
        if steps:
            statement = found[3] if found[3].startswith(("(", "{", ":")) else f": {found[3]}"
            values = (line, header, statement, sorries[0], steps)
            sessions.append(pytest.param(*values, id=f"{test}-{pair['step']}"))
    return sessions


OUTCOMES = {"OpenGoals": Progress, "Finished": Complete, "Failed": Rejected}


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[LeanReplEnvironment]:
    with StandIn(tmp_path_factory.mktemp("shared")).open() as environment:
        yield environment


@pytest.mark.parametrize(("line", "header", "statement", "sorry", "steps"), recorded_sessions())
def test_recorded_proofs_replay_with_the_right_outcomes(shared, line, header, statement, sorry, steps):
    if "def f" in header:  # a header declares nothing here
        header = ""
    state = root(shared, f"recorded_{line}", statement, header)
    assert state.text == sorry["goal"]
    states = {sorry["proofState"]: state}
    for request, verdict, reply in steps:
        if request["proofState"] not in states:
            continue  # comes after a step that was turned down here
        (outcome,) = step(shared, states[request["proofState"]], request["tactic"])
        assert type(outcome) is OUTCOMES[verdict], (request, outcome)
        if isinstance(outcome, Progress):
            assert outcome.state.text == "\n\n".join(reply["goals"])
            states[reply["proofState"]] = outcome.state
        if "sorry" in request["tactic"]:
            assert outcome.refused


def test_most_of_the_recording_is_replayed():
    sessions = [param.values for param in recorded_sessions()]
    assert len(sessions) == 22
    assert sum(len(steps) for *_, steps in sessions) >= 40


# Shapes of replies that the recording does not have: from the REPL's source, and from its older and newer versions


def closed(status: str | None, **rest) -> dict:
    """The reply to a tactic after which no goal is listed."""
    body = {"proofState": 1, "goals": [], **rest}
    return body if status is None else body | {"proofStatus": status}


def left(*goals: str, **rest) -> dict:
    """The reply to a tactic after which goals are listed."""
    return {"proofState": 1, "goals": list(goals), "proofStatus": "Incomplete: open goals remain", **rest}


def said(severity: str, data: str) -> dict:
    """`messages` with one message, as tactic mode has them: without a place."""
    nowhere = {"line": 0, "column": 0}
    return {"messages": [{"severity": severity, "pos": nowhere, "endPos": nowhere, "data": data}]}


GAP = {"sorries": [{"proofState": 0, "goal": "⊢ q"}]}
SHAPES = {
    "plain": (closed("Completed"), Complete, ""),
    "with a remark": (closed("Completed", **said("info", "Try this: exact h")), Complete, ""),
    "with a warning": (closed("Completed", **said("warning", "unused variable `x`")), Complete, ""),
    "with traces": (closed("Completed", traces=["[Meta.Tactic.simp.rewrite] h:1000"]), Complete, ""),
    "fields of another REPL": (closed("Completed", time=12, infotree=[], messages=[], sorries=[]), Complete, ""),
    "message without an end": (
        closed("Completed", messages=[{"severity": "info", "pos": {"line": 0, "column": 0}, "data": "ok"}]),
        Complete,
        "",
    ),
    "an error": (closed("Completed", **said("error", "unsolved goals\n⊢ q")), Rejected, "unsolved goals"),
    "a sorry": (closed("Completed", **GAP), Rejected, "sorry"),
    "a sorry, warned of": (closed("Completed", **said("warning", "declaration uses `sorry`")), Rejected, "sorry"),
    "status sorry": (closed("Incomplete: contains sorry"), Rejected, "sorry"),
    "status holes": (closed("Incomplete: contains metavariable(s)"), Rejected, "metavariable"),
    "status goals, none listed": (closed("Incomplete: open goals remain"), Rejected, "not complete"),
    "not assigned": (closed("Error: Goal not assigned"), Rejected, "Goal not assigned"),
    "another type": (closed("Error: proof has type q but root goal has type p"), Rejected, "root goal has type p"),
    "the kernel says no": (
        closed("Error: kernel type check failed: (kernel) declaration type mismatch"),
        Rejected,
        "(kernel) declaration type mismatch",
    ),
    "the kernel runs out": (
        closed("Error: kernel type check failed: (kernel) excessive memory consumption detected"),
        TimedOut,
        "memory",
    ),
    "several goals at first": (closed("Not verified: more than one initial goal"), Rejected, "Not verified"),
    "no status": (closed(None), Rejected, "no proofStatus"),
    "goals": (left("case inl\n⊢ q", "case inr\n⊢ r"), Progress, ""),
    "goals and traces": (left("⊢ q", traces=["x"]), Progress, ""),
    "goals, remarked on": (left("⊢ q", **said("info", "Try this: exact h")), Progress, ""),
    "goals, an error": (left("⊢ q", **said("error", "Unknown identifier `h`")), Rejected, "Unknown identifier"),
    "a made-up name, taken apart": (
        left("h : ?m.12\n⊢ q", **said("error", "Unknown identifier `no_such_lemma`")),
        Rejected,
        "Unknown identifier",
    ),
    "goals, a sorry": (left("⊢ q", **GAP), Rejected, "sorry"),
    "error": ({"message": "Lean error:\nsimp made no progress"}, Rejected, "simp made no progress"),
    "internal error": ({"message": "Lean error:\ninternal exception #5"}, Rejected, "internal exception #5"),
    "error of the oldest REPL": ({"message": "<input>:1:1: unknown tactic"}, Rejected, "unknown tactic"),
    "out of heartbeats": (
        {"message": "Lean error:\n(deterministic) timeout at `isDefEq`, maximum number of heartbeats (200000)"},
        TimedOut,
        "heartbeats",
    ),
    "the REPL's own clock": ({"message": "Operation timed out after 500ms"}, TimedOut, "timed out"),
    "state lost": ({"message": "Unknown proof state."}, Crashed, "Unknown proof state"),
    "environment lost": ({"message": "Unknown environment."}, Crashed, "Unknown environment"),
    "not understood": ({"message": "Could not parse as a valid JSON command:\nno"}, Crashed, "Could not parse"),
    "proof and goals": (left("⊢ q", proofStatus="Completed"), Crashed, "goals are listed"),
    "proof and error": (closed("Completed", message="Lean error:\nno"), Crashed, "error and an answer"),
    "nothing": ({}, Crashed, "goals"),
    "answer to a command": ({"env": 1}, Crashed, "goals"),
}


@pytest.fixture(scope="module")
def shaped(tmp_path_factory) -> Iterator[tuple[LeanReplEnvironment, ProofState]]:
    """A theorem whose tactic `shape_N` gets shape N for a reply."""
    folder = tmp_path_factory.mktemp("shaped")
    command = {"cmd": "theorem recorded_0 : p := by sorry"}
    opened = {"sorries": [{"proofState": 0, "goal": "⊢ p"}], "env": 0}
    replies = [(command, opened)]
    for number, (reply, _, _) in enumerate(SHAPES.values()):
        replies.append(({"tactic": f"shape_{number}", "proofState": 0}, reply))
    lines = [json.dumps({"test": "shapes", "request": request, "response": reply}) for request, reply in replies]
    (folder / "shapes.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with StandIn(folder, folder / "shapes.jsonl").open() as environment:
        yield environment, root(environment, "recorded_0")


@pytest.mark.parametrize(
    ("number", "reply", "kind", "message"), [(i, *shape) for i, shape in enumerate(SHAPES.values())], ids=SHAPES
)
def test_every_shape_of_a_reply_has_its_outcome(shaped, number, reply, kind, message):
    environment, state = shaped
    (outcome,) = step(environment, state, f"shape_{number}")
    assert type(outcome) is kind, outcome
    assert not getattr(outcome, "refused", False)
    assert message in getattr(outcome, "message", "")
    if isinstance(outcome, Progress):
        assert outcome.state.text == "\n\n".join(reply["goals"])


# Outcomes of a toy proof


def test_it_is_a_proof_environment_and_steps_a_proof(standin, environment):
    assert isinstance(environment, ProofEnvironment)
    assert environment.name == "lean-repl:v4.33.0-rc2:project"
    state = root(environment)
    assert state.text == "⊢ p"
    more, unknown, done = step(environment, state, "more", "frobnicate", "done")
    assert isinstance(more, Progress)
    assert more.state.tactics == ("more",)
    assert more.state.n_goals == 2
    assert isinstance(unknown, Rejected)
    assert unknown.message == "<input>:1:1: unknown tactic 'frobnicate'"
    assert done == Complete(("done",), done.elapsed_ms)
    (last,) = step(environment, more.state, "done; done")
    assert last == Complete(("more", "done; done"), last.elapsed_ms)


def test_several_tactics_in_one_text_are_tried_in_brackets(environment):
    two, bad = step(environment, root(environment), "more\nmore", "more; frobnicate")
    assert isinstance(two, Progress)
    assert two.state.n_goals == 3
    assert two.state.tactics == ("more\nmore",)
    assert isinstance(bad, Rejected)
    assert "unknown tactic" in bad.message


def test_refused_text_never_reaches_a_server(standin, environment):
    state = root(environment)
    asked = len(standin.log())
    outcomes = step(environment, state, "exact sorry", "more", "run_tac skip", "")
    assert [type(o) for o in outcomes] == [Rejected, Progress, Rejected, Rejected]
    assert [getattr(o, "refused", None) for o in outcomes] == [True, None, True, True]
    assert len(standin.log()) == asked + 1
    (refused,) = environment.start([Theorem("toy", ": p := trivial")])
    assert isinstance(refused, Rejected)
    assert refused.refused


def test_outcomes_come_in_the_order_asked_whatever_server_answers(standin):
    with standin.open(workers=3) as environment:
        theorems = [Theorem(f"toy{i}", f": p{i}") for i in range(12)]
        states = environment.start(theorems)
        assert [s.text for s in states] == [f"⊢ p{i}" for i in range(12)]
        for _ in range(3):
            answers = environment.step([StepRequest(state, ("more", "nonsense")) for state in states])
            assert all(isinstance(a[0], Progress) and isinstance(a[1], Rejected) for a in answers)
            states = [a[0].state for a in answers]
        assert [s.theorem for s in states] == theorems
        assert all(s.n_goals == 4 for s in states)
    assert len(standin.processes()) == 3


# Servers that fail: the worker is discarded, the state rebuilt, the siblings kept

FAILURES = [
    ("hang", TimedOut, "no reply within 0.8 s"),
    ("die", Crashed, "uncaught exception: out of luck"),
    ("garbage", Crashed, "not JSON"),
    ("bytes", Crashed, "not JSON"),
    ("nested", Crashed, "not JSON"),
    ("array", Crashed, ""),
    ("flood", Crashed, "more than 4 MiB"),
    ("grow", Crashed, "memory limit"),
    ("orphan", (Crashed, TimedOut), ""),
    ("contradiction", Crashed, "nonsense"),
    ("forget", Crashed, "lost the state: Unknown proof state. (twice)"),
    ("heartbeats", TimedOut, "maximum number of heartbeats"),
    ("old", Rejected, "no proofStatus"),
]


@pytest.mark.parametrize(("tactic", "kind", "message"), FAILURES, ids=[name for name, _, _ in FAILURES])
def test_a_failing_server_costs_its_own_tactic_only(shared, standin, tactic, kind, message):
    if tactic in ("hang", "orphan"):
        with standin.open(limits=HASTY) as environment:
            outcomes = fail_amid_siblings(environment, tactic)
        assert not any(psutil.pid_exists(pid) for pid in standin.processes())
    else:
        outcomes = fail_amid_siblings(shared, tactic)
    before, failed, after = outcomes
    assert isinstance(failed, kind), failed
    assert message in failed.message
    assert isinstance(before, Progress)
    assert isinstance(after, Progress)
    assert re.sub(r"\d{3,}", "", before.state.text) == re.sub(r"\d{3,}", "", after.state.text)


def fail_amid_siblings(environment, tactic):
    (deep,) = step(environment, root(environment), "more")
    return step(environment, deep.state, "more", tactic, "more")


def test_a_second_answer_is_never_taken_for_the_next_tactics(environment):
    (deep,) = step(environment, root(environment), "more")
    at_once, after = step(environment, deep.state, "twice", "more")
    assert isinstance(at_once, Crashed)
    assert isinstance(after, Progress)
    assert isinstance(step(environment, deep.state, "late")[0], Rejected)
    time.sleep(0.4)
    (after,) = step(environment, deep.state, "more")
    assert isinstance(after, Progress)
    assert after.state.n_goals == 3


def test_a_server_that_died_between_two_calls_costs_nothing(standin, environment):
    (deep,) = step(environment, root(environment), "more")
    os.kill(standin.processes()[-1], signal.SIGKILL)
    time.sleep(0.2)
    assert isinstance(step(environment, deep.state, "more")[0], Progress)


def test_a_full_error_pipe_does_not_block(environment):
    (rejected,) = step(environment, root(environment), "chatter")
    assert isinstance(rejected, Rejected)


def test_an_old_state_number_is_never_used_in_a_new_process(standin, environment):
    first, second = root(environment, "toy1", ": one"), root(environment, "toy2", ": two")
    (crashed,) = step(environment, first, "die")
    assert isinstance(crashed, Crashed)
    # In the new process the first state to be made has the number that `one` had in the old one.
    (two,) = step(environment, second, "more")
    (one,) = step(environment, first, "more")
    assert "two" in two.state.text
    assert "one" in one.state.text
    assert len(standin.processes()) == 2


def test_servers_are_replaced_after_their_share_of_requests(standin):
    with standin.open(limits=ReplLimits(requests_per_server=4)) as environment:
        state = root(environment)
        for _ in range(5):
            (outcome,) = step(environment, state, "more")
            state = outcome.state
        assert state.n_goals == 6
    assert len(standin.processes()) >= 2


def test_servers_are_replaced_at_their_age(standin):
    with standin.open(limits=ReplLimits(server_s=0.01)) as environment:
        state = root(environment)
        time.sleep(0.02)
        assert isinstance(step(environment, state, "more")[0], Progress)
    assert len(standin.processes()) == 2


def test_a_state_that_cannot_be_rebuilt_is_a_crash_not_a_rejection(environment):
    (drifting,) = step(environment, root(environment), "drift")
    step(environment, drifting.state, "die")
    (outcome,) = step(environment, drifting.state, "more")
    assert isinstance(outcome, Crashed)
    assert "another state" in outcome.message


def test_numbers_of_metavariables_may_differ_after_a_replay(environment):
    (deep,) = step(environment, root(environment), "more")
    assert "?m." in deep.state.text
    step(environment, deep.state, "die")
    assert isinstance(step(environment, deep.state, "same")[0], Progress)


def test_a_slow_theorem_does_not_hold_up_the_others(standin):
    with standin.open(workers=2) as environment:
        slow, quick = environment.start([Theorem("toy_slow", ": p"), Theorem("toy_quick", ": q")])
        waiting = threading.Thread(target=step, args=(environment, slow, "hang"))
        waiting.start()
        answers = environment.step([StepRequest(quick, ("more",) * 4)] * 20)
        assert all(isinstance(outcome, Progress) for answer in answers for outcome in answer)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


# Headers


def test_a_header_is_loaded_once_a_server(standin, environment):
    header = "import Mathlib\nopen Real"
    for index in range(4):
        root(environment, f"toy{index}", f": p{index}", header)
    assert standin.commands().count(header) == 1


def test_a_header_that_lean_rejects_is_tried_once(standin, environment):
    answers = environment.start([Theorem(f"toy{i}", ": p", "import Missing") for i in range(3)])
    assert all(isinstance(a, Rejected) and "unknown module prefix 'Missing'" in a.message for a in answers)
    assert standin.commands().count("import Missing") == 1


def test_a_header_that_hangs_is_given_up(standin):
    with standin.open(limits=HASTY) as environment:
        answers = environment.start([Theorem(f"toy{i}", ": p", "import Hang") for i in range(4)])
    assert isinstance(answers[0], TimedOut)
    assert "the theorem's header: no reply within 0.4 s" in answers[0].message
    assert all(isinstance(a, TimedOut | Crashed) for a in answers)
    assert "not tried again" in answers[-1].message
    assert 1 <= standin.commands().count("import Hang") <= 3  # a server that starts slowly may not have read it in time


# Certification


def test_certification_elaborates_the_whole_theorem_in_a_fresh_process(standin, environment):
    theorem = Theorem("toy_true", ": p", "import Mathlib\nopen Real")
    (certificate,) = environment.certify([ProofClaim(theorem, ("more", "first\n| done\n| skip"))])
    assert certificate.certified, certificate.reason
    assert certificate.axioms == ()
    assert standin.commands() == [
        "import Mathlib\nopen Real\nset_option maxHeartbeats 2000000\n"
        "theorem toy_true : p := by\n  more\n  first\n  | done\n  | skip\n\n"
        "set_option pp.fullNames true\nset_option pp.privateNames true\nset_option pp.universes false\n"
        "#print axioms _root_.toy_true\n"
    ]
    environment.certify([ProofClaim(theorem, ("done",))] * 2)
    assert len(set(standin.processes())) == 3
    assert not any(psutil.pid_exists(pid) for pid in standin.processes())


@pytest.mark.parametrize(
    ("name", "tactics", "reason"),
    [
        ("toy_lie", ("done",), "unsolved goals"),
        ("toy_cheat", ("done",), "Evil.trust"),
        ("toy_true", ("exact sorry",), "refused"),
        ("toy_true", (), "refused"),
        ("toy_true", ("hang",), "did not finish"),
    ],
)
def test_claims_that_do_not_stand_are_not_certified(standin, name, tactics, reason):
    with standin.open(limits=HASTY if "hang" in tactics[:1] else CALM) as environment:
        (certificate,) = environment.certify([ProofClaim(Theorem(name, ": p"), tactics)])
        assert not certificate.certified
        assert reason in certificate.reason


# Life of the environment


def test_closing_ends_what_runs_and_leaves_no_process(standin):
    environment = standin.open()
    state = root(environment)
    answers: list = []
    thread = threading.Thread(target=lambda: answers.append(step(environment, state, "hang")))
    thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    environment.close()
    thread.join(60)
    assert time.monotonic() - began < 60, "it waited for what hangs"
    assert isinstance(answers[0][0], Crashed)
    assert not any(psutil.pid_exists(pid) for pid in standin.processes())
    with pytest.raises(PoolClosed):
        step(environment, state, "more")


def test_fingerprint_follows_what_can_change_an_outcome(standin):
    with standin.open() as one, standin.open() as same, standin.open(limits=ReplLimits(tactic_s=2)) as slower:
        assert one.fingerprint == same.fingerprint
        assert one.fingerprint != slower.fingerprint
    (standin.project / "lake-manifest.json").write_text('{"packages": [{"name": "mathlib", "rev": "abc"}]}')
    with standin.open() as other_mathlib:
        assert other_mathlib.fingerprint != one.fingerprint


def test_what_is_missing_is_said_with_what_to_do(standin, tmp_path, monkeypatch):
    with pytest.raises(LeanUnavailable, match=r"no program 'no-such-lake'.*elan"):
        LeanReplEnvironment(standin.project, lake_path="no-such-lake")
    with pytest.raises(LeanUnavailable, match=r"not a Lake project.*lean-toolchain"):
        LeanReplEnvironment(tmp_path, lake_path=standin.lake)
    with pytest.raises(LeanUnavailable, match=r"does not exist.*PROVER_LEAN_REPL"):
        LeanReplEnvironment(standin.project, lake_path=standin.lake, local_repl_path=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="workers is 0"):
        standin.open(workers=0)
    with pytest.raises(ValueError, match=r"ReplLimits.tactic_s is 0"):
        ReplLimits(tactic_s=0)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.12.0")
    with pytest.raises(LeanUnavailable, match=r"lean-interact 0.12.0 is installed, and this needs 0.11.6"):
        standin.open()
    monkeypatch.setitem(sys.modules, "lean_interact", None)
    with pytest.raises(LeanUnavailable, match=r"pip install -e '\.\[lean\]'"):
        standin.open()


def test_it_is_opened_by_kind(standin, monkeypatch):
    """With `lake` on the PATH and a local REPL named in the environment, nothing is downloaded."""
    monkeypatch.setenv("PATH", f"{standin.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PROVER_LEAN_REPL", str(standin.folder / "repl"))
    with open_environment(
        "repl", lean_project=standin.project, workers=1, limits=ReplLimits(tactic_s=5)
    ) as environment:
        assert isinstance(environment, LeanReplEnvironment)
        assert root(environment).text == "⊢ p"
    with pytest.raises(ValueError, match="ReplLimits, not LeanLimits"):
        open_environment("repl", lean_project=standin.project, limits=LeanLimits())


def test_a_server_that_does_not_start_says_why(standin):
    standin.lake.write_text("#!/bin/sh\necho 'error: toolchain is not installed' >&2\nexit 1\n")
    with standin.open() as environment:
        (crashed,) = environment.start([Theorem("toy", ": p")])
        assert isinstance(crashed, Crashed)
        assert "toolchain is not installed" in crashed.message


# The sandbox


@pytest.fixture
def installed(monkeypatch) -> Iterator[StandIn]:
    """A `lake` that runs what it is told to, and a REPL program that it finds, where every user can read both."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    standin = StandIn(folder)
    standin._write(standin.lake, 'shift\nexport LEAN_SYSROOT=/nowhere LEAN_PATH=project:\nexec "$@"')
    program = folder / "repl" / ".lake" / "build" / "bin" / "repl"
    program.parent.mkdir(parents=True)
    shutil.copy(HERE / "repl_standin.py", folder / "standin.py")
    shutil.copy(DATA / "pairs.jsonl", folder / "pairs.jsonl")
    standin._write(program, f'exec /usr/bin/env python3 -I -S "{folder}/standin.py" "{folder}/pairs.jsonl" /dev/null')
    monkeypatch.setenv("MY_TOKEN", "secret")
    monkeypatch.setenv("PATH", os.defpath)  # a Python that is a script of the user's own would have to fork
    yield standin
    shutil.rmtree(folder)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox is a Linux one")
def test_the_repl_runs_in_the_sandbox(installed):
    with installed.open() as environment:
        (outcome,) = step(environment, root(environment), "probe")
        assert isinstance(outcome, Progress), outcome
        can = json.loads(outcome.state.text.removeprefix("⊢ "))
        assert can["user"] == (65534 if os.geteuid() == 0 else os.geteuid())
        assert can["secret"] is None
        assert can["folder"] == can["home"]
        assert Path(can["folder"]).name.startswith("server-")
        assert not can["socket"]
        assert not can["fork"]
        assert not can["write"] or not _has_landlock()
    assert not Path(can["folder"]).exists()
    with installed.open(sandbox=False) as environment:
        (outcome,) = step(environment, root(environment), "probe")
        assert json.loads(outcome.state.text.removeprefix("⊢ "))["fork"]


def _has_landlock() -> bool:
    from prover.environments.isolation.sandbox import landlock_abi

    return landlock_abi() > 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox is a Linux one")
def test_a_repl_that_is_not_built_is_named(installed):
    (installed.folder / "repl" / ".lake" / "build" / "bin" / "repl").unlink()
    with installed.open() as environment:
        (crashed,) = environment.start([Theorem("toy", ": p")])
        assert isinstance(crashed, Crashed)
        assert "no Lean REPL at" in crashed.message
        assert "lake build" in crashed.message


@pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="needs root, to give it up")
def test_a_toolchain_that_only_root_can_enter_is_read_all_the_same(installed):
    installed.folder.chmod(0o700)
    with installed.open() as environment:
        (outcome,) = step(environment, root(environment), "probe")
        assert isinstance(outcome, Progress), outcome
        can = json.loads(outcome.state.text.removeprefix("⊢ "))
        assert can["user"] == 65534
        assert not can["socket"]
        assert not can["write"] or not _has_landlock()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox is a Linux one")
def test_a_repl_that_has_to_ask_lean_for_its_folder_may_start_it(installed):
    """Without LEAN_SYSROOT the REPL runs `lean --print-prefix`; all else is limited as before."""
    installed._write(installed.lake, 'shift\nunset LEAN_SYSROOT\nexport LEAN_PATH=project:\nexec "$@"')
    with installed.open() as environment:
        (outcome,) = step(environment, root(environment), "probe")
        assert isinstance(outcome, Progress), outcome
        can = json.loads(outcome.state.text.removeprefix("⊢ "))
        assert can["fork"]
        assert not can["socket"]
        assert not can["write"] or not _has_landlock()
